"""Runs that are stopped between steps, or whose noise is drawn from between steps: nothing differs in the end."""

import os
import signal
import tempfile

import pytest
import torch
from pytorch_lightning import Callback, Trainer

from attngan.checkpoint import read_checkpoint
from attngan.cli import main
from attngan.commands import train as commands
from attngan.integrity import check_whole
from attngan.stopping import Stopped
from attngan.training.callbacks import RandomState
from attngan.training.damsm_module import DAMSMModule
from attngan.training.gan_module import GANModule
from attngan.training.pictures import TrainingPictures
from tests.tiny import damsm_recipe, gan_recipe, write_recipe


def pretraining(root, run, **changes):
    """Two epochs of 14 steps and 2 batches of validation, with dropout in both encoders; its command line."""
    recipe = damsm_recipe(root, run)
    recipe["data"]["batch_size"] = 4
    recipe["model"]["image_dropout"] = 0.3
    recipe["trainer"]["max_epochs"] = 2
    for section, values in changes.items():
        recipe[section] = {**recipe.get(section, {}), **values}
    return ["--config", str(write_recipe(run.parent / f"{run.name}.yaml", recipe))]


def contents(run, name="last"):
    return read_checkpoint(run / "checkpoints" / f"{name}.ckpt")


def assert_same(one, other):
    """Weights, optimisers and the next steps' noise."""
    assert one["global_step"] == other["global_step"]
    assert all(torch.equal(value, other["state_dict"][name]) for name, value in one["state_dict"].items())
    for ours, theirs in zip(one["optimizer_states"], other["optimizer_states"], strict=True):
        assert all(
            torch.equal(v, theirs["state"][key][n]) for key, state in ours["state"].items() for n, v in state.items()
        )
    assert torch.equal(*(each["callbacks"]["RandomState"]["torch"] for each in (one, other)))


