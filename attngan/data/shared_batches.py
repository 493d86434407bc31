"""Batches of loading processes through memory that both sides hold from the start: what is sent is a place in it.

torch sends each tensor of each batch as a new file of shared memory, whose pages are fresh on both sides: for a batch
of 20 x 256 x 256 px that takes three times as long as to make the batch.
"""

import weakref
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from attngan.data.dataset import CaptionedImageDataset
from attngan.records import ImageBatch

#: Batches of a worker that there is room for: two on their way, as torch asks for them ahead, and those in use.
SLOTS = 5


class Sent(NamedTuple):
    """What a worker sends of a batch: where its pixels lie, and the rest as NumPy arrays, which no shared file holds.

    ``slot`` is None where all slots were in use: the pixels are then among the rest. ``number`` counts the worker's
    batches from 1.
    """

    worker: int
    slot: int | None
    number: int
    rest: Any


class SharedBatches(Dataset[Any]):
    """A split whose batches are made in a worker's slots, and opened in the process that trains.

    Args:
        dataset: The split.
        batch_size: Images of the largest batch.
        workers: Processes that load.
    """

    def __init__(self, dataset: CaptionedImageDataset, batch_size: int, workers: int) -> None:
        self.dataset = dataset
        side = dataset.image_size
        self.pixels = torch.empty(workers, SLOTS, batch_size, side, side, 3, dtype=torch.uint8).share_memory_()
        #: The number of the batch in each slot; 0: it is free. A worker takes slots, this process frees them.
        self.taken = torch.zeros(workers, SLOTS, dtype=torch.int64).share_memory_()
        self._number = 0  # in a worker
        self._held: set[tuple[int, int]] = set()  # here: slots whose batches somebody has

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitems__(self, places: list[tuple[int, int]]) -> Sent:
        """In a worker: makes a batch, see `CaptionedImageDataset`."""
        info = get_worker_info()
        assert info is not None
        worker = info.id
        self._number += 1
        free = (self.taken[worker] == 0).nonzero()
        slot = int(free[0]) if len(free) else None
        if slot is not None:
            self.taken[worker, slot] = self._number
        batch = self.dataset.make(places, None if slot is None else self.pixels[worker, slot].numpy())
        rest = batch if slot is None else batch._replace(pixels=batch.pixels[:0])
        return Sent(worker, slot, self._number, apply_to_collection(rest, Tensor, Tensor.numpy))

    def open(self, sent: Sent) -> ImageBatch:
        """The batch; its slot is free again when nobody holds its pixels any more."""
        self._free_passed_over(sent)
        batch: ImageBatch = apply_to_collection(sent.rest, np.ndarray, torch.from_numpy)
        if sent.slot is None:
            return batch
        self._held.add((sent.worker, sent.slot))
        pixels = self.pixels[sent.worker, sent.slot, : len(batch.indices)].numpy()
        weakref.finalize(pixels, self._free, sent.worker, sent.slot).atexit = False
        # every tensor that shares this memory keeps the array alive
        return batch._replace(pixels=torch.from_numpy(pixels).permute(0, 3, 1, 2))

    def _free(self, worker: int, slot: int) -> None:
        self._held.discard((worker, slot))
        self.taken[worker, slot] = 0

    def _free_passed_over(self, sent: Sent) -> None:
        """Frees the slots of earlier batches that never came: a pass was left before its end."""
        numbers = self.taken[sent.worker].tolist()
        for slot, number in enumerate(numbers):
            if 0 < number < sent.number and (sent.worker, slot) not in self._held:
                self.taken[sent.worker, slot] = 0


class SharedLoader:
    """What a torch loader of `SharedBatches` gives, opened, and where a GPU trains in pinned memory.

    Args:
        batches: The split, and the memory.
        loader: Gives what workers send, by torch's own loader.
    """

    def __init__(self, batches: SharedBatches, loader: DataLoader[Any]) -> None:
        self._batches, self._loader = batches, loader

    def __iter__(self) -> Iterator[ImageBatch]:
        return self._opened(iter(self._loader))  # it reads now where the pass starts, not at the first batch

    def _opened(self, sent: Iterator[Sent]) -> Iterator[ImageBatch]:
        pinned = torch.cuda.is_available()
        for one in sent:
            batch = self._batches.open(one)
            yield apply_to_collection(batch, Tensor, Tensor.pin_memory) if pinned else batch

    @property
    def _iterator(self) -> Any:
        """The torch loader's, where Lightning looks for worker processes that it stops at the end of a run."""
        return self._loader._iterator

    @_iterator.setter
    def _iterator(self, iterator: Any) -> None:
        self._loader._iterator = iterator
