"""CUB-200-2011 with ten captions an image, in the layout of the published code, and what shares that layout.

A data set lies in one folder, whatever its name::

    text/<class>/<name>.txt          one caption a line (or captions.pickle, the published metadata)
    train/filenames.pickle           names ``<class>/<name>`` (or filenames.txt, one a line); test/ likewise
    train/class_info.pickle          class numbers, used where image_class_labels.txt is absent
    images/<class>/<name>.jpg        here, or one folder deeper (CUB_200_2011/) together with
    images.txt bounding_boxes.txt image_class_labels.txt

The published ``coco`` metadata is the same layout without classes and boxes.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from attngan.data.findings import Findings, collecting
from attngan.data.published_pickles import read_published_pickle
from attngan.data.sources.caption_files import clean_captions, read_caption_file
from attngan.data.sources.file_lists import read_file_list
from attngan.errors import InputError, MissingFileError
from attngan.records import CaptionedImage

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG")


def read_cub(
    root: str | Path, split: str, findings: Findings | None = None, captions: bool = True
) -> list[CaptionedImage]:
    """The images of one split, in the order of its file list.

    Args:
        root: The folder that holds ``text/``, ``train/``, ``test/`` and the images.
        split: ``"train"`` or ``"test"``.
        findings: Takes what is wrong with single images, which then are left out; None: they are an error.
        captions: Read the captions; else the images alone, of which none needs any.

    Raises:
        MissingFileError: When the file list, the images or the captions are not there at all.
        InputError: When a list is malformed or, without `findings`, an image cannot be used.
    """
    root = Path(root)
    names = read_file_list(root / split)
    tables = _image_tables(_image_root(root))
    captions_of: _CaptionReader = _caption_reader(root, split, names) if captions else lambda *_image: ()
    class_of = _class_reader(root, split, names, tables)
    images: dict[str, CaptionedImage] = {}
    with collecting(findings) as findings:
        for position, name in enumerate(names):
            if name in images:
                findings.add_note("listed twice", f"{name} in {root / split}: taken once")
                continue
            if not isinstance(name, str) or Path(name).is_absolute() or ".." in Path(name).parts:
                findings.add_bad("name outside the data set", f"{name!r} in the file list of {root / split}")
                continue
            path = _image_path(tables, name)
            if path is None:
                findings.add_bad("missing image", f"{name}: no file {tables['folder'] / name}.jpg")
                continue
            if tables["boxes"] and name not in tables["boxes"]:
                findings.add_bad("no bounding box", f"{name}: not in {tables['folder'].parent / 'bounding_boxes.txt'}")
                continue
            own = captions_of(position, name, findings)
            if own is not None:
                box = tables["boxes"].get(name)
                images[name] = CaptionedImage(name, path, own, class_of(position, name), box)
    return list(images.values())


def _image_root(root: Path) -> Path:
    """The folder that holds images/: the root, or the one folder in it that does."""
    if (root / "images").is_dir():
        return root
    if not root.is_dir():
        raise MissingFileError(f"{root}: no such folder")
    inner = [folder for folder in sorted(root.iterdir()) if (folder / "images").is_dir()]
    if len(inner) != 1:
        found = ", ".join(map(str, inner)) or "none"
        raise MissingFileError(f"one folder images/ is looked for in {root} or one folder deeper; found: {found}")
    return inner[0]


def _image_tables(image_root: Path) -> dict[str, Any]:
    """What images.txt and its companions say, by image name; empty tables where a file is absent."""
    listed = {number: Path(rest[0]) for number, rest in _numbered(image_root / "images.txt", 1).items()}
    names = {number: path.with_suffix("").as_posix() for number, path in listed.items()}
    tables: dict[str, Any] = {"folder": image_root / "images"}
    tables["paths"] = {names[number]: tables["folder"] / path for number, path in listed.items()}
    boxes = _numbered(image_root / "bounding_boxes.txt", 4)
    # Real downloads list boxes and labels of images that are not there: lines of unlisted images are passed over.
    labels = _numbered(image_root / "image_class_labels.txt", 1)
    try:
        tables["boxes"] = {
            names[n]: (float(x), float(y), float(w), float(h)) for n, (x, y, w, h) in boxes.items() if n in names
        }
        tables["classes"] = {names[n]: int(label) for n, (label,) in labels.items() if n in names}
    except ValueError as error:
        raise InputError(
            f"{image_root}: bounding_boxes.txt or image_class_labels.txt holds no number: {error}"
        ) from None
    return tables


def _numbered(path: Path, fields: int) -> dict[str, list[str]]:
    """``number field field ...`` a line, by number; empty when the file is absent."""
    table: dict[str, list[str]] = {}
    if not path.is_file():
        return table
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        key, *rest = line.split(maxsplit=fields) or [""]
        if not key:
            continue
        if len(rest) != fields or key in table:
            why = "image number given twice" if key in table else f"expected a number and {fields} field(s)"
            raise InputError(f"{path}, line {number}: {why}: {line[:80]!r}")
        table[key] = rest
    return table


def _image_path(tables: dict[str, Any], name: str) -> Path | None:
    listed = tables["paths"].get(name)
    candidates = [listed] if listed else [tables["folder"] / f"{name}{suffix}" for suffix in IMAGE_SUFFIXES]
    return next((path for path in candidates if path.is_file()), None)


_CaptionReader = Callable[[int, str, Findings], tuple[str, ...] | None]


def _caption_reader(root: Path, split: str, names: list[str]) -> _CaptionReader:
    """Captions by the image's own text file, or by position from the published captions.pickle."""
    if (root / "text").is_dir():
        return lambda _position, name, findings: read_caption_file(root / "text" / f"{name}.txt", findings)
    pickled = root / "captions.pickle"
    if not pickled.is_file():
        raise MissingFileError(f"no captions: neither the folder {root / 'text'} nor {pickled} exists")
    content = read_published_pickle(pickled)
    captions, words = content[0 if split == "train" else 1], content[2]
    # The file says nothing of which caption belongs to which image: they are cut by count. Where one image had fewer,
    # every later one would get another's captions.
    each, left = divmod(len(captions), max(len(names), 1))
    if left or not each:
        raise InputError(
            f"{pickled}: {len(captions):,} captions do not go evenly over the {len(names):,} images of {root / split}; "
            f"use the caption files in {root / 'text'} instead"
        )

    def by_position(position: int, name: str, findings: Findings) -> tuple[str, ...] | None:
        own = captions[position * each : (position + 1) * each]
        return clean_captions([" ".join(words[i] for i in ids) for ids in own], f"{pickled}, {name}", findings)

    return by_position


def _class_reader(root: Path, split: str, names: list[str], tables: dict[str, Any]) -> Callable[[int, str], int | None]:
    """Class numbers from image_class_labels.txt, else class_info.pickle; no classes without either."""
    if tables["classes"]:
        return lambda _position, name: tables["classes"].get(name)
    pickled = root / split / "class_info.pickle"
    if not pickled.is_file():
        return lambda _position, _name: None
    numbers = list(read_published_pickle(pickled))
    if len(numbers) != len(names):
        raise InputError(f"{pickled}: {len(numbers):,} class numbers for {len(names):,} images")
    return lambda position, _name: int(numbers[position])
