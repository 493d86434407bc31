"""``last.ckpt``, and an orderly stop."""

import copy
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.trainer.states import TrainerFn

from attngan import stopping
from attngan.training.callbacks.after_step import written_after_step
from attngan.training.callbacks.agreement import agreement_of


class KeepLast(Checkpoint):
    """Writes ``last.ckpt`` every so many minutes and at the end, and when asked to stop; from it a run goes on exactly.

    Ctrl-C, SIGTERM and SIGUSR1 let the step in progress end, write the checkpoint and stop; a second one stops at once.
    Between the last step of an epoch and the next one (validation, scores) nothing has to end: what is written is the
    state that the last step left, and going on does again what was cut off.

    Several processes stop together, at the end of a step or a validation that they have agreed on.

    Lightning calls callbacks of this kind after all others: what those did at a step or at the end is in the file.

    Args:
        folder: Where it lies; set by the command line to ``checkpoints`` in the run's folder.
        every_minutes: How much work a crash may cost.
    """

    def __init__(self, folder: Path | None = None, every_minutes: float = 10.0) -> None:
        self.path = (folder or Path("checkpoints")) / "last.ckpt"
        self.every = timedelta(minutes=every_minutes).total_seconds()
        self._written = 0.0
        self._after_step: dict[str, Any] | None = None
        self._heard = ExitStack()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            self._heard.enter_context(stopping.listening())  # where training is called from Python

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        stopping.listen_again()  # not before: Lightning's own handler would end the run without a checkpoint
        self._written = agreement_of(trainer).current().now

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        stopping.listen_again()

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        self._after_step = None
        stopping.hold(f"finishing this step, then writing {self.path}")

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        agreed = agreement_of(trainer).current()
        if agreed.asked is not None:
            trainer.save_checkpoint(self.path, weights_only=False)
            raise stopping.Stopped(agreed.asked)
        if agreed.now - self._written > self.every:
            trainer.save_checkpoint(self.path, weights_only=False)
            self._written = agreed.now
        if trainer.fit_loop.epoch_loop.done:  # validation, scores and the epoch's other ends follow
            self._remember(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING and self._after_step is None:  # in the middle of an epoch
            self._remember(trainer)

    def on_validation_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if self._after_step is not None and stopping.asked() is not None:
            self._stop_together(trainer)  # the others come along at their end of it

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING:
            self._stop_together(trainer)  # before the module gathers what each process has seen

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.save_checkpoint(self.path, weights_only=False)
        self._stop_together(trainer)
        if trainer.world_size > 1:
            stopping.release()
        self._after_step = None
        self._heard.close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if isinstance(exception, stopping.Stopped) and self._after_step is not None:
            trainer.strategy.save_checkpoint(self._after_step, self.path)
        self._after_step = None
        self._heard.close()

    def _remember(self, trainer: Trainer) -> None:
        """Keeps what a checkpoint would hold now, and lets a request act from here on.

        Weights and optimisers are not copied: until the next step nothing changes them.
        """
        contents: dict[str, Any] = trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
        for name in ("loops", "callbacks", "lr_schedulers"):
            contents[name] = copy.deepcopy(contents[name])
        self._after_step = written_after_step(contents)
        if trainer.world_size == 1:
            stopping.release()

    def _stop_together(self, trainer: Trainer) -> None:
        """Where all processes come along: stops if one of them was asked to."""
        if trainer.world_size > 1 and (asked := agreement_of(trainer).settle().asked) is not None:
            raise stopping.Stopped(asked)
