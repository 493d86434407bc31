"""An evaluation reads its checkpoint once, for the generator and for the DAMSM in it."""

import pytest

from attngan import checkpoint
from attngan.checkpoint import read_checkpoint, write_safetensors
from attngan.evaluation import opened_checkpoint
from attngan.evaluation.opened_checkpoint import OpenedCheckpoint
from tests.commands.test_evaluate import run
from tests.evaluation.conftest import write_damsm
from tests.evaluation.test_untrained import write_small_generator


def with_whole_damsm(folder, vocabulary):
    """A generator's file that also holds the image encoder, as a checkpoint of `attngan train` does."""
    generator = read_checkpoint(write_small_generator(folder, vocabulary))
    damsm = read_checkpoint(write_damsm(folder / "damsm.safetensors", vocabulary))
    path = folder / "whole.safetensors"
    write_safetensors(path, generator["attngan"], {**damsm["state_dict"], **generator["state_dict"]})
    return path


def test_a_checkpoint_is_read_and_hashed_once(tmp_path, toy_root, vocabulary, monkeypatch):
    path = with_whole_damsm(tmp_path, vocabulary)
    calls = []
    for name in ("read_checkpoint", "file_sha256"):
        function = getattr(checkpoint, name)
        for module in (checkpoint, opened_checkpoint):
            monkeypatch.setattr(module, name, lambda p, f=function, n=name: calls.append((n, str(p))) or f(p))
    monkeypatch.setattr("attngan.sampling.read_checkpoint", lambda p: pytest.fail("read again"))
    with pytest.warns(UserWarning, match="flatters"):
        result = run(tmp_path, toy_root, checkpoint=path, metrics=["is", "r_precision"], count=20)
    assert sorted(calls) == [("file_sha256", str(path)), ("read_checkpoint", str(path))]
    assert result["subject"]["checkpoint_sha256"] == result["scorer"]["sha256"]
    assert result["scorer"]["trained_the_generator"] is True


def test_half_a_damsm_is_the_users_mistake(tmp_path, toy_root, vocabulary):
    path = write_small_generator(tmp_path, vocabulary)
    with pytest.raises(ValueError, match=r"generator\.safetensors holds no whole DAMSM .* --scorer"):
        OpenedCheckpoint(path).damsm()
