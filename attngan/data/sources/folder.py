"""Any folder of images: captions in a text file beside each image, in ``metadata.jsonl`` or in a CSV file.

``metadata.jsonl`` follows the convention of Hugging Face's ImageFolder: one JSON object a line with ``file_name``
(relative to the file), ``text`` or ``texts``, and optionally ``class``, ``bbox`` ([x, y, width, height] in pixels)
and ``split``. ``metadata.csv`` and ``metadata.tsv`` (or the only table in the root) have the same columns, separated by
commas, semicolons, tabs or bars; an image may have several rows, one caption each. Names and captions may be in columns
of other names, told or usual ones. There may be several such files of one kind, each in a folder of its own.

Without captions a plain folder of images will do, with or without such files.

An image's split is what its ``split`` says; else, where every image lies in a folder ``train/``, ``validation/`` or
``test/``, that folder; else it comes from a stable hash of its name: 80 % train, 10 % validation, 10 % test.
"""

import math
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from attngan.data.findings import Findings, collecting
from attngan.data.folders import FileFinder, choose_images, folder_with_most, folders_in, walk, why_no_file
from attngan.data.images import IMAGE_SUFFIXES, is_marked_overview
from attngan.data.names import NameOutsideError, path_inside
from attngan.data.sources.caption_files import CAPTION_SUFFIXES, clean_captions, read_caption_file
from attngan.data.sources.tables import USUAL, Columns, Row, RowError, captions_of_cell, read_table
from attngan.data.splits import SPLIT_NAMES, class_numbers, split_by_hash
from attngan.errors import InputError
from attngan.records import CaptionedImage

METADATA = ("metadata.jsonl", "metadata.csv", "metadata.tsv")


@dataclass
class _Entry:
    """What a folder says of one image, before captions are cleaned and splits and classes assigned."""

    name: str
    path: Path
    where: str
    captions: list[str] | None = None  # None: in the text file beside it
    label: Any = None
    box: tuple[float, float, float, float] | None = None
    split: str | None = None
    rows: set[tuple[object, ...]] = field(default_factory=set)
    text: Path | None = None  # the file beside it, where there is one


def read_folder(
    root: str | Path, findings: Findings | None = None, captions: bool = True, columns: Columns = USUAL
) -> dict[str, list[CaptionedImage]]:
    """The captioned images of a folder and the folders in it, by split.

    Args:
        root: The folder.
        findings: Takes what is wrong with single images, which then are left out; None: they are an error.
        captions: Read the captions; else the images alone, of which none needs any.
        columns: Which columns of a metadata file hold names and captions.

    Raises:
        InputError: When a metadata file is malformed, several contradict each other or, without `findings`, an image
            cannot be used.
    """
    root = Path(root)
    with collecting(findings) as findings:
        files = walk(root, findings)
        pictures = choose_images(files, findings, is_marked_overview)
        metadata = _metadata_files(root, files)
        if metadata:
            entries = _from_metadata(root, metadata, pictures, findings, captions, columns)
        elif columns != USUAL:
            raise InputError(f"{root}: there is no table whose columns could be chosen ({', '.join(METADATA)})")
        elif not pictures:
            raise InputError(f"{root}: no images ({', '.join(IMAGE_SUFFIXES)})")
        else:
            entries = _from_text_files(root, files, pictures, findings) if captions else _images_alone(root, pictures)
        _assign_splits(entries)
        numbers = class_numbers(entry.label for entry in entries if entry.label is not None)
        images: dict[str, list[CaptionedImage]] = {"train": [], "validation": [], "test": []}
        for entry in entries:
            own = _captions_of(entry, findings) if captions else ()
            if own is not None:
                label = numbers.get(entry.label)
                image = CaptionedImage(entry.name, entry.path, own, label, entry.box)
                images[entry.split or split_by_hash(entry.name)].append(image)
        if numbers and any(image.class_id is None for own in images.values() for image in own):
            findings.add_note("images without a class", f"{root}: not all images have a class, so none is used")
            images = {split: [_without_class(image) for image in own] for split, own in images.items()}
    return images


def _captions_of(entry: _Entry, findings: Findings) -> tuple[str, ...] | None:
    if entry.captions is None:
        return read_caption_file(entry.text or entry.path.with_suffix(CAPTION_SUFFIXES[0]), findings)
    return clean_captions(entry.captions, entry.where, findings)


def _without_class(image: CaptionedImage) -> CaptionedImage:
    return CaptionedImage(image.name, image.path, image.captions, None, image.box)


def _name(root: Path, path: Path) -> str:
    return path.relative_to(root).with_suffix("").as_posix()


# Images alone, or with captions beside them


def _images_alone(root: Path, pictures: list[Path]) -> list[_Entry]:
    """Every image, by its name with the suffix where two differ in nothing else."""
    entries: dict[str, _Entry] = {}
    for path in pictures:
        name = _name(root, path)
        name = name if name not in entries else path.relative_to(root).as_posix()
        entries[name] = _Entry(name, path, str(path))
    return list(entries.values())


def _from_text_files(root: Path, files: list[Path], pictures: list[Path], findings: Findings) -> list[_Entry]:
    entries: dict[str, _Entry] = {}
    for path in pictures:
        name = _name(root, path)
        if name in entries:
            findings.add_bad("two images of one name", f"{path}: {entries[name].path.name} has the same captions")
        else:
            entries[name] = _Entry(name, path, str(path))
    texts = [path for path in files if path.suffix.lower() in CAPTION_SUFFIXES]
    if not texts:
        raise InputError(
            f"{root}: no captions: neither {', '.join(METADATA)}, nor another CSV file, nor a text file beside each "
            f"image (for example {next(iter(entries.values())).path.with_suffix('.txt')}); images alone are read with "
            "captions_per_image 0"
        )
    for path in sorted(texts, key=lambda path: CAPTION_SUFFIXES.index(path.suffix.lower())):
        entry = entries.get(_name(root, path))
        if entry is None:
            findings.add_note("captions of no image", f"{path}: no image beside it")
        elif entry.text is None:
            entry.text = path
        else:
            findings.add_note("two caption files", f"{path}: {entry.text.name} is read instead")
    return list(entries.values())


