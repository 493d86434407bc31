"""``metrics.csv``: what is logged, a row a step, for tables and plots without any other program."""

import csv
import io
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from attngan.files import write_whole

METRICS = "metrics.csv"
#: Columns that stand for no logged number: Lightning's step, and seconds of the clock.
STEP, TIME = "step", "time"


class CSVLog(Logger):
    """Writes each row as it is logged, with the time in seconds of the clock.

    A run that goes on from a checkpoint replaces the rows of the steps after it.

    A new value gets a column of its own at the end; rows without it are empty there.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._columns: list[str] | None = None
        self._row: dict[str, float] = {}

    @property
    def name(self) -> str:
        return ""

    @property
    def version(self) -> str:
        return ""

    @property
    def save_dir(self) -> str:
        return str(self.path.parent)

    @property
    def experiment(self) -> None:
        """There is nothing to draw pictures into."""
        return None

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """They are in config.yaml, beside this file."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Adds a row, or to the last one if that is of the same step."""
        row = {STEP: float(step or 0), **{name: float(value) for name, value in metrics.items()}}
        if self._columns is None:
            self._begin(int(row[STEP]))
        if self._row and self._row[STEP] != row[STEP]:
            self.save()
        self._row |= row | {TIME: time.time()}

    def _begin(self, step: int) -> None:
        """Keeps the rows before this step of what an earlier process wrote."""
        columns, rows = read_rows(self.path)
        self._columns = columns or [STEP, TIME]
        kept = [row for row in rows if float(row[STEP]) < step]
        if len(kept) < len(rows):
            _write(self.path, self._columns, kept)

    @rank_zero_only
    def save(self) -> None:
        """Writes the row that waits for more values of its step."""
        if not self._row or self._columns is None:
            return
        if new := [name for name in self._row if name not in self._columns]:
            self._columns += new
            _write(self.path, self._columns, read_rows(self.path)[1])
        new_file = not self.path.is_file()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self._columns, restval="")
            if new_file:
                writer.writeheader()
            writer.writerow({name: f"{value:.{13 if name == TIME else 10}g}" for name, value in self._row.items()})
        self._row = {}

    @rank_zero_only
    def finalize(self, status: str) -> None:
        self.save()


def read_rows(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Columns and whole rows of such a file; a last line that was cut off is left out.

    Args:
        path: The file; one that is not there has neither.
    """
    if not path.is_file():
        return [], []
    text = path.read_text(encoding="utf-8")
    rows = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1], newline=""))
    return list(rows.fieldnames or []), [row for row in rows if row.get(STEP)]


def _write(path: Path, columns: list[str], rows: list[dict[str, str]]) -> None:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, columns, restval="", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(path, out.getvalue())
