"""What several processes that train together must know alike: how late it is, and whether one was asked to stop."""

import time
from typing import Any, NamedTuple

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from attngan import ranks, stopping

#: Between two agreements about so much time passes, if steps are shorter.
EVERY_SECONDS = 1.0
#: Steps from one agreement to the next are at most so many times those before: the first steps are slow.
GROWTH = 4


class Agreed(NamedTuple):
    """What all processes know.

    Attributes:
        now: Seconds, of rank 0's clock.
        asked: The signal that asked one of them to stop; None for none.
    """

    now: float
    asked: int | None


class Agreement(Callback):
    """After a step all processes know the same, so that they stop, write and end at the same step.

    Each tells the others when a step begins, and looks at what they said when it has ended: while the step is computed,
    the numbers are under way, and nobody waits. This is done once a second or so; in between holds what was agreed on.
    One process alone knows at every moment what there is to know.
    """

    def __init__(self, every_seconds: float = EVERY_SECONDS) -> None:
        self.every_seconds = every_seconds
        self._agreed = Agreed(time.monotonic(), None)
        self._steps = 1  # from one agreement to the next
        self._since = 0
        self._timed = False
        self._under_way: tuple[Any, torch.Tensor] | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.settle()

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        self._since += 1
        if ranks.world_size() > 1 and self._since >= self._steps:
            numbers = torch.tensor(self._mine(), dtype=torch.float64)
            work = torch.distributed.all_reduce(numbers, torch.distributed.ReduceOp.MAX, async_op=True)
            self._under_way = work, numbers

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if self._under_way is None:
            return
        (work, numbers), self._under_way, before = self._under_way, None, self._agreed.now
        work.wait()
        self._take(numbers.tolist())
        if self._timed:  # from the beginning of a step to that of another
            steps_in_time = int(self.every_seconds * self._since / max(self._agreed.now - before, 1e-9))
            self._steps = max(1, min(GROWTH * self._steps, steps_in_time))
        self._since, self._timed = 0, True

    def settle(self) -> Agreed:
        """Agrees here and now, where all processes come along: at the start, and before others wait for something."""
        self._take(ranks.largest(self._mine()))
        self._timed = False
        return self._agreed

    def current(self) -> Agreed:
        """What all processes know."""
        return Agreed(time.monotonic(), stopping.asked()) if ranks.world_size() == 1 else self._agreed

    def _mine(self) -> list[float]:
        """What this process says: the time if it is rank 0, and the signal; of each the largest holds."""
        return [time.monotonic() if ranks.is_first() else 0.0, float(stopping.asked() or 0)]

    def _take(self, numbers: list[float]) -> None:
        self._agreed = Agreed(numbers[0], int(numbers[1]) or None)


def agreement_of(trainer: Trainer) -> Agreement:
    """The one of a training; a process alone needs none of its own."""
    found = [callback for callback in trainer.callbacks if isinstance(callback, Agreement)]  # type: ignore[attr-defined]
    if not found:
        assert ranks.world_size() == 1, "several processes need the callback Agreement"
        return Agreement()
    return found[0]
