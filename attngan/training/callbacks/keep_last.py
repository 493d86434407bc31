"""``last.ckpt``, and an orderly stop."""

import signal
import time
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from attngan.files import replacing


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
        # every process takes part, the first one writes
        with replacing(self.path) if trainer.is_global_zero else nullcontext(self.path) as place:
            trainer.save_checkpoint(place)
        self._written = time.monotonic()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.stopped_by is None:
            self._write(trainer)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers.clear()
