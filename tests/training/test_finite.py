"""What is not finite is caught before the weights change, and the checkpoint that is named is a good one."""

import os

import pytest
import torch

from attngan.checkpoint import read_checkpoint
from attngan.cli import main
from tests.tiny import damsm_recipe, gan_recipe, write_recipe


def test_gradients_that_are_not_finite_stop_before_the_step(toy_root, tiny_damsm, tmp_path, monkeypatch, capsys):
    """The root of 0 is 0, and its gradient infinite."""
    run = tmp_path / "run"
    recipe = ["--config", str(write_recipe(tmp_path / "r.yaml", gan_recipe(toy_root, run, tiny_damsm)))]
    stepped = []
    step = torch.optim.Adam.step
    monkeypatch.setattr("torch.optim.Adam.step", lambda self, closure=None: (stepped.append(1), step(self, closure))[1])
    monkeypatch.setattr("attngan.training.gan_module.kl_divergence", lambda mean, _: (mean - mean).sum().sqrt())
    with monkeypatch.context() as patched:
        patched.setattr("attngan.training.gan_module.GANModule.on_save_checkpoint", lambda *_: pytest.fail("saved"))
        assert main(["train", *recipe]) == 3
    message = capsys.readouterr().err
    assert "gradients of the generator that are not finite, though its loss is" in message
    assert "No checkpoint of this run was written yet" in message
    assert not list((run / "checkpoints").glob("*.ckpt"))
    assert len(stepped) <= 3  # those of the two discriminators; the generator's is entered and left before it changes


def test_a_damsms_gradients_are_looked_at_too(toy_root, tmp_path, monkeypatch, capsys):
    recipe = ["--config", str(write_recipe(tmp_path / "r.yaml", damsm_recipe(toy_root, tmp_path / "run")))]
    monkeypatch.setattr(
        "attngan.training.damsm_module.MatchingLoss.weighted",
        lambda self, words, sentence: (self.words_to_image - self.words_to_image).sqrt(),
    )
    assert main(["pretrain", *recipe]) == 3
    assert "gradients of the DAMSM that are not finite" in capsys.readouterr().err


def test_the_checkpoint_that_is_named_is_a_good_one(toy_root, tiny_damsm, tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    recipe = gan_recipe(toy_root, run, tiny_damsm) | {"checkpoints": {"every_epochs": 1}}
    assert main(["train", "--config", str(write_recipe(tmp_path / "r.yaml", recipe))]) == 0
    good = next((run / "checkpoints").glob("epoch_*.ckpt"))
    os.utime(good, (1, 1))  # older than the last one
    monkeypatch.setattr("attngan.training.gan_module.kl_divergence", lambda mean, _: mean.sum() * torch.nan)
    resumed = ["train", "--resume", str(run), "--trainer.max_epochs", "2"]
    assert main(resumed) == 3
    assert f"The last good checkpoint is kept: {run / 'checkpoints' / 'last.ckpt'}" in capsys.readouterr().err
    contents = read_checkpoint(run / "checkpoints" / "last.ckpt")
    name = next(n for n, value in contents["state_dict"].items() if n.startswith("generator.") and value.ndim > 1)
    contents["state_dict"][name] = torch.full_like(contents["state_dict"][name], torch.nan)
    torch.save(contents, tmp_path / "spoilt.ckpt")  # the weights are mapped from the file that it replaces
    (tmp_path / "spoilt.ckpt").replace(run / "checkpoints" / "last.ckpt")
    assert main(resumed) == 3
    assert f"The last good checkpoint is kept: {good}" in capsys.readouterr().err
