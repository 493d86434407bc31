"""Karpathy and Fei-Fei's splits of COCO, Flickr8k and Flickr30k: one JSON file with images, captions and splits.

``dataset_coco.json`` (``dataset_flickr8k.json``, ``dataset_flickr30k.json``) lies in the root; the images in the
folders that it names (``train2014/``, ``val2014/``), or together in one. Its ``restval`` images train, as in the papers
that use these splits.
"""

from pathlib import Path
from typing import Any

from attngan.data.findings import Findings, collecting
from attngan.data.folders import FileFinder, folder_with_most, folders_in, how_many_in, why_no_file
from attngan.data.names import NameOutsideError, path_inside, without_suffix
from attngan.data.sources.caption_files import clean_captions
from attngan.data.text_files import read_json
from attngan.errors import InputError, MissingFileError
from attngan.records import CaptionedImage

_SPLITS = {"train": "train", "restval": "train", "val": "validation", "test": "test"}


def karpathy_files(root: Path) -> list[Path]:
    """The files of such splits in a folder."""
    return sorted(root.glob("dataset_*.json"))


def read_karpathy(
    root: str | Path, findings: Findings | None = None, captions: bool = True
) -> dict[str, list[CaptionedImage]]:
    """The captioned images by split, in the order of the file.

    Args:
        root: The folder that holds ``dataset_coco.json`` and the images.
        findings: Takes what is wrong with single images, which then are left out; None: they are an error.
        captions: Read the captions; else the images alone, of which none needs any.

    Raises:
        MissingFileError: When there is no such file.
        InputError: When it is none of Karpathy's, several are there or, without `findings`, an image cannot be used.
    """
    root = Path(root)
    files = karpathy_files(root)
    if not files:
        raise MissingFileError(f"{root / 'dataset_coco.json'}: no such file (images, captions and splits)")
    if len(files) > 1:
        raise InputError(f"{root} holds several data sets: {' and '.join(file.name for file in files)}; remove others")
    entries = _parse(files[0])
    names = ["/".join(entry["name"]) for entry in entries]
    base = folder_with_most(names, [root, *folders_in(root)])
    if not how_many_in(base, names):  # the images of all folders, together in one
        names = [name.rpartition("/")[2] for name in names]
        base = folder_with_most(names, [root, *folders_in(root)])
    images: dict[str, dict[str, CaptionedImage]] = {"train": {}, "validation": {}, "test": {}}
    finder = FileFinder()
    with collecting(findings) as findings:
        for entry, listed in zip(entries, names, strict=True):
            try:
                image = path_inside(listed, base, root)
            except NameOutsideError as error:
                findings.add_bad("name outside the data set", f"{files[0]}: {error}")
                continue
            if (found := finder.exact(image)) is None:
                findings.add_bad("missing image", f"{files[0]}: {why_no_file(image)}")
                continue
            name = without_suffix(image.relative_to(base if image.is_relative_to(base) else root).as_posix())
            if any(name in own for own in images.values()):
                findings.add_bad("duplicate id", f"{files[0]}: image file {listed} given twice")
                continue
            own = clean_captions(entry["captions"], f"{files[0]}, image {listed}", findings) if captions else ()
            if own is not None:
                images[entry["split"]][name] = CaptionedImage(name, found, own)
    return {split: list(own.values()) for split, own in images.items()}


def _parse(path: Path) -> list[dict[str, Any]]:
    """What is read of each image: the parts of its name, its split and its captions."""
    try:
        return [_entry(image) for image in read_json(path)["images"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: not one of Karpathy's splits (images with filename, split and sentences): "
            f"{type(error).__name__} {error}"
        ) from error


def _entry(image: dict[str, Any]) -> dict[str, Any]:
    folder = image.get("filepath")
    name = [*([folder.strip("/")] if folder else []), image["filename"].strip()]
    captions = [" ".join((sentence["raw"] or "").split()) for sentence in image["sentences"]]
    return {"name": name, "split": _SPLITS[image["split"]], "captions": captions}
