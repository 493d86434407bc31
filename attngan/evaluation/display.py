"""What the user sees of an evaluation: progress bars, the table, the facts behind it, whole files."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attngan.evaluation.scores import DIFFERENT, HALVES, REAL, SHUFFLED, UNTRAINED

#: What stands behind a score's name, and what that is called in tables.
COLUMNS = {
    "": "scored",
    REAL: "real images",
    HALVES: "two halves of the real ones",
    SHUFFLED: "shuffled captions",
    DIFFERENT: "different captions",
    UNTRAINED: "untrained generator",
}


@contextmanager
def progress_bar(title: str, total: int, shown: bool) -> Iterator[Callable[[int], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, disable=not shown) as bar:
        task = bar.add_task(title, total=total)
        yield lambda done: bar.update(task, completed=done)


def pivot(scores: dict[str, dict[str, Any]]) -> tuple[list[str], dict[str, dict[str, dict[str, Any]]]]:
    """Suffixes that occur, and name to suffix to score."""
    rows: dict[str, dict[str, dict[str, Any]]] = {}
    for name, score in scores.items():
        suffix = next((s for s in COLUMNS if s and name.endswith(s)), "")
        rows.setdefault(name.removesuffix(suffix), {})[suffix] = score
    return [suffix for suffix in COLUMNS if any(suffix in row for row in rows.values())], rows


def shown(score: dict[str, Any] | None) -> str:
    """A score with its error, as in the table."""
    if score is None:
        return ""
    value, error = _numbers(score)
    return value + (f" ± {error}" if error else "")


def _numbers(score: dict[str, Any]) -> tuple[str, str]:
    """Value and error with as many digits as one another."""
    digits = 3 if abs(score["value"]) >= 0.1 or score["value"] == 0 else 5
    return f"{score['value']:.{digits}f}", f"{score['std']:.{digits}f}" if "std" in score else ""


def print_table(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Column, Table

    # names are never cut: what they say is the point of them
    table = Table(*(Column(title, no_wrap=True) for title in ("score", "value", "±", "over")))
    for name, row in pivot(result["scores"])[1].items():
        for suffix, score in row.items():
            label = f"  {COLUMNS[suffix]}" if suffix else name
            table.add_row(label, *_numbers(score), score.get("std_over", ""))
    console = Console(width=max(Console().width, Console(width=300).measure(table).maximum))
    console.print(table)
    for title, fact in facts(result):
        print(f"{title}: {fact}")


def facts(result: dict[str, Any]) -> list[tuple[str, str]]:
    """What decides the numbers: of what, and the facts."""
    lines = []
    if result["protocol"]:
        name = result["protocol"]["name"]
        missed = result["protocol"]["departures"]
        lines.append((f"protocol {name}", "completed" if not missed else "NOT completed: " + "; ".join(missed)))
        fixed = {k: v for k, v in result["protocol"].items() if k not in ("name", "departures", "completed")}
        lines.append((f"protocol {name} fixes", _listed(fixed)))
    lines += [(name, f"not scored: {why}") for name, why in result["left_out"].items()]
    lines.append(("images", f"{result['images']}, seed {result['seed']}, splits {result['splits']}"))
    parts = ("extractor", "scorer", "clip", "colour_probe", "subject", "reference", "versions")
    return lines + [(part.replace("_", " "), _listed(result[part])) for part in parts if result[part]]


def _listed(told: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in told.items() if not isinstance(value, dict))


def write_whole(path: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
