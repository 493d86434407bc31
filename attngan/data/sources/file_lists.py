"""Lists of a split's images in the layout of the published code: train/filenames.pickle or train/filenames.txt."""

from pathlib import Path

from attngan.data.published_pickles import read_published_pickle
from attngan.errors import InputError, MissingFileError


def read_file_list(folder: Path) -> list[str]:
    """Names without suffix, as the split's list has them."""
    pickled, text = folder / "filenames.pickle", folder / "filenames.txt"
    if pickled.is_file():
        names = read_published_pickle(pickled)
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise InputError(f"{pickled}: not a list of image names")
        return names
    if text.is_file():
        return [line.strip() for line in text.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    raise MissingFileError(f"no list of images: neither {pickled} nor {text} exists")
