"""Data sets in the formats of Hugging Face: parquet or arrow with the images inside, in a folder or on the hub.

They are read row by row, and once: image files and a ``metadata.jsonl`` are written to the data set's cache, which is
then read as any folder is. From the hub they are streamed; nothing else of them is kept.
"""

import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from attngan.data.findings import Findings, collecting
from attngan.data.images import UnusableImageError, open_image
from attngan.data.sources.folder import read_folder
from attngan.data.sources.tables import CAPTION_COLUMNS, USUAL, Columns
from attngan.data.splits import SPLIT_NAMES
from attngan.errors import InputError, MissingFileError, MissingPackageError
from attngan.files import locked, write_whole
from attngan.progress import progress_bar
from attngan.records import CaptionedImage

#: Beside the images: what they were written of, once all are there.
DONE = "written.json"
_SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg"}
#: Files by which `datasets.Dataset.save_to_disk` is known.
_SAVED = ("dataset_dict.json", "state.json")


def read_huggingface(
    root: str | Path,
    scratch: Path,
    findings: Findings | None = None,
    captions: bool = True,
    columns: Columns = USUAL,
) -> dict[str, list[CaptionedImage]]:
    """The captioned images of a data set, by split.

    Args:
        root: A folder with parquet or arrow files, or OWNER/NAME of the hub.
        scratch: Where its images are written, once.
        findings: Takes what is wrong with single images, which then are left out; None: they are an error.
        captions: Read the captions; else the images alone, of which none needs any.
        columns: Which columns hold images and captions; None of either: the only column of images, and the column of
            texts with a usual name, or the only one.

    Raises:
        MissingPackageError: The package datasets is not installed.
        MissingFileError: There is no such folder, and no such data set on the hub.
        InputError: It cannot be told which columns are meant, or it cannot be read.
    """
    with collecting(findings) as findings:
        splits = _opened(root)
        of_images, of_captions = _columns(root, splits, columns, captions)
        key = {"root": str(root), "columns": [of_images, of_captions], "files": _fingerprint(root)}
        folder = scratch / f"huggingface-{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:12]}"
        with locked(folder / "lock"):
            if not (folder / DONE).is_file():
                bad = _write(splits, folder, of_images, of_captions)
                write_whole(folder / DONE, json.dumps({**key, "bad": bad}))
            for told in json.loads((folder / DONE).read_text())["bad"]:
                findings.add_bad("unusable image", f"{root}: {told}")
        return read_folder(folder, findings, captions)


def _opened(root: str | Path) -> dict[str, Any]:
    """The data set's splits by their own names, none of them read yet."""
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise MissingPackageError("source huggingface needs an extra: pip install 'attngan[datasets]'") from error
    folder = Path(root)
    try:
        if not folder.is_dir():
            opened = datasets.load_dataset(str(root), streaming=True)
        elif any((folder / name).is_file() for name in _SAVED):
            opened = datasets.load_from_disk(str(folder))
        elif arrows := sorted(map(str, folder.rglob("*.arrow"))):
            opened = datasets.load_dataset("arrow", data_files=arrows, streaming=True)
        else:
            opened = datasets.load_dataset(str(folder), streaming=True)
    except (OSError, ValueError, RuntimeError) as error:  # the hub's, the formats', and of a missing script
        told = str(error).partition("\n")[0][:200]
        if not folder.is_dir():
            raise MissingFileError(
                f"{root}: no such folder, and it cannot be had from the hub as a data set of this name ({told})"
            ) from error
        raise InputError(f"{root}: cannot be read as parquet, arrow or another format of the hub: {told}") from error
    return dict(opened) if isinstance(opened, Mapping) else {"train": opened}


def _columns(root: str | Path, splits: Mapping[str, Any], columns: Columns, captions: bool) -> tuple[str, str | None]:
    """Which column holds the images, and which the captions.

    Raises:
        InputError: It cannot be told; lists them.
    """
    import datasets

    features = next((data.features for data in splits.values() if data.features), None)
    if features is None:  # streamed from a format that does not tell: its first row does
        first: Mapping[str, Any] = next(iter(next(iter(splits.values()))), {})
        features = datasets.Features({name: _feature_of(value) for name, value in first.items()})
    images = [name for name, kind in features.items() if _is_image(kind)]
    texts = [name for name, kind in features.items() if _is_text(kind)]
    usual = [name for group in CAPTION_COLUMNS for name in group if name in texts]
    found = (
        _one(root, "image_column", columns.image, images, list(features)),
        _one(root, "caption_column", columns.caption, usual[:1] or texts, list(features)) if captions else None,
    )
    return found[0], found[1]


