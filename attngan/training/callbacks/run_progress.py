"""The time left of a run, beside a progress bar or in the lines of a log file."""

import time
from datetime import timedelta
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import RichProgressBar

from attngan.progress import EVERY_SECONDS, Lines
from attngan.terminal import say
from attngan.training.callbacks.budget import share_done
from attngan.training.descent import is_logged

#: What a module shows beside the progress, by the name that it is logged under.
READABLE = {
    "loss_generator": "generator's loss",
    "loss_discriminators": "discriminators' loss",
    "images_per_second": "images/s",
    "train/loss_step": "loss",
    "train/loss_epoch": "loss of the last epoch",
    "train/loss": "loss",
    "validation/loss": "validation loss",
    "validation/r1": "validation recall (%)",
}


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

    def __init__(self, every_seconds: float = EVERY_SECONDS) -> None:
        self.every_seconds = every_seconds
        self._said = 0.0
        self._left = TimeLeft()
        self._pass: Lines | None = None

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        left = self._left(trainer, pl_module)
        if time.monotonic() - self._said < self.every_seconds:
            return
        self._said = time.monotonic()
        metrics = {name: value for name, value in trainer.progress_bar_metrics.items() if name != "v_num"}
        shown = ", ".join(f"{readable(name)} {float(value):.4g}" for name, value in metrics.items())
        images = int(getattr(pl_module, "images_seen", 0))
        time_left = f", {left} left" if left else ""
        say(f"epoch {trainer.current_epoch}, {images:,} images{time_left}: {shown}")

    # a pass over another split is silent for as long as it takes: minutes, of a large one

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._pass = Lines("validation", sum(map(int, trainer.num_val_batches)), self.every_seconds)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._pass = Lines("test", sum(map(int, trainer.num_test_batches)), self.every_seconds)

    def _show_pass(self, batch_index: int) -> None:
        if self._pass is not None:
            self._pass.show(batch_index + 1)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        self._show_pass(batch_idx)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        self._show_pass(batch_idx)


def readable(name: str) -> str:
    """What is shown beside the progress, as words: ``loss_generator`` is the loss of the generator."""
    return READABLE.get(name, name)


class RunProgressBar(RichProgressBar):
    """Lightning's rich progress bar of the epoch, with the time left of the whole run beside it."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._left = TimeLeft()
        self._asks = True

    def _update_metrics(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._asks:
            super()._update_metrics(trainer, pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *batch: Any) -> None:
        # Lightning's own asks the device for every number after every batch, and waits for it
        batches = trainer.fit_loop.epoch_loop.batch_progress.current.ready
        self._asks = is_logged(batches, trainer.log_every_n_steps)  # type: ignore[attr-defined]
        super().on_train_batch_end(trainer, pl_module, *batch)
        self._asks = True

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        metrics = {name: value for name, value in super().get_metrics(trainer, pl_module).items() if name != "v_num"}
        left = self._left(trainer, pl_module)
        metrics = {readable(name): value for name, value in metrics.items()}
        return metrics if left is None else metrics | {"left": left}
