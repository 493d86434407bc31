"""The data sources by name: each turns a folder into captioned images by split. Nothing else asks which one it was."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from attngan.data.coco import read_coco
from attngan.data.cub import read_cub
from attngan.data.findings import Findings
from attngan.data.flowers import read_flowers
from attngan.data.folder import read_folder
from attngan.records import CaptionedImage

Splits = dict[str, list[CaptionedImage]]


def read_source(name: str, root: str | Path, findings: Findings | None = None) -> Splits:
    """The captioned images of a data set by split: ``train``, ``test`` and, where a source has one, ``validation``.

    Args:
        name: A key of `SOURCES`.
        root: The data set's folder.
        findings: Takes what is wrong with single images, which then are left out; None: they are an error.

    Raises:
        FileNotFoundError: When the folder is not there.
        ValueError: When there is no such source or, without `findings`, an image cannot be used.
    """
    if name not in SOURCES:
        raise ValueError(f"there is no data source {name!r}: choose one of {', '.join(SOURCES)}")
    if not Path(root).is_dir():
        raise FileNotFoundError(f"{root}: no such folder (the root of the data set)")
    return SOURCES[name](Path(root), findings)


def _train_and_test(read: Callable[..., list[CaptionedImage]], root: Path, findings: Findings | None) -> Splits:
    return {split: read(root, split, findings) for split in ("train", "test")}


SOURCES: dict[str, Callable[[Path, Findings | None], Splits]] = {
    "cub": partial(_train_and_test, read_cub),
    "coco": partial(_train_and_test, read_coco),
    "coco2014": partial(_train_and_test, partial(read_coco, year=2014)),
    "coco2017": partial(_train_and_test, partial(read_coco, year=2017)),
    "flowers": read_flowers,
    "folder": read_folder,
}
