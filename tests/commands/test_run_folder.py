"""A run is where it lies: copied, renamed, taken up by two, damaged, without its recipe."""

import os
import shutil
import subprocess
import sys

import pytest
import torch
import yaml

from attngan.checkpoint import read_checkpoint
from attngan.cli import main
from attngan.commands.run_folder import CHECKPOINTS, claimed_run, default_run_dir, spelled_out
from attngan.training.callbacks import RunCheckpoints
from tests.conftest import REPOSITORY
from tests.tiny import damsm_recipe, gan_recipe, write_recipe
from tests.training.conftest import tiny_damsm, toy_vocabulary  # noqa: F401 - fixtures

MORE = ("--trainer.max_epochs", "2")


def contents_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def steps(run, name="last"):
    return read_checkpoint(run / CHECKPOINTS / f"{name}.ckpt")["global_step"]


@pytest.fixture(scope="module")
def trained(toy_root, tmp_path_factory):
    """A pretraining of one epoch of four steps, with a best and a last checkpoint."""
    run = tmp_path_factory.mktemp("runs") / "first"
    recipe = damsm_recipe(toy_root, run)
    assert main(["pretrain", "--config", str(write_recipe(run.parent / "first.yaml", recipe))]) == 0
    return run


@pytest.fixture
def run(trained, tmp_path):
    """A copy of it, whose files still lie where they were made, too."""
    return shutil.copytree(trained, tmp_path / "copy")


def test_the_recipe_that_is_stored_says_nothing_of_where_it_lies(trained):
    text = (trained / "config.yaml").read_text()
    assert str(trained) not in text
    stored = yaml.safe_load(text)
    assert stored["run_dir"] is stored["checkpoints"]["folder"] is stored["last"]["folder"] is None
    assert stored["trainer"]["default_root_dir"] is None


def test_a_copy_goes_on_in_its_own_folder(trained, run):
    before = contents_of(trained)
    assert main(["pretrain", "--resume", str(run), *MORE]) == 0
    assert contents_of(trained) == before
    assert steps(run) == 8
    assert str(run) not in (run / "config.yaml").read_text()


def test_a_moved_run_knows_its_best_score(run, monkeypatch):
    """Else the next validation would be the best one, whatever it scores."""
    state = torch.load(run / CHECKPOINTS / "last.ckpt", weights_only=True)
    (name,) = (key for key in state["callbacks"] if key.startswith("RunCheckpoints"))
    assert state["callbacks"][name]["best_model_path"] == "best.ckpt"
    assert state["callbacks"][name]["dirpath"] is None
    for key in ("best_model_score", "kth_value", "current_score"):
        state["callbacks"][name][key] = torch.tensor(1000.0)  # nothing to come is better
    before = {"dirpath": "/elsewhere", "best_k_models": {"/elsewhere/best.ckpt": torch.tensor(1000.0)}}
    before |= {"best_model_path": "/elsewhere/best.ckpt", "kth_best_model_path": "/elsewhere/best.ckpt"}
    state["callbacks"][name] |= before  # as versions of before stored it
    torch.save(state, run / CHECKPOINTS / "last.ckpt")
    best = (run / CHECKPOINTS / "best.ckpt").read_bytes()
    assert main(["pretrain", "--resume", str(run), *MORE]) == 0
    assert (run / CHECKPOINTS / "best.ckpt").read_bytes() == best


def of_before(run, old):
    """Stores in config.yaml what attngan stored there before: every folder as it was resolved."""
    stored = yaml.safe_load((run / "config.yaml").read_text())
    stored["run_dir"] = stored["trainer"]["default_root_dir"] = str(old)
    stored["checkpoints"]["folder"] = stored["last"]["folder"] = str(old / CHECKPOINTS)
    (run / "config.yaml").write_text(yaml.safe_dump(stored))


def test_a_copy_of_a_run_of_before_goes_on_in_its_own_folder(trained, run):
    before = contents_of(trained)
    of_before(run, trained)
    assert main(["pretrain", "--resume", str(run), *MORE]) == 0
    assert contents_of(trained) == before
    assert steps(run) == 8


def test_a_stored_recipe_starts_another_run_and_leaves_the_first_alone(trained, run, tmp_path):
    of_before(run, trained)
    before = contents_of(trained)
    assert main(["pretrain", "--config", str(run / "config.yaml"), "--run_dir", str(tmp_path / "new")]) == 0
    assert contents_of(trained) == before
    assert steps(tmp_path / "new") == 4


def test_another_folder_for_a_part_is_refused_with_what_to_name_instead(toy_root, tmp_path, capsys):
    recipe = damsm_recipe(toy_root, tmp_path / "run")
    recipe["last"] = {"folder": str(tmp_path / "elsewhere")}
    assert main(["pretrain", "--config", str(write_recipe(tmp_path / "x.yaml", recipe))]) == 1
    told = capsys.readouterr().err
    assert f"last.folder is {tmp_path}/elsewhere" in told
    assert "run_dir" in told
    assert not (tmp_path / "elsewhere").exists()


