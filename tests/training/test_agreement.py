"""What several processes know alike after a step: here one process, and another that is played."""

import signal
from types import SimpleNamespace

import pytest
import torch
from pytorch_lightning import LightningModule, Trainer

from attngan import ranks, stopping
from attngan.training.callbacks import Agreement, Budget
from attngan.training.callbacks import agreement as module
from attngan.training.callbacks.agreement import GROWTH, agreement_of

TRAINER = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")


class Other:
    """Another process: joins each agreement with what it has to say, at the moment that is waited for."""

    def __init__(self) -> None:
        self.asked = 0
        self.met = 0

    def all_reduce(self, numbers, operation, async_op):
        assert operation == torch.distributed.ReduceOp.MAX
        assert async_op
        other, self.met = self, self.met + 1

        class Work:
            def wait(self) -> None:
                numbers[1] = max(numbers[1].item(), other.asked)

        return Work()


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: Clock.now))
    return Clock


@pytest.fixture
def other(monkeypatch, clock):
    other = Other()
    monkeypatch.setattr(ranks, "world_size", lambda: 2)
    monkeypatch.setattr(ranks, "largest", list)
    monkeypatch.setattr(torch.distributed, "all_reduce", other.all_reduce)
    return other


def step(agreement, clock, seconds):
    agreement.on_train_batch_start(TRAINER)
    clock.now += seconds
    agreement.on_train_batch_end(TRAINER)


def test_one_process_knows_at_every_moment(clock, monkeypatch):
    agreement = Agreement()
    monkeypatch.setattr(stopping, "asked", lambda: signal.SIGTERM)
    assert agreement.current() == (100.0, signal.SIGTERM)
    clock.now += 1
    assert agreement.current().now == 101.0


def test_what_another_process_was_asked_is_known_when_the_step_ends(other, clock):
    agreement = Agreement()
    agreement.settle()
    other.asked = signal.SIGINT
    agreement.on_train_batch_start(TRAINER)
    assert agreement.current().asked is None  # under way
    agreement.on_train_batch_end(TRAINER)
    assert agreement.current().asked == signal.SIGINT


def test_long_steps_agree_each_time_and_short_ones_about_once_a_second(other, clock):
    agreement = Agreement()
    agreement.settle()
    for _ in range(5):
        step(agreement, clock, 3.0)
    assert other.met == 5
    for _ in range(2000):
        step(agreement, clock, 0.01)
    before = other.met
    for _ in range(1000):
        step(agreement, clock, 0.01)
    assert other.met - before == pytest.approx(10, abs=1)


def test_the_interval_grows_step_by_step(other, clock):
    """The first steps of a run take long: one short one must not put off the next agreement for hundreds."""
    agreement = Agreement()
    agreement.settle()
    for _ in range(2):
        step(agreement, clock, 1e-6)
    assert other.met == 2
    for _ in range(GROWTH - 1):
        step(agreement, clock, 1.0)
        assert other.met == 2
    step(agreement, clock, 1.0)
    assert other.met == 3


def test_the_time_stands_still_between_agreements(other, clock):
    """What depends on it, learning rates above all, is then the same in all processes at each step."""
    agreement, trainer = Agreement(), Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    trainer.callbacks.append(agreement)
    budget = Budget(minutes=1.0)
    agreement.settle()
    budget.on_train_start(trainer, LightningModule())
    clock.now += 30
    assert budget.share_done(LightningModule()) == 0
    step(agreement, clock, 0)
    assert budget.share_done(LightningModule()) == pytest.approx(0.5)


def test_several_processes_need_one(other):
    trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    with pytest.raises(AssertionError):
        agreement_of(trainer)
