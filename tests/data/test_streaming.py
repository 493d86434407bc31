"""Training batches from shards: their order, whoever reads them, and single images."""

from itertools import pairwise

import pytest
import torch

from attngan.data.images import load_pixels, shorter_side
from attngan.data.sources.registry import read_source
from attngan.data.streaming import StreamOrder
from tests.data.conftest import streaming


def test_an_epoch_streams_every_image_with_its_own_pixels(shards):
    data = streaming(shards)
    loader = data.train_dataloader()
    orders = []
    for epoch in range(2):
        loader.sampler.set_epoch(epoch)
        batches = list(loader)
        assert len(batches) == len(loader) == 12
        orders.append([index for batch in batches for index in batch.indices.tolist()])
        assert sorted(orders[-1]) == list(range(36))
    assert orders[0] != orders[1]
    batch = batches[0]
    contents = dict(data.split("train").stream.in_order())
    dataset = data.split("train")
    for row, index in enumerate(batch.indices.tolist()):
        image = dataset.images[index]
        pixels = load_pixels(contents[index], image.box, shorter_side(32))
        alone = dataset.batch([(1, index)], [pixels])
        assert (alone.pixels[0] == batch.pixels[row]).all()
        assert batch.classes[row] == image.class_id
    assert [tuple(image.shape) for image in data.on_after_batch_transfer(batch).images] == [
        (3, 3, 16, 16),
        (3, 3, 32, 32),
    ]


def batches_of(shards, workers=0, **options):
    return [(b.indices.tolist(), b.pixels, b.captions.ids) for b in streaming(shards, workers=workers, **options)
            .train_dataloader()]  # fmt: skip


@pytest.mark.parametrize(("count", "workers"), [(1, 2), (3, 1), (3, 2), (5, 4)])
def test_the_number_of_workers_changes_nothing(shards, lanes, count, workers):
    lanes(count)
    whole = batches_of(shards, batch_size=7)
    seen = [index for indices, _pixels, _ids in whole for index in indices]
    assert len(set(seen)) == len(seen) == 35  # of 36
    other = batches_of(shards, workers, batch_size=7)
    assert [indices for indices, _pixels, _ids in other] == [indices for indices, _pixels, _ids in whole]
    for (_, pixels, ids), (_, expected, expected_ids) in zip(other, whole, strict=True):
        assert (pixels == expected).all()
        assert (ids == expected_ids).all()


def read_by(order, epoch=0):
    """Every used image that the lanes of an order read in an epoch, as (shard, number in it), by lane."""
    return [
        [(shard, number) for shard, first, last in order.piece(lane, epoch) for number in range(first, last)]
        for lane in range(order.lanes)
    ]


def test_lanes_share_all_images_of_an_epoch_in_equal_pieces(lanes):
    """37 images in shards of unequal length, batches of 7 in three lanes: 3, 2 and 2 rows of each of five batches."""
    lanes(3)
    order = StreamOrder([5] * 7 + [2], 7, seed=0)
    pieces = read_by(order)
    assert list(map(len, pieces)) == [15, 10, 10]
    assert len({image for piece in pieces for image in piece}) == 35
    assert read_by(order, 1) != pieces


def test_few_shards_make_few_lanes():
    """A lane reads a part of its first shard in vain: that must stay a small part."""
    assert StreamOrder([5] * 8, 8, seed=0).lanes == 2
    assert StreamOrder([1000] * 118, 64, seed=0).lanes == 29
    assert StreamOrder([1000] * 1000, 14, seed=0).lanes == 14
    assert StreamOrder([1000] * 1000, 64, seed=0).lanes == 32
    assert StreamOrder([1000] * 1000, 1024, seed=0, world=64).lanes == 250


