"""What checkpoints know the callbacks by."""

import pytest
import torch

from attngan.training.callbacks import Budget, KeepLast, RandomState, RunCheckpoints, WholeFiles


def test_state_keys_are_those_of_earlier_checkpoints():
    assert [callback().state_key for callback in (Budget, KeepLast, RandomState)] == [
        "Budget",
        "KeepLast",
        "RandomState",
    ]
    assert RunCheckpoints().state_key.startswith("RunCheckpoints{'monitor': None, 'mode': 'max',")


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    path.write_text("the last one")

    def full_disk(content, file):
        file.write(b"half of")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="No space left") as refused:
        WholeFiles().save_checkpoint({}, path)
    assert refused.value.filename == str(path)
    assert path.read_text() == "the last one"
    assert list(tmp_path.iterdir()) == [path]


def test_a_damaged_checkpoint_is_not_trained_on(tmp_path):
    path = tmp_path / "x.ckpt"
    WholeFiles().save_checkpoint({"weight": torch.ones(3)}, path)
    assert torch.equal(WholeFiles().load_checkpoint(path, weights_only=True)["weight"], torch.ones(3))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        WholeFiles().load_checkpoint(path, weights_only=True)
