"""COCO's captions: ``annotations/captions_train2017.json`` and images in folders of their own; no classes, no boxes.

``train`` is the training split, the annotations' ``val`` our ``test``. The published ``coco`` metadata (``train/``,
``test/``, ``text/`` or ``captions.pickle``) is read by `attngan.data.sources.cub`, whose layout it shares.
"""

from collections import defaultdict
from pathlib import Path
from typing import Any

from attngan.data.findings import Findings, collecting
from attngan.data.folders import FileFinder, folder_with_most, folders_in, why_no_file
from attngan.data.names import NameOutsideError, path_inside, without_suffix
from attngan.data.sources.caption_files import clean_captions
from attngan.data.sources.cub import read_cub
from attngan.data.text_files import read_json
from attngan.errors import InputError, MissingFileError
from attngan.records import CaptionedImage

OFFICIAL_NAMES = {"train": "train", "test": "val"}


def read_coco(
    root: str | Path, split: str, findings: Findings | None = None, captions: bool = True, year: int | None = None
) -> list[CaptionedImage]:
    """The images of one split, in the order of the JSON file.

    Args:
        root: The folder that holds ``annotations/``.
        split: ``"train"`` or ``"test"`` (COCO's ``val``).
        findings: Takes what is wrong with single images, which then are left out; None: they are an error.
        captions: Read the captions; else the images alone, of which none needs any.
        year: Which edition, where the folder holds several.

    Raises:
        MissingFileError: When there is no annotation file for the split.
        InputError: When it is no COCO file, several editions are there or, without `findings`, an image cannot be used.
    """
    root = Path(root)
    if not (root / "annotations").is_dir() and (root / split).is_dir():
        return read_cub(root, split, findings, captions)
    path = _annotation_file(root, split, year)
    entries, annotations = _parse(path)
    with collecting(findings) as findings:
        images_by_id: dict[Any, dict[str, Any]] = {}
        for entry in entries:
            if entry["id"] in images_by_id:
                findings.add_bad("duplicate id", f"{path}: image id {entry['id']} ({entry['file_name']}) given twice")
            else:
                images_by_id[entry["id"]] = entry
        captions_of = _captions_by_image(path, annotations if captions else [], images_by_id, findings)
        folder, finder = _image_folder(root, path, entries), FileFinder()
        images: dict[str, CaptionedImage] = {}
        for number, entry in images_by_id.items():
            file_name = entry["file_name"]
            try:
                image = path_inside(file_name, folder, root)
            except NameOutsideError as error:
                findings.add_bad("name outside the data set", f"{path}: {error}")
                continue
            found = finder.exact(image)
            if found is None:
                findings.add_bad("missing image", f"{path}: {why_no_file(image)}")
                continue
            within = folder if image.is_relative_to(folder) else root
            name = without_suffix(image.relative_to(within).as_posix())
            if name in images:
                findings.add_bad("duplicate id", f"{path}: image file {file_name} given twice")
                continue
            where = f"{path}, image {file_name}"
            own = clean_captions(captions_of[number], where, findings) if captions else ()
            if own is not None:
                images[name] = CaptionedImage(name, found, own)
    return list(images.values())


def _annotation_file(root: Path, split: str, year: int | None) -> Path:
    folder, official = root / "annotations", OFFICIAL_NAMES.get(split, split)
    found = sorted(folder.glob(f"captions_{official}{year or '*'}.json"))
    if not found:
        raise MissingFileError(
            f"no captions for the {split} split: {folder / f'captions_{official}{year or 2017}.json'}"
        )
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise InputError(f"{folder} holds several editions ({names}): choose with source coco2014 or coco2017")
    return found[0]


def _parse(path: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Images and annotations, each with what is read of it; captions that are null are left out as blank ones are."""
    try:
        content = read_json(path)
    except InputError as error:
        raise InputError(f"{path}: not a COCO caption file: {error}") from error
    try:
        entries, annotations = content["images"], content["annotations"]
        for entry in entries:
            hash(entry["id"]), entry["file_name"].strip()
        for annotation in annotations:
            hash(annotation["image_id"]), hash(annotation.get("id"))
            annotation["caption"] = (annotation["caption"] or "").strip()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: not a COCO caption file (images with id and file_name, annotations with image_id and caption): "
            f"{type(error).__name__} {error}"
        ) from error
    return entries, annotations


def _captions_by_image(
    path: Path, annotations: list[dict[str, Any]], images: dict[Any, dict[str, Any]], findings: Findings
) -> dict[Any, list[str]]:
    captions: dict[Any, list[str]] = defaultdict(list)
    seen: set[Any] = set()
    for annotation in annotations:
        number = annotation.get("id")
        if number is not None and number in seen:
            findings.add_note("duplicate id", f"{path}: caption id {number} given twice, the first one taken")
            continue
        seen.add(number)
        if annotation["image_id"] not in images:
            findings.add_note(
                "caption of no image", f"{path}: image id {annotation['image_id']} is not among its images"
            )
            continue
        captions[annotation["image_id"]].append(" ".join(annotation["caption"].split()))
    return captions


def _image_folder(root: Path, path: Path, entries: list[dict[str, Any]]) -> Path:
    """Where the split's images lie: ``train2017/`` or ``images/train2017/`` if such a folder is there.

    Else ``images/`` or whichever folder holds most of them. One folder, never several: another split may have files of
    the same names.
    """
    official, images = path.stem.removeprefix("captions_"), root / "images"
    own = [folder for folder in (root / official, images / official) if folder.is_dir()]
    names = [entry["file_name"].replace("\\", "/") for entry in entries]  # which may begin with that folder
    return folder_with_most(names, [*own, images, root] if own else [images, root, *folders_in(root)])
