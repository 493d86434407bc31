"""Training from shards: every device reads its own part of them, shuffled, from front to back.

An epoch puts the shards into a new order, by (seed, epoch), and cuts their images into as many pieces as there are
lanes. A lane mixes its piece in a buffer and gives some rows of every batch, always the same ones; devices, and the
worker processes of each, share the lanes out among them. So an image is seen once an epoch at most, only the images
that do not fill the last batch wait for another one, and the number of devices and workers changes no batch, also in
the middle of an epoch (the images passed over are read, but not decoded).

A piece begins and ends within a shard: the lane reads that shard up to its piece, on average half of one.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset

from attngan.data.dataset import CaptionedImageDataset
from attngan.data.loader import torch_loader
from attngan.data.sources.shards import ShardStream
from attngan.errors import InputError
from attngan.global_batch import Rows
from attngan.records import CaptionBatch, ImageBatch

#: Of all devices together: up to so many devices the batches do not depend on how many there are.
LANES = 32
#: Where there are more devices; as many worker processes of each have something to do.
LANES_A_DEVICE = 4
#: At least, since a lane reads a part of a shard in vain.
SHARDS_A_LANE = 4


class StreamOrder:
    """Which images of the shards each lane reads, which rows of a batch it gives, and which lanes are a device's.

    Args:
        images_of_shards: How many images of each shard are used.
        batch_size: Images a batch, over all devices.
        seed: Seed of the order.
        rank: Which of the devices this is.
        world: How many devices there are.
        buffer: How many images all lanes together keep to draw the next one from at random.

    Raises:
        InputError: When the images do not fill a batch, or a batch not the devices.
    """

    def __init__(
        self, images_of_shards: list[int], batch_size: int, seed: int, rank: int = 0, world: int = 1, buffer: int = 1000
    ) -> None:
        if batch_size < world:
            raise InputError(f"data.batch_size {batch_size} leaves some of {world} devices without an image: raise it")
        self.images_of_shards = images_of_shards
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world = world
        self.buffer = buffer
        self.epoch = 0
        self.start = 0
        self.follows_trainer = False
        wanted = min(max(LANES, LANES_A_DEVICE * world), len(images_of_shards) // SHARDS_A_LANE)
        self.lanes = min(batch_size, max(world, wanted))
        self.rows_of_lanes = Rows.split(batch_size, self.lanes).of_ranks
        self._length = sum(images_of_shards) // batch_size
        if not self._length:
            raise InputError(
                f"the shards' {sum(images_of_shards)} images do not fill a batch of {batch_size}: lower data.batch_size"
            )

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch
        self.follows_trainer = True

    def __len__(self) -> int:
        return self._length

    def rows(self, batch: int) -> Rows:
        """Which rows of a batch each device has: of every batch the same."""
        of_devices = [[self.rows_of_lanes[lane] for lane in self.lanes_of(rank)] for rank in range(self.world)]
        return Rows([range(own[0].start, own[-1].stop) for own in of_devices], self.rank)

    def lanes_of(self, rank: int) -> range:
        """The lanes of a device."""
        return Rows.split(self.lanes, self.world, rank).mine

    def depends_on(self) -> dict[str, int]:
        return {
            "images": sum(self.images_of_shards),
            "batch_size_of_all_devices": self.batch_size,
            "seed": self.seed,
            "shards": len(self.images_of_shards),
            "lanes": self.lanes,
            "shuffle_buffer": self.buffer,
        }

    def piece(self, lane: int, epoch: int) -> list[tuple[int, int, int]]:
        """What a lane reads in an epoch, in this order: a shard, and from which to which of its used images."""
        begin, end = (self._length * row for row in (self.rows_of_lanes[lane].start, self.rows_of_lanes[lane].stop))
        found = []
        before = 0
        for shard in np.random.default_rng((self.seed, epoch)).permutation(len(self.images_of_shards)).tolist():
            count = self.images_of_shards[shard]
            first, last = max(0, begin - before), min(count, end - before)
            if first < last:
                found.append((shard, first, last))
            before += count
        return found


class StreamedBatches(IterableDataset[ImageBatch]):
    """The rows that some lanes give of every batch.

    Args:
        dataset: Captions, classes and augmentation of the split; its rows say which places of the stream are used.
        stream: The shards.
        order: Shared with the loader; read when a pass starts.
        lanes: Which lanes, one after the other.
    """

    def __init__(self, dataset: CaptionedImageDataset, stream: ShardStream, order: StreamOrder, lanes: range) -> None:
        self.dataset = dataset
        self.stream = stream
        self.order = order
        self.lanes = lanes

    def __iter__(self) -> Iterator[ImageBatch]:
        return self._batches(self.order.epoch, self.order.start)  # as they are now, not at the first batch

    def _batches(self, epoch: int, start: int) -> Iterator[ImageBatch]:
        counts = [len(self.order.rows_of_lanes[lane]) for lane in self.lanes]
        lanes = [
            islice(self._mixed(lane, epoch), start * count, None)
            for lane, count in zip(self.lanes, counts, strict=True)
        ]
        for _ in range(start, len(self.order)):
            rows = [row for lane, count in zip(lanes, counts, strict=True) for row in islice(lane, count)]
            pixels = [self.dataset.decoded(index, content) for index, content in rows]
            yield self.dataset.batch([(epoch, index) for index, _ in rows], pixels)

    def _mixed(self, lane: int, epoch: int) -> Iterator[tuple[int, bytes]]:
        """The images of the lane's piece, drawn at random from a buffer that the shards fill."""
        rng = np.random.default_rng((self.order.seed, epoch, lane))
        kept: list[tuple[int, bytes]] = []
        for item in self._in_sequence(lane, epoch):
            if len(kept) < self.order.buffer // self.order.lanes:
                kept.append(item)
                continue
            chosen = int(rng.integers(len(kept) + 1))
            if chosen < len(kept):
                item, kept[chosen] = kept[chosen], item
            yield item
        for chosen in rng.permutation(len(kept)):
            yield kept[chosen]

    def _in_sequence(self, lane: int, epoch: int) -> Iterator[tuple[int, bytes]]:
        index_of = {int(row): index for index, row in enumerate(self.dataset.rows)}
        for shard, first, last in self.order.piece(lane, epoch):
            used = (item for item in self.stream.images(shard) if item[0] in index_of)
            for position, content in islice(used, first, last):
                yield index_of[position], content


