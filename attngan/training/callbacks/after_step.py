"""Exact resuming from a checkpoint that was written when a step had ended, but not what follows it."""

from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer


class AfterStep(Callback):
    """Does what was left to do after the step that the checkpoint was written at: validation, and the epoch's end.

    Lightning writes in a checkpoint that the step is not complete, takes it for complete when it goes on, and leaves
    out what would have followed: at an epoch's last step the validation, with it the best checkpoint, and the scores.
    """

    def __init__(self) -> None:
        self._left = False

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        loops = checkpoint["loops"]["fit_loop"]
        batches, epochs = loops["epoch_loop.batch_progress"], loops["epoch_progress"]
        current = batches["current"]
        at_its_end = 0 < current["ready"] == current["processed"] == current["completed"] + 1
        self._left = at_its_end and epochs["current"]["processed"] < epochs["current"]["started"]
        if self._left:
            for progress in (batches["current"], batches["total"]):
                progress["completed"] += 1

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._left:
            return
        self._left = False
        of_run = trainer.fit_loop
        of_epoch, fetcher = of_run.epoch_loop, of_run._data_fetcher
        assert fetcher is not None
        # what follows is the rest of Lightning's own `run` of both loops, from where `advance` returned
        of_epoch.val_loop.restarting = False
        validates = of_epoch._should_check_val_fx(fetcher)
        of_epoch.on_advance_end(fetcher)
        if of_epoch._is_training_done or trainer.should_stop:
            of_epoch.on_iteration_done()
            of_run.on_iteration_done()
            of_run.on_advance_end()
        elif validates:
            of_epoch._batches_that_stepped -= 1  # Lightning passes over the step once more, and counts it


def written_after_step(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """The contents of a checkpoint, as Lightning would have written them at the end of the last step.

    Args:
        checkpoint: What it would write now: before the next step, and before the epoch's end.
    """
    batches = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    if batches["current"]["completed"] == batches["current"]["processed"]:
        for progress in (batches["current"], batches["total"]):
            progress["completed"] -= 1
    return checkpoint
