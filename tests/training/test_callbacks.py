"""What checkpoints know the callbacks by."""

import pytest
from pytorch_lightning import Trainer

from attngan.training.callbacks import Budget, KeepLast, RandomState, RunCheckpoints


def test_state_keys_are_those_of_earlier_checkpoints():
    assert [callback().state_key for callback in (Budget, KeepLast, RandomState)] == [
        "Budget",
        "KeepLast",
        "RandomState",
    ]
    assert RunCheckpoints().state_key.startswith("RunCheckpoints{'monitor': None, 'mode': 'max',")


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one(tmp_path, monkeypatch):
    keeper = KeepLast(tmp_path)
    keeper.path.write_text("the last one")
    trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", enable_progress_bar=False)

    def full_disk(path):
        path.write_text("half of")
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(trainer, "save_checkpoint", full_disk)
    with pytest.raises(OSError, match="No space left"):
        keeper._write(trainer)
    assert keeper.path.read_text() == "the last one"
    assert list(tmp_path.iterdir()) == [keeper.path]
