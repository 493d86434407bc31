"""Batches of loading processes: equal to those of none, whoever holds them how long."""

from types import SimpleNamespace

import pytest

from attngan.data import shared_batches
from attngan.data.shared_batches import SLOTS, SharedBatches
from tests.data.conftest import ready
from tests.data.test_datamodule import assert_same

PLACES = [[(epoch, index) for index in (0, 3, 5)] for epoch in range(SLOTS + 2)]


@pytest.fixture
def split(make_cub):
    return ready(make_cub(train_classes=8)).split("train")


@pytest.fixture
def shared(split, monkeypatch) -> SharedBatches:
    """Both sides in this process."""
    monkeypatch.setattr(shared_batches, "get_worker_info", lambda: SimpleNamespace(id=1))
    return SharedBatches(split, batch_size=4, workers=2)


def test_batches_that_are_held_stay_as_they_are(split, shared):
    held = [shared.open(shared.__getitems__(places)) for places in PLACES]  # more than there are slots
    for batch, places in zip(held, PLACES, strict=True):
        assert_same(batch, split.__getitems__(places))


def test_a_slot_is_free_when_its_last_tensor_is_gone(shared):
    batch = shared.open(shared.__getitems__(PLACES[0]))
    row = batch.pixels[1]
    del batch
    assert shared.taken.sum() == 1
    del row
    assert shared.taken.sum() == 0
    opened = [shared.__getitems__(PLACES[0]).slot for _ in range(SLOTS + 1)]
    assert opened == [*range(SLOTS), None]


def test_slots_of_batches_that_never_came_are_free_again(shared):
    held = shared.open(shared.__getitems__(PLACES[0]))
    for _ in range(SLOTS):  # asked for ahead, and dropped with the pass
        shared.__getitems__(PLACES[1])
    late = shared.__getitems__(PLACES[2])
    assert late.slot is None
    shared.open(late)
    assert shared.taken.count_nonzero() == 1
    assert_same(held, shared.dataset.__getitems__(PLACES[0]))


def test_a_pass_that_was_left_disturbs_none_after_it(make_cub):
    root = make_cub(train_classes=10)
    none, two = ready(root, batch_size=2), ready(root, batch_size=2, workers=2)
    loader, expected = two.train_dataloader(), list(none.train_dataloader())
    for _ in range(2):
        for number, batch in enumerate(loader):
            assert_same(batch, expected[number])
            if number == 1:
                break
    whole = list(loader)
    assert len(whole) > 2 * SLOTS
    for batch, other in zip(whole, expected, strict=True):
        assert_same(batch, other)
