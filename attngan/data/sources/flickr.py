"""Flickr8k and Flickr30k as they are handed out: a list of captions, and images in some folder beside it.

The list is one of::

    Flickr8k.token.txt, results_20130124.token    NAME.jpg#0 <tab> caption
    captions.txt, results.csv                     a table with a first line: image,caption

The splits are ``Flickr_8k.trainImages.txt``, ``Flickr_8k.devImages.txt`` and ``Flickr_8k.testImages.txt`` (or
``train.txt``, ``val.txt``, ``test.txt``), one name a line, with or without ``.jpg``; where there are none, a stable
hash of the name: 80 % train, 10 % validation, 10 % test, of which a note tells.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from attngan.data.findings import Findings, collecting
from attngan.data.folders import choose_images, walk
from attngan.data.images import is_marked_overview
from attngan.data.names import without_suffix
from attngan.data.sources.caption_files import clean_captions
from attngan.data.sources.tables import USUAL, RowError, captions_of_cell, looks_like_table, read_table
from attngan.data.splits import SPLIT_NAMES, split_by_hash
from attngan.data.text_files import lines_of, read_text
from attngan.errors import InputError, MissingFileError
from attngan.records import CaptionedImage

_CAPTION_LIST = re.compile(r"(?!.*lemma)(.*\.token(\.txt)?|captions\.txt|results\.csv)", re.IGNORECASE)
_SPLIT_LIST = re.compile(r"(?:.*\.)?(train|dev|val|test)(?:Images)?\.txt", re.IGNORECASE)
_NUMBERED = re.compile(r"(.+)#\d+\s*\t\s*(.*)")


def read_flickr(
    root: str | Path, findings: Findings | None = None, captions: bool = True
) -> dict[str, list[CaptionedImage]]:
    """The captioned images by split, in the order of the list of captions.

    Args:
        root: The folder that holds the list and, anywhere in it, the images.
        findings: Takes what is wrong with single images, which then are left out; None: they are an error.
        captions: Give the captions; else the images alone. The list is needed in either case: it says which they are.

    Raises:
        MissingFileError: When there is no list of captions.
        InputError: When there are several, one is malformed or, without `findings`, an image cannot be used.
    """
    root = Path(root)
    with collecting(findings) as findings:
        files = walk(root, findings)
        listed = _captions_by_name(_caption_list(root, files), findings)
        split_of = _splits(root, files, findings)
        paths: dict[str, Path] = {}
        for path in choose_images(files, findings, is_marked_overview):
            if path.stem in paths:
                findings.add_note("two images of one name", f"{path}: {paths[path.stem]} is read instead")
            else:
                paths[path.stem] = path
        images: dict[str, list[CaptionedImage]] = {"train": [], "validation": [], "test": []}
        for name, (where, texts) in listed.items():
            if name not in paths:
                findings.add_bad("missing image", f"{where}: no image {name} in {root}")
                continue
            split = split_of.get(name) if split_of else split_by_hash(name)
            if split is None:
                findings.add_note("in no split", f"{name}: not in the lists of the splits")
                continue
            own = clean_captions(texts, where, findings) if captions else ()
            if own is not None:
                images[split].append(CaptionedImage(name, paths[name], own))
    return images


def _caption_list(root: Path, files: list[Path]) -> Path:
    found = [path for path in files if _CAPTION_LIST.fullmatch(path.name)]
    found = [path for path in found if ".token" in path.name.lower() or looks_like_table(path)]
    if not found:
        raise MissingFileError(
            f"{root}: no list of captions: Flickr8k.token.txt, results_20130124.token, captions.txt or results.csv"
        )
    if len(found) > 1:
        raise InputError(f"{root}: several lists of captions ({', '.join(map(str, found))}): remove all but one")
    return found[0]


def _captions_by_name(file: Path, findings: Findings) -> dict[str, tuple[str, list[str]]]:
    """By the image's name without suffix: where its captions begin in the list, and the captions."""
    listed: dict[str, tuple[str, list[str]]] = {}
    rows = _numbered_captions(file, findings) if ".token" in file.name.lower() else _table_rows(file, findings)
    for where, name, captions in rows:
        listed.setdefault(without_suffix(name), (where, []))[1].extend(captions)
    return listed


def _numbered_captions(file: Path, findings: Findings) -> Iterator[tuple[str, str, list[str]]]:
    for number, line in enumerate(lines_of(read_text(file)), start=1):
        where = f"{file}, line {number}"
        if parts := _NUMBERED.fullmatch(line):
            yield where, parts[1].strip(), [parts[2]]
        elif line.strip():
            findings.add_bad("malformed row", f"{where}: not NAME.jpg#NUMBER, a tab and a caption: {line[:60]!r}")


def _table_rows(file: Path, findings: Findings) -> Iterator[tuple[str, str, list[str]]]:
    for row in read_table(file, findings, USUAL):
        try:
            if not isinstance(row.image, str) or row.captions is None:
                raise RowError("no image" if row.captions is not None else "no caption")
            yield row.where, row.image.strip(), captions_of_cell(row.captions, row.several)
        except RowError as error:
            findings.add_bad("malformed row", f"{row.where}: {error}")


def _splits(root: Path, files: list[Path], findings: Findings) -> dict[str, str]:
    """Each image's split by its name; empty where there are no lists."""
    lists: dict[str, list[Path]] = defaultdict(list)
    for path in files:
        if named := _SPLIT_LIST.fullmatch(path.name):
            lists[SPLIT_NAMES[named[1].lower()]].append(path)
    if "train" not in lists:
        findings.add_note(
            "no lists of the splits",
            f"{root}: neither Flickr_8k.trainImages.txt nor train.txt: a stable hash of the names decides "
            "(80 % train, 10 % validation, 10 % test)",
        )
        return {}
    split_of: dict[str, str] = {}
    for split, paths in lists.items():
        for line in (line.strip() for path in paths for line in lines_of(read_text(path)) if line.strip()):
            if split_of.setdefault(without_suffix(line), split) != split:
                raise InputError(f"{paths[0]}: {line} is in the list of another split too")
    return split_of
