"""The number of CPU threads, tried anew while a training goes on."""

import time
from collections.abc import Iterator
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from attngan.training.threads import fastest_count, thread_counts


class FastestThreads(Callback):
    """Tries every number of threads for a few steps, goes on with the fastest, and tries again later.

    Other work on the machine comes and goes, so a choice does not stay right. The time between two trials doubles as
    long as the choice stands, and is short again after a change. The order in which sums are added depends on the
    number of threads: a training with this callback is not repeated bit by bit.

    Args:
        most: Threads that may be used; by default those that PyTorch uses when the training starts.
        steps: Steps of a trial with each number, after one that does not count.
        every_seconds: Time between the first trials.
        longest_seconds: The longest time between two.
    """

    def __init__(
        self, most: int | None = None, steps: int = 3, every_seconds: float = 30.0, longest_seconds: float = 240.0
    ) -> None:
        self.most, self.steps = most, steps
        self.every_seconds, self.longest_seconds = every_seconds, longest_seconds
        self._trial: Iterator[None] = iter(())
        self._pause, self._next = every_seconds, 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._counts = thread_counts(self.most or torch.get_num_threads())
        self._chosen = self._counts[-1]
        self._trial, self._next = iter(()), time.monotonic()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if next(self._trial, self) is self and len(self._counts) > 1 and time.monotonic() >= self._next:
            self._trial = self._try_all()
            next(self._trial)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """What is timed must be steps: a trial that a validation interrupts is given up, and made anew after it."""
        self._trial = iter(())
        torch.set_num_threads(self._chosen)

    def _try_all(self) -> Iterator[None]:
        """Goes on at the end of each step."""
        seconds: dict[int, float] = {}
        for count in self._counts:
            torch.set_num_threads(count)
            yield  # the first step after a change prepares
            begun = time.monotonic()
            for _ in range(self.steps):
                yield
                seconds[count] = time.monotonic() - begun
                if seconds[count] > min(seconds.values()):
                    break  # slower than all steps of another number: what one step of it may cost is enough
        chosen = fastest_count(seconds, self._chosen)
        self._pause = self.every_seconds if chosen != self._chosen else min(2 * self._pause, self.longest_seconds)
        self._next, self._chosen = time.monotonic() + self._pause, chosen
        torch.set_num_threads(chosen)