@pytest.fixture(scope="module")
def straight(toy_root, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "straight"
    assert main(["pretrain", *pretraining(toy_root, run)]) == 0
    return run


def stop_at(monkeypatch, owner, name, moment, number=signal.SIGTERM):
    """Asks for a stop when a method is called for the ``moment``-th time; gives how often it has been called."""
    called, method = [], getattr(owner, name)

    def stopping(self, *arguments, **named):
        called.append(self)
        if len(called) == moment:
            os.kill(os.getpid(), number)
        return method(self, *arguments, **named)

    monkeypatch.setattr(owner, name, stopping)
    return called


MOMENTS = {
    "in the first batch of validation": ("validation_step", 1),
    "in the last batch of validation": ("validation_step", 2),
    "when validation is summed up": ("on_validation_epoch_end", 1),
    "in the second validation": ("validation_step", 3),
    "after an epoch's last step": ("on_train_batch_end", 14),
    "when training ends": ("on_train_end", 1),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_stop_between_epochs_acts_at_once_and_loses_nothing(straight, toy_root, tmp_path, monkeypatch, moment):
    run = tmp_path / "run"
    name, number = MOMENTS[moment]
    with monkeypatch.context() as patch:
        called = stop_at(patch, DAMSMModule, name, number)
        with pytest.raises(SystemExit) as stopped:
            main(["pretrain", *pretraining(toy_root, run)])
    assert stopped.value.code == 143
    assert len(called) == number  # not a batch more
    check_whole(run / "checkpoints" / "last.ckpt")
    validated = stop_at(monkeypatch, DAMSMModule, "on_validation_epoch_end", 0)
    assert main(["pretrain", "--resume", str(run)]) == 0
    again = 1 if "second" in moment else 0 if moment == "when training ends" else 2
    assert len(validated) == again
    for name in ("last", "best"):
        assert_same(contents(run, name), contents(straight, name))


def test_slurms_signal_writes_a_checkpoint_too(straight, toy_root, tmp_path, monkeypatch):
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        stop_at(patch, DAMSMModule, "training_step", 3, signal.SIGUSR1)
        with pytest.raises(SystemExit) as stopped:
            main(["pretrain", *pretraining(toy_root, run)])
    assert stopped.value.code == 128 + signal.SIGUSR1
    assert contents(run)["global_step"] == 3
    assert main(["pretrain", "--resume", str(run)]) == 0
    assert_same(contents(run), contents(straight))


def test_a_stop_in_the_validation_after_a_budget_is_made_up_for(toy_root, tmp_path, monkeypatch):
    budget = {"budget": {"images": 20}}
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert main(["pretrain", *pretraining(toy_root, whole, **budget)]) == 0
    with monkeypatch.context() as patch:
        stop_at(patch, DAMSMModule, "validation_step", 1)
        with pytest.raises(SystemExit):
            main(["pretrain", *pretraining(toy_root, run, **budget)])
    assert not (run / "checkpoints" / "best.ckpt").is_file()
    assert main(["pretrain", "--resume", str(run)]) == 0
    for name in ("last", "best"):
        assert contents(run, name)["global_step"] == 5
        assert_same(contents(run, name), contents(whole, name))


def test_a_stop_in_a_validation_within_an_epoch_is_made_up_for(toy_root, tmp_path, monkeypatch):
    often = {"trainer": {"max_epochs": 1, "val_check_interval": 5, "accelerator": "cpu"}}
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert main(["pretrain", *pretraining(toy_root, whole, **often)]) == 0
    with monkeypatch.context() as patch:
        stop_at(patch, DAMSMModule, "validation_step", 2)
        with pytest.raises(SystemExit):
            main(["pretrain", *pretraining(toy_root, run, **often)])
    assert contents(run)["global_step"] == 5
    validated = stop_at(monkeypatch, DAMSMModule, "on_validation_epoch_end", 0)
    assert main(["pretrain", "--resume", str(run)]) == 0
    assert len(validated) == 2  # after 5 and 10 of 14 steps
    for name in ("last", "best"):
        assert_same(contents(run, name), contents(whole, name))


def test_before_the_first_step_there_is_nothing_to_write_and_that_is_said(toy_root, tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        stop_at(patch, DAMSMModule, "on_fit_start", 1)
        with pytest.raises(SystemExit):
            main(["pretrain", *pretraining(toy_root, run)])
    assert f"--config {run}/config.yaml" in capsys.readouterr().out
    assert not (run / "checkpoints" / "last.ckpt").exists()


def test_a_generators_scores_and_last_pictures_are_made_up_for(toy_root, tiny_damsm, tmp_path, monkeypatch):
    def recipe(run):
        content = gan_recipe(toy_root, run, tiny_damsm)
        content["checkpoints"] = {"every_epochs": 1}
        content["pictures"] = {"every_steps": 100, "count": 2, "samples": 1}
        return ["--config", str(write_recipe(run.parent / f"{run.name}.yaml", content))]

    whole, run = tmp_path / "whole", tmp_path / "run"
    assert main(["train", *recipe(whole)]) == 0
    for owner, name in ((GANModule, "on_train_epoch_end"), (TrainingPictures, "on_train_end")):
        begin = ["--resume", str(run)] if run.is_dir() else recipe(run)
        with monkeypatch.context() as patch:
            stop_at(patch, owner, name, 1)
            with pytest.raises(SystemExit):
                main(["train", *begin])
        assert not list((run / "pictures").glob("*.png"))
    assert main(["train", "--resume", str(run)]) == 0
    assert_same(contents(run), contents(whole))
    assert_same(contents(run, "epoch_0000"), contents(whole, "epoch_0000"))
    (picture,) = (run / "pictures").glob("samples_*.png")
    assert picture.read_bytes() == (whole / "pictures" / picture.name).read_bytes()


# --- the noise of training --------------------------------------------------------------------------------------------


class DrawsBetweenSteps(Callback):
    """Takes from the global stream wherever no step is."""

    def on_train_batch_end(self, *_):
        torch.rand(3)

    on_validation_start = on_validation_end = on_train_epoch_end = on_train_epoch_start = on_train_batch_end


def test_what_is_drawn_between_steps_changes_no_step(straight, toy_root, tmp_path):
    run = tmp_path / "run"
    commands.pretrain(pretraining(toy_root, run), [DrawsBetweenSteps()])
    assert_same(contents(run), contents(straight))


def test_the_state_that_is_written_between_steps_is_that_of_the_last_step():
    state, trainer = RandomState(), Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    torch.manual_seed(3)
    state.on_train_batch_end(trainer)
    written = state.state_dict()["torch"]
    torch.rand(5)
    assert torch.equal(state.state_dict()["torch"], written)
    state.on_train_batch_start(trainer)
    assert torch.equal(torch.get_rng_state(), written)


# --- how checkpoints are written --------------------------------------------------------------------------------------


def test_no_checkpoint_goes_by_way_of_another_file_system(toy_root, tmp_path, monkeypatch):
    def refuse(*_, **__):
        pytest.fail("a checkpoint was written to TMPDIR first")

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    run = tmp_path / "run"
    by_epochs = {
        "checkpoints": {"best_by": None, "every_epochs": 1},
        "trainer": {"max_epochs": 1, "accelerator": "cpu"},
    }
    assert main(["pretrain", *pretraining(toy_root, run, **by_epochs)]) == 0
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["epoch_0000.ckpt", "last.ckpt"]
    for path in (run / "checkpoints").iterdir():
        assert b"attngan crc32 " in path.read_bytes()[-22:]


def test_a_stop_while_a_checkpoint_is_written_leaves_the_one_before(straight, toy_root, tmp_path, monkeypatch):
    run = tmp_path / "run"
    save, calls = torch.save, []

    def torn(content, file):
        calls.append(file)
        if len(calls) == 2:  # best.ckpt of the first epoch is there; the second epoch's is written
            file.write(b"half")
            raise Stopped(signal.SIGTERM)
        save(content, file)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", torn)
        with pytest.raises(SystemExit):
            main(["pretrain", *pretraining(toy_root, run, checkpoints={"best_by": "validation/r1"})])
    assert not list((run / "checkpoints").glob("*.part"))
    check_whole(run / "checkpoints" / "best.ckpt")
    assert main(["pretrain", "--resume", str(run)]) == 0
    for name in ("last", "best"):
        assert_same(contents(run, name), contents(straight, name))
