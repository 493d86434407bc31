"""Scores as a table, for the terminal and for pages; and the facts that decided them."""

from collections.abc import Mapping

from attngan.evaluation.image_sets import TITLES
from attngan.evaluation.measuring import ScoreEntry
from attngan.evaluation.metric_table import title_of
from attngan.evaluation.result import EvaluationResult, Facts
from attngan.terminal import console, say

#: A score's technical name to what it is of (a key of ``TITLES``) to the score.
Rows = dict[str, dict[str, ScoreEntry]]


def pivot(scores: Mapping[str, ScoreEntry]) -> tuple[list[str], Rows]:
    """One row for a score and what it is compared with.

    Returns:
        The suffixes that occur, in the order of ``TITLES``; and name without suffix to suffix to score.
    """
    rows: Rows = {}
    for name, score in scores.items():
        suffix = next((s for s in TITLES if s and name.endswith(s)), "")
        rows.setdefault(name.removesuffix(suffix), {})[suffix] = score
    return [suffix for suffix in TITLES if any(suffix in row for row in rows.values())], rows


def shown(score: ScoreEntry | None) -> str:
    """A score with its error, as in the table."""
    if score is None:
        return ""
    value, error = numbers(score)
    return value + (f" ± {error}" if error else "")


def numbers(score: ScoreEntry) -> tuple[str, str]:
    """Value and error with as many digits as one another; no error where there is none."""
    digits = 3 if abs(score["value"]) >= 0.1 or score["value"] == 0 else 5
    return f"{score['value']:.{digits}f}", f"{score['std']:.{digits}f}" if "std" in score else ""


def print_table(result: EvaluationResult) -> None:
    """Prints scores, what they are compared with, and what was scored; names and hashes are in scores.json."""
    from rich.table import Table

    table = Table("score", "value", "±", "over")
    for name, row in pivot(result["scores"])[1].items():
        for suffix, score in row.items():
            label = f"  {TITLES[suffix]}" if suffix else title_of(name)
            table.add_row(label, *numbers(score), score.get("std_over", ""))
    console().print(table)
    for line in in_short(result):
        say(line)


def in_short(result: EvaluationResult) -> list[str]:
    """What decided the numbers, in a few lines for the terminal."""
    lines = []
    if protocol := result["protocol"]:
        missed = protocol["departures"]
        state = "completed" if not missed else "NOT completed: " + "; ".join(missed)
        lines.append(f"protocol {protocol['name']}: {state}")
    lines += [f"{name}: not scored: {why}" for name, why in result["left_out"].items()]
    parts = (("extractor", result["extractor"]), ("scorer", result["scorer"]), ("CLIP", result["clip"]))
    networks = [f"{title} {part['name']}" for title, part in parts if part and "name" in part]
    lines.append(", ".join([f"{result['images']:,} images, seed {result['seed']}", *networks]))
    return lines


def facts(result: EvaluationResult) -> list[tuple[str, str]]:
    """What decided the numbers: of what, and the facts."""
    lines = []
    if protocol := result["protocol"]:
        name, missed = protocol["name"], protocol["departures"]
        lines.append((f"protocol {name}", "completed" if not missed else "NOT completed: " + "; ".join(missed)))
        fixed = {k: v for k, v in protocol.items() if k not in ("name", "departures", "completed")}
        lines.append((f"protocol {name} fixes", _listed(fixed)))
    lines += [(name, f"not scored: {why}") for name, why in result["left_out"].items()]
    lines.append(("images", f"{result['images']}, seed {result['seed']}, splits {result['splits']}"))
    parts: dict[str, Facts | None] = {
        "extractor": result["extractor"],
        "scorer": result["scorer"],
        "clip": result["clip"],
        "colour probe": result["colour_probe"],
        "scored images": result["subject"],
        "reference": result["reference"],
        "versions": dict(result["versions"]),
    }
    return lines + [(title, _listed(part)) for title, part in parts.items() if part]


def _listed(told: Facts) -> str:
    return ", ".join(f"{name} {value}" for name, value in told.items() if not isinstance(value, dict))
