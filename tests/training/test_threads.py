"""The number of threads is the one that was fastest when it was tried."""

from collections.abc import Iterator

import pytest
import torch
from pytorch_lightning import LightningModule, Trainer

from attngan.training import threads
from attngan.training.callbacks import FastestThreads, fastest_threads
from attngan.training.threads import fastest_count, thread_counts, use_fastest_threads

TRAINER, MODULE = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu"), LightningModule()


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_one_half_and_all_are_tried() -> None:
    assert thread_counts(1) == [1]
    assert thread_counts(2) == [1, 2]
    assert thread_counts(3) == [1, 3]
    assert thread_counts(16) == [1, 8, 16]


def test_another_number_must_be_clearly_faster() -> None:
    assert fastest_count({1: 1.0, 2: 1.05}, current=2) == 2
    assert fastest_count({1: 1.0, 2: 1.5}, current=2) == 1
    assert fastest_count({1: 1.0, 2: 0.6}, current=1) == 2


class Clock:
    """Time that passes only while there is work, more or less of it for each number of threads."""

    def __init__(self, seconds: dict[int, float]) -> None:
        self.now, self.seconds, self.steps = 100.0, seconds, 0

    def monotonic(self) -> float:
        return self.now

    perf_counter = monotonic

    def work(self, bf16: bool = False) -> float:
        took = self.seconds[torch.get_num_threads()]
        self.now += took
        self.steps += 1
        return took


@pytest.mark.parametrize(("seconds", "chosen"), [({1: 0.1, 2: 4.0}, 1), ({1: 0.1, 2: 0.06}, 2)])
def test_the_trial_sets_the_fastest(monkeypatch: pytest.MonkeyPatch, seconds: dict[int, float], chosen: int) -> None:
    clock = Clock(seconds)
    monkeypatch.setattr(threads, "time", clock)
    monkeypatch.setattr(threads, "TrialStep", lambda: clock.work)
    assert use_fastest_threads(2) == chosen
    assert torch.get_num_threads() == chosen


def test_without_a_choice_nothing_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "TrialStep", None)
    assert use_fastest_threads(1) == 1


def run(callback: FastestThreads, clock: Clock, until: float) -> None:
    while clock.now < until:
        clock.work()
        callback.on_train_batch_end(TRAINER, MODULE)


def test_a_training_follows_what_other_work_does(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock({1: 0.2, 2: 0.1})
    monkeypatch.setattr(fastest_threads, "time", clock)
    torch.set_num_threads(2)
    callback = FastestThreads(steps=3, every_seconds=30.0, longest_seconds=60.0)
    callback.on_train_start(TRAINER, MODULE)
    run(callback, clock, until=110)
    assert torch.get_num_threads() == 2
    clock.seconds = {1: 0.3, 2: 5.0}  # something else holds a core now
    run(callback, clock, until=clock.now + 70)
    assert torch.get_num_threads() == 1
    steps = clock.steps
    run(callback, clock, until=clock.now + 300)  # trials of the slow number cost two of its steps each, no more
    assert clock.steps - steps > 0.75 * 300 / 0.3
    clock.seconds = {1: 0.2, 2: 0.1}
    run(callback, clock, until=clock.now + 70)
    assert torch.get_num_threads() == 2


def test_a_validation_ends_a_trial_with_the_number_chosen_before(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock({1: 0.1, 2: 0.01})
    monkeypatch.setattr(fastest_threads, "time", clock)
    torch.set_num_threads(2)
    callback = FastestThreads(steps=3)
    callback.on_train_start(TRAINER, MODULE)
    callback.on_train_batch_end(TRAINER, MODULE)
    assert torch.get_num_threads() == 1
    callback.on_validation_start(TRAINER, MODULE)
    assert torch.get_num_threads() == 2
    run(callback, clock, until=clock.now + 2)  # and the trial is made anew
    assert torch.get_num_threads() == 2
    assert clock.steps > 8
