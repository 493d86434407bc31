"""Files that are whole or not there, and folders that one process at a time fills."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from attngan.errors import NoRoomError

#: With less than this free, a file that could not be written is taken to have lacked room.
FULL = 1 << 20


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Where to write what will be at ``path``: it gets that name when the block ends, and none if it raises.

    A program that is killed meanwhile leaves what was at ``path`` as it was, and beside it a file that ends in
    ``.part``: no reader of images, arrays or weights takes that for one of its own. Several processes may write the
    same file; the last one's stays.

    Args:
        path: The file. Its folder is made if it is missing.

    Raises:
        NoRoomError: The disk is full; whatever library wrote the file, and whatever it raises then.
        OSError: The system refuses it; names ``path``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.touch()  # by Python: torch says of a folder without rights that a file cannot be opened, without a number
        yield part
        part.replace(path)
    except BaseException as error:  # Ctrl-C too
        full = isinstance(error, OSError | RuntimeError) and _full(path.parent)
        with suppress(OSError):
            part.unlink(missing_ok=True)
        if full:
            raise NoRoomError(f"{path}: no room on the disk: make some, or name a place on another one") from error
        if isinstance(error, OSError) and error.filename == str(part):
            error.filename = str(path)  # what the user named
        raise


def _full(folder: Path) -> bool:
    with suppress(OSError):
        disk = shutil.disk_usage(folder)
        return disk.total > 0 and disk.free < FULL  # /sys and its like have no room at all
    return False


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes a file whole or not at all, text as UTF-8. Its folder is made if it is missing."""
    with replacing(path) as part:
        part.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time is in the block; the system opens the lock however a process ends.

    Where the system or the file system has no locks (Windows, some network drives) nobody waits: there, two programs
    must not fill the same folder at once.

    Args:
        path: The lock's own file. Its folder is made if it is missing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:
        yield
        return
    with path.open("w") as file:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
