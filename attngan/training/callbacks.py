"""What every training run has around it: checkpoints, an orderly stop, exact resuming, time left, a budget."""

import random
import signal
import time
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint, RichProgressBar


class RunCheckpoints(ModelCheckpoint):
    """``last.ckpt`` every few minutes and at the end of epochs, plus the best one or one every so many epochs.

    Args:
        folder: Where they lie; set by the command line to ``checkpoints`` in the run's folder.
        best_by: Logged value whose best checkpoint is kept; None to keep by epochs instead.
        largest_is_best: Whether a larger value is better.
        every_epochs: Without ``best_by``: keep one for good every so many epochs.
    """

    CHECKPOINT_NAME_LAST = "last"

    def __init__(
        self,
        folder: Path | None = None,
        best_by: str | None = None,
        largest_is_best: bool = True,
        every_epochs: int = 50,
    ) -> None:
        super().__init__(
            dirpath=folder,
            filename="best" if best_by else "epoch_{epoch:04d}",
            auto_insert_metric_name=False,
            monitor=best_by,
            mode="max" if largest_is_best else "min",
            save_top_k=1 if best_by else -1,
            every_n_epochs=1 if best_by else every_epochs,
            save_on_train_epoch_end=not best_by,
            enable_version_counter=False,
        )


class KeepLast(Callback):
    """Writes ``last.ckpt`` every so many minutes and at the end, and when asked to stop; from it a run goes on exactly.

    Ctrl-C and SIGTERM let the step in progress end, write the checkpoint and stop; a second Ctrl-C stops at once.

    Args:
        folder: Where it lies; set by the command line to ``checkpoints`` in the run's folder.
        every_minutes: How much work a crash may cost.
    """

    def __init__(self, folder: Path | None = None, every_minutes: float = 10.0) -> None:
        self.path = (folder or Path("checkpoints")) / "last.ckpt"
        self.every = timedelta(minutes=every_minutes).total_seconds()
        self.stopped_by: str | None = None
        self._written = 0.0
        self._handlers: dict[int, Any] = {}

    def _asked(self, number: int, frame: FrameType | None) -> None:
        if self.stopped_by is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.stopped_by = signal.Signals(number).name
        print(f"\n{self.stopped_by}: finishing this step, then writing {self.path} (again to stop at once)", flush=True)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._written = time.monotonic()
        # not before: Lightning sets its own handler after on_fit_start, which would end the run without a checkpoint
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._handlers[number] = signal.signal(number, self._asked)
            except ValueError:  # not in the main thread: whoever runs us there stops us in another way
                return

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if self.stopped_by is not None:
            self._write(trainer)
            trainer.should_stop = True
        elif time.monotonic() - self._written > self.every:
            self._write(trainer)

    def _write(self, trainer: Trainer) -> None:
        # written beside, then renamed: a crash in between leaves the old one whole
        fresh = self.path.with_suffix(".writing")
        trainer.save_checkpoint(fresh)
        if trainer.is_global_zero:
            fresh.replace(self.path)
        self._written = time.monotonic()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.stopped_by is None:
            self._write(trainer)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers.clear()


class RandomState(Callback):
    """Random number generators go into the checkpoint and come back, so that N + N steps equal 2 N."""

    def __init__(self) -> None:
        self._loaded: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)  # type: ignore[misc]
        return {
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "numpy": [str(kind), torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, cached],
            "python": random.getstate(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._loaded = state_dict

    def on_train_epoch_start(self, trainer: Trainer, *_: Any) -> None:
        # an epoch goes on where the last one ended, or a run that is resumed between the two would differ
        if self._loaded is None:
            self._loaded = self.state_dict()

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        # not before: starting the data loader draws from the global stream
        if self._loaded is None:
            return
        state, self._loaded = self._loaded, None
        torch.set_rng_state(state["torch"])
        if len(state["cuda"]) == torch.cuda.device_count() and state["cuda"]:
            torch.cuda.set_rng_state_all(state["cuda"])
        kind, keys, position, has_gauss, cached = state["numpy"]
        np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))
        version, internal, gauss = state["python"]
        random.setstate((version, tuple(internal), gauss))


class Budget(Callback):
    """Ends the training after so many minutes or images; the checkpoint is written as at any end.

    Args:
        minutes: Of training, those before an interruption included; None for no limit.
        images: Training images, counted over epochs; None for no limit.
    """

    def __init__(self, minutes: float | None = None, images: int | None = None) -> None:
        self.minutes, self.images = minutes, images
        self._start = time.monotonic()
        self._before = 0.0

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self._before + time.monotonic() - self._start}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._before = state_dict["seconds"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start = time.monotonic()

    def share_done(self, module: LightningModule) -> float | None:
        """Between 0 and 1; None without a limit."""
        shares = []
        if self.minutes:
            shares.append((self._before + time.monotonic() - self._start) / (60 * self.minutes))
        if self.images:
            shares.append(int(getattr(module, "images_seen", 0)) / self.images)
        return max(shares, default=None)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        done = self.share_done(pl_module)
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
