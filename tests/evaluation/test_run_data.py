"""What an evaluation takes over from the run that its checkpoint lies in."""

from pathlib import Path

import pytest
import yaml

from attngan.errors import InputError
from attngan.evaluation.request import Request
from attngan.evaluation.run_data import with_data_of_run


@pytest.fixture
def run(tmp_path):
    data = {"root": str(tmp_path / "birds"), "source": "folder", "skip_bad": True, "caption_column": "prompt"}
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump({"data": data}))
    return tmp_path / "run"


@pytest.mark.parametrize("checkpoint", ["checkpoints/last.ckpt", "quick/best_fid.safetensors"])
def test_the_data_of_the_run(run, checkpoint, capsys):
    found = with_data_of_run(Request(checkpoint=run / checkpoint))
    assert (found.data, found.source, found.skip_bad) == (run.parent / "birds", "folder", True)
    assert (found.caption_column, found.text_embeddings) == ("prompt", None)
    assert capsys.readouterr().out == f"data of the run: {run.parent / 'birds'} (folder)\n"


def test_what_is_said_stands(run):
    asked = Request(checkpoint=run / "checkpoints/last.ckpt", data=run.parent / "birds", source="coco")
    found = with_data_of_run(asked)
    assert (found.source, found.skip_bad, found.caption_column) == ("coco", True, "prompt")
    other = with_data_of_run(Request(checkpoint=run / "checkpoints/last.ckpt", data=Path("elsewhere")))
    assert (other.data, other.source, other.skip_bad) == (Path("elsewhere"), "cub", False)


def test_without_a_run_nothing_is_known_but_the_usual_layout(tmp_path, capsys):
    for asked in (Request(images=tmp_path), Request(checkpoint=tmp_path / "x" / "y" / "last.ckpt")):
        found = with_data_of_run(asked)
        assert (found.data, found.source) == (None, "cub")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", ["", "data: 3", "- a list", "data: {source: folder}"])
def test_a_recipe_that_says_nothing_of_data(run, content):
    (run / "config.yaml").write_text(content)
    assert with_data_of_run(Request(checkpoint=run / "checkpoints/last.ckpt")).data is None


def test_a_recipe_that_is_none(run):
    (run / "config.yaml").write_text("data: [\n")
    with pytest.raises(InputError, match=r"config\.yaml, line 2"):
        with_data_of_run(Request(checkpoint=run / "checkpoints/last.ckpt"))
