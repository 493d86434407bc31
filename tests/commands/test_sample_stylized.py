"""`attngan sample --stylize`: each picture also in the style of others."""

import numpy as np
import pytest
from PIL import Image

from attngan.cli import main
from attngan.evaluation.image_files import ImageFiles
from tests.tiny import CAPTIONS, put_in_place_of_the_shipped

SMALL = (
    "--stylize-network",
    "efficientnet-lite0",
    "--stylize-size",
    "48",
    "--stylize-iterations",
    "3",
    "--device",
    "cpu",
)


@pytest.fixture
def style(tmp_path, monkeypatch):
    pytest.importorskip("efficientnet_lite_pytorch")
    put_in_place_of_the_shipped(tmp_path, monkeypatch)
    path = tmp_path / "style.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)).save(path)
    return path


def test_each_picture_is_drawn_in_the_style_too(style, tmp_path):
    out = tmp_path / "out"
    arguments = [CAPTIONS[2], "--samples-per-caption", "2", "--stylize", str(style), "--out", str(out), *SMALL]
    assert main(["sample", *arguments]) == 0
    stylized = sorted(out.glob("*_stylized.png"))
    assert [path.name[:9] for path in stylized] == ["00001_000", "00001_001"]
    for path in stylized:
        plain = Image.open(path.with_name(path.name.replace("_stylized", "")))
        with Image.open(path) as picture:
            assert picture.size == (48, 48)
            enlarged = np.asarray(plain.resize((48, 48), Image.Resampling.LANCZOS), float)
            assert np.abs(np.asarray(picture) - enlarged).mean() > 0.1
            # it says where it comes from, and that it is no sample
            assert picture.text["caption"] == plain.text["caption"]
            assert picture.text["attngan"] == "overview"
    # the grid shows each picture and beside it the stylized one
    assert Image.open(out / "grid.png").width > 4 * 128


def test_a_stylized_picture_is_no_sample_to_be_scored(style, tmp_path):
    out = tmp_path / "out"
    assert main(["sample", CAPTIONS[2], "--stylize", str(style), "--out", str(out), *SMALL]) == 0
    assert len(ImageFiles(out)) == 1


def test_the_same_picture_is_stylized_alike_by_both_commands(style, tmp_path):
    out = tmp_path / "out"
    assert main(["sample", CAPTIONS[2], "--stylize", str(style), "--out", str(out), *SMALL]) == 0
    (stylized,) = out.glob("*_stylized.png")
    picture = tmp_path / "large.png"
    with Image.open(str(stylized).replace("_stylized", "")) as plain:
        plain.resize((48, 48), Image.Resampling.LANCZOS).save(picture)
    options = ["--network", "efficientnet-lite0", "--size", "48", "--iterations", "3", "--no_progress"]
    assert main(["stylize", str(picture), str(style), "--out", str(tmp_path / "other"), *options]) == 0
    one, other = (np.asarray(Image.open(path), int) for path in (stylized, tmp_path / "other" / "stylized.png"))
    assert np.abs(one - other).max() <= 1


def test_what_cannot_be_stylized(style, tmp_path, capsys):
    absent = str(tmp_path / "absent.png")
    assert main(["sample", CAPTIONS[2], "--stylize", absent, "--out", str(tmp_path / "out"), *SMALL]) == 1
    assert f"no image at {absent}" in capsys.readouterr().err
    with pytest.warns(UserWarning, match="since --stylize is not given: --stylize_size = 48"):
        assert main(["sample", CAPTIONS[2], "--stylize-size", "48", "--out", str(tmp_path / "out")]) == 0
