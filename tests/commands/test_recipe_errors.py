"""Mistakes in a recipe: file, line and key, the cause alone, and what was meant."""

import pytest

from attngan.cli import main
from attngan.commands.recipe_errors import line_of, place_of
from tests.tiny import gan_recipe, write_damsm, write_recipe

RECIPE = """# a comment
model:
  kl: 1
  generator:
    class_path: x.Y
    init_args:
      width: 4
trainer:
  callbacks:
    - class_path: A
    - class_path: B
      init_args: {patience: 3}
"""


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("model", 2),
        ("model.kl", 3),
        ("model.generator.init_args.width", 7),
        ("trainer.callbacks.init_args.patience", 12),
        ("model.lk", 2),
        ("data", None),
    ],
)
def test_the_line_of_a_key(key, line, tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(RECIPE)
    assert line_of(path, key) == line


def test_the_place_of_a_key(tmp_path):
    one, other = tmp_path / "one.yaml", tmp_path / "other.yaml"
    one.write_text("model: {kl: 1}\ndata: {root: x}\n")
    other.write_text("\nmodel:\n  kl: 2\n")
    arguments = ["--config", str(one), "--config", str(other), "--model.matching", "x", "--data.seed=y"]
    assert place_of("model.kl", arguments) == f"{other}, line 3: model.kl: "  # a later recipe overrides
    assert place_of("data.root", arguments) == f"{one}, line 2: data.root: "
    assert place_of("model.matching", arguments) == "--model.matching: "
    assert place_of("data.seed", arguments) == "--data.seed: "
    assert place_of("trainer.devices", arguments) == "trainer.devices: "


def misspelt(recipe):
    recipe["data"]["bach_size"] = 3


def of_a_class(recipe):
    recipe["model"]["discriminators"]["init_args"]["widht"] = 3


def of_a_group(recipe):
    recipe["model"]["rates"] = {"generatr": 1e-4}


def no_number(recipe):
    recipe["trainer"]["max_epochs"] = "ten"


def no_choice(recipe):
    recipe["model"]["wrong_pairs"] = "dfgna"


def missing(recipe):
    del recipe["data"]["root"]


@pytest.mark.parametrize(
    ("change", "key", "told"),
    [
        (misspelt, "data.bach_size", "there is no such key: did you mean data.batch_size?"),
        (
            of_a_class,
            "model.discriminators.init_args.widht",
            "there is no such argument of DiscriminatorPyramid: did you",
        ),
        (of_a_group, "model.rates.generatr", "there is no such key: did you mean model.rates.generator?"),
        (no_number, "trainer.max_epochs", "'ten' is not a whole number or null"),
        (no_choice, "model.wrong_pairs", "did you mean dfgan?"),
        (missing, "", "missing: data.root"),
    ],
)
def test_a_mistake_in_a_recipe_is_one_line(change, key, told, tmp_path, capsys):
    damsm = write_damsm(tmp_path / "damsm.ckpt", _vocabulary())
    recipe = gan_recipe(tmp_path / "birds", tmp_path / "run", damsm)
    change(recipe)
    path = write_recipe(tmp_path / "mine.yaml", recipe)
    assert main(["train", "-c", str(path)]) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert told in printed.err
    if key:
        line = line_of(path, key)
        assert printed.err.startswith(f"attngan train: {path}, line {line}: {key}: ")
        assert key.rpartition(".")[2] in path.read_text().splitlines()[(line or 0) - 1]
    assert printed.out == ""
    assert not (tmp_path / "run").exists()


def _vocabulary():
    from attngan.text.vocabulary import Vocabulary

    return Vocabulary.from_captions(["a red bird"])


def test_no_recipe_and_no_yaml(tmp_path, capsys):
    assert main(["pretrain", f"--config={tmp_path / 'none.yaml'}"]) != 0
    (tmp_path / "broken.yaml").write_text("model:\n  kl: 1\n bad: [\n")
    assert main(["pretrain", "--config", str(tmp_path / "broken.yaml")]) != 0
    none, broken = capsys.readouterr().err.splitlines()
    assert "none.yaml" in none
    assert f"{tmp_path / 'broken.yaml'}, line 3" in broken
