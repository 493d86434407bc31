import math

import pytest
import torch
from torch import Tensor

from attngan.losses.matching import mask_same_class, matching_loss, sentence_scores
from attngan.losses.word_scores import word_scores
from attngan.records import ImageFeatures, TextFeatures
from tests.networks.comparison import assert_close, region_attention, tensors

CLASSES = ["dup_class", "no_class", "uniq_class"]


def batch_of(
    lengths: list[int], embed: int = 4, regions: int = 6, words: int = 5
) -> tuple[ImageFeatures, TextFeatures]:
    batch = len(lengths)
    image = ImageFeatures(torch.randn(batch, embed, regions), torch.randn(batch, embed))
    padding = torch.arange(words) >= torch.tensor(lengths)[:, None]
    return image, TextFeatures(torch.randn(batch, embed, words), torch.randn(batch, embed), padding)


def softmax(values: list[float]) -> list[float]:
    exponentials = [math.exp(v) for v in values]
    return [e / sum(exponentials) for e in exponentials]


def cosine(a: Tensor, b: Tensor) -> float:
    return float(a @ b) / (float(a.norm()) * float(b.norm()))


def word_score(regions: Tensor, words: Tensor, gamma1: float, gamma2: float) -> float:
    """Equations 7-10 for one image and the true words of one caption, as loops."""
    places, length = range(regions.shape[1]), range(words.shape[1])
    spoken = [softmax([float(regions[:, r] @ words[:, t]) for t in length]) for r in places]
    total = 0.0
    for t in length:
        alpha = softmax([gamma1 * spoken[r][t] for r in places])
        context = sum(alpha[r] * regions[:, r] for r in places)
        total += math.exp(gamma2 * cosine(context, words[:, t]))
    return math.log(total)


def loss_of(logits: list[list[float]], skipped: list[list[bool]]) -> float:
    """Mean cross-entropy of the diagonal over rows, without the skipped entries, as loops."""
    losses = []
    for i, row in enumerate(logits):
        kept = [math.exp(x) for x, skip in zip(row, skipped[i], strict=True) if not skip]
        losses.append(math.log(sum(kept)) - row[i])
    return sum(losses) / len(losses)


def transposed(rows: list[list]) -> list[list]:
    return [list(column) for column in zip(*rows, strict=True)]


@pytest.mark.golden
@pytest.mark.parametrize("classes", CLASSES)
def test_words_loss_equals_the_published_one(golden, golden_notes, classes):
    g, config = tensors(golden(f"words_loss_{classes}")), golden_notes(f"words_loss_{classes}")["config"]
    gamma1, gamma2, gamma3 = (config[f"GAMMA{i}"] for i in (1, 2, 3))
    regions, words = g["img_features"].requires_grad_(), g["words_emb"].requires_grad_()
    padding = torch.arange(words.shape[2]) >= g["cap_lens"][:, None]
    batch = len(words)

    scores = word_scores(regions.flatten(2), words, padding, gamma1, gamma2)
    assert_close(mask_same_class(gamma3 * scores, g.get("class_ids")), g["similarities"])

    image = ImageFeatures(regions.flatten(2), torch.zeros(batch, words.shape[1]))
    text = TextFeatures(words, torch.zeros(batch, words.shape[1]), padding)
    loss = matching_loss(image, text, g.get("class_ids"), gamma1, gamma2, gamma3)
    assert_close(loss.words_to_caption, g["loss0"])
    assert_close(loss.words_to_image, g["loss1"])
    (loss.words_to_caption + loss.words_to_image).backward()
    assert_close(regions.grad, g["grad_img_features"])
    assert_close(words.grad, g["grad_words_emb"])
    assert (words.grad.mT[padding] == 0).all()

    _, weights = region_attention(regions.flatten(2), words, padding, gamma1)
    for i, length in enumerate(g["cap_lens"].tolist()):
        assert_close(weights[i, :, i, :length].T, g[f"att_map_{i}"][0].flatten(1))


@pytest.mark.golden
@pytest.mark.parametrize("classes", CLASSES)
def test_sentence_loss_equals_the_published_one(golden, golden_notes, classes):
    """In ``no_class`` a sentence is the zero vector: its gradient is 10^8 times the others', so rows count alone."""
    g, config = tensors(golden(f"sent_loss_{classes}")), golden_notes(f"sent_loss_{classes}")["config"]
    pooled, sentence = g["cnn_code"].requires_grad_(), g["rnn_code"].requires_grad_()
    scores = mask_same_class(config["GAMMA3"] * sentence_scores(pooled, sentence), g.get("class_ids"))
    assert_close(scores, g["scores"])
    batch, embed = sentence.shape
    loss = matching_loss(
        ImageFeatures(torch.zeros(batch, embed, 1), pooled),
        TextFeatures(torch.zeros(batch, embed, 1), sentence, torch.zeros(batch, 1, dtype=torch.bool)),
        g.get("class_ids"),
        gamma3=config["GAMMA3"],
    )
    assert_close(loss.sentence_to_caption, g["loss0"])
    assert_close(loss.sentence_to_image, g["loss1"])
    (loss.sentence_to_caption + loss.sentence_to_image).backward()
    assert_close(pooled.grad, g["grad_cnn_code"], by_row=True)
    assert_close(sentence.grad, g["grad_rnn_code"], by_row=True)