def _one(root: str | Path, option: str, asked: str | None, fitting: list[str], there: list[str]) -> str:
    if asked is not None and asked in there:
        return asked
    if asked is None and len(fitting) == 1:
        return fitting[0]
    why = f"there is no column {asked!r}" if asked is not None else f"{len(fitting)} columns could be meant"
    raise InputError(f"{root}: {why} with {option}: it has {', '.join(there)}")


def _feature_of(value: Any) -> Any:
    import datasets

    if isinstance(value, Image.Image) or (isinstance(value, Mapping) and "bytes" in value):
        return datasets.Image()
    if isinstance(value, list) and value and isinstance(value[0], str):
        return datasets.List(datasets.Value("string"))
    return datasets.Value("string" if isinstance(value, str) else "null")


def _is_image(kind: Any) -> bool:
    """An image column, or bytes with a path as pandas writes such a column."""
    return type(kind).__name__ == "Image" or (isinstance(kind, Mapping) and {"bytes", "path"} <= set(kind))


def _is_text(kind: Any) -> bool:
    inner = getattr(kind, "feature", kind[0] if isinstance(kind, list) and kind else kind)
    return getattr(inner, "dtype", None) in ("string", "large_string")


def _fingerprint(root: str | Path) -> list[list[Any]]:
    """The files of a folder with their sizes and times; of the hub nothing: what was streamed once stays."""
    folder = Path(root)
    there = folder.rglob("*") if folder.is_dir() else []
    files = sorted(path for path in there if path.suffix in (".parquet", ".arrow"))
    return [[path.relative_to(folder).as_posix(), path.stat().st_size, path.stat().st_mtime_ns] for path in files]


def _write(splits: Mapping[str, Any], folder: Path, of_images: str, of_captions: str | None) -> list[str]:
    """Image files and their table; returns what is wrong with single ones. An interrupted writing is done again."""
    bad: list[str] = []
    lines: list[str] = []
    names = {split: SPLIT_NAMES.get(split.lower()) for split in splits}
    one = len(splits) == 1  # its images are split by a hash of their names, as in a folder without splits
    for split, rows in splits.items():
        count = len(rows) if hasattr(rows, "__len__") else 0
        with progress_bar(f"images of {split}", count, transient=True) as show:
            for number, row in enumerate(_undecoded(rows, of_images)):
                name = f"{'images' if one else split}/{number:08d}"
                try:
                    suffix = _write_image(row[of_images], folder / name)
                except UnusableImageError as error:
                    bad.append(f"row {number} of {split}: {error}")
                    continue
                told: dict[str, Any] = {"file_name": f"{name}{suffix}"}
                if of_captions is not None:
                    texts = row[of_captions]
                    told["texts"] = [texts] if isinstance(texts, str) else list(texts or ())
                if names[split] and not one:
                    told["split"] = names[split]
                lines.append(json.dumps(told, ensure_ascii=False) + "\n")
                show(number + 1)
    write_whole(folder / "metadata.jsonl", "".join(lines))
    return bad


def _undecoded(rows: Any, of_images: str) -> Iterator[Mapping[str, Any]]:
    """Rows whose images are the files' content."""
    import datasets

    if rows.features and type(rows.features.get(of_images)).__name__ == "Image":
        rows = rows.cast_column(of_images, datasets.Image(decode=False))
    yield from rows


def _write_image(value: Any, stem: Path) -> str:
    """Writes an image file as it is in the data set; returns its suffix.

    Raises:
        UnusableImageError: There is none, or it is no image.
    """
    content = value.get("bytes") if isinstance(value, Mapping) else value
    if isinstance(value, Image.Image):
        buffer = io.BytesIO()
        value.save(buffer, "PNG")
        content = buffer.getvalue()
    if not isinstance(content, bytes):
        raise UnusableImageError("no image in this row")
    with open_image(content) as image:
        kind = image.format or "PNG"
    suffix = _SUFFIXES.get(kind, f".{kind.lower()}")
    write_whole(stem.with_suffix(suffix), content)
    return suffix