# Metadata files


def _metadata_files(root: Path, files: list[Path]) -> list[Path]:
    """The metadata files, wherever they lie, of one kind only; else the only table in the root."""
    kinds = {kind: [path for path in files if path.name.lower() == kind] for kind in METADATA}
    kinds = {kind: paths for kind, paths in kinds.items() if paths}
    if len(kinds) > 1:
        raise InputError(f"{root}: both {' and '.join(kinds)}: which one is meant? Remove the other")
    if kinds:
        return next(iter(kinds.values()))
    tables = [path for path in files if path.parent == root and path.suffix.lower() in (".csv", ".tsv")]
    if len(tables) > 1:
        names = ", ".join(path.name for path in tables)
        raise InputError(f"{root}: several CSV files ({names}): call the one with the captions metadata.csv")
    return tables


def _from_metadata(
    root: Path, tables: list[Path], pictures: list[Path], findings: Findings, captions: bool, columns: Columns
) -> list[_Entry]:
    entries: dict[str, _Entry] = {}
    for file in tables:
        rows = read_table(file, findings, columns, captions)
        base = _base(file, [row.image for row in rows])
        for row in rows:
            try:
                _add(_entry(root, base, row, captions), entries, findings)
            except RowError as error:
                findings.add_bad("malformed row", f"{row.where}: {error}")
    finder, usable = FileFinder(), []
    for entry in entries.values():
        if (path := finder.exact(entry.path)) is None:
            findings.add_bad("missing image", f"{entry.where}: {why_no_file(entry.path)}")
        else:
            entry.path = path
            usable.append(entry)
    mentioned = {entry.path for entry in usable}
    for path in pictures:
        if path not in mentioned:
            findings.add_note("images without metadata", f"{path}: not in {tables[0].name}")
    return usable


def _base(file: Path, names: list[Any]) -> Path:
    """What the names in a table start from: its folder, or the one in it that holds most of them."""
    told = [name.replace("\\", "/") for name in names if isinstance(name, str) and "\0" not in name]
    return folder_with_most(told, [file.parent, *folders_in(file.parent)]) if told else file.parent


def _entry(root: Path, base: Path, row: Row, captions: bool) -> _Entry:
    """What a row says of its image.

    Raises:
        RowError: When it is malformed; says how.
    """
    if row.image is None:
        raise RowError("no file_name")
    try:
        path = path_inside(row.image, base, root)
    except NameOutsideError as error:
        raise RowError(f"file_name {error}") from None
    texts: list[str] = []
    if captions and row.captions is None:
        raise RowError("neither text nor texts")
    if captions:
        texts = captions_of_cell(row.captions, row.several)
    label = _label(row.values.get("class"))
    box, split = _box(row.values.get("bbox")), _split(row.values.get("split"))
    return _Entry(_name(root, path), path, row.where, texts, label, box, split, {(tuple(texts), label, box, split)})


def _add(new: _Entry, entries: dict[str, _Entry], findings: Findings) -> None:
    """Adds what a row says to its image's entry; what contradicts an earlier one goes to the findings."""
    entry = entries.setdefault(new.name, new)
    if entry is new:
        return
    if new.rows <= entry.rows:
        findings.add_note("row given twice", f"{new.where}: the same as an earlier one, taken once")
    elif (new.path, new.label, new.box, new.split) != (entry.path, entry.label, entry.box, entry.split):
        findings.add_bad("contradicting rows", f"{new.where}: other class, bbox, split or suffix than at {entry.where}")
    else:
        entry.rows |= new.rows
        assert entry.captions is not None
        assert new.captions is not None
        entry.captions += new.captions


def _label(value: Any) -> str | int | None:
    if isinstance(value, float) and value.is_integer():
        return int(value)  # pandas makes fractions of whole numbers where some are missing
    if value is not None and not isinstance(value, str | int):
        raise RowError(f"class must be text or a whole number, not {value!r}")
    return value


def _box(value: Any) -> tuple[float, float, float, float] | None:
    if value is None:
        return None
    if isinstance(value, str):
        value = re.findall(r"[^\s,;\[\]()]+", value)
    try:
        x, y, width, height = (float(number) for number in value)
    except (TypeError, ValueError):
        raise RowError(f"bbox must be four numbers x, y, width, height, not {value!r}") from None
    if not all(map(math.isfinite, (x, y, width, height))) or width <= 0 or height <= 0:
        raise RowError(f"bbox {[x, y, width, height]} has no area")
    return x, y, width, height


def _split(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or value.strip().lower() not in SPLIT_NAMES:
        raise RowError(f"split must be train, validation or test, not {value!r}")
    return SPLIT_NAMES[value.strip().lower()]


def _assign_splits(entries: list[_Entry]) -> None:
    """Splits from the folders that all images lie in, where no row gave one."""
    if any(entry.split for entry in entries):
        return
    first = [SPLIT_NAMES.get(PurePosixPath(entry.name).parts[0].lower()) for entry in entries]
    if all(first) and all("/" in entry.name for entry in entries):
        for entry, split in zip(entries, first, strict=True):
            entry.split = split
