"""The loader of one split: batches in an order that depends on (seed, epoch) only, resumable inside an epoch.

It is no `torch.utils.data.DataLoader` but holds one: Lightning then neither replaces its sampler (which would lose the
epoch that goes with each index) nor asks for a shuffling of its own, and saves and restores its place in the epoch.
"""

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from lightning_utilities.core.rank_zero import rank_zero_warn
from torch.utils.data import DataLoader, Dataset

from attngan.data.dataset import CaptionedImageDataset
from attngan.data.device_copies import copied_ahead
from attngan.data.processes import begin_worker
from attngan.data.shared_batches import SharedBatches, SharedLoader
from attngan.global_batch import Rows
from attngan.records import ImageBatch


@runtime_checkable
class Order(Protocol):
    """Which images make each batch of an epoch.

    Attributes:
        batch_size: Images a batch, over all devices.
        epoch: The epoch that is iterated next.
        start: How many batches of it are passed over.
        follows_trainer: A trainer has said which epoch it is.
    """

    batch_size: int
    epoch: int
    start: int
    follows_trainer: bool

    def set_epoch(self, epoch: int) -> None: ...

    def __len__(self) -> int: ...

    def rows(self, batch: int) -> Rows:
        """Which rows of the batch of this number, counted from 0, each device has."""

    def depends_on(self) -> dict[str, int]:
        """What must be the same for a resumed epoch to go on as it would have."""


@runtime_checkable
class Batches(Protocol):
    """The batches of an epoch, from the place in it that their order says when iterating starts."""

    _iterator: Any

    def __iter__(self) -> Iterator[ImageBatch]: ...


class EpochOrder:
    """Which images make each batch of an epoch, on one of `world` devices; yields lists of (epoch, index).

    A batch of training is dealt to the devices in its order: the rows of all of them are the same batch whatever their
    number. Of those that are not shuffled (validation, test) each device takes every so many-th, whole; where there are
    fewer batches than devices, the others see one of them again, since Lightning wants all to come along.

    Args:
        images: How many images there are.
        batch_size: Images a batch, over all devices.
        shuffle: A new order each epoch; else in order, and always epoch 0, so that it is the same every time.
        drop_last: Leaves out the last images where they do not fill a batch.
        seed: Seed of the order.
        rank: Which of the devices this is.
        world: How many devices there are.
    """

    def __init__(
        self, images: int, batch_size: int, shuffle: bool, drop_last: bool, seed: int = 0, rank: int = 0, world: int = 1
    ) -> None:
        self.images = images
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.seed = seed
        self.rank = rank
        self.world = world
        self.epoch = 0
        self.follows_trainer = False
        self.start = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch, on the loader that it trains with and on no other."""
        self.epoch = epoch
        self.follows_trainer = True

    def depends_on(self) -> dict[str, int]:
        return {"images": self.images, "batch_size_of_all_devices": self.batch_size, "seed": self.seed}

    def rows(self, batch: int) -> Rows:
        first = self._first(batch)
        size = min(self.batch_size, self.images - first)
        return Rows.split(size, self.world, self.rank) if self.shuffle else Rows.split(size)

    def _first(self, batch: int) -> int:
        """Where this device's batch of this number begins in the order of the epoch."""
        number = batch if self.shuffle else (batch * self.world + self.rank) % self._batches_of_all
        return number * self.batch_size

    @property
    def _batches_of_all(self) -> int:
        whole, rest = divmod(self.images, self.batch_size)
        return whole + (1 if rest and not self.drop_last else 0)

    def __len__(self) -> int:
        if self.shuffle:
            return self._batches_of_all
        return len(range(self.rank, self._batches_of_all, self.world)) or min(1, self._batches_of_all)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return self._batches(self.epoch if self.shuffle else 0, self.start)  # as they are now, not at the first batch

    def _batches(self, epoch: int, start: int) -> Iterator[list[tuple[int, int]]]:
        order = np.arange(self.images)
        if self.shuffle:
            order = np.random.default_rng((self.seed, epoch)).permutation(self.images)
        for batch in range(start, len(self)):
            first, mine = self._first(batch), self.rows(batch).mine
            yield [(epoch, index) for index in order[first + mine.start : first + mine.stop].tolist()]


