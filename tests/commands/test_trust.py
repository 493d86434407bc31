"""A stranger's recipe: what it may name, and that nothing of it runs before that is decided."""

import json
import sys
import time

import pytest
import yaml
from jsonargparse import ArgumentError, ArgumentParser

from attngan.cli import main
from attngan.commands.trust import ADMITTED, admit, refuse_untrusted, take_trusted
from tests.tiny import gan_recipe, write_recipe

RAN = "the stranger's code ran"


@pytest.fixture
def stranger(tmp_path, monkeypatch):
    """A module that leaves a trace when it is imported, and a callback in it that does when it is made."""
    package = tmp_path / "stranger_s_package"
    package.mkdir()
    trace = tmp_path / "trace"
    (package / "__init__.py").write_text(
        f"from pathlib import Path\nPath({str(trace)!r}).write_text('imported')\n"
        "from pytorch_lightning import Callback\n"
        f"class Mark(Callback):\n    def on_fit_start(self, *_):\n        Path({str(trace)!r}).write_text({RAN!r})\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, package.name, raising=False)
    return trace


@pytest.fixture
def recipe(toy_root, tmp_path):
    recipe = gan_recipe(toy_root, tmp_path / "run", tmp_path / "none.ckpt")
    recipe["model"]["damsm"] = None
    recipe["model"]["matching"] = 0.0
    recipe["data"]["captions_per_image"] = 0
    for network in ("generator", "discriminators"):
        recipe["model"][network]["init_args"]["embed_dim"] = None
    recipe["model"]["generator"] = {
        "class_path": "attngan.networks.multistage.StackGANPlusPlusGenerator",
        "init_args": {"stages": 2, "width": 4, "embed_dim": None, "noise_dim": 4, "residual_blocks": 1, "base_size": 8},
    }
    return recipe


MARK = "stranger_s_package.Mark"
#: Each a way of naming a class.
NAMED = {
    "class_path": {"class_path": MARK},
    "a word": MARK,
    "a word in a nested text": json.dumps({"class_path": MARK}),
    "through a module of ours": "attngan.cli.importlib.import_module",
    "a function of the system": "os.system",
    "a class that calls": {"class_path": "pytorch_lightning.callbacks.LambdaCallback", "init_args": {}},
    "the same where it is defined": {"class_path": "pytorch_lightning.callbacks.lambda_function.LambdaCallback"},
    "by its name alone": "LambdaCallback",
    "within another's arguments": {
        "class_path": "pytorch_lightning.callbacks.BackboneFinetuning",
        "init_args": {"lambda_func": "os.system"},
    },
    "a strategy's module": {"class_path": "pytorch_lightning.strategies.SingleDeviceStrategy"},
}


@pytest.mark.parametrize("named", NAMED.values(), ids=NAMED.keys())
def test_what_a_recipe_may_not_name_is_refused_before_anything_runs(recipe, stranger, tmp_path, capsys, named):
    recipe["trainer"]["callbacks"] = [named]
    path = write_recipe(tmp_path / "recipe.yaml", recipe)
    try:
        code = main(["train", "--config", str(path)])
    except SystemExit as stopped:  # by the parser, where the look before it found nothing
        code = stopped.code
    assert code in (1, 2)
    if named is not NAMED["a word in a nested text"]:  # which is read as a text
        assert "--trust" in capsys.readouterr().err
    assert not stranger.exists()
    assert not (tmp_path / "run").exists()


def test_the_message_names_file_key_class_and_option(recipe, stranger, tmp_path, capsys):
    recipe["trainer"]["callbacks"] = [{"class_path": MARK}]
    path = write_recipe(tmp_path / "recipe.yaml", recipe)
    assert main(["train", "--config", str(path)]) == 1
    message = capsys.readouterr().err
    assert f"{path}: trainer.callbacks[0].class_path is {MARK}" in message
    assert "--trust stranger_s_package" in message
    assert len(message.strip().splitlines()) == 1


@pytest.mark.parametrize("option", [["--trust", "stranger_s_package"], ["--trust=stranger_s_package"]])
def test_trusted_code_runs_and_is_asked_for_again_on_resume(recipe, stranger, tmp_path, capsys, option):
    recipe["trainer"]["callbacks"] = [{"class_path": MARK}]
    path = write_recipe(tmp_path / "recipe.yaml", recipe)
    assert main(["train", "--config", str(path), *option]) == 0
    assert stranger.read_text() == RAN
    stranger.unlink()
    more = ["--resume", str(tmp_path / "run"), "--trainer.max_epochs", "2"]
    assert main(["train", *more]) == 1
    assert "--trust stranger_s_package" in capsys.readouterr().err
    assert not stranger.exists()
    assert main(["train", *more, *option]) == 0
    assert stranger.read_text() == RAN


def test_a_recipe_cannot_say_whom_the_user_trusts(recipe, stranger, tmp_path, capsys):
    path = write_recipe(tmp_path / "recipe.yaml", recipe | {"trust": "stranger_s_package"})
    assert main(["train", "--config", str(path)]) == 1
    assert "only the command line can" in capsys.readouterr().err


def test_what_is_admitted_needs_no_trust(recipe, tmp_path):
    recipe["trainer"]["callbacks"] = [
        {"class_path": "pytorch_lightning.callbacks.LearningRateMonitor", "init_args": {}},
        {"class_path": "pytorch_lightning.callbacks.EarlyStopping", "init_args": {"monitor": "images_seen"}},
    ]
    recipe["logger"] = "tensorboard"
    assert main(["train", "--config", str(write_recipe(tmp_path / "recipe.yaml", recipe))]) == 0


def test_the_options_of_the_command_line_are_looked_at_too():
    with pytest.raises(ValueError, match=r"--model\.generator\.class_path is os\.path\.X"):
        refuse_untrusted(["--model.generator.class_path=os.path.X"], [])
    refuse_untrusted([f"--model.generator.class_path={ADMITTED[0]}.X", "--model.x.class_path", "mine.X"], ["mine"])
    with pytest.raises(ValueError, match="--trust mine"):
        refuse_untrusted(["--model.x.class_path", "mine.X"], ["min"])


def test_trust_takes_a_modules_name():
    assert take_trusted(["a", "--trust", "b.c", "--trust=d", "e"]) == (["a", "e"], ["b.c", "d"])
    for wrong in (["--trust"], ["--trust", "no module"], ["--trust="]):
        with pytest.raises(ValueError, match="it takes the name of a module"):
            take_trusted(wrong)


def test_a_module_is_trusted_for_one_command_only():
    def parsed(trusted):
        admit(trusted)
        parser = ArgumentParser(exit_on_error=False)
        parser.add_argument("--of", type=type[json.JSONDecoder])
        return parser.parse_args(["--of=json.JSONDecoder"]).of

    assert parsed(["json"]) is json.JSONDecoder
    with pytest.raises(ArgumentError, match=r"json\.JSONDecoder"):
        parsed([])


@pytest.mark.parametrize("place", ["at the top", "within a text"])
def test_aliases_without_end_are_refused_at_once(recipe, tmp_path, capsys, place):
    levels = "\n".join(f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 9)}]" for i in range(12))
    bomb = f"a0: &a0 [1, 2]\n{levels}\n"
    path = tmp_path / "recipe.yaml"
    if place == "at the top":
        path.write_text(yaml.safe_dump(recipe) + bomb)
    else:
        recipe["data"]["root"] = "{" + bomb.replace("\n", ", ").strip(", ") + "}"
        write_recipe(path, recipe)
    began = time.monotonic()
    assert main(["train", "--config", str(path)]) == 1
    assert time.monotonic() - began < 20
    assert "named again and again" in capsys.readouterr().err
