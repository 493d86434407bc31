"""Any folder of images: captions in a ``.txt`` beside each image, in ``metadata.jsonl`` or in a CSV file.

``metadata.jsonl`` follows the convention of Hugging Face's ImageFolder: one JSON object a line with ``file_name``
(relative to the file), ``text`` or ``texts``, and optionally ``class``, ``bbox`` ([x, y, width, height] in pixels)
and ``split``. A CSV file (``metadata.csv``, or the only one there) has the same columns; an image may have several
rows, one caption each. Either may also lie one folder deeper, one file a folder.

Without captions a plain folder of images will do, with or without such files.

An image's split is what its ``split`` says; else, where every image lies in a folder ``train/``, ``validation/`` or
``test/``, that folder; else it comes from a stable hash of its name: 80 % train, 10 % validation, 10 % test.
"""

import csv
import io
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from attngan.data.findings import Findings, collecting
from attngan.data.sources.caption_files import clean_captions, read_caption_file
from attngan.data.splits import SPLIT_NAMES, class_numbers, split_by_hash
from attngan.errors import InputError
from attngan.records import CaptionedImage

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff"}
COLUMNS = ("file_name", "text", "texts", "class", "bbox", "split")


@dataclass
class _Entry:
    """What a folder says of one image, before captions are cleaned and splits and classes assigned."""

    name: str
    path: Path
    where: str
    captions: list[str] | None = None  # None: in the .txt beside it
    label: Any = None
    box: tuple[float, float, float, float] | None = None
    split: str | None = None
    rows: set[tuple[object, ...]] = field(default_factory=set)


def read_folder(
    root: str | Path, findings: Findings | None = None, captions: bool = True
) -> dict[str, list[CaptionedImage]]:
    """The captioned images of a folder and the folders in it, by split.

    Args:
        root: The folder.
        findings: Takes what is wrong with single images, which then are left out; None: they are an error.
        captions: Read the captions; else the images alone, of which none needs any.

    Raises:
        InputError: When a metadata file is malformed, several contradict each other or, without `findings`, an image
            cannot be used.
    """
    root = Path(root)
    with collecting(findings) as findings:
        metadata = _metadata_files(root)
        if metadata:
            entries = _from_metadata(root, metadata, findings, captions)
        else:
            entries = _from_text_files(root, findings) if captions else _images_alone(root)
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
        return read_caption_file(entry.path.with_suffix(".txt"), findings)
    return clean_captions(entry.captions, entry.where, findings)


def _without_class(image: CaptionedImage) -> CaptionedImage:
    return CaptionedImage(image.name, image.path, image.captions, None, image.box)


def _files(root: Path) -> Iterator[Path]:
    """All files but hidden ones (which our own cache is in) and what macOS adds to archives."""
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        if not any(part.startswith(".") or part == "__MACOSX" for part in parts) and path.is_file():
            yield path


def _name(root: Path, path: Path) -> str:
    return path.relative_to(root).with_suffix("").as_posix()


# Images alone, or with captions beside them


def _images_alone(root: Path) -> list[_Entry]:
    """Every image, by its name with the suffix where two differ in nothing else."""
    entries: dict[str, _Entry] = {}
    for path in _files(root):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            name = _name(root, path)
            name = name if name not in entries else path.relative_to(root).as_posix()
            entries[name] = _Entry(name, path, str(path))
    if not entries:
        raise _no_images(root)
    return list(entries.values())


def _no_images(root: Path) -> InputError:
    return InputError(f"{root}: no images ({', '.join(sorted(IMAGE_SUFFIXES))})")