@pytest.mark.parametrize("regions", [6, 3])  # more than embed, and fewer: there the contexts' norms are by Gram matrix
@pytest.mark.parametrize("length_of_regions", [1.0, 1e-4])
def test_word_scores_are_the_formula(length_of_regions, regions):
    image, text = batch_of([5, 3, 1], regions=regions)
    image = image._replace(regions=length_of_regions * image.regions)
    scores = word_scores(image.regions, text.words, text.padding, gamma1=3.0, gamma2=2.0)
    for i in range(3):
        for j, length in enumerate([5, 3, 1]):
            expected = word_score(image.regions[i], text.words[j, :, :length], 3.0, 2.0)
            assert scores[i, j].item() == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("regions", [300, 36])  # more than embed, and fewer
def test_word_scores_are_those_of_the_contexts_with_equal_gradients(regions):
    image, text = batch_of([18, 11, 5, 1], embed=64, regions=regions, words=18)
    upstream, results = torch.randn(4, 4), []

    def by_contexts(places: Tensor, words: Tensor) -> Tensor:
        contexts, _ = region_attention(places, words, text.padding, 4.0)
        cosines = torch.nn.functional.cosine_similarity(contexts, words[None].transpose(1, 2), dim=1)
        return (5.0 * cosines).masked_fill(text.padding, -torch.inf).logsumexp(2)

    for scores_of in (by_contexts, lambda places, words: word_scores(places, words, text.padding)):
        places, words = image.regions.clone().requires_grad_(), text.words.clone().requires_grad_()
        scores = scores_of(places, words)
        (scores * upstream).sum().backward()
        results.append((scores, places.grad, words.grad))
    for theirs, ours in zip(*results, strict=True):
        assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()


def test_regions_of_zero_have_a_score_and_a_gradient():
    image, text = batch_of([5, 3], regions=3)
    regions = torch.zeros_like(image.regions).requires_grad_()
    scores = word_scores(regions, text.words, text.padding)
    scores.sum().backward()
    assert scores.isfinite().all()
    assert regions.grad.isfinite().all()


@pytest.mark.parametrize("classes", [None, [4, 2, 4, 9]])
def test_matching_loss_is_the_formula(classes):
    lengths = [5, 3, 1, 2]
    image, text = batch_of(lengths)
    loss = matching_loss(image, text, None if classes is None else torch.tensor(classes), 3.0, 2.0, 6.0)
    skipped = [[classes is not None and i != j and classes[i] == classes[j] for j in range(4)] for i in range(4)]
    by_words = [
        [6 * word_score(image.regions[i], text.words[j, :, :n], 3.0, 2.0) for j, n in enumerate(lengths)]
        for i in range(4)
    ]
    by_sentence = [[6 * cosine(image.pooled[i], text.sentence[j]) for j in range(4)] for i in range(4)]
    expected = [
        *(loss_of(by_words, skipped), loss_of(transposed(by_words), transposed(skipped))),
        *(loss_of(by_sentence, skipped), loss_of(transposed(by_sentence), transposed(skipped))),
    ]
    assert [term.item() for term in loss] == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert loss.total.item() == pytest.approx(sum(expected), rel=1e-4)


@pytest.mark.parametrize("classes", [None, [4, 2, 4, 4, 9]])
def test_words_are_compared_within_groups(classes):
    """Groups of 2, 2 and 1 items, each a mean over its items; the sentence's terms are of the whole batch."""
    lengths = [5, 3, 1, 2, 4]
    image, text = batch_of(lengths)
    numbers = None if classes is None else torch.tensor(classes)
    loss = matching_loss(image, text, numbers, 3.0, 2.0, 6.0, words_within=2)
    to_caption = to_image = 0.0
    for group in ([0, 1], [2, 3], [4]):
        rows = [
            [6 * word_score(image.regions[i], text.words[j, :, : lengths[j]], 3.0, 2.0) for j in group] for i in group
        ]
        skipped = [[classes is not None and i != j and classes[i] == classes[j] for j in group] for i in group]
        to_caption += loss_of(rows, skipped) * len(group) / 5
        to_image += loss_of(transposed(rows), transposed(skipped)) * len(group) / 5
    assert [loss.words_to_caption.item(), loss.words_to_image.item()] == pytest.approx([to_caption, to_image], rel=1e-4)
    whole = matching_loss(image, text, numbers, 3.0, 2.0, 6.0)
    assert loss[2:] == whole[2:]
    torch.testing.assert_close(matching_loss(image, text, numbers, 3.0, 2.0, 6.0, words_within=5), whole)