class StreamLoader:
    """The rows that this device's lanes give of every batch, each part of the lanes read by a process of its own.

    Args:
        dataset: The split.
        stream: Shards of the split.
        order: Order of the lanes.
        workers: Processes that load; 0 loads in this one.
    """

    def __init__(self, dataset: CaptionedImageDataset, stream: ShardStream, order: StreamOrder, workers: int) -> None:
        own = order.lanes_of(order.rank)
        shared = Rows.split(len(own), max(1, min(workers, len(own)))).of_ranks
        parts = [StreamedBatches(dataset, stream, order, own[part.start : part.stop]) for part in shared]
        self.parts: list[DataLoader[ImageBatch]] = [torch_loader(part, min(workers, 1)) for part in parts]
        self._iterator: Any = None  # no worker outlives its epoch, so there is none that a trainer has to stop

    def __iter__(self) -> Iterator[ImageBatch]:
        return map(joined, zip(*map(iter, self.parts), strict=True))


def joined(parts: tuple[ImageBatch, ...]) -> ImageBatch:
    """One batch of the rows of several, captions padded to the longest."""
    if len(parts) == 1:
        return parts[0]
    width = max(part.captions.ids.shape[1] for part in parts)
    ids = torch.cat([F.pad(part.captions.ids, (0, width - part.captions.ids.shape[1])) for part in parts])
    captions = CaptionBatch(ids, torch.cat([part.captions.lengths for part in parts]))
    names = ("pixels", "classes", "indices", "mirrored", "embedding")
    columns = {name: [getattr(part, name) for part in parts] for name in names}
    whole: dict[str, Any] = {name: None if of[0] is None else torch.cat(of) for name, of in columns.items()}
    return ImageBatch(captions=captions, **whole)
