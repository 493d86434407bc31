"""One caption a line: what a caption file may hold and what becomes of the lines that are none."""

import re
from pathlib import Path

from attngan.data.findings import Findings
from attngan.data.text_files import EncodingError, lines_of, read_text
from attngan.errors import InputError, MissingFileError

#: Names of caption files, in lower case; of several of one stem the first is read.
CAPTION_SUFFIXES = (".txt", ".caption")
#: Folders of caption files, in the layouts that have one.
CAPTION_FOLDERS = ("text", "text_c10")

_HAS_WORD = re.compile(r"\w")


def read_caption_file(path: Path, findings: Findings) -> tuple[str, ...] | None:
    """The captions of a text file, one a line; None when it has none (which `findings` then says).

    UTF-8 with or without byte order mark, any line ends. Other separators that Unicode calls line ends do not split a
    caption in two.
    """
    try:
        text = read_text(path)
    except MissingFileError:
        findings.add_bad("missing captions", f"{path}: no such caption file")
        return None
    except EncodingError as error:
        findings.add_bad("captions not UTF-8", str(error))
        return None
    except InputError as error:
        findings.add_bad("unreadable captions", str(error))
        return None
    return clean_captions(lines_of(text.rstrip()), str(path), findings)


def clean_captions(lines: list[str], where: str, findings: Findings) -> tuple[str, ...] | None:
    """Captions without surrounding space and NUL characters; those without any word are dropped and counted.

    Returns:
        The captions, or None (and a bad finding) when none is left.
    """
    if any("\0" in line for line in lines):
        findings.add_note("NUL bytes in captions", f"{where}: NUL bytes taken for spaces")
        lines = [line.replace("\0", " ") for line in lines]
    captions = tuple(line.strip() for line in lines if _HAS_WORD.search(line))
    if not captions:
        findings.add_bad("no captions", f"{where}: no caption with a word in it")
        return None
    if blank := len(lines) - len(captions):
        findings.add_note("blank captions", f"{where}: {blank} without a word dropped")
    return captions
