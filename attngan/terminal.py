"""What is written to the terminal: lines, tables and warnings. Text that came from files never reaches it raw."""

import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

#: Control characters but line breaks and tabs (an escape code begins with one), marks that turn the direction of
#: writing, and halves of characters, which names of files may hold.
_NOT_SHOWN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: object) -> str:
    r"""The text with what a terminal would obey written out: ``\x1b`` for an escape character.

    Args:
        text: Whatever is told; captions, names of files and messages of other libraries among it.
    """
    return _NOT_SHOWN.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), str(text))


def say(text: object = "", error: bool = False) -> None:
    """Prints a line at once, see `printable`; to standard error if it tells of something wrong."""
    print(printable(text), file=sys.stderr if error else sys.stdout, flush=True)


def console() -> "Console":
    """For tables: nothing in their texts is read as markup, an emoji or a number to be coloured."""
    from rich.console import Console

    return Console(markup=False, emoji=False, highlight=False)


@contextmanager
def warnings_in_one_line(command: str) -> Iterator[None]:
    """While the block runs a warning is one line without a place in the source: that is of use to developers alone.

    What is said of versions to come is left out.

    Args:
        command: What stands before it, e.g. "attngan train".
    """
    usual = warnings.formatwarning

    def told(message: Warning | str, *_: object, **__: object) -> str:
        return f"{command}: {printable(' '.join(str(message).split()))}\n"

    with warnings.catch_warnings():
        for of_developers in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
            warnings.simplefilter("ignore", of_developers)
        warnings.formatwarning = told
        try:
            yield
        finally:
            warnings.formatwarning = usual


def never_unprintable() -> None:
    """Characters that the terminal's encoding lacks (an arrow in Latin-1) are written out instead of ending the run."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
