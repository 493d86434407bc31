"""Checkpoints by epochs or by a score."""

from pathlib import Path

from pytorch_lightning.callbacks import ModelCheckpoint


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
