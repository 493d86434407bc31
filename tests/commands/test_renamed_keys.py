"""A recipe of before tells the new names of its keys."""

import inspect

import pytest
import yaml

from attngan.cli import main
from attngan.commands.renamed_keys import RENAMED, refuse_renamed_keys
from attngan.training.gan_module import GANModule
from tests.tiny import write_recipe


def test_each_old_key_of_a_recipe_is_named_with_the_new_one(tmp_path):
    model = {old.removeprefix("model."): 1 for old in RENAMED}
    recipe = write_recipe(tmp_path / "config.yaml", {"model": model})
    for arguments in (["--config", str(recipe)], [f"--config={recipe}"]):
        with pytest.raises(ValueError, match="another name") as refused:
            refuse_renamed_keys(arguments)
        for old, new in RENAMED.items():
            assert f"{recipe}: {old} (did you mean {new}?)" in str(refused.value)


def test_an_old_option_is_named_with_the_new_one():
    with pytest.raises(ValueError, match=r"--model\.ema_decay \(did you mean model\.ema\.decay\?\)"):
        refuse_renamed_keys(["--config", "none.yaml", "--model.ema_decay", "0.9"])


def test_new_keys_pass(tmp_path):
    model = {"r1": {"weight": 1.0}, "rates": {"fall": 0.4}, "ema": {"decay": 0.9}}
    refuse_renamed_keys(["--config", str(write_recipe(tmp_path / "new.yaml", {"model": model})), "--model.r1.every=2"])


def test_new_names_are_arguments():
    arguments = inspect.signature(GANModule.__init__).parameters
    for new in RENAMED.values():
        _, group, name = new.split(".")
        assert hasattr(arguments[group].default, name), new


def test_going_on_with_an_old_run_says_what_to_rename(tmp_path, capsys):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    recipe = tmp_path / "run" / "config.yaml"
    recipe.write_text(yaml.safe_dump({"model": {"learning_rate_fall": 0.4, "r1": 1.0}}))
    assert main(["train", "--config", str(recipe)]) == 1
    message = capsys.readouterr().err
    assert "model.rates.fall" in message
    assert "model.r1.weight" in message
