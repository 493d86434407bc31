"""Training from shards: every device reads its own, shuffled, one after the other.

A device's shards are dealt to a few lanes, each with a buffer that mixes what comes out of its shards, and the lanes
give a batch in turn. Which shards are whose is fixed; their order and what the buffers give change from epoch to epoch,
by (seed, epoch). Worker processes share the lanes out among them, so their number changes nothing: the same number of
devices sees the same batches, also after resuming in the middle of an epoch (the images passed over are read, but not
decoded).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, IterableDataset

from attngan.data.dataset import CaptionedImageDataset
from attngan.data.loader import torch_loader
from attngan.data.sources.shards import ShardStream
from attngan.errors import InputError
from attngan.records import ImageBatch

LANES = 8  # of a device at most; more worker processes than lanes have nothing to do
BATCHES_A_LANE = 16  # at least: the images that do not fill a lane's last batch wait for another epoch


class StreamOrder:
    """How many batches each lane gives an epoch, and where in it the next pass starts.

    Args:
        images_of_shards: How many images of each shard are used.
        batch_size: Images a batch on one device.
        seed: Seed of the order.
        rank: Which of the devices this is.
        world: How many devices there are.
        buffer: How many images a device keeps to draw the next one from at random.

    Raises:
        InputError: When there are fewer shards than devices, or a device has no full batch.
    """

    def __init__(
        self, images_of_shards: list[int], batch_size: int, seed: int, rank: int = 0, world: int = 1, buffer: int = 1000
    ) -> None:
        if len(images_of_shards) < world:
            raise InputError(
                f"{len(images_of_shards)} shards for {world} devices: every device reads its own; write smaller shards"
            )
        self.images_of_shards = images_of_shards
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world = world
        self.buffer = buffer
        self.epoch = 0
        self.start = 0
        self.follows_trainer = False
        batches = sum(images_of_shards) // (batch_size * world)
        self.lanes = max(1, min(LANES, len(images_of_shards) // world, batches // BATCHES_A_LANE))
        # every device gives as many batches as the one that has fewest
        self._length = min(sum(self._batches_of(device, lane) for lane in range(self.lanes)) for device in range(world))
        if not self._length:
            raise InputError(f"a device's shards do not fill a batch of {batch_size}: lower data.batch_size")

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch
        self.follows_trainer = True

    def __len__(self) -> int:
        return self._length

    def depends_on(self) -> dict[str, int]:
        return {
            "images": sum(self.images_of_shards),
            "batch_size_of_all_devices": self.batch_size * self.world,
            "seed": self.seed,
            "shards": len(self.images_of_shards),
            "devices": self.world,
            "shuffle_buffer": self.buffer,
        }

    def shards_of(self, device: int, lane: int) -> list[int]:
        """The shards of one lane of a device."""
        return list(range(device, len(self.images_of_shards), self.world))[lane :: self.lanes]

    def _batches_of(self, device: int, lane: int) -> int:
        return sum(self.images_of_shards[shard] for shard in self.shards_of(device, lane)) // self.batch_size

    def turns(self) -> list[int]:
        """Which lane gives each batch of an epoch: one after the other, as long as each has some."""
        left = [self._batches_of(self.rank, lane) for lane in range(self.lanes)]
        rounds = [lane for turn in range(max(left)) for lane in range(self.lanes) if turn < left[lane]]
        return rounds[: self._length]


class StreamedBatches(IterableDataset[ImageBatch]):
    """The batches of some of this device's lanes, in the order of the turns.

    Args:
        dataset: Captions, classes and augmentation of the split; its rows say which places of the stream are used.
        stream: The shards.
        order: Shared with the loader; read when a pass starts.
        part: Which of the parts that the lanes are dealt to this one is.
        parts: How many parts there are.
    """

    def __init__(
        self, dataset: CaptionedImageDataset, stream: ShardStream, order: StreamOrder, part: int = 0, parts: int = 1
    ) -> None:
        self.dataset = dataset
        self.stream = stream
        self.order = order
        self.part, self.parts = part, parts

    def __iter__(self) -> Iterator[ImageBatch]:
        return self._batches(self.order.epoch, self.order.start)  # as they are now, not at the first batch

    def _batches(self, epoch: int, start: int) -> Iterator[ImageBatch]:
        turns = self.order.turns()
        lanes = {lane: self._in_batches(lane, epoch) for lane in set(turns) if lane % self.parts == self.part}
        for number, lane in enumerate(turns):
            if lane in lanes:
                places, files = next(lanes[lane])
                if number >= start:
                    pixels = [self.dataset.decoded(i, file) for (_e, i), file in zip(places, files, strict=True)]
                    yield self.dataset.batch(places, pixels)

    def _in_batches(self, lane: int, epoch: int) -> Iterator[tuple[list[tuple[int, int]], list[bytes]]]:
        """A lane's images, so many at a time: (epoch, index) of each, and its file."""
        places: list[tuple[int, int]] = []
        files: list[bytes] = []
        for index, content in self._mixed(lane, epoch):
            places.append((epoch, index))
            files.append(content)
            if len(places) == self.order.batch_size:
                yield places, files
                places, files = [], []

    def _mixed(self, lane: int, epoch: int) -> Iterator[tuple[int, bytes]]:
        """The images of the lane's shards, drawn at random from a buffer that the shards fill."""
        rng = np.random.default_rng((self.order.seed, epoch, self.order.rank, lane))
        kept: list[tuple[int, bytes]] = []
        for item in self._in_sequence(lane, rng):
            if len(kept) < self.order.buffer // self.order.lanes:
                kept.append(item)
                continue
            chosen = int(rng.integers(len(kept) + 1))
            if chosen < len(kept):
                item, kept[chosen] = kept[chosen], item
            yield item
        for chosen in rng.permutation(len(kept)):
            yield kept[chosen]

    def _in_sequence(self, lane: int, rng: np.random.Generator) -> Iterator[tuple[int, bytes]]:
        index_of = {int(row): index for index, row in enumerate(self.dataset.rows)}
        for shard in rng.permutation(self.order.shards_of(self.order.rank, lane)).tolist():
            for position, content in self.stream.images(int(shard)):
                if position in index_of:
                    yield index_of[position], content


class StreamLoader:
    """The batches of all lanes in their turn, each part of the lanes read by a process of its own.

    One torch loader with several workers would take a batch of each worker in turn; here whose turn it is must not
    depend on how many there are.

    Args:
        dataset: The split.
        stream: Shards of the split.
        order: Order of the lanes.
        workers: Processes that load; 0 loads in this one.
    """

    def __init__(self, dataset: CaptionedImageDataset, stream: ShardStream, order: StreamOrder, workers: int) -> None:
        self.order = order
        parts = max(1, min(workers, order.lanes))
        batches = [StreamedBatches(dataset, stream, order, part, parts) for part in range(parts)]
        self.parts: list[DataLoader[ImageBatch]] = [torch_loader(own, min(workers, 1)) for own in batches]
        self._iterator: Any = None  # no worker outlives its epoch, so there is none that a trainer has to stop

    def __iter__(self) -> Iterator[ImageBatch]:
        return self._in_turn([iter(part) for part in self.parts], self.order.turns()[self.order.start :])

    def _in_turn(self, parts: list[Iterator[ImageBatch]], turns: list[int]) -> Iterator[ImageBatch]:
        for lane in turns:
            yield next(parts[lane % len(parts)])
