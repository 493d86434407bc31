"""The data sources by name: each turns a folder into captioned images by split. Nothing else asks which one it was."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from attngan.data.findings import Findings
from attngan.data.image_cache import cache_folder
from attngan.data.sources.coco import read_coco
from attngan.data.sources.cub import read_cub
from attngan.data.sources.flowers import read_flowers
from attngan.data.sources.folder import read_folder
from attngan.data.sources.shards import ShardStream, read_shards
from attngan.errors import InputError, MissingFileError
from attngan.records import CaptionedImage

Splits = dict[str, list[CaptionedImage]]


@dataclass(frozen=True)
class Source:
    """A data set as a source gives it.

    Args:
        splits: Captioned images by split: ``train``, ``test`` and, where the source has one, ``validation``.
        streams: Splits whose images are not files on this machine but come one after the other.
        training_captions: The splits whose captions make the vocabulary.
    """

    splits: Splits
    streams: dict[str, ShardStream] = field(default_factory=dict)
    training_captions: tuple[str, ...] = ("train",)


def open_source(
    name: str,
    root: str | Path,
    findings: Findings | None = None,
    scratch: str | Path | None = None,
    captions: bool = True,
) -> Source:
    """A data set by the name of its source.

    Args:
        name: A key of `SOURCES`.
        root: The data set's folder, or for shards an address.
        findings: Takes what is wrong with single images, which then are left out; None: they are an error.
        scratch: Where a source may put files that it has to fetch; None: where the data set's caches are.
        captions: Read the captions; else the images alone, of which none needs any.

    Raises:
        MissingFileError: When the folder is not there.
        InputError: When there is no such source or, without `findings`, an image cannot be used.
    """
    if name not in SOURCES:
        raise InputError(f"there is no data source {name!r}: choose one of {', '.join(SOURCES)}")
    if "://" not in str(root) and not Path(root).is_dir():
        raise MissingFileError(f"{root}: no such folder (the root of the data set)")
    source = SOURCES[name](root, findings, captions, Path(scratch) if scratch is not None else cache_folder(root))
    return Source({split: own for split, own in source.splits.items() if own}, source.streams, source.training_captions)


def read_source(name: str, root: str | Path, findings: Findings | None = None, captions: bool = True) -> Splits:
    """The captioned images of a data set by split; like `open_source`."""
    return open_source(name, root, findings, captions=captions).splits


Reader = Callable[[str | Path, Findings | None, bool, Path], Source]


def _by_split(read: Callable[..., list[CaptionedImage]]) -> Reader:
    return lambda root, findings, captions, _scratch: Source(
        {split: read(root, split, findings, captions) for split in ("train", "test")}
    )


def _whole(read: Callable[..., Splits]) -> Reader:
    return lambda root, findings, captions, _scratch: Source(read(root, findings, captions))


def _shards(root: str | Path, _findings: Findings | None, captions: bool, scratch: Path) -> Source:
    splits, stream, held_out = read_shards(root, scratch, captions)
    return Source(splits, {"train": stream}, ("train", "validation") if held_out else ("train",))


SOURCES: dict[str, Reader] = {
    "cub": _by_split(read_cub),
    "coco": _by_split(read_coco),
    "coco2014": _by_split(partial(read_coco, year=2014)),
    "coco2017": _by_split(partial(read_coco, year=2017)),
    "flowers": _whole(read_flowers),
    "flowers_official": _whole(partial(read_flowers, official=True)),
    "folder": _whole(read_folder),
    "shards": _shards,
}
