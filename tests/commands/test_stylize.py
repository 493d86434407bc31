"""``attngan stylize``: results, page, going on, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from attngan.cli import main
from attngan.style_transfer.stylizing import fitting
from tests.pages.images import page_images


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{name}.png" for name in ("content", "style", "other")]
    for path, side in zip(paths, (48, 64, 40), strict=True):
        Image.fromarray(rng.integers(0, 256, (side, side + 16, 3), np.uint8)).save(path)
    return [str(path) for path in paths]


def run(out: Path, images: list[str], *more: str) -> int:
    network = ["--network", "efficientnet-lite0", "--size", "64", "--print_iterations", "2", "--no_progress"]
    return main(["stylize", *images, "--out", str(out), *network, *more])


def test_an_image_is_drawn_in_two_styles_and_the_page_shows_how(
    images: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    weighted = ["--style_weights", "3", "1", "--style_scales", "1", "0.5", "--style_layers", "stride2", "stride4=0.5"]
    assert run(out, images, *weighted, "--iterations", "4") == 0
    told = capsys.readouterr().out
    assert [line.split()[0] for line in told.splitlines() if "loss" in line and "content" in line] == ["1", "2", "4"]
    with Image.open(out / "stylized.png") as result, Image.open(images[0]) as content:
        assert result.size == content.size
        assert np.abs(np.asarray(result, float) - np.asarray(content)).mean() > 1
    page = (out / "index.html").read_text()
    # result, content, two styles, the picture after one iteration, and the curve whatever is printed
    assert len(page_images(page)) == 6
    assert "4 iterations" in page
    assert "http" not in page


def test_called_again_it_goes_on_and_ends_as_one_run(images: list[str], tmp_path: Path) -> None:
    run(tmp_path / "halves", images[:2], "--iterations", "2")
    run(tmp_path / "halves", images[:2], "--iterations", "4")
    run(tmp_path / "whole", images[:2], "--iterations", "4")
    ends = [Image.open(tmp_path / name / "stylized.png").tobytes() for name in ("halves", "whole")]
    assert ends[0] == ends[1]


def test_other_settings_in_the_same_folder_are_refused(
    images: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path / "out", images[:2], "--iterations", "1")
    assert run(tmp_path / "out", images[:2], "--iterations", "2", "--seed", "1") == 1
    assert "other settings (seed 0, now 1)" in capsys.readouterr().err


def test_colours_can_be_kept(images: list[str], tmp_path: Path) -> None:
    run(tmp_path / "out", images[:2], "--iterations", "2", "--keep_colours", "--start_noise", "1")
    with Image.open(tmp_path / "out" / "stylized.png") as result, Image.open(images[0]) as content:
        drawn, given = (np.asarray(image.convert("YCbCr"), float) for image in (result, content))
    assert np.abs(drawn[..., 1:] - given[..., 1:]).mean() < 15  # but for clipping to RGB
    assert np.abs(drawn[..., 0] - given[..., 0]).mean() > 20


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--style_weights", "1", "2"], "--style_weights has 2 numbers for 1 style images"),
        (["--style_layers", "stride2=much"], "'much' is no number"),
        (["--style_layers", "relu1_1"], "no layer relu1_1: there are stride2"),
        (["--size", "16"], "give a larger image or --size"),
        (["--start_noise", "3"], "--start_noise is 3"),
        (["--initial", "nowhere.png"], "no image at"),
        (["--iterations", "0"], "iterations"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_in_one_line(
    images: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], told: str
) -> None:
    assert run(tmp_path / "out", images[:2], *more) == 1
    err = capsys.readouterr().err
    assert told in err
    assert "Traceback" not in err


def test_a_small_image_is_not_enlarged_but_a_style_is() -> None:
    image = Image.new("RGB", (40, 20))
    assert fitting(image, 80).size == (40, 20)
    assert fitting(image, 10).size == (10, 5)
    assert fitting(image, 80, enlarge=True).size == (80, 40)
