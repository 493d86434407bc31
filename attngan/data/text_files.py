"""Text files of a data set, read whole; what cannot be read is told with its file, its line and what to do."""

import codecs
import json
import re
import stat
from pathlib import Path
from typing import Any

from attngan.errors import InputError, MissingFileError

_LINE_ENDS = re.compile(r"\r\n|\r|\n")
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class EncodingError(InputError):
    """A text file in another encoding than UTF-8."""


def read_text(path: Path) -> str:
    """The text of a file: UTF-8 with or without byte order mark, or UTF-16 that says so by its mark.

    Raises:
        MissingFileError: When there is no such file.
        EncodingError: When it is in another encoding; names the line.
        InputError: When it is a folder, a FIFO or a device, or the system does not give it out.
    """
    try:
        regular = stat.S_ISREG(path.stat().st_mode)  # opening a FIFO would wait for a writer
        content = path.read_bytes() if regular else b""
    except FileNotFoundError as error:
        raise MissingFileError(f"{path}: no such file") from error
    except (OSError, ValueError) as error:  # the latter of names that no system has
        raise InputError(f"{path}: cannot be read: {getattr(error, 'strerror', error)}") from error
    if not regular:
        raise InputError(f"{path}: no regular file")
    encoding = "utf-16" if content.startswith(_UTF_16) else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        wrong = f"byte 0x{content[error.start]:02x}"
        raise EncodingError(
            f"{path}: line {line} is not {encoding[:6].upper().rstrip('-')} ({wrong}); save the file as UTF-8, or "
            f"convert it: iconv -f latin1 -t utf-8 (latin1: whatever it was written in)"
        ) from None


def lines_of(text: str) -> list[str]:
    """The lines, whichever of the three usual ends they have; what else Unicode calls a line end splits none."""
    return _LINE_ENDS.split(text)


def read_captions(path: Path) -> list[str]:
    """The lines of a text file, blank ones left out.

    Raises:
        InputError: As `read_text`, and when there is none.
    """
    captions = [line.strip() for line in lines_of(read_text(path)) if line.strip()]
    if not captions:
        raise InputError(f"{path}: no caption in it: one a line is looked for")
    return captions


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        InputError: As `read_text`, and when it is no JSON; names line and column.
    """
    text = read_text(path)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {error.lineno}, column {error.colno}: not JSON: {error.msg}") from None
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits; brackets of thousands of levels
        raise InputError(f"{path}: not JSON that can be read: {error}") from None