@pytest.mark.parametrize(("count", "workers"), [(1, 0), (3, 0), (3, 2)])
def test_starts_inside_an_epoch(shards, lanes, count, workers):
    lanes(count)
    whole = [indices for indices, _pixels, _ids in batches_of(shards, batch_size=4)]
    for start in (0, 4, 8) if not workers else (4,):
        resumed = streaming(shards, workers=workers, batch_size=4).train_dataloader()
        resumed.load_state_dict({"epoch": 0, "batches": start, "order": resumed.sampler.depends_on()})
        assert [batch.indices.tolist() for batch in resumed] == whole[start:]


def test_the_buffer_mixes(shards, lanes):
    """With a buffer of one image a lane's shards come one after the other, with a large one mixed."""
    lanes(1)

    def runs(buffer):
        indices = [i for own, _pixels, _ids in batches_of(shards, shuffle_buffer=buffer, batch_size=1) for i in own]
        return sum(a // 5 == b // 5 for a, b in pairwise(indices))

    assert runs(1) > 20 > runs(100)


def of_device(shards, rank, world, start=0):
    """A device's rows of each batch of the first epoch, and what the batch's rows say of themselves."""
    data = streaming(shards, batch_size=7)
    data._device = lambda: (rank, world)
    loader = data.train_dataloader()
    loader.load_state_dict({"epoch": 0, "batches": start, "order": loader.sampler.depends_on()})
    return [(batch.rows, batch.indices.tolist()) for batch in loader]


@pytest.mark.parametrize("world", [2, 3, 4])
def test_the_number_of_devices_changes_no_batch_also_in_the_middle_of_an_epoch(shards, lanes, world):
    lanes(5)
    whole = [indices for _rows, indices in of_device(shards, 0, 1)]
    for start in (0, 3):
        devices = [of_device(shards, rank, world, start) for rank in range(world)]
        for batch, expected in zip(zip(*devices, strict=True), whole[start:], strict=True):
            assert [index for _rows, indices in batch for index in indices] == expected
            for rank, (rows, indices) in enumerate(batch):
                assert (rows.rank, rows.total, len(rows.mine)) == (rank, 7, len(indices))
                assert [expected[row] for row in rows.mine] == indices


def test_more_devices_than_a_batch_has_images_and_too_few_images_are_told():
    with pytest.raises(ValueError, match="leaves some of 4 devices without an image"):
        StreamOrder([5, 5, 5], 3, seed=0, rank=0, world=4)
    with pytest.raises(ValueError, match="15 images do not fill a batch of 16"):
        StreamOrder([5, 5, 5], 16, seed=0)


def test_single_pixels_of_a_stream_are_those_of_the_files(cub, shards):
    data = streaming(shards)
    dataset = data.split("train")
    files = {image.name: image for image in read_source("cub", cub)["train"]}

    def expected(index):
        file = files[dataset.images[index].name]
        return load_pixels(file.path, file.box, shorter_side(32))

    for index in (0, 4, 5, 35):
        assert (dataset.pixels(index) == expected(index)).all()
    tail = list(dataset.all_pixels(start=23))
    assert len(tail) == 13
    assert all((pixels == expected(index)).all() for index, pixels in enumerate(tail, start=23))
    assert list(dataset.all_pixels(start=36)) == []
    cached = data.split("test")
    assert (cached.pixels(3) == cached.cache[3]).all()
    assert [(a == cached.cache[3 + n]).all() for n, a in enumerate(cached.all_pixels(start=3))] == [True] * 5


def test_full_images_of_a_stream_are_in_the_splits_order(cub, shards):
    data = streaming(shards)
    images = torch.cat(list(data.full_images("train", 24, batch_size=7)))
    assert images.shape == (36, 3, 24, 24)
    files = {image.name: image for image in read_source("cub", cub)["train"]}
    for index in (0, 17, 35):
        file = files[data.split("train").images[index].name]
        pixels = load_pixels(file.path, file.box, shorter_side(24))
        top, left = (pixels.shape[0] - 24) // 2, (pixels.shape[1] - 24) // 2
        assert (images[index].permute(1, 2, 0).numpy() == pixels[top : top + 24, left : left + 24]).all()
