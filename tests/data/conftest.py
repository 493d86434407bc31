"""Tiny data sets made on the spot."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


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
