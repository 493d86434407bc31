import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from attngan.data.images import load_pixels, shorter_side
from attngan.data.published_pickles import published_vocabulary
from attngan.data.splits import held_out_for_validation
from attngan.records import CaptionedImage, ImageBatch, TextImageBatch
from attngan.text.vocabulary import Vocabulary
from tests.data.conftest import module, picture, ready

# Splits


def test_nothing_is_read_before_setup(tmp_path):
    data = module(tmp_path / "absent")
    with pytest.raises(RuntimeError, match="setup"):
        data.split("train")
    with pytest.raises(RuntimeError, match="setup"):
        _ = data.vocabulary
    with pytest.raises(FileNotFoundError, match="absent: no such folder"):
        data.setup()


def test_a_tenth_of_the_training_classes_validates(make_cub):
    data = ready(make_cub(train_classes=20, images=2))
    classes = {name: set(data.split(name).class_ids.tolist()) for name in ("train", "validation", "test")}
    assert len(classes["validation"]) == 2
    assert classes["train"] | classes["validation"] == set(range(1, 21))
    assert not classes["train"] & classes["validation"]
    assert classes["test"] == {21, 22}
    other_seed = ready(data.root, seed=5)
    assert set(other_seed.split("validation").class_ids.tolist()) == classes["validation"]


def test_published_validation_is_the_test_split(make_cub):
    data = ready(make_cub(), validation="published")
    assert len(data.split("train")) == 12
    assert data.split("validation").images == data.split("test").images


def test_a_tenth_of_the_images_validates_where_there_are_no_classes():
    images = [CaptionedImage(str(n), Path("x"), ("x",)) for n in range(50)]
    held_out = held_out_for_validation(images)
    assert len(held_out) == 5
    assert held_out_for_validation(images[::-1]) == held_out


def test_a_split_that_is_not_there(make_cub):
    with pytest.raises(ValueError, match="no images in the dev split; it has train, test, validation"):
        ready(make_cub()).split("dev")


def test_the_folder_may_have_any_name_and_be_read_only(make_cub, tmp_path):
    data = ready(make_cub("strange näme"), cache_dir=str(tmp_path / "elsewhere"))
    assert len(data.split("train")) > 0
    assert not (data.root / ".attngan_cache").exists()
    assert len(list((tmp_path / "elsewhere").glob("*.cache"))) == 2


# Batches


def test_batches_are_pyramids_of_the_images_with_their_captions(make_cub):
    data = ready(make_cub(), validation="published")
    seen = []
    for batch in data.train_dataloader():
        assert isinstance(batch, ImageBatch)
        assert batch.pixels.shape == (4, 3, 32, 32)
        assert batch.pixels.dtype == torch.uint8
        whole = data.on_after_batch_transfer(batch)
        assert isinstance(whole, TextImageBatch)
        assert [tuple(image.shape) for image in whole.images] == [(4, 3, 16, 16), (4, 3, 32, 32)]
        for row, index in enumerate(batch.indices.tolist()):
            image = data.split("train").images[index]
            words = data.vocabulary.words_of(batch.captions.ids[row, : batch.captions.lengths[row]].tolist())
            assert " ".join(words) in image.captions
            assert batch.classes[row] == image.class_id
            seen.append(index)
    assert sorted(seen) == list(range(12))


def test_evaluation_sees_every_image_once_in_order_whole(make_cub):
    data = ready(make_cub(test_classes=3))
    batches = list(data.test_dataloader())
    assert [len(batch.indices) for batch in batches] == [4, 4, 1]
    assert torch.cat([batch.indices for batch in batches]).tolist() == list(range(9))
    image = data.split("test").images[4]
    pixels = load_pixels(image.path, image.box, shorter_side(32))
    top, left = (pixels.shape[0] - 32) // 2, (pixels.shape[1] - 32) // 2
    centre = pixels[top : top + 32, left : left + 32]
    assert (batches[1].pixels[0].permute(1, 2, 0).numpy() == centre).all()
    ids = batches[1].captions.ids[0, : batches[1].captions.lengths[0]]
    assert data.vocabulary.encode(image.captions[0]) == ids.tolist()
    again = list(data.test_dataloader())
    assert all((a.pixels == b.pixels).all() for a, b in zip(batches, again, strict=True))


