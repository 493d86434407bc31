"""``attngan recipes``: every recipe is listed with what its file says of it, printed and copied by name."""

from pathlib import Path

import pytest

from attngan import installed
from attngan.cli import main
from attngan.commands.recipes import Recipe
from tests.conftest import REPOSITORY


def test_every_recipe_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes"]) == 0
    told = capsys.readouterr().out
    files = sorted((REPOSITORY / "configs").rglob("*.yaml"))
    names = [path.relative_to(REPOSITORY / "configs").with_suffix("").as_posix() for path in files]
    assert "toy/attngan" in names
    for name in names:
        assert f"\n{name}  (" in f"\n{told}"
    assert all(len(line) <= 100 for line in told.splitlines())


def test_a_recipe_tells_what_it_is_needs_and_reached(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(
        "# A generator of 64 px,\n# small.\n# Needs: pip install x\n# Reached: FID 3\n"
        "data: {source: cub, image_size: 64, batch_size: 16}\nmodel: {matching: 1}\n"
    )
    recipe = Recipe.read("r", tmp_path / "r.yaml")
    assert recipe.about == "A generator of 64 px, small."
    assert (recipe.needs, recipe.reached, recipe.trains) == ("pip install x", "FID 3", "train")
    assert recipe.data == "cub at 64 px, batch 16"


def test_one_is_printed_or_copied_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (REPOSITORY / "configs" / "toy" / "damsm.yaml").read_text()
    assert main(["recipes", "toy/damsm"]) == 0
    assert capsys.readouterr().out == text
    assert main(["recipes", "toy/damsm.yaml", "--copy", str(tmp_path)]) == 0
    assert (tmp_path / "damsm.yaml").read_text() == text
    assert main(["recipes", "toy/damsm", "--copy", str(tmp_path / "damsm.yaml")]) == 1
    assert "is there already" in capsys.readouterr().err


def test_a_wrong_name_gets_the_near_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes", "attngan_cup"]) == 1
    assert "did you mean attngan_cub" in capsys.readouterr().err


def test_without_configs_the_list_is_empty_and_says_where(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(installed, "roots", lambda: [tmp_path])
    assert installed.recipes() == {}
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        installed.recipe("attngan_cub")