class EpochLoader:
    """Loads the batches of a split; iterating it again gives the next time's order as `set_epoch` says.

    Args:
        dataset: The split.
        order: Which images make each batch; read when a pass over the batches starts.
        batches: What follows the order: a torch loader, or several of them.
        progress: Tells the trainer's epoch and how many batches of it are done; None where there is no trainer.
        gpu: Tells the GPU that batches are copied to ahead; None where they stay on the CPU.
    """

    def __init__(
        self,
        dataset: CaptionedImageDataset,
        order: Order,
        batches: Batches,
        progress: Callable[[], tuple[int, int] | None] = lambda: None,
        gpu: Callable[[], torch.device | None] = lambda: None,
    ) -> None:
        self.dataset = dataset
        self.sampler = order  # Lightning looks for set_epoch here,
        self.batch_sampler = None  # and here whether evaluation is shuffled
        self.batch_size = order.batch_size
        self._batches = batches
        self._progress = progress
        self._gpu = gpu
        self._given_out = 0
        self._resume: dict[str, Any] | None = None

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[ImageBatch]:
        # A generator: nothing below happens before the first batch is asked for. Lightning makes the iterator before it
        # says which epoch it is. What it then says is its count of epochs run, one too many after resuming at the end
        # of an epoch under max_steps; the trainer's own epoch is right.
        if self.sampler.follows_trainer and (progress := self._progress()):
            self.sampler.epoch = progress[0]
        resume, self._resume = self._resume, None
        self.sampler.start = resume["batches"] if resume and resume["epoch"] == self.sampler.epoch else 0
        self._given_out = self.sampler.start
        batches = iter(self._batches)
        if (gpu := self._gpu()) is not None:
            batches = copied_ahead(batches, gpu)
        self.sampler.start = 0
        for batch in batches:
            rows = self.sampler.rows(self._given_out)
            self._given_out += 1
            yield batch._replace(rows=rows)

    @property
    def _iterator(self) -> Any:
        """The torch loader's, where Lightning looks for worker processes that it stops at the end of a run."""
        return self._batches._iterator

    @_iterator.setter
    def _iterator(self, iterator: Any) -> None:
        self._batches._iterator = iterator

    def state_dict(self) -> dict[str, Any]:
        """The place in the epoch and what it depends on."""
        progress = self._progress()
        # By the trainer's count: a batch that an interrupt tore apart was given out, but is not done.
        batches = progress[1] if progress else self._given_out
        return {"epoch": self.sampler.epoch, "batches": batches, "order": self.sampler.depends_on()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from that place, if the first epoch iterated is the one it is in."""
        self._resume = state
        if state["order"] != self.sampler.depends_on():
            rank_zero_warn(
                f"the checkpoint was made in the middle of an epoch with {state['order']}, now there are "
                f"{self.sampler.depends_on()}: the rest of this epoch is not what it would have been"
            )


def image_loader(dataset: CaptionedImageDataset, workers: int, order: EpochOrder) -> Batches:
    """The batches of a split in their order.

    Args:
        dataset: The split, of which there is a cache.
        workers: Processes that load; 0 loads in this one.
        order: The places of each batch.
    """
    if workers == 0:
        return torch_loader(dataset, 0, order)
    shared = SharedBatches(dataset, order.batch_size, workers)
    return SharedLoader(shared, torch_loader(shared, workers, order))


def torch_loader(dataset: Dataset[Any], workers: int, order: EpochOrder | None = None) -> DataLoader[Any]:
    """A torch loader whose items are whole batches already.

    Args:
        dataset: Gives a batch for each list of places; an iterable one gives batch after batch.
        workers: Processes that load; 0 loads in this one.
        order: The places of each batch; None for an iterable data set, which is started anew for each pass.
    """
    return DataLoader(
        dataset,
        batch_sampler=order,
        batch_size=1 if order is not None else None,
        collate_fn=_as_it_is,
        num_workers=workers,
        persistent_workers=workers > 0 and order is not None,
        pin_memory=torch.cuda.is_available() and not isinstance(dataset, SharedBatches),  # those are not opened yet
        worker_init_fn=partial(begin_worker, os.getpid()),
    )


def _as_it_is(batch: Any) -> Any:
    return batch


def sensible_workers() -> int:
    """How many loading processes pay: none where the CPU trains, else up to four.

    There they would only take its cores.
    """
    if not torch.cuda.is_available():
        return 0
    return min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
