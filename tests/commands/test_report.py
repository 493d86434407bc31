"""``attngan report``: what the page of a run shows, of a running one, of an old one, and of none."""

import json
import time
from pathlib import Path

import pytest
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from attngan.cli import main
from attngan.commands.report import RunRecord, run_page
from tests.pages.images import page_images


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    (folder / "pictures").mkdir(parents=True)
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "last.ckpt").write_bytes(b"weights")
    for steps in (10, 20, 30):
        Image.new("RGB", (40, 30), (steps, 0, 0)).save(folder / "pictures" / f"samples_{steps:07d}.png")
    recipe = "# attngan 0.1.0, 2 CPUs\nmodel: {matching: 5.0, damsm: null}\nbudget: {images: 1600, minutes: null}\n"
    (folder / "config.yaml").write_text(recipe)
    log(folder, time.time() - 10_000)
    return folder


def log(folder: Path, begun: float) -> None:
    with SummaryWriter(str(folder)) as writer:
        for step in range(1, 41):
            for name, value in {
                "generator/loss": 10 / step, "discriminator_16/loss": 1.0, "discriminator_16/accuracy_real": 0.7,
                "images_seen": 20.0 * step, "images_per_second": 4.0, "epoch": 1.0, "share_done": step / 80,
            }.items():  # fmt: skip
                writer.add_scalar(name, value, 2 * step, walltime=begun + step)


def test_the_page_has_curves_samples_and_the_recipe_and_needs_no_other_file(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(run)]) == 0
    assert str(run / "report.html") in capsys.readouterr().out
    page = (run / "report.html").read_text()
    # three samples; generator, adversarial, accuracies, speed
    assert len(page_images(page)) == 3 + 4
    assert all(source.startswith("data:image/") for source in page_images(page))
    assert 'type="range" min="0" max="2"' in page
    assert "after 30 steps" in page
    assert "matching: 5.0" in page
    assert "damsm" not in page  # what was not given
    assert "last.ckpt" in page
    assert "50 % of the run, about 0:00:40" in page  # a step a second, 40 of 80 done
    assert "attngan 0.1.0, 2 CPUs" in page
    assert "the discriminators have won" in page
    assert 'http-equiv="refresh"' not in page


def test_a_run_that_logs_is_running_and_its_page_is_read_again(run: Path) -> None:
    log(run, time.time() - 50)
    html = run_page(RunRecord.read(run), refresh=30).html()
    assert ">running<" in html
    assert 'http-equiv="refresh" content="30"' in html


def test_a_run_at_its_end_is_not_running(run: Path) -> None:
    with SummaryWriter(str(run)) as writer:
        writer.add_scalar("share_done", 1.0, 99, walltime=time.time())
    html = run_page(RunRecord.read(run), refresh=30).html()
    assert ">running<" not in html
    assert "it is finished" in html


def test_curves_run_over_images_seen(run: Path) -> None:
    record = RunRecord.read(run)
    assert record.images_at(record.curves["generator/loss"])[:3] == [20, 40, 60]


def test_quick_scores_stand_beside_those_of_real_images(run: Path) -> None:
    scores = {"fid_1k_quick": 50.0, "fid_1k_quick_of_real_halves": 8.0}
    times = [{"epoch": e, "steps": e, "images_seen": 100 * e, "scores": scores} for e in (1, 2)]
    (run / "quick").mkdir()
    (run / "quick" / "history.json").write_text(json.dumps({"history": times, "best": {}, "last": times[-1]}))
    html = run_page(RunRecord.read(run)).html()
    assert "two halves of the real ones" in html
    assert "FID ↓" in html


def test_a_run_without_logs_says_so(run: Path) -> None:
    for file in run.glob("events*"):
        file.unlink()
    html = run_page(RunRecord.read(run)).html()
    assert "--logger none" in html
    assert "after 30 steps" in html


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere"], "no folder at"),
        (["empty"], "is no run"),
        (["run", "--smoothing", "1"], "--smoothing is 1"),
    ],
)
def test_what_is_no_run_is_refused(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    monkeypatch.chdir(run.parent)
    Path("empty").mkdir()
    assert main(["report", *arguments]) == 1
    assert told in capsys.readouterr().err


def test_a_broken_recipe_is_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "config.yaml").write_text("model: [")
    assert main(["report", str(run)]) == 1
    assert "config.yaml" in capsys.readouterr().err
