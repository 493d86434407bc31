"""Files that are whole or not there, and folders that one process at a time fills."""

import errno
import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from attngan.errors import AttnganError, NoRoomError
from attngan.terminal import say

#: Seconds between two looks at a lock that another process holds, and between two words about the wait.
_LOOK_AGAIN, _SAY_AGAIN = 0.2, 60.0


class InUseError(AttnganError, RuntimeError):
    """Another process is writing there."""


#: With less than this free, a file that could not be written is taken to have lacked room.
FULL = 1 << 20


@contextmanager
def replacing(path: Path, durable: bool = False) -> Iterator[Path]:
    """Where to write what will be at ``path``: it gets that name when the block ends, and none if it raises.

    A program that is killed meanwhile leaves what was at ``path`` as it was, and beside it a file that ends in
    ``.part``: no reader of images, arrays or weights takes that for one of its own. Several processes may write the
    same file; the last one's stays.

    Args:
        path: The file. Its folder is made if it is missing.
        durable: The content is on the disk before it gets the name, so that a power failure takes neither.

    Raises:
        NoRoomError: The disk is full; whatever library wrote the file, and whatever it raises then.
        OSError: The system refuses it; names ``path``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.touch()  # by Python: torch says of a folder without rights that a file cannot be opened, without a number
        yield part
        if durable:
            with part.open("rb") as file:
                os.fsync(file.fileno())
        part.replace(path)
    except BaseException as error:  # Ctrl-C too
        full = isinstance(error, OSError | RuntimeError) and _full(path.parent)
        with suppress(OSError):
            part.unlink(missing_ok=True)
        if full:
            raise NoRoomError(f"{path}: no room on the disk: make some, or name a place on another one") from error
        if isinstance(error, OSError) and error.errno is not None and error.filename in (None, str(part)):
            error.filename = str(path)  # what the user named; a write that the system refuses says nothing
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


def reserve(path: Path, size: int) -> None:
    """Makes a file so long, and gets the room for it: zeros, or what was there.

    A file that is written to through memory must have its room beforehand: where the disk is full then, the system does
    not say so but kills the program. Where a file system cannot reserve, it is only made so long.

    Args:
        path: The file.
        size: Length in bytes that it gets.

    Raises:
        OSError: There is no room; names the file.
    """
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b") as file:
        try:
            if size and hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise OSError(error.errno, error.strerror, str(path)) from None
        file.truncate(size)


# --- locks ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Holder:
    """Who holds a lock, as it says of itself in the lock's file.

    Args:
        pid: Number of the process.
        host: The machine that this runs on.
        since: When it got the lock, in seconds since 1970.
    """

    pid: int
    host: str
    since: float

    def __str__(self) -> str:
        begun = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return f"process {self.pid} on {self.host}, since {begun}"


def _say(line: str) -> None:
    say(line, error=True)


@contextmanager
def locked(path: Path, say: Callable[[str], None] = _say) -> Iterator[None]:
    """One process at a time is in the block; the system opens the lock however a process ends.

    A wait says whom it waits for, and since when that one has held the lock, at its start and every minute.

    Where the system or the file system has no locks (Windows, some network drives) nobody waits: there, two programs
    must not fill the same folder at once.

    Args:
        path: The lock's own file. Its folder is made if it is missing.
        say: Is told about a wait.
    """
    with _opened(path) as file:
        said = -_SAY_AGAIN
        while not _taken(file):
            if time.monotonic() - said >= _SAY_AGAIN:
                said = time.monotonic()
                say(f"waiting for {_holder(file)}, to end with {path.parent} (lock: {path.name})")
            time.sleep(_LOOK_AGAIN)
        yield


@contextmanager
def claimed(path: Path, what: str, instead: str) -> Iterator[None]:
    """As `locked`, but nobody waits.

    Args:
        path: The lock's own file.
        what: What is written by one process at a time, for the message.
        instead: What a second process is told to do.

    Raises:
        InUseError: Another process is in such a block; says which, and since when.
    """
    with _opened(path) as file:
        if not _taken(file):
            raise InUseError(f"{what} is being written by {_holder(file)}: {instead}")
        yield


@contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    path.parent.mkdir(parents=True, exist_ok=True)
    # not "w": who waits must not wipe out what the holder says of itself
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+", encoding="utf-8") as file:
        yield file


def _taken(file: IO[str]) -> bool:
    """Takes the lock if it is free, and says in its file by whom it is held; False where another process has it."""
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):  # there are no locks here
        pass
    file.seek(0)
    file.truncate()
    json.dump(asdict(Holder(os.getpid(), socket.gethostname(), time.time())), file)
    file.flush()
    return True


def _holder(file: IO[str]) -> Holder | str:
    file.seek(0)
    try:
        return Holder(**json.load(file))
    except (ValueError, TypeError):  # it has just got the lock, or an older version holds it
        return "another process"
