"""Fixtures: golden vectors, real data and toy birds. What is absent skips its tests, and says what was looked for."""

import json
import os
import signal
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.browsing import browser as browser  # a fixture

REPOSITORY = Path(__file__).parents[1]
SHARED = REPOSITORY.parent / "shared"


@pytest.fixture(autouse=True, scope="session")
def interrupts_are_heard() -> Iterator[None]:
    """A script's background processes ignore SIGINT; tests that send it must not depend on how they were started."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def _golden_file(name: str) -> Path:
    named = os.environ.get("ATTNGAN_GOLDEN")
    folders = [Path(named)] if named else [SHARED / "golden", REPOSITORY / "tests" / "golden"]
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    pytest.skip(f"no golden vectors {name} in {' or '.join(map(str, folders))}")


@pytest.fixture(scope="session")
def golden() -> Callable[[str], dict[str, np.ndarray]]:
    """``golden("kl_loss")`` -> its arrays."""

    def load(name: str) -> dict[str, np.ndarray]:
        with np.load(_golden_file(f"{name}.npz"), allow_pickle=False) as file:
            return dict(file)

    return load


@pytest.fixture(scope="session")
def golden_notes() -> Callable[[str], dict[str, Any]]:
    """``golden_notes("kl_loss")`` -> its JSON file: configuration, seed and notes."""
    return lambda name: json.loads(_golden_file(f"{name}.json").read_text())


def _real_data(folder: str, archives: list[str]) -> Path:
    named = os.environ.get("ATTNGAN_REAL_DATA")
    cache = Path(named) if named else Path.home() / ".cache" / "attngan-tests"
    if (cache / folder / ".complete").is_file() or (named and (cache / folder).is_dir()):
        return cache / folder
    missing = [str(SHARED / "data" / a) for a in archives if not (SHARED / "data" / a).is_file()]
    if missing:
        pytest.skip(f"no real data: {', '.join(missing)} not found, and no {cache / folder}")
    cache.mkdir(parents=True, exist_ok=True)
    for archive in archives:
        with tarfile.open(SHARED / "data" / archive) as tar:  # packed in xz or not at all
            tar.extractall(cache, filter="data")
    (cache / folder / ".complete").touch()
    return cache / folder


@pytest.fixture(scope="session")
def real_cub() -> Path:
    """CUB-200-2011 with the captions of Reed et al., reduced; one image is missing, as in real downloads."""
    return _real_data("birds", ["cub_152.tar", "cub_text.tar.xz"])


@pytest.fixture(scope="session")
def real_coco() -> Path:
    """A part of COCO 2017."""
    return _real_data("coco", ["coco_part.tar"])


@pytest.fixture(scope="session")
def toy_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set of generated birds in CUB's layout: 8 classes to train on, 3 to test on, 8 images each."""
    from attngan.toy_birds.dataset import draw_toy_birds

    root = tmp_path_factory.mktemp("toy_birds")
    return draw_toy_birds(root / "birds", train_classes=8, test_classes=3, images_per_class=8, size=48, progress=False)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
