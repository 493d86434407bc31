"""Tiny data sets made on the spot, as files and as shards, and a model that writes down what it sees."""

import contextlib
import io
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image

from attngan.commands.prepare import prepare
from attngan.data import streaming as stream_settings
from attngan.data.datamodule import TextImageDataModule
from attngan.records import TextImageBatch


def picture(seed: int, width: int = 60, height: int = 50) -> Image.Image:
    """Smooth colours, another for each seed."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def png_bytes(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    """A PNG file of any header, whatever its pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def write_cub(root: Path, train_classes: int = 4, test_classes: int = 2, images: int = 3, inner: str = "") -> Path:
    """A CUB-like folder, its file lists as text; two captions and a box for each image."""
    image_root = root / inner
    tables: dict[str, list[str]] = {"images": [], "bounding_boxes": [], "image_class_labels": []}
    number = 0
    for label in range(1, train_classes + test_classes + 1):
        split = "train" if label <= train_classes else "test"
        for member in range(images):
            number += 1
            stem = f"{label:03}.Bird/bird_{number}"
            image, text = image_root / "images" / f"{stem}.jpg", root / "text" / f"{stem}.txt"
            for path in (image, text, root / split / "filenames.txt"):
                path.parent.mkdir(parents=True, exist_ok=True)
            picture(number).save(image, quality=90)
            text.write_text(f"bird {number} of class {label}\nthis is a photo of word{label} number {member}\n")
            with (root / split / "filenames.txt").open("a") as file:
                file.write(f"{stem}\n")
            tables["images"].append(f"{number} {stem}.jpg")
            tables["bounding_boxes"].append(f"{number} 10.0 5.0 30.0 {25 + member}.0")
            tables["image_class_labels"].append(f"{number} {label}")
    for table, lines in tables.items():
        (image_root / f"{table}.txt").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture
def make_cub(tmp_path: Path) -> Callable[..., Path]:
    """``make_cub("any name", train_classes=4)`` -> a CUB-like folder."""
    return lambda name="some data", **options: write_cub(tmp_path / name, **options)


def module(root, **options) -> TextImageDataModule:
    options = {"image_size": 32, "stages": 2, "batch_size": 4, "workers": 0, **options}
    return TextImageDataModule(str(root), **options)


def ready(root, **options) -> TextImageDataModule:
    data = module(root, **options)
    data.setup()
    return data


def streaming(root, **options):
    options = {"image_size": 32, "stages": 2, "batch_size": 3, "workers": 0, "shuffle_buffer": 7, **options}
    data = TextImageDataModule(str(root), "shards", **options)
    data.setup()
    return data


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """A folder with a CUB-like data set, its shards and what `attngan prepare` printed when it wrote them.

    36 training images in eight shards (the last one smaller), 4 to validate on, 8 to test on.
    """
    folder = tmp_path_factory.mktemp("shards")
    cub = write_cub(folder / "birds", train_classes=10, test_classes=2, images=4)
    options = {"image_size": 32, "processes": 1, "out": str(folder / "out")}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert prepare(str(cub), shards=str(folder / "shards"), shard_images=5, **options) == 0
    (folder / "printed").write_text(printed.getvalue())
    return folder


@pytest.fixture
def cub(written, tmp_path):
    return shutil.copytree(written / "birds", tmp_path / "birds")


@pytest.fixture
def shards(written, tmp_path):
    return shutil.copytree(written / "shards", tmp_path / "shards")


@pytest.fixture
def lanes(monkeypatch):
    """So many lanes, also for a few shards."""
    monkeypatch.setattr(stream_settings, "SHARDS_A_LANE", 1)
    monkeypatch.setattr(stream_settings, "LANES_A_DEVICE", 1)

    def use(count):
        monkeypatch.setattr(stream_settings, "LANES", count)

    return use


class Watcher(pl.LightningModule):
    """Writes down what it sees and learns a little from it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, 1)
        self.seen: list[tuple] = []
        self.validated: list[tuple] = []
        self.fail_at: tuple[int, int] | None = None

    def training_step(self, batch, number):
        assert isinstance(batch, TextImageBatch)
        if (self.current_epoch, number) == self.fail_at:
            raise KeyboardInterrupt
        digest = float(batch.images[-1].double().sum()), int(batch.captions.ids.sum())
        self.seen.append((self.current_epoch, number, tuple(batch.indices.tolist()), digest))
        return self.layer(batch.images[-1].mean((2, 3))).square().mean()

    def validation_step(self, batch, number):
        self.validated.append((self.current_epoch, tuple(batch.indices.tolist())))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)
