"""The demo in its smallest form: everything runs, and the page stands alone at each of its stages."""

import json
from pathlib import Path

import pytest
import torch
from pytorch_lightning import LightningModule, Trainer

from attngan import installed
from attngan.cli import main
from attngan.commands import demo as command
from attngan.commands.demo import GIVEN_CAPTIONS, demo
from attngan.commands.demo_page import SAMPLES, STEPS, DemoPage, Shipped
from attngan.commands.demo_training import ShownTraining, Trained
from attngan.sampling import Sampler
from tests.pages.images import page_images
from tests.tiny import CAPTIONS, put_in_place_of_the_shipped


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return put_in_place_of_the_shipped(tmp_path / "installed", monkeypatch)


def test_smoke_makes_a_page_that_needs_nothing_else(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages: list[str] = []
    write = DemoPage._write

    def written(page: DemoPage, *arguments: object) -> None:
        write(page, *arguments)  # type: ignore[arg-type]
        stages.append(page.path.read_text())

    monkeypatch.setattr(DemoPage, "_write", written)
    out = tmp_path / "demo"
    assert main(["demo", "--smoke", "--no_open", "--captions", *CAPTIONS[:2], "zebra", "--out", str(out)]) == 0
    page = (out / "index.html").read_text()
    assert page == stages[-1]
    for stage in stages:  # the first pictures are there from the beginning to the end
        assert all(caption in stage for caption in CAPTIONS[:2])
        assert "no word is known: zebra" in stage
        assert "four captions" in stage
        assert all(source.startswith("data:image/png;base64,") for source in page_images(stage))
        assert len(page_images(stage)) >= 2 * SAMPLES
        assert ('http-equiv="refresh"' in stage) == (stage is not stages[-1])
    assert len(stages) >= len(STEPS) + 1
    assert "http" not in page
    assert (out / "captions.png").is_file()
    assert (out / "samples.png").is_file()
    facts = json.loads((out / "demo.json").read_text())
    assert set(facts["colour_truth"]) >= {"samples", "real", "samples_with_other_captions"}
    assert facts["generator"]["images"] == 64
    assert facts["generator"]["steps"] == 4
    assert facts["precision"].split()[0] in ("float32", "bfloat16")
    for told in ("Inception Score", "R-precision", "images/s", facts["precision"], "smoke test"):
        assert told in page
    # who trained the generator must not pass for an independent judge
    assert any("that_trained_the_generator" in name for name in facts["scores"])
    assert "flatters" in page


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(FileExistsError, match="--out"):
        demo(tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "precious"


def test_without_a_name_the_first_free_folder_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert command._folder(None) == Path("demo")
    Path("demo").mkdir()
    assert command._folder(None) == Path("demo")
    Path("demo/index.html").touch()
    Path("demo_2").touch()
    assert command._folder(None) == Path("demo_3")


@pytest.mark.parametrize(("wrong", "match"), [({"minutes": 1.0}, "--smoke"), ({"images": 0}, "images")])
def test_too_little_is_refused(tmp_path: Path, wrong: dict[str, float], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        demo(tmp_path / "demo", **wrong)  # type: ignore[arg-type]
    assert not (tmp_path / "demo").exists()


# --- the first pictures -----------------------------------------------------------------------------------------------


def test_captions_are_drawn_alike_by_the_demo_and_by_sample(shipped: Path) -> None:
    sampler = Sampler.load(shipped, "cpu")
    drawn = Shipped.draw(sampler, [*CAPTIONS[:2], "a red zebra", "zebra"], seed=3)
    assert list(drawn.captions) == [*CAPTIONS[:2], "a red zebra"]
    assert list(drawn.refused) == ["zebra"]
    assert list(drawn.unknown) == [[], [], ["zebra"]]
    expected = sampler.draw(CAPTIONS[:2], [4, 4], 3).images[-1]
    torch.testing.assert_close(torch.stack([images[4] for images in drawn.images[:2]]), expected)


def test_captions_that_nobody_can_read_give_the_given_ones(
    shipped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = command._draw_captions(tmp_path / "out", ["zebra", "giraffe"], seed=0)
    assert list(drawn.captions) == list(GIVEN_CAPTIONS)
    assert list(drawn.refused) == ["zebra", "giraffe"]
    assert "no word of 'giraffe' is known" in capsys.readouterr().err


@pytest.mark.parametrize("broken", [False, True])
def test_without_a_generator_that_ships_the_demo_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], broken: bool
) -> None:
    monkeypatch.setattr(installed, "roots", lambda: [tmp_path])
    if broken:
        (tmp_path / "checkpoints").mkdir()
        (tmp_path / "checkpoints" / installed.SHIPPED).write_text("no weights")
    drawn = command._draw_captions(tmp_path / "out", [], seed=0)
    assert installed.SHIPPED in drawn.problem
    assert installed.SHIPPED in capsys.readouterr().err
    DemoPage(tmp_path / "index.html", drawn).under_way(2)
    assert "There are no pictures yet" in (tmp_path / "index.html").read_text()


@pytest.mark.parametrize("screen", [True, False])
def test_a_browser_is_opened_where_there_is_a_screen_and_never_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, screen: bool
) -> None:
    opened: list[str] = []

    def fails(address: str) -> bool:
        opened.append(address)
        raise OSError("no browser")

    monkeypatch.setattr(command.sys, "platform", "linux")
    monkeypatch.setattr(command.webbrowser, "open", fails)
    monkeypatch.setattr(command.os, "environ", {"DISPLAY": ":0"} if screen else {})
    command._open_in_browser(tmp_path / "index.html")
    assert opened == ([(tmp_path / "index.html").as_uri()] if screen else [])


# --- its training -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("images", "cut", "told"),
    [
        (60_000, False, "all 60,000 images: colours where the captions name them"),
        (59_500, False, "all 60,000 images"),
        (33_000, True, "stopped by the limit of 15 minutes at 55 % of the images: most colours"),
        (18_000, True, "at 30 % of the images: colours, and shapes that only begin"),
        (12_000, True, "at 20 % of the images: colours, no shapes yet"),
        (600, True, "at 1 % of the images: noise or patches"),
    ],
)
def test_what_became_of_a_training_is_told_in_words(images: int, cut: bool, told: str) -> None:
    trained = Trained(images, 60_000, images // 16, 100.0)
    assert trained.cut == cut
    assert told in trained.outcome(15.0)
    assert trained.images_per_second == images / 100


def test_a_training_is_shown_with_its_last_picture(tmp_path: Path) -> None:
    shown: list[tuple[str, Path | None]] = []
    callback = ShownTraining(lambda told, picture: shown.append((told, picture)), 100, tmp_path, every_seconds=0.0)
    module, trainer = LightningModule(), Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    callback.on_train_start(trainer, module)
    for images in (16, 32):
        module.images_seen, module.steps = images, images // 16  # type: ignore[assignment]
        callback.on_train_batch_end(trainer, module)
        (tmp_path / "samples_0000250.png").touch()
    assert [told.partition(" images,")[0] for told, _ in shown] == ["16 of 100", "32 of 100"]
    assert [picture for _, picture in shown] == [None, tmp_path / "samples_0000250.png"]
    assert (callback.trained.images, callback.trained.steps, callback.trained.budget) == (32, 2, 100)


def test_a_page_whose_training_fails_keeps_its_pictures(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "_train_and_score", fails)
    with pytest.raises(KeyboardInterrupt):
        demo(tmp_path / "demo", list(CAPTIONS[:1]), open=False)
    page = (tmp_path / "demo" / "index.html").read_text()
    assert len(page_images(page)) == SAMPLES
    assert "interrupted" in page
    assert "refresh" not in page
