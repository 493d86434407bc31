"""The mistakes of a user: one exception class, whose message is shown alone. A fault of ours keeps its traceback.

A kind that Python has an exception for is that as well: who calls attngan from Python can catch either.
"""

import math
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


class MissingFileError(AttnganError, FileNotFoundError):
    """A file or folder that was named, or belongs to one that was named, is not there."""


class FileInTheWayError(AttnganError, FileExistsError):
    """What would be written is there already, and is not overwritten."""


class NoRoomError(AttnganError, OSError):
    """The disk has no room for what would be written."""


class MissingPackageError(AttnganError, ModuleNotFoundError):
    """A package of one of the extras is not installed."""


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