def test_published_test_transform_and_truncation_are_switches(make_cub):
    root = make_cub(test_classes=4)
    for path in (root / "text").glob("*/*.txt"):
        path.write_text(" ".join(f"w{n}" for n in range(30)))
    plain = next(iter(ready(root, batch_size=12).test_dataloader()))
    data = ready(root, batch_size=12, test_transform="published", truncation="published")
    published = next(iter(data.test_dataloader()))
    assert plain.captions.lengths.unique().tolist() == [25]
    assert data.vocabulary.words_of(plain.captions.ids[0].tolist()) == [f"w{n}" for n in range(25)]
    assert published.captions.lengths.unique().tolist() == [18]
    assert len({tuple(ids) for ids in published.captions.ids.tolist()}) == 12
    assert published.mirrored.any()
    assert not plain.mirrored.any()
    first = ready(root, batch_size=12, truncation="first", validation="published")
    ids = next(iter(first.train_dataloader())).captions.ids
    assert first.vocabulary.words_of(ids[0].tolist()) == [f"w{n}" for n in range(18)]
    again = next(iter(data.test_dataloader()))
    assert (again.pixels == published.pixels).all()  # at random, but the same each time


def test_only_the_first_captions_are_used(make_cub):
    data = ready(make_cub(), captions_per_image=1)
    assert "photo" not in data.vocabulary.words
    captions, owner = data.encoded_captions("train")
    assert owner.tolist() == list(range(len(data.split("train"))))
    assert captions.lengths.unique().tolist() == [5]