def test_a_generators_pictures_and_scores_stay_with_the_run(toy_root, tiny_damsm, tmp_path):  # noqa: F811
    first = tmp_path / "first"
    recipe = gan_recipe(toy_root, first, tiny_damsm)
    recipe["pictures"] = {"every_steps": 3, "count": 2, "samples": 1}
    recipe["logger"] = "tensorboard"
    assert main(["train", "--config", str(write_recipe(tmp_path / "x.yaml", recipe))]) == 0
    renamed = first.rename(tmp_path / "renamed")
    assert main(["train", "--resume", str(renamed), *MORE]) == 0
    assert not first.exists()
    assert {path.name for path in (renamed / "pictures").glob("samples*")} == {
        f"samples_{step:07d}.png" for step in (3, 4, 6, 8)
    }
    stored = yaml.safe_load((renamed / "config.yaml").read_text())
    assert stored["pictures"]["folder"] is stored["quick"]["folder"] is None
    assert stored["model"]["damsm"] == str(tiny_damsm)  # not the run's own checkpoint, which moves with it


# --- two writers ------------------------------------------------------------------------------------------------------


def test_a_second_process_is_told_which_one_writes(run, capsys):
    before = contents_of(run)
    with claimed_run(run):
        assert main(["pretrain", "--resume", str(run), *MORE]) == 1
    told = capsys.readouterr().err
    assert f"the run {run} is being written by process {os.getpid()} on " in told
    assert "--run_dir" in told
    assert {name: content for name, content in contents_of(run).items() if name != ".lock"} == {
        name: content for name, content in before.items() if name != ".lock"
    }


def test_a_run_that_a_killed_process_held_is_free(run):
    code = (
        "import os, signal, sys; from pathlib import Path; from attngan.commands.run_folder import claimed_run\n"
        "with claimed_run(Path(sys.argv[1])): os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(run)]).returncode < 0
    (run / CHECKPOINTS / "last.ckpt.123.part").write_bytes(b"half of a checkpoint")
    with claimed_run(run):
        assert sorted(path.name for path in (run / CHECKPOINTS).iterdir()) == ["best.ckpt", "last.ckpt"]


# --- going on with what is there --------------------------------------------------------------------------------------


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)


def test_a_damaged_last_checkpoint_falls_back_to_the_newest_whole_one(toy_root, tmp_path, capsys):
    run, whole = tmp_path / "run", tmp_path / "whole"
    for folder in (run, whole):
        recipe = damsm_recipe(toy_root, folder)
        recipe["checkpoints"] = {"every_epochs": 1}
        recipe["trainer"]["max_epochs"] = 3
        assert main(["pretrain", "--config", str(write_recipe(tmp_path / f"{folder.name}.yaml", recipe))]) == 0
    for name in ("last", "epoch_0002"):
        flip(run / CHECKPOINTS / f"{name}.ckpt")
    shutil.copy2(run / CHECKPOINTS / "epoch_0000.ckpt", run / CHECKPOINTS / "copied.ckpt")  # newer by its time alone
    capsys.readouterr()
    assert main(["pretrain", "--resume", str(run)]) == 0
    told = capsys.readouterr().err
    assert f"{run / CHECKPOINTS / 'last.ckpt'} is damaged" in told
    assert f"newest whole one, {run / CHECKPOINTS / 'epoch_0001.ckpt'} (8 steps)" in told
    one, other = (read_checkpoint(folder / CHECKPOINTS / "last.ckpt")["state_dict"] for folder in (run, whole))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_damaged_checkpoint_that_is_named_is_refused_and_a_whole_one_is_named(run, capsys):
    last = run / CHECKPOINTS / "last.ckpt"
    flip(last)
    assert main(["pretrain", "--resume", str(last)]) == 1
    assert f"({run / CHECKPOINTS / 'best.ckpt'} is whole)" in capsys.readouterr().err


def test_where_all_are_damaged_nothing_is_gone_on_with(run, capsys):
    for name in ("last", "best"):
        flip(run / CHECKPOINTS / f"{name}.ckpt")
    assert main(["pretrain", "--resume", str(run)]) == 1
    told = capsys.readouterr().err
    assert f"{run / CHECKPOINTS / 'last.ckpt'} is damaged" in told
    assert told.count("\n") == 1


def test_a_finished_run_whose_last_checkpoint_is_gone_gets_it_back(run):
    weights = read_checkpoint(run / CHECKPOINTS / "last.ckpt")["state_dict"]
    (run / CHECKPOINTS / "last.ckpt").unlink()
    assert main(["pretrain", "--resume", str(run)]) == 0
    again = read_checkpoint(run / CHECKPOINTS / "last.ckpt")["state_dict"]
    assert all(torch.equal(value, again[name]) for name, value in weights.items())


