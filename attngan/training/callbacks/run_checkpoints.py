"""Checkpoints by epochs or by a score."""

from pathlib import Path
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint

from attngan.errors import InputError, require_at_least

_EPOCH = "epoch_"


class RunCheckpoints(ModelCheckpoint):
    """``last.ckpt`` every few minutes and at the end of epochs, plus the best one or one every so many epochs.

    Args:
        folder: Where they lie; set by the command line to ``checkpoints`` in the run's folder.
        best_by: Logged value whose best checkpoint is kept; None to keep by epochs instead.
        largest_is_best: Whether a larger value is better.
        every_epochs: Without ``best_by``: keep one for good every so many epochs.
        keep: How many of those by epochs stay, the newest ones (``--keep K`` for short); None for all.
    """

    CHECKPOINT_NAME_LAST = "last"

    def __init__(
        self,
        folder: Path | None = None,
        best_by: str | None = None,
        largest_is_best: bool = True,
        every_epochs: int = 50,
        keep: int | None = None,
    ) -> None:
        require_at_least(1, within="checkpoints.", every_epochs=every_epochs, keep=keep)
        if best_by and keep is not None:
            raise InputError(
                "checkpoints.keep limits the checkpoints by epochs, but checkpoints.best_by keeps the best one alone: "
                "leave one of the two out"
            )
        super().__init__(
            dirpath=folder,
            filename="best" if best_by else f"{_EPOCH}{{epoch:04d}}",
            auto_insert_metric_name=False,
            monitor=best_by,
            mode="max" if largest_is_best else "min",
            save_top_k=1 if best_by else -1,
            every_n_epochs=1 if best_by else every_epochs,
            save_on_train_epoch_end=not best_by,
            enable_version_counter=False,
        )
        self.keep = keep

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_epoch_end(trainer, pl_module)
        if self.keep is not None and trainer.is_global_zero and self.dirpath:
            kept = by_epochs(Path(self.dirpath), trainer.current_epoch)
            for path in kept[: -self.keep]:
                path.unlink(missing_ok=True)

    # Lightning stores absolute paths, and forgets the best score where they are not those of before: of a run that was
    # moved or copied, the next validation would be the best one whatever it scores.

    def state_dict(self) -> dict[str, Any]:
        return _with_paths(super().state_dict(), lambda path: Path(path).name) | {"dirpath": None}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        here = Path(self.dirpath or "")
        super().load_state_dict(
            _with_paths(state_dict, lambda path: str(here / Path(path).name)) | {"dirpath": self.dirpath}
        )


def _with_paths(state: dict[str, Any], place: Any) -> dict[str, Any]:
    """The state with each path in it as ``place`` says."""
    placed = {name: place(path) if path else path for name, path in state.items() if name.endswith("_model_path")}
    return state | placed | {"best_k_models": {place(path): score for path, score in state["best_k_models"].items()}}


def by_epochs(folder: Path, last: int) -> list[Path]:
    """Checkpoints by epochs, the oldest first; those after epoch ``last`` belong to a future that is not this one."""
    numbers = {path: path.stem.removeprefix(_EPOCH) for path in folder.glob(f"{_EPOCH}*.ckpt")}
    epochs = {path: int(number) for path, number in numbers.items() if number.isdecimal()}
    return sorted((path for path, epoch in epochs.items() if epoch <= last), key=epochs.__getitem__)
