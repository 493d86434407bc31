"""The report: everything promised is on it, and it needs no other file."""

import base64
import io
import re

import pytest
from PIL import Image

from attngan.evaluation.networks import Networks
from attngan.training.quick_evaluation import QuickEvaluation
from tests.commands.test_evaluate import run, tiny_extractor
from tests.pages.images import page_images

METRICS = ["is", "fid", "precision_recall", "r_precision"]


def test_report_stands_alone_and_shows_what_is_promised(tmp_path, toy_root, sampler, scorer_file):
    result = run(tmp_path, toy_root, metrics=METRICS, scorer=scorer_file, count=60, report=True)
    page = (tmp_path / "out" / "report.html").read_text()
    assert not re.search(r'(src|href)="(?!data:)', page)
    for name in result["scores"]:
        base = name.partition("_of_")[0]
        assert base in page
    for title in (
        "Images, not chosen",
        "R-precision by length",
        "best caption scores",
        "worst caption scores",
        "Nearest real",
        "Precision 0",
    ):
        assert title in page
    assert result["extractor"]["sha256"] in page
    assert result["reference"]["fingerprint"] in page
    images = page_images(page)
    # 16 of all, 8 best, 8 worst, 8 rows of one image and its 5 nearest, two plots
    assert len(images) == 16 + 8 + 8 + 8 * 6 + 2
    assert "best and last cannot be shown" in page
    for uri in images:
        Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).load()


def test_captions_cannot_break_the_page(tmp_path, toy_root, sampler, scorer_file, monkeypatch):
    from attngan.evaluation import resolving as command

    read = command.read_split

    def with_markup(*args):
        split = read(*args)
        split.captions = [f"<script>alert(1)</script> {text}" for text in split.captions]
        return split

    monkeypatch.setattr(command, "read_split", with_markup)
    run(tmp_path, toy_root, metrics=["r_precision"], scorer=scorer_file, count=20, report=True)
    assert "<script" not in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize("place", ["checkpoints/last.ckpt", "quick/best_fid.safetensors"])
def test_best_and_last_of_the_run_are_shown(tmp_path, toy_root, sampler, place):
    """As `QuickEvaluation` writes them, for the last checkpoint and for the one that was chosen by a score."""
    quick = QuickEvaluation(tmp_path / "quick")
    for epoch, fid in ((30, 12.25), (50, 15.5)):
        record = {"epoch": epoch, "steps": 10 * epoch, "images_seen": 100, "scores": {"fid_1k_quick": fid}}
        quick.history.append(record)
    quick._write(Networks(tiny_extractor()))
    run(tmp_path, toy_root, checkpoint=tmp_path / place, report=True)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "12.250 (epoch 30)" in page
    assert "15.500 (epoch 50)" in page


def test_an_uncompleted_protocol_is_seen_at_once(tmp_path, toy_root, sampler):
    run(tmp_path, toy_root, protocol="attngan", report=True)
    page = (tmp_path / "out" / "report.html").read_text()
    assert '<span class="badge no">protocol attngan: not completed</span>' in page
    assert "images 50 instead of 30000" in page
    assert "50 images drawn from captions of the test split" in page
