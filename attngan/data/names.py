"""Names of files as lists and tables write them: one spelling for all sources, and none that leads out of a folder."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from attngan.data.images import IMAGE_SUFFIXES
from attngan.errors import InputError

_DRIVE = re.compile(r"[A-Za-z]:/")


class NameOutsideError(InputError):
    """A name that leads to no file of the data set."""


def path_inside(name: object, folder: Path, root: Path | None = None) -> Path:
    """Where the file lies that a list names.

    Args:
        name: What the list says: relative to ``folder``, with slashes or backslashes, or absolute (also from ``~``).
        folder: What relative names start from.
        root: The folder that must not be left; None: ``folder``.

    Returns:
        A path that begins with ``root``, without ``.`` and ``..``.

    Raises:
        NameOutsideError: When it is no name, or leads out of ``root``.
    """
    if not isinstance(name, str) or not name.strip():
        raise NameOutsideError(f"{name!r} is no name of a file")
    root = folder if root is None else root
    text = name.replace("\\", "/")
    if "\0" not in text and not _DRIVE.match(text):
        text = os.path.expanduser(text) if text.startswith("~/") else text
        path = os.path.normpath(os.path.join(os.path.abspath(folder), text))
        if relative := _within(path, os.path.abspath(root)) or _within(_real(path), os.path.realpath(root)):
            return root / relative
    raise NameOutsideError(
        f"{name!r} leads out of the folder {root}: names are relative to {folder}, or absolute and within it"
    )


def _within(path: str, folder: str) -> str | None:
    start = folder.rstrip(os.sep) + os.sep
    return path[len(start) :] if path.startswith(start) else None


def _real(path: str) -> str:
    """The folder's own path, without symbolic links; a file may be one."""
    folder, file = os.path.split(path)
    return os.path.join(os.path.realpath(folder), file)


def without_suffix(name: str, suffixes: Sequence[str] = IMAGE_SUFFIXES) -> str:
    """The name without the suffix of an image, in any case; other dots in a name are part of it."""
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in suffixes else name
