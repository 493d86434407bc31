import numpy as np
import pytest
import torch

from attngan.data.dataset import CaptionedImageDataset, EncodedCaptions, image_pyramid
from attngan.data.image_cache import open_or_build
from attngan.records import CaptionedImage
from tests.data.conftest import picture

WORDS = [[[2, 3, 4], [5]], [[6, 7]], [list(range(10, 40))]]


@pytest.fixture
def make(tmp_path):
    images = []
    for number in range(3):
        path = tmp_path / f"{number}.png"
        picture(number, 60 + 8 * number, 50).save(path)
        images.append(CaptionedImage(str(number), path, ("x",), class_id=number % 2))
    cache = open_or_build(tmp_path / "cache", images, 38)

    def dataset(**options):
        options = {"words": 18, "seed": 7, **options}
        return CaptionedImageDataset(images, cache, np.arange(3), EncodedCaptions.of(WORDS), 32, **options)

    return dataset


def test_encoded_captions_are_found_again():
    captions = EncodedCaptions.of(WORDS)
    assert [captions.count(image) for image in range(3)] == [2, 1, 1]
    assert captions.caption(0, 1) == [5]
    assert captions.caption(1, 0) == [6, 7]
    assert captions.caption(2, 0) == list(range(10, 40))


def test_evaluation_sees_the_centre_the_first_caption_and_no_mirror(make):
    dataset = make()
    batch = dataset.__getitems__([(5, 0), (0, 2)])
    centre = dataset.cache[0][3:35, (45 - 32) // 2 :][:, :32]
    assert (batch.pixels[0].permute(1, 2, 0).numpy() == centre).all()
    assert not batch.mirrored.any()
    assert batch.captions.ids[0, :3].tolist() == [2, 3, 4]
    assert batch.captions.ids[1].tolist() == list(range(10, 28))
    assert batch.captions.lengths.tolist() == [3, 18]
    assert batch.classes.tolist() == [0, 0]
    assert batch.indices.tolist() == [0, 2]


def test_training_sees_other_crops_flips_captions_and_words_each_epoch(make):
    dataset = make(augment=True, random_words=True)
    batches = [dataset[epoch, 0] for epoch in range(40)]
    image = dataset.cache[0]
    seen = set()
    for batch in batches:
        pixels = batch.pixels[0].permute(1, 2, 0).numpy()
        if batch.mirrored[0]:
            pixels = pixels[:, ::-1]
        places = [
            (top, left)
            for top in range(image.shape[0] - 31)
            for left in range(image.shape[1] - 31)
            if (image[top : top + 32, left : left + 32] == pixels).all()
        ]
        assert len(places) == 1
        seen.add(places[0])
    assert len(seen) > 20
    assert {top for top, _left in seen} == set(range(7))  # the outermost crops too
    assert 8 < sum(bool(batch.mirrored[0]) for batch in batches) < 32
    assert {batch.captions.lengths.item() for batch in batches} == {1, 3}
    subsets = {tuple(dataset[epoch, 2].captions.ids[0].tolist()) for epoch in range(10)}
    assert len(subsets) == 10
    assert all(list(words) == sorted(words) and len(words) == 18 for words in subsets)


def test_an_image_depends_on_seed_epoch_and_index_only(make):
    dataset, again, other = (make(augment=True, random_words=True, seed=seed) for seed in (7, 7, 8))
    places = [(3, index) for index in (2, 0, 1)]
    batch = dataset.__getitems__(places)
    for row, place in enumerate(places):
        alone = again[place]
        assert (alone.pixels[0] == batch.pixels[row]).all()
        length = alone.captions.lengths.item()
        assert (alone.captions.ids[0] == batch.captions.ids[row, :length]).all()
    assert any((other[place].pixels[0] != batch.pixels[row]).any() for row, place in enumerate(places))


def test_without_classes(make):
    dataset = make()
    dataset.class_ids = None
    assert dataset[0, 1].classes is None


def test_pyramid_halves_sizes_and_spans_minus_one_to_one():
    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    pixels[0] = 0
    pixels[1] = 255
    images = image_pyramid(pixels, 3)
    assert [tuple(image.shape) for image in images] == [(2, 3, 8, 8), (2, 3, 16, 16), (2, 3, 32, 32)]
    for image in images:
        assert (image[0] == -1).all()
        assert (image[1] == 1).all()
    (only,) = image_pyramid(pixels, 1)
    assert only.shape == pixels.shape


def test_pyramid_leaves_its_input_alone_and_gives_tensors_of_its_own():
    pixels = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    before = pixels.clone()
    images = image_pyramid(pixels, 2)
    images[1].zero_()
    assert (pixels == before).all()
