"""Tables of images and captions, ``metadata.jsonl``, ``.csv`` and ``.tsv``, and what their columns are called.

A table gives rows by column as they are written; which column holds the names of the images and which the captions is
found by the names that are usual for them, or told. Everything that is wrong is told with the line that it begins in.
"""

import ast
import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attngan.data.findings import Findings
from attngan.data.text_files import lines_of, read_text
from attngan.errors import InputError

#: The columns that this project's own tables have come first and go before the others; of these there must be one.
IMAGE_COLUMNS = (
    ("file_name",),
    ("filename", "file", "image", "image_name", "image_file", "image_path", "img", "filepath", "file_path", "path"),
)
CAPTION_COLUMNS = (
    ("texts", "text"),
    ("captions", "caption", "prompts", "prompt", "sentences", "sentence", "description", "comment"),
)
_DELIMITERS = ",;\t|"
_QUOTED = re.compile(r"""'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*\"""")
_OPENED = re.compile(r"(?:array\()?[\[(]\s*(?=['\"])")
_BETWEEN = re.compile(r"\s*,?\s*")
_CLOSED = re.compile(r"[\])](?:,\s*dtype=\S+\))?|\]\)")


@dataclass(frozen=True)
class Columns:
    """What the columns of a table are called; None: found by their usual names.

    Args:
        image: Names of the images.
        caption: Captions.
    """

    image: str | None = None
    caption: str | None = None


@dataclass(frozen=True)
class Row:
    """What a table says of an image, or one caption of it.

    Args:
        where: File and line, for messages.
        image: The image's name as written; None where there is none.
        captions: The first of the columns of captions that holds anything, as it is; None where none does.
        several: That column is for several captions.
        values: All values by column, in lower case; without those that are empty or null.
    """

    where: str
    image: Any
    captions: Any
    several: bool
    values: dict[str, Any]


#: By their usual names.
USUAL = Columns()


class RowError(ValueError):
    """Why a row cannot be used."""


def read_table(file: Path, findings: Findings, columns: Columns, captions: bool = True) -> list[Row]:
    """The rows of a table; malformed ones go to the findings.

    Args:
        file: The table; its suffix says of what kind it is.
        findings: Takes the rows that cannot be read.
        columns: Which columns to read.
        captions: There must be a column of captions.

    Raises:
        InputError: When the file is malformed as a whole, or it cannot be told which columns are meant: lists them.
    """
    if file.suffix.lower() == ".jsonl":
        rows = list(_jsonl_rows(file, findings))
        found = list(dict.fromkeys(column for _where, values in rows for column in values))
        if not rows:
            return []  # an empty file, or one of whose rows none can be read
    else:
        found, rows = _csv_rows(file, findings)
    of_image = _chosen(file, found, "image_column", columns.image, IMAGE_COLUMNS, "names of images")
    of_captions = []
    if captions:
        of_captions = _chosen(file, found, "caption_column", columns.caption, CAPTION_COLUMNS, "captions")
    return [_row(where, values, of_image, of_captions) for where, values in rows]


def looks_like_table(file: Path) -> bool:
    """Whether a file's first line names a column of images and one of captions."""
    try:
        header = next(csv.reader([first := lines_of(read_text(file))[0]], delimiter=_delimiter(first)), [])
    except (InputError, csv.Error):
        return False
    names = {name.strip().lower() for name in header}
    return all(names & {usual for group in groups for usual in group} for groups in (IMAGE_COLUMNS, CAPTION_COLUMNS))


def captions_of_cell(value: Any, several: bool) -> list[str]:
    """The captions that one cell holds: one, a list, or a list as JSON, Python or numpy write it as text.

    Args:
        value: The cell.
        several: The column is for several captions: line breaks separate them.

    Raises:
        RowError: When it holds something else.
    """
    if isinstance(value, str):
        listed = _list_in(value)
        value = listed if listed is not None else lines_of(value) if several else [value]
    if not isinstance(value, list | tuple) or not all(isinstance(text, str) for text in value):
        raise RowError("text must be one caption, texts a list of them")
    return [" ".join(lines_of(text)) for text in value]