def _from_text_files(root: Path, findings: Findings) -> list[_Entry]:
    entries: dict[str, _Entry] = {}
    texts: set[str] = set()
    for path in _files(root):
        name = _name(root, path)
        if path.suffix == ".txt":
            texts.add(name)
        elif path.suffix.lower() in IMAGE_SUFFIXES:
            if name in entries:
                findings.add_bad("two images of one name", f"{path}: {entries[name].path.name} has the same captions")
            else:
                entries[name] = _Entry(name, path, str(path))
    if not entries:
        raise _no_images(root)
    if not texts:
        raise InputError(
            f"{root}: no captions: neither metadata.jsonl, nor a CSV file, nor a .txt file beside each image "
            f"(for example {next(iter(entries.values())).path.with_suffix('.txt')}); images alone are read with "
            "captions_per_image 0"
        )
    for name in sorted(texts - entries.keys()):
        findings.add_note("captions of no image", f"{root / name}.txt: no image beside it")
    return list(entries.values())


# Metadata files


def _metadata_files(root: Path) -> list[Path]:
    """The metadata files, in the root or one folder deeper; of one kind only."""
    folders = [root, *sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))]
    found = {
        "metadata.jsonl": [folder / "metadata.jsonl" for folder in folders],
        "metadata.csv": [folder / "metadata.csv" for folder in folders],
    }
    kinds = {kind: [path for path in paths if path.is_file()] for kind, paths in found.items()}
    kinds = {kind: paths for kind, paths in kinds.items() if paths}
    if len(kinds) > 1:
        raise InputError(f"{root}: both metadata.jsonl and metadata.csv: which one is meant? Remove the other")
    if kinds:
        return next(iter(kinds.values()))
    tables = sorted(root.glob("*.csv"))
    if len(tables) > 1:
        names = ", ".join(path.name for path in tables)
        raise InputError(f"{root}: several CSV files ({names}): call the one with the captions metadata.csv")
    return tables


def _from_metadata(root: Path, files: list[Path], findings: Findings, captions: bool) -> list[_Entry]:
    entries: dict[str, _Entry] = {}
    for file in files:
        for line, row in _rows(file, findings, captions):
            row = row if captions else {**row, "texts": []}
            _add_row(root, file, f"{file}, line {line}", row, entries, findings)
    mentioned = {entry.path for entry in entries.values()}
    for path in _files(root):
        if path.suffix.lower() in IMAGE_SUFFIXES and path not in mentioned:
            findings.add_note("images without metadata", f"{path}: not in {files[0].name}")
    usable = []
    for entry in entries.values():
        if entry.path.is_file():
            usable.append(entry)
        else:
            findings.add_bad("missing image", f"{entry.where}: no file {entry.path}")
    return usable


def _rows(file: Path, findings: Findings, captions: bool) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: not UTF-8 (byte {error.start:,}); save it as UTF-8") from None
    yield from (
        _json_rows(file, text, findings) if file.suffix == ".jsonl" else _csv_rows(file, text, findings, captions)
    )


def _json_rows(file: Path, text: str, findings: Findings) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            findings.add_bad("malformed row", f"{file}, line {number}: not JSON: {error}")
            continue
        if isinstance(row, dict):
            yield number, row
        else:
            findings.add_bad("malformed row", f"{file}, line {number}: not a JSON object")


def _csv_rows(file: Path, text: str, findings: Findings, captions: bool) -> Iterator[tuple[int, dict[str, Any]]]:
    if "\0" in text:
        findings.add_note("NUL bytes in captions", f"{file}: NUL bytes taken for spaces")
        text = text.replace("\0", " ")
    csv.field_size_limit(100_000_000)
    reader = csv.DictReader(io.StringIO(text, newline=""), restkey="too many fields", strict=True)
    columns = reader.fieldnames or []
    if "file_name" not in columns or (captions and not {"text", "texts"} & set(columns)):
        raise InputError(
            f"{file}: its first line must name the columns file_name and text (or texts); optional are class, bbox and "
            f"split; found: {', '.join(map(str, columns)) or 'nothing'}"
        )
    try:
        for row in reader:
            if "too many fields" in row:
                why = "more fields than columns (a caption with a comma must stand in quotation marks)"
                findings.add_bad("malformed row", f"{file}, line {reader.line_num}: {why}")
                continue
            filled = {column: value for column, value in row.items() if value not in (None, "")}
            yield reader.line_num, _with_list_of_texts(filled)
    except csv.Error as error:
        raise InputError(f"{file}, line {reader.line_num}: {error}") from error


