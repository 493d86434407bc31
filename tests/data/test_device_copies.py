"""Batches on their way to a GPU: on a CPU by streams that only note what they are told, in order."""

from contextlib import contextmanager

import pytest
import torch

from attngan.data import device_copies
from attngan.data.device_copies import copied_ahead
from attngan.records import CaptionBatch, ImageBatch


def batch_of(number: int) -> ImageBatch:
    captions = CaptionBatch(torch.full((2, 3), number), torch.tensor([3, 2]))
    pixels = torch.full((2, 3, 4, 4), number, dtype=torch.uint8)
    return ImageBatch(pixels, captions, None, torch.arange(2), torch.zeros(2, dtype=torch.bool))


class Stream:
    def __init__(self, notes: list[str], name: str) -> None:
        self.notes, self.name = notes, name

    def record_event(self) -> str:
        self.notes.append("copy")
        return f"copy {self.notes.count('copy')}"

    def wait_event(self, event: str) -> None:
        self.notes.append(f"wait for {event}")


def test_the_next_batch_is_copied_before_one_is_given_out(monkeypatch):
    notes: list[str] = []

    @contextmanager
    def within(stream):
        yield

    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream(notes, "copies"))
    monkeypatch.setattr(torch.cuda, "stream", within)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream(notes, "computing"))
    given = [batch_of(number) for number in range(3)]
    found = []
    for batch in copied_ahead(given, torch.device("cpu")):
        notes.append("compute")
        found.append(batch)
    order = ["copy", "copy", "wait for copy 1", "compute", "copy", "wait for copy 2", "compute"]
    assert notes == [*order, "wait for copy 3", "compute"]
    for mine, right in zip(found, given, strict=True):
        assert torch.equal(mine.pixels, right.pixels)
        assert torch.equal(mine.captions.ids, right.captions.ids)
        assert mine.classes is None
    assert [*copied_ahead([], torch.device("cpu"))] == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu_batches_arrive_whole():
    device = torch.device("cuda", torch.cuda.current_device())
    given = [device_copies.apply_to_collection(batch_of(n), torch.Tensor, torch.Tensor.pin_memory) for n in range(8)]
    for number, batch in enumerate(copied_ahead(given, device)):
        assert batch.pixels.device == device
        assert batch.captions.lengths.device.type == "cpu"
        assert bool((batch.pixels == number).all())
