"""The data sources by name: each turns a folder into captioned images by split. Nothing else asks which one it was."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from attngan.data.findings import Findings, UnusableImagesError
from attngan.data.image_cache import cache_folder
from attngan.data.sources.coco import read_coco
from attngan.data.sources.cub import read_cub
from attngan.data.sources.flickr import read_flickr
from attngan.data.sources.flowers import read_flowers
from attngan.data.sources.folder import read_folder
from attngan.data.sources.huggingface import read_huggingface
from attngan.data.sources.karpathy import karpathy_files, read_karpathy
from attngan.data.sources.neighbours import how_to_convert, neighbouring_formats
from attngan.data.sources.shards import ShardStream, read_shards
from attngan.data.sources.tables import USUAL, Columns
from attngan.errors import AttnganError, InputError, MissingFileError
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
    columns: Columns = USUAL,
    only: Collection[str] | None = None,
) -> Source:
    """A data set by the name of its source.

    Args:
        name: A key of `SOURCES`.
        root: The data set's folder, or for shards an address.
        findings: Takes what is wrong with single images, which then are left out; None: they are an error.
        scratch: Where a source may put files that it has to fetch; None: where the data set's caches are.
        captions: Read the captions; else the images alone, of which none needs any.
        columns: For a folder with a table: which of its columns hold names and captions.
        only: The splits that are wanted, the others' files need not be there; None: all.

    Raises:
        MissingFileError: When the folder is not there.
        InputError: When there is no such source or, without `findings`, an image cannot be used. Where nothing of the
            data set can be read, the message says which source fits what lies there, or how to convert it.
    """
    if name not in SOURCES:
        raise InputError(f"there is no data source {name!r}: choose one of {', '.join(SOURCES)}")
    if columns != USUAL and name not in WITH_COLUMNS:
        raise InputError(f"image_column and caption_column are of source {' and '.join(WITH_COLUMNS)}, not of {name}")
    if "://" not in str(root):
        root = Path(root).expanduser()
        if not root.is_dir() and name not in BY_NAME:
            converted = how_to_convert(root) if root.is_file() else None
            what = f"is a file: {converted or 'its folder is looked for'}" if root.is_file() else "no such folder"
            raise MissingFileError(f"{root}: {what} (the root of the data set)")
    given = Reading(findings, captions, Path(scratch) if scratch is not None else cache_folder(root), columns, only)
    try:
        source = SOURCES[name](root, given)
    except UnusableImagesError:
        raise
    except (InputError, MissingFileError) as error:
        if isinstance(root, Path) and root.is_dir() and (advice := _what_fits(name, root, captions)):
            raise type(error)("; ".join([str(error), *advice])) from error
        raise
    if findings is not None and isinstance(root, Path) and not any(source.splits.values()):
        findings.advice += _what_fits(name, root, captions)
    wanted = {split: own for split, own in source.splits.items() if own and (only is None or split in only)}
    return Source(wanted, source.streams, source.training_captions)


def read_source(
    name: str, root: str | Path, findings: Findings | None = None, captions: bool = True, columns: Columns = USUAL
) -> Splits:
    """The captioned images of a data set by split; like `open_source`."""
    return open_source(name, root, findings, captions=captions, columns=columns).splits


def _what_fits(name: str, root: Path, captions: bool) -> list[str]:
    """What to do with a folder of which source ``name`` can use nothing: another source, or else a conversion."""
    if name != "shards" and (root / "index.json").is_file() and (root / "train.jsonl").is_file():
        return ["source shards fits: attngan prepare wrote what is there"]
    for other in _TRIED:
        if other != name and (count := _count(other, root, captions)):
            return [f"source {other} fits: it reads {count:,} images there"]
    return neighbouring_formats(root)


def _count(name: str, root: Path, captions: bool) -> int:
    """How many usable images a source finds in a folder."""
    try:
        return sum(map(len, SOURCES[name](root, Reading(Findings(), captions, root, USUAL)).splits.values()))
    except (AttnganError, OSError):
        return 0


@dataclass(frozen=True)
class Reading:
    """How a data set is to be read.

    Args:
        findings: Takes what is wrong with single images; None: they are an error.
        captions: Read the captions.
        scratch: Where a source may put files that it has to fetch.
        columns: Which columns of a table hold names and captions.
        only: The splits that are wanted; None: all.
    """

    findings: Findings | None
    captions: bool
    scratch: Path
    columns: Columns
    only: Collection[str] | None = None


Reader = Callable[[str | Path, Reading], Source]


def _by_split(read: Callable[..., list[CaptionedImage]]) -> Reader:
    return lambda root, how: Source(
        {
            split: read(root, split, how.findings, how.captions)
            for split in ("train", "test")
            if how.only is None or split in how.only
        }
    )


def _whole(read: Callable[..., Splits]) -> Reader:
    return lambda root, how: Source(read(root, how.findings, how.captions))


def _coco(root: str | Path, how: Reading) -> Source:
    """The annotations of COCO, else Karpathy's file, which people have beside the same images."""
    alone = not (Path(root) / "annotations").is_dir() and not (Path(root) / "train").is_dir()
    return (_whole(read_karpathy) if alone and karpathy_files(Path(root)) else _by_split(read_coco))(root, how)


def _folder(root: str | Path, how: Reading) -> Source:
    return Source(read_folder(root, how.findings, how.captions, how.columns))


def _huggingface(root: str | Path, how: Reading) -> Source:
    return Source(read_huggingface(root, how.scratch, how.findings, how.captions, how.columns))


def _shards(root: str | Path, how: Reading) -> Source:
    splits, stream, held_out = read_shards(root, how.scratch, how.captions)
    return Source(splits, {"train": stream}, ("train", "validation") if held_out else ("train",))


SOURCES: dict[str, Reader] = {
    "cub": _by_split(read_cub),
    "coco": _coco,
    "coco2014": _by_split(partial(read_coco, year=2014)),
    "coco2017": _by_split(partial(read_coco, year=2017)),
    "karpathy": _whole(read_karpathy),
    "flowers": _whole(read_flowers),
    "flowers_official": _whole(partial(read_flowers, official=True)),
    "flickr": _whole(read_flickr),
    "folder": _folder,
    "huggingface": _huggingface,
    "shards": _shards,
}
#: Those whose root may be a name instead of a folder, and those with columns that can be chosen.
BY_NAME = ("huggingface",)
WITH_COLUMNS = ("folder", "huggingface")
#: Those that are tried where another one can use nothing, the most particular first.
_TRIED = ("cub", "coco", "coco2017", "karpathy", "flowers", "flickr", "folder")