def test_captions_without_words_have_no_words_terms():
    image, text = batch_of([5, 3, 1])
    loss = matching_loss(image, TextFeatures.of_sentences(text.sentence))
    assert loss[:2] == (0, 0)
    assert loss[2:] == matching_loss(image, text)[2:]


def test_the_weighted_loss_is_the_formula():
    loss = matching_loss(*batch_of([5, 3, 1]))
    a, b, c, d = (term.item() for term in loss)
    assert loss.weighted(words=3.0, sentence=0.5).item() == pytest.approx(3 * (a + b) + 0.5 * (c + d))
    assert loss.weighted(1.0, 1.0).item() == pytest.approx(loss.total.item())


def test_padding_has_no_part_in_the_loss():
    image, text = batch_of([5, 3, 1])
    loss = matching_loss(image, text)
    other = text._replace(words=text.words.masked_fill(text.padding[:, None], 5.0))
    wider = text._replace(
        words=torch.nn.functional.pad(text.words, (0, 3)),
        padding=torch.nn.functional.pad(text.padding, (0, 3), value=True),
    )
    torch.testing.assert_close(torch.stack(matching_loss(image, other)), torch.stack(loss))
    torch.testing.assert_close(torch.stack(matching_loss(image, wider)), torch.stack(loss))


def test_pairs_of_one_class_have_no_part_in_the_loss():
    """What two birds of one class say of each other changes nothing, not even a gradient."""
    logits = torch.randn(4, 4, requires_grad=True)
    masked = mask_same_class(logits, torch.tensor([3, 1, 3, 2]))
    off = torch.zeros(4, 4, dtype=torch.bool)
    off[0, 2] = off[2, 0] = True
    assert torch.equal(masked.isinf(), off)
    torch.nn.functional.cross_entropy(masked, torch.arange(4)).backward()
    assert (logits.grad[off] == 0).all()
    assert (logits.grad[~off] != 0).all()


def test_unlike_classes_are_as_no_classes():
    image, text = batch_of([5, 3, 1])
    without, unlike = matching_loss(image, text), matching_loss(image, text, torch.tensor([7, 1, 4]))
    torch.testing.assert_close(torch.stack(without), torch.stack(unlike))


def test_a_batch_of_one_class_has_nothing_to_tell_apart():
    image, text = batch_of([5, 3, 1])
    assert all(term == 0 for term in matching_loss(image, text, torch.tensor([2, 2, 2])))


def test_captions_that_fit_their_images_have_the_lower_loss():
    image, text = batch_of([3, 3, 3], embed=8)
    words = image.regions[:, :, :5]  # each word is a place of its own image
    fitting = matching_loss(image, text._replace(words=words, sentence=image.pooled))
    shifted = matching_loss(image, text._replace(words=words.roll(1, 0), sentence=image.pooled.roll(1, 0)))
    assert all(good < bad for good, bad in zip(fitting, shifted, strict=True))


def test_vectors_of_length_zero_score_zero():
    image, text = batch_of([2, 2])
    scores = sentence_scores(image.pooled, torch.zeros_like(text.sentence))
    assert (scores == 0).all()
    scores = word_scores(torch.zeros_like(image.regions), text.words, text.padding)
    torch.testing.assert_close(scores, torch.full((2, 2), math.log(2)))  # two words of cosine 0


def test_runs_in_float32_under_autocast_and_for_half_precision_features():
    image, text = batch_of([5, 3, 1])
    expected = torch.stack(matching_loss(image, text))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(torch.stack(matching_loss(image, text)), expected)
    half = matching_loss(ImageFeatures(*(t.bfloat16() for t in image)), text)
    assert all(term.dtype == torch.float32 for term in half)


def test_float64_stays_float64():
    """So a step can be computed exactly; before, float32's rounding stood in the loss."""
    image, text = batch_of([5, 3, 1])
    double = text._replace(words=text.words.double(), sentence=text.sentence.double())
    exact = matching_loss(ImageFeatures(*(t.double() for t in image)), double)
    assert all(term.dtype == torch.float64 for term in exact)
    torch.testing.assert_close(torch.stack(exact).float(), torch.stack(matching_loss(image, text)))
    mixed = matching_loss(image, double)  # the wider type of the two
    assert all(term.dtype == torch.float64 for term in mixed)
