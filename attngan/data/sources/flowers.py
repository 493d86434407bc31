"""Oxford-102 flowers with ten captions an image (Reed et al.).

A data set lies in one folder, whatever its name::

    jpg/image_00001.jpg                          the images (or images/)
    text_c10/class_00001/image_00001.txt         one caption a line; the folders are the classes
    trainvalclasses.txt testclasses.txt          names of class folders (the former also as trainclasses.txt and
                                                 valclasses.txt)
    imagelabels.mat setid.mat                    Oxford's own classes and splits, by number of the image

The splits are the class lists, in which no class of a test image is trained on, as in text-to-image papers; where there
are none, ``train/filenames.pickle`` and ``test/filenames.pickle`` (or ``.txt``); where there are none of these either,
Oxford's own, in which every class is in every split. Without any list a fifth of the classes, chosen by a hash of their
names, is the test split (of one class alone: of its images), and a note says so.
"""

import re
from pathlib import Path

import numpy as np

from attngan.data.findings import Findings, collecting
from attngan.data.folders import FileFinder, choose_images, folders_in, walk, why_no_file
from attngan.data.images import IMAGE_SUFFIXES, is_marked_overview
from attngan.data.sources.caption_files import CAPTION_FOLDERS, CAPTION_SUFFIXES, read_caption_file
from attngan.data.sources.file_lists import has_file_list, read_file_list
from attngan.data.splits import stable_hash
from attngan.data.text_files import read_text
from attngan.errors import InputError, MissingFileError
from attngan.records import CaptionedImage

_CLASS_LISTS = {
    "trainvalclasses.txt": "train",
    "trainclasses.txt": "train",
    "valclasses.txt": "validation",
    "testclasses.txt": "test",
}
_SETS = {"trnid": "train", "valid": "validation", "tstid": "test"}


def read_flowers(
    root: str | Path, findings: Findings | None = None, captions: bool = True, official: bool = False
) -> dict[str, list[CaptionedImage]]:
    """The captioned images by split, ordered by class and name.

    Args:
        root: The data set's folder.
        findings: Takes what is wrong with single images, which then are left out; None: they are an error.
        captions: Read the captions; else the images alone, of which none needs any.
        official: The splits of ``setid.mat``, also where there are others.

    Raises:
        MissingFileError: When captions, images or the lists of the splits are not there.
        InputError: When a list is malformed or, without `findings`, an image cannot be used.
    """
    root = Path(root)
    pictures = _image_folder(root)
    labels = _labels(root)
    texts = _text_folder(root, needed=captions)
    images: dict[str, list[CaptionedImage]] = {split: [] for split in ("train", "validation", "test")}
    with collecting(findings) as findings:
        caption_files = [] if texts is None else _caption_files(texts, findings)
        stems = sorted({path.stem for path in _images_directly_in(pictures, findings)})
        files = {file.stem: file for file in caption_files}
        folder_of = {stem: file.parent.name for stem, file in files.items()}
        if not captions:  # no file of captions is needed to know an image
            alone = [stem for stem in stems if stem not in folder_of]
            folder_of |= {stem: _class_folder(labels[stem]) if stem in labels else "" for stem in alone}
        numbers = {folder: number for number, folder in enumerate(sorted(set(folder_of.values()) - {""}), start=1)}
        names = {stem: f"{folder}/{stem}".lstrip("/") for stem, folder in folder_of.items()}
        split_of = _official_splits(root) if official else _split_of(root, set(numbers), names, findings)
        finder = FileFinder()
        for stem, name in sorted(names.items(), key=lambda item: item[1]):
            folder, split = folder_of[stem], split_of.get(stem)
            if split is None:
                findings.add_note("in no split", f"{name}: not in the lists of the splits")
                continue
            path = finder.find(pictures / stem, IMAGE_SUFFIXES)
            if path is None:
                findings.add_bad("missing image", f"{name}: {why_no_file(pictures / f'{stem}.jpg')}")
                continue
            label = labels.get(stem, numbers.get(folder))
            if stem in labels and (said := re.search(r"\d+$", folder)) and int(said[0]) != label:
                findings.add_bad("contradicting classes", f"{name}: class {label} in {root / 'imagelabels.mat'}")
                continue
            own = read_caption_file(files[stem], findings) if captions else ()
            if own is not None:
                images[split].append(CaptionedImage(name, path, own, label))
        for file in caption_files:
            if files[file.stem] != file:
                findings.add_bad("two caption files", f"{file}: {files[file.stem]} is of the same image")
        for stem in stems:
            if stem not in names:
                findings.add_bad("missing captions", f"{pictures / stem}.jpg: no caption file {texts}/*/{stem}.txt")
        for stem in sorted(split_of.keys() - names.keys() - set(stems)):
            findings.add_bad("missing image", f"{stem}: in the lists of the splits, but no file {pictures / stem}.jpg")
    return {split: own for split, own in images.items() if own or split != "validation"}


