"""The demo in its smallest form: everything runs, and the page stands alone."""

import json
from pathlib import Path

import pytest

from attngan.cli import main
from attngan.commands.demo import demo
from attngan.commands.recipe_files import recipe


def test_smoke_makes_a_page_that_needs_nothing_else(tmp_path: Path) -> None:
    assert main(["demo", "--smoke", "--out", str(tmp_path / "demo")]) == 0
    page = (tmp_path / "demo" / "index.html").read_text()
    sources = [part.partition('"')[0] for part in page.split('src="')[1:]]
    assert len(sources) >= 4
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert "http" not in page
    facts = json.loads((tmp_path / "demo" / "demo.json").read_text())
    assert set(facts["colour_truth"]) >= {"samples", "real", "samples_with_other_captions"}
    # who trained the generator must not pass for an independent judge
    assert any("that_trained_the_generator" in name for name in facts["scores"])
    assert "flatters" in page


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(FileExistsError, match="--out"):
        demo(tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "precious"


def test_too_few_minutes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--smoke"):
        demo(tmp_path / "demo", minutes=1.0)


def test_a_recipe_that_is_not_there_is_named() -> None:
    assert recipe("toy/damsm.yaml").is_file()
    with pytest.raises(FileNotFoundError, match=r"toy/nothing\.yaml"):
        recipe("toy/nothing.yaml")
