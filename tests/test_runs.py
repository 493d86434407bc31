"""The Python interface: `attngan.pretrain`, `train`, `evaluate`, `sample` and `Generator`, which the commands call."""

import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

import attngan
from attngan.cli import COMMANDS, RECIPES
from attngan.errors import InputError
from attngan.runs import Run, as_arguments, run_dir_of
from tests.tiny import CAPTIONS, damsm_recipe, gan_recipe, put_in_place_of_the_shipped, write_recipe


@pytest.fixture(scope="module")
def runs(toy_root, tmp_path_factory):
    """A tiny DAMSM and a generator, trained from Python."""
    folder = tmp_path_factory.mktemp("runs")
    damsm_file = write_recipe(folder / "damsm.yaml", damsm_recipe(toy_root, folder / "unused"))
    damsm = attngan.pretrain(damsm_file, run_dir=folder / "damsm", model={"word_dim": 6})
    recipe = gan_recipe(toy_root, folder / "unused", folder / "unused.ckpt")
    gan_file = write_recipe(folder / "gan.yaml", recipe)
    gan = attngan.train(
        gan_file, run_dir=folder / "gan", model={"damsm": damsm.best, "generator": {"init_args": {"width": 3}}}
    )
    return damsm, gan


def test_runs_say_where_they_lie(runs):
    damsm, gan = runs
    assert damsm.folder.name == "damsm"
    assert damsm.best.name == "best.ckpt"
    assert damsm.test_scores == json.loads((damsm.folder / "test_scores.json").read_text())
    assert damsm.test_scores
    assert gan.last == gan.best == gan.folder / "checkpoints" / "last.ckpt"
    assert gan.last.is_file()
    assert gan.test_scores == {}


def test_keys_override_the_recipe_and_leave_the_rest(runs):
    damsm, gan = (yaml.safe_load((run.folder / "config.yaml").read_text()) for run in runs)
    assert damsm["model"]["word_dim"] == 6
    assert damsm["model"]["embed_dim"] == 16  # the recipe's
    network = gan["model"]["generator"]
    assert network["class_path"].endswith("AttnGANGenerator")
    assert network["init_args"]["width"] == 3
    assert network["init_args"]["noise_dim"] == 4


def test_a_trained_generator_draws_and_is_scored(runs, toy_root, tmp_path):
    gan = runs[1]
    images, attention = attngan.sample(gan.last, ["a small red bird"], samples_per_caption=2, device="cpu")
    assert images.shape == (2, 3, 16, 16)
    generator = attngan.Generator.from_file(str(gan.last), device="cpu")
    again, _ = generator.sample(["a small red bird"], samples_per_caption=2)
    assert torch.equal(images, again)
    assert attention[0][-1].sum(0).allclose(torch.ones(()))
    result = attngan.evaluate(
        checkpoint=str(gan.last), data=str(toy_root), metrics=["r_precision"], count=20, out=str(tmp_path),
        progress=False, device="cpu",
    )  # fmt: skip
    assert all(0 <= score["value"] <= 100 for score in result["scores"].values())
    assert json.loads((tmp_path / "scores.json").read_text())["scores"] == json.loads(json.dumps(result["scores"]))


def test_a_run_is_gone_on_with(runs, tmp_path):
    folder = shutil.copytree(runs[1].folder, tmp_path / "gan")
    gone_on = attngan.train(resume=folder, trainer={"max_epochs": 2})
    assert gone_on.folder.resolve() == folder.resolve()
    steps = [torch.load(run.last, weights_only=True)["global_step"] for run in (runs[1], gone_on)]
    assert steps[1] == 2 * steps[0]


def test_mistakes_are_those_of_the_command_line(tmp_path):
    with pytest.raises(InputError, match="name a recipe: attngan train"):
        attngan.train()
    with pytest.raises(FileNotFoundError, match=r"no recipe toy/atngan.*did you mean toy/attngan"):
        attngan.train("toy/atngan")
    with pytest.raises(InputError, match=r"budget\.minuets"):
        attngan.train("toy/attngan", budget={"minuets": 1}, run_dir=tmp_path / "run")
    with pytest.raises(InputError, match=r"model\.kl is a Tensor"):
        attngan.train("toy/attngan", model={"kl": torch.ones(1)})


def test_keys_are_written_as_the_command_line_has_them():
    keys = {
        "run_dir": Path("runs/a"),
        "data": {"root": "birds", "workers": 0},
        "model": {"rates": {"generator": 1e-4}, "damsm": None, "names": ["a", Path("b")]},
        "quick": {"every_epochs": 2},
        "trainer": {"deterministic": True, "callbacks": {}},
    }
    assert list(as_arguments(keys)) == [
        "--run_dir=runs/a",
        "--data.root=birds",
        "--data.workers=0",
        "--model.rates.generator=0.0001",
        "--model.damsm=null",
        '--model.names=["a", "b"]',
        "--quick.every_epochs=2",
        "--trainer.deterministic=true",
        "--trainer.callbacks={}",
    ]


def test_where_a_run_lies(tmp_path):
    own = write_recipe(tmp_path / "mine.yaml", {"run_dir": "elsewhere"})
    for words, folder in (
        (["--config", "toy/attngan"], "runs/attngan"),
        (["--config=toy/attngan", "--run-dir", "x"], "x"),
        (["--config", "toy/attngan", "--run_dir=x"], "x"),
        (["-c", str(own)], "elsewhere"),
        (["--config", str(own), "--run_dir", "x"], "x"),
        (["--resume", "runs/a/checkpoints/last.ckpt"], "runs/a"),
        (["--resume=runs/a"], "runs/a"),
    ):
        assert run_dir_of(words, "train") == Path(folder)


def called_by(name):
    return getattr(importlib.import_module(COMMANDS[name].module), COMMANDS[name].function)


def test_the_commands_call_these_functions():
    for name in RECIPES:
        assert getattr(importlib.import_module(COMMANDS[name].module), COMMANDS[name].function) is getattr(
            attngan, name
        )
    command = COMMANDS["evaluate"]
    assert getattr(importlib.import_module(command.module), command.function) is attngan.evaluate


def test_what_the_command_line_ends_with_is_passed_on(monkeypatch):
    from attngan import cli, runs

    monkeypatch.setattr(runs.recipes, "train", lambda words, callbacks: 7)
    assert cli.main(["train", "--config", "toy/attngan"]) == 7
    assert attngan.train("toy/attngan") == Run(Path("runs/attngan"), 7)


def test_the_generator_that_ships(tmp_path, monkeypatch):
    path = put_in_place_of_the_shipped(tmp_path, monkeypatch)
    generator = attngan.Generator.from_file(device="cpu")
    assert generator.source.path == path
    images, _ = generator.sample(CAPTIONS[:2])
    assert torch.equal(images, attngan.sample(CAPTIONS[:2], device="cpu")[0])


def test_names_are_there_without_torch():
    code = "import sys, attngan; print(sorted(set(attngan.__all__) - set(dir(attngan))), 'torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.strip() == "[] False"