def _caption_files(texts: Path, findings: Findings) -> list[Path]:
    """Those in folders of classes."""
    files = (file for file in walk(texts, findings) if file.parent.parent == texts)
    return [file for file in files if file.suffix.lower() in CAPTION_SUFFIXES]


def _images_directly_in(folder: Path, findings: Findings) -> list[Path]:
    files = [file for file in walk(folder, findings) if file.parent == folder]
    return choose_images(files, findings, is_marked_overview)


def _text_folder(root: Path, needed: bool) -> Path | None:
    """``text_c10/``, ``text/``, or the one folder that holds folders of caption files."""
    for name in reversed(CAPTION_FOLDERS):
        if (root / name).is_dir():
            return root / name
    found = [folder for folder in folders_in(root) if _caption_files(folder, Findings())]
    if len(found) == 1:
        return found[0]
    if needed:
        raise MissingFileError(f"no captions: {root / 'text_c10'}/<class>/<image>.txt is looked for")
    return None


def _image_folder(root: Path) -> Path:
    for name in ("jpg", "images"):
        if (root / name).is_dir():
            return root / name
    raise MissingFileError(f"no images: the folder {root / 'jpg'} (or images) is looked for")


def _split_of(root: Path, classes: set[str], names: dict[str, str], findings: Findings) -> dict[str, str]:
    """Each image's split, by its file's stem."""
    labels = {stem: name.split("/")[0] for stem, name in names.items()}
    lists = {name: split for name, split in _CLASS_LISTS.items() if (root / name).is_file()}
    if "trainvalclasses.txt" in lists:  # the two smaller lists are parts of it
        lists = {name: split for name, split in lists.items() if name in ("trainvalclasses.txt", "testclasses.txt")}
    if {"train", "test"} <= set(lists.values()):
        split_of_class: dict[str, str] = {}
        for name, split in lists.items():
            for label in read_text(root / name).split():
                if label not in classes:
                    raise InputError(f"{root / name}: there is no class folder {label!r} beside the others")
                if split_of_class.setdefault(label, split) != split:
                    raise InputError(f"{root / name}: class {label!r} is in another list too")
        return {stem: split_of_class[label] for stem, label in labels.items() if label in split_of_class}
    if has_file_list(root / "train"):
        # these lists name images with or without a folder before them
        listed = {split: [Path(name).name for name in read_file_list(root / split)] for split in ("train", "test")}
        return {stem: split for split, stems in listed.items() for stem in stems}
    if (root / "setid.mat").is_file():
        return _official_splits(root)
    if lists:
        raise MissingFileError(
            f"{root}: no splits: {' and '.join(lists)} is there, but not the list of the other split"
        )
    return _made_up_splits(root, labels, findings)


def _made_up_splits(root: Path, labels: dict[str, str], findings: Findings) -> dict[str, str]:
    """A fifth of the classes to test on, as about a fifth are in the published lists."""
    group_of = labels if len(set(labels.values())) > 1 else {stem: stem for stem in labels}
    groups = sorted(set(group_of.values()), key=stable_hash)
    chosen = groups[: max(1, round(len(groups) / 5))]
    what = "classes" if group_of is labels else "images"
    findings.add_note(
        "no lists of the splits",
        f"{root}: neither trainvalclasses.txt and testclasses.txt, nor train/filenames.txt and test/filenames.txt, nor "
        f"setid.mat: of {len(groups)} {what} {len(chosen)}, chosen by a hash of their names, are the test split: "
        f"{', '.join(sorted(chosen))}. Scores cannot be compared with published ones",
    )
    return {stem: "test" if group in chosen else "train" for stem, group in group_of.items()}


# Oxford's own files


def _official_splits(root: Path) -> dict[str, str]:
    path = root / "setid.mat"
    split_of: dict[str, str] = {}
    for key, split in _SETS.items():
        for number in _whole_numbers(path, key).tolist():
            if split_of.setdefault(_stem(number), split) != split:
                raise InputError(f"{path}: image {number} is in {split_of[_stem(number)]} and in {split}")
    return split_of


def _labels(root: Path) -> dict[str, int]:
    """The class of each image by its file's stem; empty where there is no ``imagelabels.mat``."""
    path = root / "imagelabels.mat"
    if not path.is_file():
        return {}
    return {_stem(number): label for number, label in enumerate(_whole_numbers(path, "labels").tolist(), start=1)}


def _whole_numbers(path: Path, key: str) -> np.ndarray:
    from scipy.io import loadmat

    if not path.is_file():
        raise MissingFileError(f"{path}: no such file (the splits of Oxford's flowers)")
    try:
        values = loadmat(path, variable_names=[key])[key].ravel()
        if values.dtype.kind not in "iuf" or (values != np.rint(values)).any():
            raise ValueError(f"{key} holds other things than whole numbers")
    except Exception as error:  # a damaged file can make the reader raise anything
        raise InputError(f"{path}: not a MATLAB file with {key}: {error}") from error
    return np.asarray(values, dtype=np.int64)


def _stem(number: int) -> str:
    return f"image_{number:05}"


def _class_folder(label: int) -> str:
    return f"class_{label:05}"
