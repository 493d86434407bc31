"""Arrays in numpy's formats, of strangers: no pickles in them, and no more memory than the file's length tells."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from attngan.errors import InputError, MissingFileError
from attngan.file_kinds import kind_of_file

#: Bytes of an array in an .npz, unpacked, and how many times its packed size that may be: noise packs badly.
UNPACKED_BYTES, MOST_PACKED = 1_000_000_000, 200


def read_array(path: str | Path, mapped: bool = False) -> np.ndarray:
    """The array of an ``.npy`` file.

    Args:
        path: The file.
        mapped: Map the file instead of reading it.

    Raises:
        MissingFileError: There is no such file.
        InputError: It is something else, or not whole.
    """
    path = Path(path)
    _require_file(path)
    try:
        values: Any = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except Exception as error:  # a damaged header can make the reader raise anything
        raise _not_readable(path, error) from error
    if not isinstance(values, np.ndarray):
        values.close()
        raise InputError(f"{path} is {kind_of_file(path)}: an .npy file of one array is needed")
    return values


def read_arrays(path: str | Path, *names: str) -> tuple[np.ndarray, ...]:
    """Arrays of an ``.npz`` file by name.

    Raises:
        MissingFileError: There is no such file.
        InputError: It is something else, not whole, or lacks one of them.
    """
    path = Path(path)
    _require_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if member.file_size > min(UNPACKED_BYTES, 1_000_000 + MOST_PACKED * member.compress_size):
                    raise InputError(f"{member.filename!r} in it would be {member.file_size:,} bytes")
        with np.load(path, allow_pickle=False) as arrays:
            missing = [name for name in names if name not in arrays]
            if missing:
                raise InputError(f"it has no array {', '.join(missing)}, but {', '.join(map(repr, arrays.files))}")
            found = tuple(arrays[name] for name in names)
        if others := [name for name, value in zip(names, found, strict=True) if not isinstance(value, np.ndarray)]:
            raise InputError(f"{', '.join(others)} in it is no array")
        return found
    except Exception as error:
        raise _not_readable(path, error) from error


def _require_file(path: Path) -> None:
    if not path.exists():
        raise MissingFileError(f"no arrays at {path.resolve()}")


def _not_readable(path: Path, error: Exception) -> InputError:
    kind = kind_of_file(path)
    if isinstance(error, InputError):
        return InputError(f"{path}: {error}")
    if kind.startswith("an array in numpy's format") or kind.startswith("arrays in numpy's format"):
        return InputError(f"{path}: not an array of numbers, or not whole ({str(error)[:200] or type(error).__name__})")
    return InputError(f"{path}: not an array in numpy's format: it is {kind}")
