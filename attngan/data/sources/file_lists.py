"""Lists of a split's images in the layout of the published code: train/filenames.pickle or train/filenames.txt."""

from pathlib import Path
from typing import Any

import numpy as np

from attngan.data.names import without_suffix
from attngan.data.published_pickles import read_published_pickle
from attngan.data.text_files import lines_of, read_text
from attngan.errors import InputError, MissingFileError


def has_file_list(folder: Path) -> bool:
    """Whether the folder of a split has a list of its images."""
    return any((folder / f"filenames.{kind}").is_file() for kind in ("pickle", "txt"))


def read_file_list(folder: Path) -> list[str]:
    """Names as the split's list has them, with slashes and without the suffix of an image.

    Raises:
        MissingFileError: When there is no list.
        InputError: When it holds something else than names; names the file.
    """
    pickled, text = folder / "filenames.pickle", folder / "filenames.txt"
    if pickled.is_file():
        names = _texts(read_published_pickle(pickled))
        if names is None:
            raise InputError(f"{pickled}: not a list of image names")
    elif text.is_file():
        names = [line.strip() for line in lines_of(read_text(text)) if line.strip()]
    else:
        raise MissingFileError(f"no list of images: neither {pickled} nor {text} exists")
    return [without_suffix(name.replace("\\", "/")) for name in names]


def _texts(content: Any) -> list[str] | None:
    """Any sequence of names: a list, a tuple, an array of text."""
    if isinstance(content, np.ndarray) and content.ndim == 1:
        content = content.tolist()
    if not isinstance(content, list | tuple):
        return None
    names = [name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name for name in content]
    return names if all(isinstance(name, str) for name in names) else None
