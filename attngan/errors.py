"""The mistakes of a user: one exception class, whose message is shown alone. A fault of ours keeps its traceback.

A kind that Python has an exception for is that as well: who calls attngan from Python can catch either.
"""

import errno
import math
import re
import warnings
from typing import Any


class AttnganError(Exception):
    """A mistake that the user can mend; the message says what is wrong and what to do.

    Attributes:
        exit_code: What the command line ends with.
    """

    exit_code = 1


class InputError(AttnganError, ValueError):
    """A value, the content of a file, or a combination of options that cannot be used."""


class UsageError(InputError):
    """An option or a key of a recipe that there is not, or that lacks its value."""

    exit_code = 2


class MissingFileError(AttnganError, FileNotFoundError):
    """A file or folder that was named, or belongs to one that was named, is not there."""


class FileInTheWayError(AttnganError, FileExistsError):
    """What would be written is there already, and is not overwritten."""


class NoRoomError(AttnganError, OSError):
    """The disk has no room for what would be written."""


class MissingPackageError(AttnganError, ModuleNotFoundError):
    """A package of one of the extras is not installed."""


#: What the system refuses for reasons that lie with the user or the machine, and what helps. What is not among them,
#: a file that is not there above all, is a fault of ours.
REFUSALS = {
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM, errno.EROFS), "name a place that you may write to, or change its rights"
    ),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "make room, or name a place on another disk"),
    **dict.fromkeys((errno.EEXIST, errno.ENOTDIR), "a file is there where a folder is meant: name another place"),
    errno.EISDIR: "a folder is there where a file is meant: name another place",
    **dict.fromkeys((errno.ENAMETOOLONG, errno.EINVAL, errno.ELOOP), "name another place"),
    **dict.fromkeys(
        (errno.EIO, errno.ENXIO, errno.ENODEV, errno.ESTALE, errno.ETIMEDOUT), "the disk or the drive fails"
    ),
    **dict.fromkeys((errno.EBUSY, errno.ETXTBSY), "another program uses it"),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "allow more open files (ulimit -n), or use fewer processes"),
    **dict.fromkeys((errno.ENOMEM, errno.EAGAIN), "close other programs, or use fewer processes (data.workers)"),
}
#: Errors by the name of their class (torch is not imported) whose cause is no fault of ours, and what helps.
SHORTAGES = {
    "OutOfMemoryError": "the GPU has too little memory: lower data.batch_size, or try model.accumulate",
    "MemoryError": "there is too little memory: a smaller batch, fewer processes, or smaller images",
    "URLError": "what is to be downloaded cannot be reached: give a file of it by its option",
    "HTTPError": "what is to be downloaded cannot be had: give a file of it by its option",
}


def told_in_one_line(error: BaseException) -> str | None:
    """What the user is told of an error, in one line; None of a fault of ours, which keeps its traceback.

    Args:
        error: Raised by a command; also by a process that reads images for it, whose error is one in words.
    """
    text = str(error)
    if isinstance(error, AttnganError):
        inner = text.rstrip().rpartition("\n")[2] if "Original Traceback (most recent call last)" in text else text
        return re.sub(r"^attngan\.[\w.]+: ", "", inner)
    if shortage := SHORTAGES.get(type(error).__name__):
        cause = "" if isinstance(error, MemoryError) else _first_sentence(text)
        return f"{shortage} ({cause})" if cause else shortage
    if is_of_lost_process(error):
        return "another of the processes that work together has ended: what it said, or whoever started it, tells why"
    if "shared memory" in text and isinstance(error, RuntimeError):  # torch's, of a loading process
        return "the loading processes have too little shared memory: data.workers=0, or docker run --shm-size 8g"
    if not isinstance(error, OSError):
        return None
    number, reason, name = error.errno, error.strerror, error.filename
    if number is None and (found := re.search(r"\[Errno (\d+)\] ([^:\n]+)(?:: (.+))?\s*$", text)):
        number, reason, name = int(found[1]), found[2], found[3] and found[3].strip("'")
    if number not in REFUSALS:
        return None
    place = "" if name is None else f"{name}: "
    return f"{place}{str(reason).lower()}: {REFUSALS[number]}"


#: What the libraries behind `torch.distributed` say when the other end of a connection is gone.
_LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "Connection refused", "NCCL", "gloo")


def is_of_lost_process(error: BaseException) -> bool:
    """Whether an error says no more than that another process, of those that work together, has ended."""
    of_torch = any(kind.__name__ == "DistError" for kind in type(error).__mro__)
    return of_torch or (type(error) is RuntimeError and any(told in str(error) for told in _LOST))


def _first_sentence(text: str) -> str:
    return text.strip().partition("\n")[0].partition(". ")[0].rstrip(".")


def require_at_least(
    least: int | float, most: int | float = math.inf, within: str = "", **values: int | float | None
) -> None:
    """Refuses numbers that are out of bounds, by the names of the options that they came from.

    Args:
        least: The smallest value that can be used.
        most: The largest one.
        within: What stands before the names, e.g. "model.rates.".
        values: The numbers; None is one that was not given.

    Raises:
        InputError: One is out of bounds, or no number at all (NaN).
    """
    for name, value in values.items():
        if value is not None and not least <= value <= most:
            bounds = f"at least {least}" if most == math.inf else f"between {least} and {most}"
            told = value if isinstance(value, int) else f"{value:g}"
            raise InputError(f"{within}{name} is {told}: it must be {bounds}")


def tell_without_effect(because: str, within: str = "", **settings: tuple[Any, Any]) -> None:
    """Warns of settings that change nothing, by the names of the options that they came from.

    No error, since whoever switches a part off keeps the settings that a recipe has for it.

    Args:
        because: Why they do not, as the end of a sentence: "model.matching is 0".
        within: What stands before the names, e.g. "model.".
        settings: Each setting's value, and the one that it has where nobody gave it.
    """
    given = [f"{within}{name} = {value}" for name, (value, usual) in settings.items() if value != usual]
    if given:
        warnings.warn(f"without effect, since {because}: {', '.join(given)}", stacklevel=3)