def test_all_captions_with_their_images(make_cub):
    root = make_cub()
    (root / "text" / "005.Bird" / "bird_13.txt").write_text("only one caption here")
    data = ready(root)
    captions, owner = data.encoded_captions("test")
    assert owner.tolist() == [0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    for ids, length, image in zip(captions.ids, captions.lengths, owner, strict=True):
        own = [data.vocabulary.encode(caption) for caption in data.split("test").images[int(image)].captions]
        assert ids[:length].tolist() in own


@pytest.mark.parametrize("size", [32, 24])
def test_full_images_are_centre_crops_of_any_size(make_cub, size):
    data = ready(make_cub())
    batches = list(data.full_images("test", size, batch_size=4))
    assert [tuple(batch.shape) for batch in batches] == [(4, 3, size, size), (2, 3, size, size)]
    image = data.split("test").images[5]
    pixels = load_pixels(image.path, image.box, shorter_side(size))
    top, left = (pixels.shape[0] - size) // 2, (pixels.shape[1] - size) // 2
    crop = pixels[top : top + size, left : left + size]
    assert (batches[1][1].permute(1, 2, 0).numpy() == crop).all()
    if size == 32:
        assert (torch.cat(batches) == torch.cat([batch.pixels for batch in data.test_dataloader()])).all()


def test_workers_change_nothing(make_cub):
    root = make_cub(train_classes=8)
    none, two = ready(root), ready(root, workers=2)
    loaders = none.train_dataloader(), two.train_dataloader()
    for epoch in range(2):
        for loader in loaders:
            loader.sampler.set_epoch(epoch)
        for a, b in zip(*loaders, strict=True):
            assert_same(a, b)


def assert_same(a: ImageBatch, b: ImageBatch) -> None:
    for mine, theirs in zip(flat(a), flat(b), strict=True):
        assert (mine == theirs).all()


def flat(batch: ImageBatch) -> list[torch.Tensor]:
    return [batch.pixels, *batch.captions, batch.classes, batch.indices, batch.mirrored]


def test_too_few_images_for_a_batch(make_cub):
    data = ready(make_cub(), batch_size=50)
    with pytest.raises(ValueError, match=r"9 training images do not fill one batch of 50.*batch_size"):
        data.train_dataloader()
    assert len(list(ready(data.root, batch_size=50, drop_last=False).train_dataloader())) == 1


@pytest.mark.parametrize(
    ("options", "message"), [({"batch_size": 0}, "data.batch_size is 0"), ({"image_size": 30, "stages": 3}, "halved")]
)
def test_impossible_arguments(make_cub, options, message):
    with pytest.raises(ValueError, match=message):
        module(make_cub(), **options).setup()


# Bad images


def test_bad_images_stop_it_unless_they_may_be_left_out(make_cub):
    root = make_cub(train_classes=6)
    good = ready(root, validation="published").split("train").images
    good[2].path.unlink()
    good[4].path.write_bytes(b"")
    (root / "text" / f"{good[6].name}.txt").write_text("...\n")
    with pytest.raises(ValueError, match=r"(?s)2 images.*missing image.*no captions.*skip_bad"):
        module(root, validation="published").setup()
    with pytest.warns(UserWarning, match="left out or mended: missing image: 1, no captions: 1, unusable image: 1"):
        data = ready(root, validation="published", skip_bad=True)
    left = [image for number, image in enumerate(good) if number not in (2, 4, 6)]
    assert data.split("train").images == left
    for batch in data.train_dataloader():  # and no image got another's pixels
        for index in batch.indices.tolist():
            dataset = data.split("train")
            image = dataset.images[index]
            expected = load_pixels(image.path, image.box, shorter_side(32))
            assert (dataset.cache[int(dataset.rows[index])] == expected).all()


def test_an_undecodable_image_is_named(make_cub):
    root = make_cub()
    bad = ready(root).split("train").images[1].path
    bad.write_bytes(bad.read_bytes()[:-60])
    with pytest.raises(ValueError, match=rf"(?s)1 image .*{bad.name}: cannot be decoded: .*truncated.*skip_bad"):
        ready(root)


def test_blank_and_wordless_captions_are_counted(make_cub):
    root = make_cub()
    (root / "text" / "001.Bird" / "bird_1.txt").write_text("a bird\n\n...\n")
    (root / "text" / "001.Bird" / "bird_2.txt").write_text("中文\na bird\n")
    with pytest.warns(UserWarning, match="blank captions: 1, captions without a known word: 1"):
        data = ready(root, tokenizer="published", validation="published")
    assert data.split("train").captions.count(0) == 1
    assert data.split("train").captions.count(1) == 1
    (root / "text" / "001.Bird" / "bird_2.txt").write_text("中文\n鳥\n")
    with pytest.raises(ValueError, match=r"no known word: .*bird_2\.jpg"):
        ready(root, tokenizer="published")


# Vocabulary


def test_vocabulary_comes_from_all_training_captions_and_no_others(make_cub):
    root = make_cub()
    data = ready(root)
    assert data.vocabulary.words[:2] == ("<end>", "<unk>")
    assert {"word1", "word4"} <= set(data.vocabulary.words)
    assert "word5" not in data.vocabulary.words  # a test class
    assert ready(root, validation="published").vocabulary == data.vocabulary
    assert len(ready(root, min_count=12).vocabulary) < len(data.vocabulary)


def test_published_vocabulary_has_test_words_and_no_unknown(make_cub):
    vocabulary = ready(make_cub(), tokenizer="published").vocabulary
    assert vocabulary.words[:3] == ("<end>", "bird", "1")
    assert "word5" in vocabulary.words
    assert not vocabulary.has_unknown


@pytest.mark.parametrize("before_setup", [True, False])
def test_the_checkpoints_vocabulary_is_checked_against_the_data(make_cub, before_setup):
    root = make_cub()
    own = ready(root).vocabulary
    other = Vocabulary.from_captions(["a bird of another data set"])

    def use(vocabulary):
        data = module(root)
        if not before_setup:
            data.setup()
        data.use_vocabulary(vocabulary)
        if before_setup:
            data.setup()
        return data

    assert use(Vocabulary.from_dict(own.to_dict())).vocabulary == own
    with pytest.raises(ValueError, match=rf"data: {len(own)} words, checkpoint: 8; first that differ: id 2"):
        use(other)


def test_a_vocabulary_with_another_order_encodes_with_its_own_ids(make_cub, tmp_path):
    root = make_cub()
    words = ready(root, tokenizer="published").vocabulary.words
    turned = [words[0], *reversed(words[1:])]
    path = tmp_path / "captions.pickle"
    by_id = dict(enumerate(turned))
    path.write_bytes(pickle.dumps([[], [], by_id, {word: number for number, word in by_id.items()}]))
    data = ready(root)
    data.use_vocabulary(published_vocabulary(path))
    batch = next(iter(data.test_dataloader()))
    ids = batch.captions.ids[0, : batch.captions.lengths[0]].tolist()
    assert " ".join(turned[i] for i in ids) == data.split("test").images[0].captions[0]


def test_a_published_vocabulary_of_other_captions_is_refused(make_cub):
    data = ready(make_cub())
    with pytest.raises(ValueError, match=r"published vocabulary does not fit.*data: \d+ words, vocabulary: 3.*first: "):
        data.use_vocabulary(Vocabulary.in_published_order([["bird", "of"]]))


# Real data


@pytest.mark.real
def test_real_coco_trains_without_classes(real_coco, tmp_path):
    data = ready(real_coco, source="coco", cache_dir=str(tmp_path), captions_per_image=5, test_words=20)
    assert [len(data.split(name)) for name in ("train", "validation", "test")] == [69, 8, 141]
    batch = next(iter(data.train_dataloader()))
    assert batch.classes is None
    assert data.on_after_batch_transfer(batch).classes is None


@pytest.mark.real
def test_published_vocabulary_size_on_real_cub(real_cub):
    """5,450 ids in the published encoder, of all captions of both splits."""
    from attngan.data.findings import Findings
    from attngan.data.sources.cub import read_cub
    from attngan.text.tokenizer import Tokenizer

    published = Tokenizer("published")
    images = [image for split in ("train", "test") for image in read_cub(real_cub, split, Findings())]
    vocabulary = Vocabulary.in_published_order(published(caption) for image in images for caption in image.captions)
    assert abs(len(vocabulary) - 5450) <= 1  # the one image that is missing may take a word with it


def test_a_torch_loader_is_not_expected(make_cub):
    """Lightning replaces samplers of torch loaders in distributed runs, and would lose the epoch of each index."""
    assert not isinstance(ready(make_cub()).train_dataloader(), DataLoader)
    json.dumps(ready(make_cub("second")).train_dataloader().state_dict())
    assert np.isscalar(len(ready(make_cub("third")).train_dataloader()))


# A split without images


def splits_of(root, **counts):
    for split, count in counts.items():
        (root / split).mkdir(parents=True)
        for number in range(count):
            picture(number).save(root / split / f"{number}.png")
            (root / split / f"{number}.txt").write_text(f"bird {number}\n")
    return ready(root, source="folder", image_size=16, stages=1, batch_size=1, drop_last=False)


def test_one_image_cannot_train_and_validate(tmp_path):
    data = splits_of(tmp_path / "x", train=1, test=3)
    with pytest.raises(ValueError, match=r"validation split \(1 to train, 3 to test\): one image cannot both"):
        data.val_dataloader()
    assert len(splits_of(tmp_path / "y", train=2, test=1).split("validation")) == 1


def test_a_split_that_is_not_there_says_which_are(tmp_path):
    data = splits_of(tmp_path / "x", train=5, validation=2)
    with pytest.raises(ValueError, match=r"has no images in the test split; it has train, validation$"):
        data.test_dataloader()
