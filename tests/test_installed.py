"""What is found beside the code: recipes, and the generator that draws where none is named."""

import os
import re
from pathlib import Path

import pytest
import torch

import attngan
from attngan import installed
from attngan.cli import main
from attngan.errors import InputError, MissingFileError
from attngan.sampling import Sampler
from tests.conftest import REPOSITORY
from tests.tiny import CAPTIONS, SIDES, put_in_place_of_the_shipped

MEGABYTE = 1_000_000


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    return put_in_place_of_the_shipped(tmp_path, monkeypatch)


def test_a_recipe_that_is_not_there_is_named():
    assert installed.recipe("toy/damsm.yaml").is_file()
    with pytest.raises(MissingFileError, match=r"no recipe toy/nothing in"):
        installed.recipe("toy/nothing.yaml")


# --- without naming a checkpoint --------------------------------------------------------------------------------------


def test_captions_alone_are_drawn_by_the_generator_that_ships(shipped, tmp_path, capsys):
    assert main(["sample", *CAPTIONS[:2], "--out", str(tmp_path / "out"), "--device", "cpu"]) == 0
    assert len(list((tmp_path / "out").glob("0*.png"))) == 2
    said = capsys.readouterr().out
    assert f"drawn by cub_64 (trained on four captions, 1,234 images seen, {SIDES[-1]} px)" in said
    named = ["sample", str(shipped), CAPTIONS[0], "--out", str(tmp_path / "named"), "--device", "cpu"]
    assert main(named) == 0
    assert "drawn by" not in capsys.readouterr().out
    (one,), (other,) = ((tmp_path / name).glob("00001_000_*.png") for name in ("named", "out"))
    assert one.name == other.name
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("caption", ["a red bird: yes", "{a red bird}", "[red, bird]", "red", f"bird{' red' * 200}"])
def test_a_caption_is_taken_as_it_is(shipped, tmp_path, capsys, caption):
    assert main(["sample", caption, "--out", str(tmp_path / "out"), "--device", "cpu"]) == 0
    assert "1 pictures" in capsys.readouterr().out


def test_captions_of_a_file_need_no_checkpoint_either(shipped, tmp_path):
    (tmp_path / "captions.txt").write_text("\n".join(CAPTIONS))
    arguments = ["--file", str(tmp_path / "captions.txt"), "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert main(["sample", *arguments]) == 0
    assert len(list((tmp_path / "out").glob("0*.png"))) == len(CAPTIONS)


@pytest.mark.parametrize("name", ["last.ckpt", "runs/mine.safetensors", "netG_epoch_600.pth"])
def test_what_ends_like_a_checkpoint_is_one_and_must_be_there(shipped, tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path / "checkpoints")
    assert main(["sample", name, CAPTIONS[0], "--out", str(tmp_path / "out")]) == 1
    assert f"no checkpoint at {os.path.realpath(name)}" in capsys.readouterr().err
    with pytest.raises(MissingFileError, match="no checkpoint at"):
        attngan.sample(name, [CAPTIONS[0]])


def test_a_file_of_any_name_is_a_checkpoint(tmp_path, monkeypatch):
    (tmp_path / "a red bird").write_text("no checkpoint")
    monkeypatch.chdir(tmp_path)
    assert installed.checkpoint_and_captions(["a red bird", "x"]) == (Path("a red bird"), ["x"])
    assert installed.checkpoint_and_captions(["a blue bird", "a red bird"]) == (None, ["a blue bird", "a red bird"])
    assert installed.checkpoint_and_captions([]) == (None, [])


def test_python_needs_no_checkpoint(shipped):
    with_it, attention = attngan.sample(shipped, list(CAPTIONS[:2]), samples_per_caption=2, device="cpu")
    for drawn in (
        attngan.sample(list(CAPTIONS[:2]), samples_per_caption=2, device="cpu"),
        attngan.sample(captions=CAPTIONS[:2], samples_per_caption=2, device="cpu"),
        attngan.sample(str(shipped), CAPTIONS[:2], samples_per_caption=2, device="cpu"),
    ):
        torch.testing.assert_close(drawn[0], with_it)
        assert len(drawn[1]) == len(attention) == 4
    with pytest.raises(InputError, match="given twice"):
        attngan.sample([CAPTIONS[0]], [CAPTIONS[1]])
    with pytest.raises(MissingFileError, match="no checkpoint at"):
        attngan.sample("a red bird", [CAPTIONS[1]])
    alone, _ = attngan.sample(CAPTIONS[0], device="cpu")  # one caption, not a name of a file
    torch.testing.assert_close(alone[0], with_it[0], atol=1e-3, rtol=0)


def test_where_no_generator_ships_it_is_said_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(installed, "roots", lambda: [tmp_path / "here", tmp_path / "there"])
    assert main(["sample", CAPTIONS[0], "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    for part in ("name a checkpoint", "attngan sample FILE", installed.SHIPPED, "here", "there"):
        assert part in said
    assert not (tmp_path / "out").exists()


# --- the file itself --------------------------------------------------------------------------------------------------


@pytest.fixture
def committed():
    path = REPOSITORY / "checkpoints" / installed.SHIPPED
    if not path.is_file():
        pytest.skip(f"no {path}")
    return path


def test_the_generator_that_ships_is_small_draws_and_has_its_card(committed):
    assert committed.stat().st_size <= 12 * MEGABYTE
    sampler = Sampler.load(committed, "cpu")  # safetensors: there is no code in such a file
    assert (sampler.reads, sampler.resolution) == ("captions", 64)
    assert "CUB" in sampler.title
    red, blue = (sampler.draw([f"a {colour} bird"], [0]).images[-1][0].mean((1, 2)) for colour in ("red", "blue"))
    assert red[0] - red[2] > blue[0] - blue[2]
    card = committed.with_suffix(".md").read_text(encoding="utf-8")
    for told in ("CUB-200-2011", "Reed et al. 2016", "## Terms", "## Scores", "## Limits"):
        assert told in card


def test_it_travels_with_the_package():
    declared = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    assert f'"share/attngan/checkpoints" = ["checkpoints/{installed.SHIPPED.partition(".")[0]}.*"]' in declared
    ignored = (REPOSITORY / ".gitignore").read_text(encoding="utf-8")
    assert re.search(rf"^!/checkpoints/{re.escape(installed.SHIPPED)}$", ignored, re.MULTILINE)