def _with_list_of_texts(row: dict[str, Any]) -> dict[str, Any]:
    """In a CSV file ``texts`` is a JSON list, or captions separated by line breaks."""
    texts = row.get("texts")
    if not isinstance(texts, str):
        return row
    try:
        parsed = json.loads(texts)
    except ValueError:
        parsed = None
    return {**row, "texts": parsed if isinstance(parsed, list) else re.split(r"\r\n|\r|\n", texts)}


def _add_row(
    root: Path, file: Path, where: str, row: dict[str, Any], entries: dict[str, _Entry], findings: Findings
) -> None:
    """Adds what a row says to its image's entry; what is malformed goes to the findings and changes nothing."""
    try:
        file_name = _file_name(row)
        captions = _captions(row)
        box, split = _box(row.get("bbox")), _split(row.get("split"))
    except _RowError as error:
        findings.add_bad("malformed row", f"{where}: {error}")
        return
    label = row.get("class")
    if label is not None and not isinstance(label, str | int):
        findings.add_bad("malformed row", f"{where}: class must be text or a whole number, not {label!r}")
        return
    path = file.parent / file_name
    name = _name(root, path)
    facts = (tuple(captions), label, box, split)
    entry = entries.get(name)
    if entry is None:
        entries[name] = _Entry(name, path, where, captions, label, box, split, {facts})
        return
    if facts in entry.rows:
        findings.add_note("row given twice", f"{where}: the same as an earlier one, taken once")
        return
    if (path, label, box, split) != (entry.path, entry.label, entry.box, entry.split):
        findings.add_bad("contradicting rows", f"{where}: other class, bbox, split or suffix than at {entry.where}")
        return
    entry.rows.add(facts)
    assert entry.captions is not None
    entry.captions += captions


class _RowError(ValueError):
    """Why a row cannot be used."""


def _file_name(row: dict[str, Any]) -> str:
    name = row.get("file_name")
    if not isinstance(name, str) or not name.strip():
        raise _RowError("no file_name")
    posix = PurePosixPath(name.replace("\\", "/"))
    if posix.is_absolute() or ".." in posix.parts or re.match(r"[A-Za-z]:", name) or "\0" in name:
        raise _RowError(f"file_name {name!r} leads out of the folder")
    return str(posix)


def _captions(row: dict[str, Any]) -> list[str]:
    texts = row.get("texts", row.get("text"))
    texts = [texts] if isinstance(texts, str) else texts
    if texts is None:
        raise _RowError("neither text nor texts")
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise _RowError("text must be one caption, texts a list of them")
    return [" ".join(re.split(r"\r\n|\r|\n", text)) for text in texts]


def _box(value: Any) -> tuple[float, float, float, float] | None:
    if value is None:
        return None
    if isinstance(value, str):
        value = re.findall(r"[^\s,;\[\]()]+", value)
    try:
        x, y, width, height = (float(number) for number in value)
    except (TypeError, ValueError):
        raise _RowError(f"bbox must be four numbers x, y, width, height, not {value!r}") from None
    if not all(map(math.isfinite, (x, y, width, height))) or width <= 0 or height <= 0:
        raise _RowError(f"bbox {[x, y, width, height]} has no area")
    return x, y, width, height


def _split(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or value.strip().lower() not in SPLIT_NAMES:
        raise _RowError(f"split must be train, validation or test, not {value!r}")
    return SPLIT_NAMES[value.strip().lower()]


def _assign_splits(entries: list[_Entry]) -> None:
    """Splits from the folders that all images lie in, where no row gave one."""
    if any(entry.split for entry in entries):
        return
    first = [SPLIT_NAMES.get(PurePosixPath(entry.name).parts[0].lower()) for entry in entries]
    if all(first) and all("/" in entry.name for entry in entries):
        for entry, split in zip(entries, first, strict=True):
            entry.split = split
