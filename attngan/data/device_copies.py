"""Batches copied to a GPU by a stream of their own, one ahead: while the batch before is computed with."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from lightning_fabric.utilities.apply_func import move_data_to_device
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor

from attngan.records import ImageBatch


class _Copy(NamedTuple):
    """A batch that may still be on its way, and what tells that it has arrived."""

    batch: ImageBatch
    arrival: torch.cuda.Event


def copied_ahead(batches: Iterable[ImageBatch], device: torch.device) -> Iterator[ImageBatch]:
    """The batches on a GPU; what is computed with one waits for its copy, and nothing else does.

    Args:
        batches: In pinned memory, else they are copied one by one.
        device: The GPU.
    """
    stream = torch.cuda.Stream(device)

    def used(tensor: Tensor) -> None:
        if tensor.is_cuda:  # lengths of captions stay on the CPU
            tensor.record_stream(torch.cuda.current_stream(device))  # its memory is not given away before it was read

    def arrived(copy: _Copy) -> ImageBatch:
        torch.cuda.current_stream(device).wait_event(copy.arrival)
        apply_to_collection(copy.batch, Tensor, used)
        return copy.batch

    before: _Copy | None = None
    for batch in batches:
        with torch.cuda.stream(stream):
            coming = _Copy(move_data_to_device(batch, device), stream.record_event())
        if before is not None:
            yield arrived(before)
        before = coming
    if before is not None:
        yield arrived(before)