def _list_in(cell: str) -> list[Any] | None:
    """The list that a cell holds as text; None where it is no list."""
    text = cell.strip()
    if text in ("[]", "()"):
        return []
    if (opened := _OPENED.match(text)) is None:
        return None
    try:
        parsed = json.loads(text)
        return parsed if isinstance(parsed, list) else None
    except (ValueError, RecursionError):
        pass
    items, position = [], opened.end()
    while quoted := _QUOTED.match(text, position):
        try:
            items.append(ast.literal_eval(quoted[0]))
        except (SyntaxError, ValueError):
            break
        between = _BETWEEN.match(text, quoted.end())
        position = between.end() if between else quoted.end()
    if _CLOSED.fullmatch(text, position):
        return items
    if text.startswith("("):
        return None  # words in brackets, the first of them quoted
    raise RowError(f"its list of captions is not whole: {text[:60]!r}")


def _row(where: str, values: dict[str, Any], of_image: Sequence[str], of_captions: Sequence[str]) -> Row:
    column = next((column for column in of_captions if column in values), "")
    return Row(where, values.get(of_image[0]), values.get(column), column.endswith("s"), values)


def _chosen(
    file: Path, found: list[str], option: str, asked: str | None, usual: tuple[tuple[str, ...], ...], what: str
) -> list[str]:
    """The columns to be read, the first one before the others."""
    there = f"columns found: {', '.join(found) or 'none'}"
    if asked is not None:
        if asked.strip().lower() not in found:
            raise InputError(f"{file}: there is no column {asked!r} ({option}); {there}")
        return [asked.strip().lower()]
    own, others = ([name for name in names if name in found] for names in usual)
    if own or len(others) == 1:
        return own or others
    if others:
        raise InputError(f"{file}: {' and '.join(others)} may all hold {what}: choose with {option}; {there}")
    names = ", ".join(name for group in usual for name in group)
    raise InputError(
        f"{file}: its first line must name the columns file_name and text (or texts), or others that are usual: no "
        f"column of {what} ({names}) is there; choose one with {option}; {there}"
    )


_Rows = Iterator[tuple[str, dict[str, Any]]]


def _filled(values: dict[Any, Any]) -> dict[str, Any]:
    """Without what is null or empty, in any spelling of the columns; NaN is what pandas writes for null."""
    filled = {column: value for column, value in values.items() if value not in (None, "") and value == value}
    return {str(column).strip().lower(): value for column, value in filled.items()}


def _jsonl_rows(file: Path, findings: Findings) -> _Rows:
    for number, line in enumerate(lines_of(read_text(file)), start=1):
        where = f"{file}, line {number}"
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            findings.add_bad("malformed row", f"{where}: not JSON: {error.msg} (column {error.colno})")
            continue
        except (ValueError, RecursionError) as error:
            findings.add_bad("malformed row", f"{where}: not JSON: {error}")
            continue
        if isinstance(row, dict):
            yield where, _filled(row)
        else:
            findings.add_bad("malformed row", f"{where}: not a JSON object")


def _csv_rows(file: Path, findings: Findings) -> tuple[list[str], list[tuple[str, dict[str, Any]]]]:
    """The columns, and the rows by them."""
    text = read_text(file)
    if "\0" in text:
        findings.add_note("NUL bytes in captions", f"{file}: NUL bytes taken for spaces")
        text = text.replace("\0", " ")
    csv.field_size_limit(100_000_000)
    first = lines_of(text)[0]
    told = re.fullmatch(r"sep=(.)", first, re.IGNORECASE)  # how Excel is told what separates
    delimiter = told[1] if told else _delimiter(first)
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    if delimiter == "|":  # Flickr30k's list quotes nothing
        reader = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE, skipinitialspace=True)
    rows = ((number, row) for number, row in _numbered(file, reader) if row and not (told and number == 1))
    _number, header = next(rows, (1, []))
    columns = [name.strip().lower() for name in header]
    filled = []
    for number, row in rows:
        where = f"{file}, line {number}"
        if len(row) > len(columns):
            why = "more fields than columns (a caption with a comma must stand in quotation marks)"
            findings.add_bad("malformed row", f"{where}: {why}")
        else:
            filled.append((where, _filled(dict(zip(columns, row, strict=False)))))
    return columns, filled


def _numbered(file: Path, reader: Any) -> Iterator[tuple[int, list[str]]]:
    """The rows with the line that each begins in: one with a line break in a caption ends further down."""
    while True:
        began = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise InputError(
                f"{file}, line {began}: {error} (a quotation mark within a quoted caption is written twice)"
            ) from error
        yield began, row


def _delimiter(header: str) -> str:
    """What separates the names of the columns: whichever of the usual ones is there most often."""
    return max(_DELIMITERS, key=header.count)
