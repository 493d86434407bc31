"""Oxford-102 flowers with ten captions an image (Reed et al.).

A data set lies in one folder, whatever its name::

    jpg/image_00001.jpg                          the images (or images/)
    text_c10/class_00001/image_00001.txt         one caption a line; the folders are the classes
    trainvalclasses.txt testclasses.txt          names of class folders (the former also as trainclasses.txt and
                                                 valclasses.txt)

or, instead of the class lists, ``train/filenames.pickle`` and ``test/filenames.pickle`` (or ``.txt``).
"""

from pathlib import Path

from attngan.data.caption_files import read_caption_file
from attngan.data.cub import read_file_list
from attngan.data.findings import Findings, collecting
from attngan.records import CaptionedImage

_CLASS_LISTS = {
    "trainvalclasses.txt": "train",
    "trainclasses.txt": "train",
    "valclasses.txt": "validation",
    "testclasses.txt": "test",
}


def read_flowers(root: str | Path, findings: Findings | None = None) -> dict[str, list[CaptionedImage]]:
    """The captioned images by split, ordered by class and name.

    Args:
        root: The data set's folder.
        findings: Takes what is wrong with single images, which then are left out; None: they are an error.

    Raises:
        FileNotFoundError: When captions, images or the lists of the splits are not there.
        ValueError: When a list is malformed or, without `findings`, an image cannot be used.
    """
    root = Path(root)
    texts, pictures = _text_folder(root), _image_folder(root)
    classes = {folder.name: number for number, folder in enumerate(sorted(_folders(texts)), start=1)}
    files = sorted(path for folder in _folders(texts) for path in folder.glob("*.txt"))
    split_of = _split_of(root, classes, files)
    images: dict[str, list[CaptionedImage]] = {split: [] for split in ("train", "validation", "test")}
    with collecting(findings) as findings:
        captioned = set()
        for file in files:
            captioned.add(file.stem)
            name = f"{file.parent.name}/{file.stem}"
            split = split_of.get(name)
            if split is None:
                findings.add_note("in no split", f"{file}: not in the lists of the splits")
                continue
            path = next((p for s in (".jpg", ".jpeg", ".png") if (p := pictures / f"{file.stem}{s}").is_file()), None)
            if path is None:
                findings.add_bad("missing image", f"{name}: no file {pictures / file.stem}.jpg")
                continue
            captions = read_caption_file(file, findings)
            if captions is not None:
                images[split].append(CaptionedImage(name, path, captions, classes[file.parent.name]))
        for path in sorted(pictures.glob("*.jpg")):
            if path.stem not in captioned:
                findings.add_bad("missing captions", f"{path}: no caption file {texts}/*/{path.stem}.txt")
    return {split: own for split, own in images.items() if own or split != "validation"}


def _folders(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir()]


def _text_folder(root: Path) -> Path:
    """``text_c10/``, ``text/``, or the one folder that holds folders of caption files."""
    for name in ("text_c10", "text"):
        if (root / name).is_dir():
            return root / name
    found = [folder for folder in _folders(root) if next(folder.glob("*/*.txt"), None)]
    if len(found) != 1:
        raise FileNotFoundError(f"no captions: {root / 'text_c10'}/<class>/<image>.txt is looked for")
    return found[0]


def _image_folder(root: Path) -> Path:
    for name in ("jpg", "images"):
        if (root / name).is_dir():
            return root / name
    raise FileNotFoundError(f"no images: the folder {root / 'jpg'} (or images) is looked for")


def _split_of(root: Path, classes: dict[str, int], files: list[Path]) -> dict[str, str]:
    """Each image's split, by name ``class/image``."""
    names = [f"{file.parent.name}/{file.stem}" for file in files]
    lists = {name: split for name, split in _CLASS_LISTS.items() if (root / name).is_file()}
    if "trainvalclasses.txt" in lists:  # the two smaller lists are parts of it
        lists = {name: split for name, split in lists.items() if name in ("trainvalclasses.txt", "testclasses.txt")}
    if {"train", "test"} <= set(lists.values()):
        split_of_class: dict[str, str] = {}
        for name, split in lists.items():
            for label in (root / name).read_text(encoding="utf-8-sig").split():
                if label not in classes:
                    raise ValueError(f"{root / name}: there is no class folder {label!r} beside the others")
                if split_of_class.setdefault(label, split) != split:
                    raise ValueError(f"{root / name}: class {label!r} is in another list too")
        return {name: split_of_class[label] for name in names if (label := name.split("/")[0]) in split_of_class}
    if any((root / "train" / f"filenames.{kind}").is_file() for kind in ("pickle", "txt")):
        # these lists name images with or without a folder before them
        by_stem = {Path(name).name: name for name in names}
        chosen = {}
        for split in ("train", "test"):
            for listed in read_file_list(root / split):
                if (stem := Path(listed).name) in by_stem:
                    chosen[by_stem[stem]] = split
        return chosen
    raise FileNotFoundError(
        f"{root}: no splits: trainvalclasses.txt and testclasses.txt (names of class folders), or "
        "train/filenames.pickle and test/filenames.pickle"
    )
