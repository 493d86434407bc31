"""Training from shards: every device and every worker process reads its own, shuffled, one after the other.

Which shards are whose is fixed; their order and a buffer that mixes what comes out of them change from epoch to epoch,
by (seed, epoch). The same number of devices and workers sees the same batches again, also after resuming in the middle
of an epoch (the images passed over are read, but not decoded).
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import IterableDataset

from attngan.data.dataset import CaptionedImageDataset
from attngan.data.shards import ShardStream
from attngan.records import ImageBatch


class StreamOrder:
    """How many batches each worker gives an epoch, and where in it the next pass starts.

    Args:
        images_of_shards: How many images of each shard are used.
        batch_size: Images a batch on one device.
        seed: Of the order.
        rank: Which of the devices this is.
        world: How many devices there are.
        workers: How many processes read on this device, at least 1.

    Raises:
        ValueError: When there are fewer shards than devices, or a device has no full batch.
    """

    def __init__(
        self, images_of_shards: list[int], batch_size: int, seed: int, rank: int, world: int, workers: int
    ) -> None:
        if len(images_of_shards) < world:
            raise ValueError(
                f"{len(images_of_shards)} shards for {world} devices: every device reads its own; write smaller shards"
            )
        self.images_of_shards = images_of_shards
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world = world
        self.workers = min(workers, len(images_of_shards) // world)  # every one has a shard
        self.epoch = 0
        self.start = 0
        self.follows_trainer = False
        # every device gives as many batches as the one that has fewest
        self._length = min(
            sum(self._batches_of(device, worker) for worker in range(self.workers)) for device in range(world)
        )
        if not self._length:
            raise ValueError(f"a device's shards do not fill a batch of {batch_size}: lower data.batch_size")

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
            "workers": self.workers,
        }

    def shards_of(self, device: int, worker: int) -> list[int]:
        """The shards that a worker of a device reads."""
        return list(range(device, len(self.images_of_shards), self.world))[worker :: self.workers]

    def _batches_of(self, device: int, worker: int) -> int:
        return sum(self.images_of_shards[shard] for shard in self.shards_of(device, worker)) // self.batch_size

    def turns(self) -> list[int]:
        """Which worker gives each batch of an epoch: one after the other, as long as each has some."""
        left = [self._batches_of(self.rank, worker) for worker in range(self.workers)]
        rounds = [worker for turn in range(max(left)) for worker in range(self.workers) if turn < left[worker]]
        return rounds[: self._length]


class StreamedBatches(IterableDataset):
    """The batches of this device's (or this worker's) shards.

    Args:
        dataset: Captions, classes and augmentation of the split; its rows say which places of the stream are used.
        stream: The shards.
        order: Shared with the loader; read when a pass starts.
        buffer: How many images (as files) are kept to draw from at random.
    """

    def __init__(self, dataset: CaptionedImageDataset, stream: ShardStream, order: StreamOrder, buffer: int) -> None:
        self.dataset = dataset
        self.stream = stream
        self.order = order
        self.buffer = buffer

    def __iter__(self) -> Iterator[ImageBatch]:
        information = torch.utils.data.get_worker_info()
        turns, start = self.order.turns(), self.order.start
        if start >= len(turns):
            return iter(())
        # torch asks its workers in turn, from the first one on: that must be the one whose turn it is
        worker = (turns[start] + (information.id if information else 0)) % self.order.workers
        return self._batches(worker, self.order.epoch, turns[:start].count(worker), turns.count(worker))

    def _batches(self, worker: int, epoch: int, passed_over: int, until: int) -> Iterator[ImageBatch]:
        """A worker's batches of an epoch, from one number to another."""
        places: list[tuple[int, int]] = []
        files: list[bytes] = []
        number = 0
        for index, content in self._mixed(worker, epoch):
            places.append((epoch, index))
            files.append(content)
            if len(places) == self.order.batch_size:
                if passed_over <= number < until:
                    pixels = [self.dataset.decoded(i, file) for (_e, i), file in zip(places, files, strict=True)]
                    yield self.dataset.batch(places, pixels)
                places, files = [], []
                number += 1
                if number >= until:
                    return

    def _mixed(self, worker: int, epoch: int) -> Iterator[tuple[int, bytes]]:
        """The images of the worker's shards, drawn at random from a buffer that the shards fill."""
        rng = np.random.default_rng((self.order.seed, epoch, self.order.rank, worker))
        kept: list[tuple[int, bytes]] = []
        for item in self._in_sequence(worker, rng):
            if len(kept) < self.buffer:
                kept.append(item)
                continue
            chosen = int(rng.integers(len(kept)))
            drawn, kept[chosen] = kept[chosen], item
            yield drawn
        for chosen in rng.permutation(len(kept)):
            yield kept[chosen]

    def _in_sequence(self, worker: int, rng: np.random.Generator) -> Iterator[tuple[int, bytes]]:
        index_of = {int(row): index for index, row in enumerate(self.dataset.rows)}
        for shard in rng.permutation(self.order.shards_of(self.order.rank, worker)).tolist():
            for position, content in self.stream.images(int(shard)):
                if position in index_of:
                    yield index_of[position], content
