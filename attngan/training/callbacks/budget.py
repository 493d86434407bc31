"""How long a run may be, and how much of it is done."""

import time
from collections.abc import Callable
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from attngan.errors import require_at_least
from attngan.training.callbacks.agreement import agreement_of

#: How much of the run is done, as it is logged.
SHARE_DONE = "share_done"


class Budget(Callback):
    """Ends the training after so many minutes, images or steps; the checkpoint is written as at any end.

    Args:
        minutes: Minutes of training, those before an interruption included; None for no limit.
        images: Training images, counted over epochs; None for no limit.
        steps: Steps, one a batch, however many networks learn from it; None for no limit.
    """

    def __init__(self, minutes: float | None = None, images: int | None = None, steps: int | None = None) -> None:
        require_at_least(0, within="budget.", minutes=minutes)
        require_at_least(1, within="budget.", images=images, steps=steps)
        self.minutes, self.images, self.steps = minutes, images, steps
        self._clock: Callable[[], float] = time.monotonic
        self._start = self._clock()
        self._before = 0.0

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self._before + self._clock() - self._start}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._before = state_dict["seconds"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        agreement = agreement_of(trainer)
        self._clock = lambda: agreement.current().now  # what depends on the time must be the same on all devices
        self._start = self._clock()
        self._stop_if_done(trainer, pl_module)  # stopped after its last step, before its end

    def share_done(self, module: LightningModule) -> float | None:
        """Between 0 and 1; None without a limit."""
        shares = []
        if self.minutes:
            shares.append((self._before + self._clock() - self._start) / (60 * self.minutes))
        if self.images:
            shares.append(int(getattr(module, "images_seen", 0)) / self.images)
        if self.steps:
            shares.append(int(getattr(module, "steps", 0)) / self.steps)
        return max(shares, default=None)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        done = share_done(trainer, pl_module)
        if done is not None:
            pl_module.log(SHARE_DONE, done)  # from which `attngan report` tells the time left
        self._stop_if_done(trainer, pl_module)

    def _stop_if_done(self, trainer: Trainer, module: LightningModule) -> None:
        done = self.share_done(module)
        if done is not None and done >= 1:
            trainer.should_stop = True


def share_done(trainer: Trainer, module: LightningModule) -> float | None:
    """How much of the run is done, between 0 and 1, by epochs or by its budget; None where nothing limits it."""
    shares = [c.share_done(module) or 0.0 for c in trainer.callbacks if isinstance(c, Budget)]  # type: ignore[attr-defined]
    batches = trainer.num_training_batches
    if trainer.max_epochs and trainer.max_epochs > 0 and batches and batches != float("inf"):
        done = trainer.fit_loop.epoch_loop.batch_progress.current.completed
        shares.append((trainer.current_epoch + done / batches) / trainer.max_epochs)
    return max(shares, default=None)