def test_a_run_without_its_recipe_says_what_to_do(run, toy_root, tmp_path, capsys):
    (run / "config.yaml").unlink()
    assert main(["pretrain", "--resume", str(run)]) == 1
    told = capsys.readouterr().err
    assert f"{run} has no config.yaml" in told
    assert f"--resume {run} --config" in told
    recipe = write_recipe(tmp_path / "x.yaml", damsm_recipe(toy_root, tmp_path / "another"))
    assert main(["pretrain", "--resume", str(run), "--config", str(recipe), *MORE]) == 0
    assert steps(run) == 8  # the run that is gone on with, not the one that the recipe names
    assert not (tmp_path / "another").exists()


def test_a_run_that_wrote_no_checkpoint_says_how_to_start_it_again(tmp_path, capsys):
    (tmp_path / "config.yaml").write_text("{}")
    assert main(["train", "--resume", str(tmp_path)]) == 1
    assert f"attngan train --config {tmp_path}/config.yaml --run_dir {tmp_path}" in capsys.readouterr().err


def test_going_on_with_one_run_never_writes_over_another(trained, run, capsys):
    assert main(["pretrain", "--resume", str(run), "--run_dir", str(trained)]) == 1
    assert "holds a run already" in capsys.readouterr().err


# --- how things are named ---------------------------------------------------------------------------------------------


def test_options_have_one_spelling():
    given = [
        "--config=a.yaml",
        "-c",
        "b.yaml",
        "--keep",
        "3",
        "--keep=4",
        "--resume=runs/x",
        "--model.kl=1",
        "-c=c.yaml",
    ]
    assert spelled_out(given) == [
        *("--config", "a.yaml", "--config", "b.yaml", "--checkpoints.keep", "3", "--checkpoints.keep=4"),
        *("--resume", "runs/x", "--model.kl=1", "--config", "c.yaml"),
    ]


@pytest.mark.parametrize("name", ["toy/damsm", "toy/damsm.yaml", "configs/toy/damsm.yaml"])
def test_a_recipe_that_came_with_attngan_is_found_by_its_name_in_any_folder(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert spelled_out(["--config", name]) == ["--config", str(REPOSITORY / "configs" / "toy" / "damsm.yaml")]
    own = tmp_path / name
    own.parent.mkdir(parents=True, exist_ok=True)
    own.touch()
    assert spelled_out(["-c", name]) == ["--config", name]  # a file that is there comes first


def test_a_name_that_is_none_gets_the_near_ones(capsys):
    assert main(["train", "--config", "attngan_cup"]) == 1
    assert "did you mean attngan_cub" in capsys.readouterr().err


@pytest.mark.parametrize("spelling", [["--config={}"], ["-c", "{}"]])
def test_a_recipe_is_named_either_way(spelling, tmp_path, capsys):
    missing = tmp_path / "missing.yaml"
    assert main(["pretrain", *(word.format(missing) for word in spelling)]) != 0
    assert "missing.yaml" in capsys.readouterr().err


def test_a_run_is_named_after_its_recipe(tmp_path):
    assert str(default_run_dir([tmp_path / "dfgan.yaml"], "train")) == "runs/dfgan"
    assert str(default_run_dir([tmp_path / "birds" / "config.yaml"], "train")) == "runs/birds"
    assert str(default_run_dir([], "train")) == "runs/train"


# --- how many checkpoints stay ----------------------------------------------------------------------------------------


def test_the_newest_checkpoints_by_epochs_stay(toy_root, tmp_path):
    run = tmp_path / "run"
    recipe = damsm_recipe(toy_root, run)
    recipe["checkpoints"] = {"every_epochs": 1}
    recipe["trainer"]["max_epochs"] = 4
    config = str(write_recipe(tmp_path / "x.yaml", recipe))
    (run / CHECKPOINTS).mkdir(parents=True)
    (run / CHECKPOINTS / "epoch_notes.txt").write_text("mine")
    assert main(["pretrain", "--config", config, "--keep", "2"]) == 0
    names = sorted(path.name for path in (run / CHECKPOINTS).iterdir())
    assert names == ["epoch_0002.ckpt", "epoch_0003.ckpt", "epoch_notes.txt", "last.ckpt"]


def test_those_of_a_future_that_was_given_up_do_not_push_out_the_new_ones(tmp_path):
    from attngan.training.callbacks.run_checkpoints import by_epochs

    for epoch in (1, 2, 50, 10000):
        (tmp_path / f"epoch_{epoch:04d}.ckpt").touch()
    assert [path.name for path in by_epochs(tmp_path, 60)] == ["epoch_0001.ckpt", "epoch_0002.ckpt", "epoch_0050.ckpt"]


def test_what_cannot_be_kept_is_refused():
    with pytest.raises(ValueError, match=r"checkpoints\.keep is 0"):
        RunCheckpoints(keep=0)
    with pytest.raises(ValueError, match=r"leave one of the two out"):
        RunCheckpoints(best_by="validation/r1", keep=3)
