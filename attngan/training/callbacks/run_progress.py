"""The time left of a run, beside a progress bar or in the lines of a log file."""

import time
from datetime import timedelta
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import RichProgressBar

from attngan.training.callbacks.budget import share_done


class TimeLeft:
    """Estimates the time left of a run from how fast it has gone since it was first asked."""

    def __init__(self) -> None:
        self._begun: tuple[float, float] | None = None

    def __call__(self, trainer: Trainer, module: LightningModule) -> str | None:
        """As hours:minutes:seconds; None while nothing can be said."""
        done = share_done(trainer, module)
        if done is None:
            return None
        if self._begun is None:
            self._begun = (time.monotonic(), done)
        since, at_first = self._begun
        if done <= at_first:
            return None
        left = (time.monotonic() - since) * (1 - done) / (done - at_first)
        return str(timedelta(seconds=max(0, round(left))))


class ProgressLines(Callback):
    """A line every so many seconds: for log files, where a progress bar is noise.

    Args:
        every_seconds: Time between two lines.
    """

    def __init__(self, every_seconds: float = 30.0) -> None:
        self.every_seconds = every_seconds
        self._said = 0.0
        self._left = TimeLeft()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        left = self._left(trainer, pl_module)
        if time.monotonic() - self._said < self.every_seconds:
            return
        self._said = time.monotonic()
        metrics = {name: value for name, value in trainer.progress_bar_metrics.items() if name != "v_num"}
        shown = ", ".join(f"{name} {float(value):.4g}" for name, value in metrics.items())
        images = int(getattr(pl_module, "images_seen", 0))
        print(f"epoch {trainer.current_epoch}, {images:,} images, left {left or '?'}: {shown}", flush=True)


class RunProgressBar(RichProgressBar):
    """Lightning's rich progress bar of the epoch, with the time left of the whole run beside it."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._left = TimeLeft()

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        metrics = {name: value for name, value in super().get_metrics(trainer, pl_module).items() if name != "v_num"}
        left = self._left(trainer, pl_module)
        return metrics if left is None else metrics | {"left": left}
