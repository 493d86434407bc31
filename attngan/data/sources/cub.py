"""CUB-200-2011 with ten captions an image, in the layout of the published code, and what shares that layout.

A data set lies in one folder, whatever its name::

    text/<class>/<name>.txt          one caption a line, or text_c10/ (or captions.pickle, the published metadata)
    train/filenames.pickle           names ``<class>/<name>`` (or filenames.txt, one a line); test/ likewise
    train/class_info.pickle          class numbers, used where image_class_labels.txt is absent
    images/<class>/<name>.jpg        here, or one folder deeper (CUB_200_2011/) together with
    images.txt bounding_boxes.txt image_class_labels.txt

The published ``coco`` metadata is the same layout without classes and boxes.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from attngan.data.findings import Findings, collecting
from attngan.data.folders import FileFinder, folders_in, why_no_file
from attngan.data.images import IMAGE_SUFFIXES
from attngan.data.names import NameOutsideError, path_inside, without_suffix
from attngan.data.published_pickles import read_published_pickle
from attngan.data.sources.caption_files import CAPTION_FOLDERS, CAPTION_SUFFIXES, clean_captions, read_caption_file
from attngan.data.sources.file_lists import read_file_list
from attngan.data.splits import class_number
from attngan.data.text_files import lines_of, read_text
from attngan.errors import InputError, MissingFileError
from attngan.records import CaptionedImage


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
    finder = FileFinder()
    captions_of: _CaptionReader = _caption_reader(root, split, names, finder) if captions else lambda *_image: ()
    class_of = _class_reader(root, split, names, tables)
    images: dict[str, CaptionedImage] = {}
    with collecting(findings) as findings:
        for position, listed in enumerate(names):
            try:
                name = path_inside(listed, tables["folder"]).relative_to(tables["folder"]).as_posix()
            except NameOutsideError as error:
                findings.add_bad("name outside the data set", f"{error}, in the file list of {root / split}")
                continue
            if name in images:
                findings.add_note("listed twice", f"{name} in {root / split}: taken once")
                continue
            path = _image_path(tables, name, finder)
            if path is None:
                usual = tables["folder"] / f"{name}{IMAGE_SUFFIXES[0]}"
                findings.add_bad("missing image", f"{name}: {why_no_file(tables['paths'].get(name, usual))}")
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
    inner = [folder for folder in folders_in(root) if (folder / "images").is_dir()]
    if len(inner) != 1:
        found = ", ".join(map(str, inner)) or "none"
        raise MissingFileError(f"one folder images/ is looked for in {root} or one folder deeper; found: {found}")
    return inner[0]


def _image_tables(image_root: Path) -> dict[str, Any]:
    """What images.txt and its companions say, by image name; empty tables where a file is absent."""
    folder = image_root / "images"
    paths = _numbered(image_root / "images.txt", 1, lambda rest: path_inside(rest[0].strip(), folder))
    names = {number: without_suffix(path.relative_to(folder).as_posix()) for number, path in paths.items()}
    # Real downloads list boxes and labels of images that are not there: lines of unlisted images are passed over.
    boxes = _numbered(image_root / "bounding_boxes.txt", 4, _box)
    labels = _numbered(image_root / "image_class_labels.txt", 1, lambda rest: class_number(rest[0]))
    return {
        "folder": folder,
        "paths": {names[number]: path for number, path in paths.items()},
        "boxes": {names[number]: box for number, box in boxes.items() if number in names},
        "classes": {names[number]: label for number, label in labels.items() if number in names},
    }


_Value = TypeVar("_Value")


def _numbered(path: Path, fields: int, value_of: Callable[[list[str]], _Value]) -> dict[str, _Value]:
    """``number field field ...`` a line, by number; empty when the file is absent.

    Raises:
        InputError: When a line is malformed; names it.
    """
    table: dict[str, _Value] = {}
    if not path.is_file():
        return table
    for number, line in enumerate(lines_of(read_text(path)), start=1):
        key, *rest = line.split(maxsplit=fields) or [""]
        if not key:
            continue
        try:
            if key in table:
                raise ValueError("image number given twice")
            if len(rest) != fields:
                raise ValueError(f"expected a number and {fields} field(s)")
            table[key] = value_of(rest)
        except ValueError as error:
            raise InputError(f"{path}, line {number}: {error}: {line[:80]!r}") from None
    return table


def _box(fields: list[str]) -> tuple[float, float, float, float]:
    x, y, width, height = map(float, fields)
    if not all(map(math.isfinite, (x, y, width, height))):
        raise ValueError("a box of numbers that are not finite")
    return x, y, width, height


def _image_path(tables: dict[str, Any], name: str, finder: FileFinder) -> Path | None:
    listed: Path | None = tables["paths"].get(name)
    return finder.exact(listed) if listed else finder.find(tables["folder"] / name, IMAGE_SUFFIXES)


_CaptionReader = Callable[[int, str, Findings], tuple[str, ...] | None]


def _caption_reader(root: Path, split: str, names: list[str], finder: FileFinder) -> _CaptionReader:
    """Captions by the image's own text file, or by position from the published captions.pickle."""
    folder = next((root / name for name in CAPTION_FOLDERS if (root / name).is_dir()), None)
    if folder is not None:

        def beside(_position: int, name: str, findings: Findings) -> tuple[str, ...] | None:
            found = finder.find(folder / name, CAPTION_SUFFIXES)
            return read_caption_file(found or folder / f"{name}{CAPTION_SUFFIXES[0]}", findings)

        return beside
    pickled = root / "captions.pickle"
    if not pickled.is_file():
        raise MissingFileError(f"no captions: neither the folder {root / 'text'} nor {pickled} exists")
    captions = _captions_in(pickled, split)
    # The file says nothing of which caption belongs to which image: they are cut by count. Where one image had fewer,
    # every later one would get another's captions.
    each, left = divmod(len(captions), max(len(names), 1))
    if left or not each:
        raise InputError(
            f"{pickled}: {len(captions):,} captions do not go evenly over the {len(names):,} images of {root / split}; "
            f"use the caption files in {root / 'text'} instead"
        )

    def by_position(position: int, name: str, findings: Findings) -> tuple[str, ...] | None:
        return clean_captions(captions[position * each : (position + 1) * each], f"{pickled}, {name}", findings)

    return by_position


def _captions_in(pickled: Path, split: str) -> list[str]:
    """The captions of one split, one image's after the other's."""
    content = read_published_pickle(pickled)
    try:
        captions, words = content[0 if split == "train" else 1], content[2]
        return [" ".join(str(words[i]) for i in ids) for ids in captions]
    except (TypeError, LookupError, ValueError) as error:
        raise InputError(
            f"{pickled}: not a published captions.pickle (training captions, test captions, id to word): {error!r}"
        ) from error


def _class_reader(root: Path, split: str, names: list[str], tables: dict[str, Any]) -> Callable[[int, str], int | None]:
    """Class numbers from image_class_labels.txt, else class_info.pickle; no classes without either."""
    if tables["classes"]:
        return lambda _position, name: tables["classes"].get(name)
    pickled = root / split / "class_info.pickle"
    if not pickled.is_file():
        return lambda _position, _name: None
    content = read_published_pickle(pickled)
    try:
        numbers = [class_number(number) for number in content]
    except (TypeError, ValueError) as error:
        raise InputError(f"{pickled}: not a list of class numbers: {error}") from error
    if len(numbers) != len(names):
        raise InputError(f"{pickled}: {len(numbers):,} class numbers for {len(names):,} images")
    return lambda position, _name: numbers[position]
