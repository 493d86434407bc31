"""R-precision: perfect, random and shuffled scorers, ties, NaN, and which captions may be distractors."""

import pytest
import torch

from attngan.metrics.r_precision import CaptionPool, _Rivals, r_precision, text_ids


def pool_of(embeddings, per_image=1, classes=None, texts=None):
    count = len(embeddings)
    texts = torch.arange(count) if texts is None else texts
    return CaptionPool(embeddings, torch.arange(count) // per_image, texts, classes)


def random_pool(count, per_image=1, classes=None):
    return pool_of(torch.randn(count, 32, generator=torch.Generator().manual_seed(1)), per_image, classes)


def test_perfect_scorer_has_100_percent():
    pool = random_pool(300)
    assert r_precision(pool.embeddings, torch.arange(300), pool).mean == 100


def test_random_and_shuffled_captions_have_one_percent():
    pool = random_pool(600)
    draws = torch.arange(600).repeat(10)
    noise = torch.randn(6000, 32, generator=torch.Generator().manual_seed(2))
    assert r_precision(noise, draws, pool).mean == pytest.approx(1, abs=0.4)
    shuffled = torch.arange(600).roll(300).repeat(10)
    # the image's own caption is a distractor 99 times in 599: then the shuffled one cannot win
    assert r_precision(pool.embeddings.repeat(10, 1), shuffled, pool).mean < 1.4


def test_ties_are_misses():
    pool = pool_of(torch.ones(200, 8))
    assert r_precision(torch.ones(200, 8), torch.arange(200), pool).mean == 0


def test_what_rounding_alone_tells_apart_is_a_tie():
    """The same caption, encoded in float32 in other batches: some 1e-7 off, and no better for it."""
    same = torch.randn(1, 64).repeat(200, 1)
    rounded = same * (1 + 1e-7 * torch.randn(200, 64))
    assert not torch.equal(rounded, same)
    assert r_precision(same, torch.arange(200), pool_of(rounded)).mean == 0


def test_nan_and_zero_are_errors():
    pool = random_pool(200)
    images = pool.embeddings.clone()
    images[7, 3] = float("nan")
    with pytest.raises(ValueError, match="image embeddings are not finite \\(first: row 7"):
        r_precision(images, torch.arange(200), pool)
    images[7] = 0
    with pytest.raises(ValueError, match="image embeddings are 0"):
        r_precision(images, torch.arange(200), pool)


@pytest.mark.parametrize("with_classes", [True, False])
def test_distractors_are_of_another_class_or_image_and_never_the_same_text(with_classes):
    import numpy as np

    count = 60
    classes = torch.arange(count) % 3 if with_classes else None
    pool = pool_of(torch.randn(count, 4), per_image=2, classes=classes, texts=torch.arange(count) // 7)
    rivals = _Rivals(pool)
    groups = pool.owners if classes is None else classes
    for true in range(count):
        # 20 of about 35 allowed (or of about 53): the second case is drawn without listing them, the first often not
        chosen = rivals.draw(true, 20, np.random.default_rng(true))
        assert len(chosen.unique()) == 20
        assert (groups[chosen] != groups[true]).all()
        assert (pool.texts[chosen] != pool.texts[true]).all()


def test_too_few_distractors_is_an_error_that_says_what_is_missing():
    pool = random_pool(50, classes=torch.arange(50) % 2)
    with pytest.raises(ValueError, match=r"99 captions of another class .* the split has 25: .*--split train"):
        r_precision(pool.embeddings, torch.arange(50), pool)


def test_a_draw_does_not_depend_on_the_others():
    pool = random_pool(300)
    images = pool.embeddings + torch.randn(300, 32, generator=torch.Generator().manual_seed(3)) * 2
    all_hits = r_precision(images, torch.arange(300), pool, seed=5).hits
    first = r_precision(images[:100], torch.arange(100), pool, seed=5).hits
    assert torch.equal(all_hits[:100], first)
    assert 0 < all_hits.float().mean() < 1
    assert not torch.equal(all_hits, r_precision(images, torch.arange(300), pool, seed=6).hits)


def test_standard_deviation_is_over_folds():
    pool = random_pool(200)
    images = torch.cat([pool.embeddings[:100], -pool.embeddings[100:]])  # first half all hits, second half none
    result = r_precision(images, torch.arange(200), pool, folds=2)
    assert (result.mean, result.std) == (50, 50)


def test_text_ids_tell_texts_apart_but_not_case_or_spaces():
    assert text_ids(["A red bird", "a red  bird ", "a blue bird"]).tolist() == [0, 0, 1]
