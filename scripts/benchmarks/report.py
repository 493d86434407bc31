"""Figures as tables: for the terminal, and for the documentation."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Line:
    """A way's figures as they are shown.

    Args:
        way: The way's name.
        seconds: Median of a unit by the clock.
        cpu_seconds: Median of a unit on all cores together.
        gigabytes: The most memory.
        ratio: How many times as fast as the published form, which is the first: median, smallest and largest of the
            turns side by side.
        cpu_ratio: The same of the time on all cores.
        share: Median share of the machine's peak.
        error: Why there is nothing.
    """

    way: str
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    gigabytes: float = 0.0
    ratio: tuple[float, float, float] | None = None
    cpu_ratio: float | None = None
    share: float | None = None
    error: str = ""


def lines_of(row: dict[str, Any]) -> list[Line]:
    """A row's ways, the first one first."""
    ways: dict[str, Any] = row["ways"]
    first, base = next(iter(ways.items()))
    lines = []
    for name, way in ways.items():
        if way["error"] or not way["seconds"]:
            lines.append(Line(name, error=way["error"] or "no turn"))
            continue
        pairs = [a / b for a, b in zip(base["seconds"], way["seconds"], strict=False)]
        of_cores = [a / max(b, 1e-9) for a, b in zip(base["cpu_seconds"], way["cpu_seconds"], strict=False)]
        compared = first.startswith("published") and way is not base and bool(pairs)
        lines.append(
            Line(
                name,
                median(way["seconds"]),
                median(way["cpu_seconds"]),
                way["bytes"] / 1e9,
                (median(pairs), min(pairs), max(pairs)) if compared else None,
                median(of_cores) if compared else None,
                _share(way),
            )
        )
    return lines


def _share(way: dict[str, Any]) -> float | None:
    """Of the peak that was measured right after each turn."""
    if not way["flops"] or not way["peak_seconds"]:
        return None
    pairs = zip(way["peak_seconds"], way["seconds"], strict=True)
    return median(way["flops"] * peak / seconds for peak, seconds in pairs)


def told(seconds: float, unit: str) -> str:
    """A time as people read it; of images their number in a second."""
    if unit == "image":
        return f"{1 / seconds:,.0f} img/s"
    return f"{seconds:.3g} s" if seconds >= 0.1 else f"{1000 * seconds:.3g} ms"


def table(report: dict[str, Any]) -> str:
    """For the terminal."""
    shown = []
    if "machine" in report:
        shown.append(", ".join(f"{name} {value}" for name, value in report["machine"].items()))
    for name, row in report["rows"].items():
        shown.append(f"{name}: {row['title']} (load {row['load']:.1f})")
        for line in lines_of(row):
            if line.error:
                shown.append(f"  {line.way:22} not measured: {line.error}")
                continue
            ratio = "" if line.ratio is None else "{:6.2f}x ({:.2f} to {:.2f})".format(*line.ratio)
            cores = "" if line.cpu_ratio is None else f"{line.cpu_ratio:.2f}x on cores"
            share = "" if line.share is None else f"{line.share:4.0%} of peak"
            time = told(line.seconds, row["unit"])
            shown.append(f"  {line.way:20} {time:>14} {line.gigabytes:6.2f} GB  {share:12} {ratio:24} {cores}".rstrip())
    return "\n".join(shown)


def markdown(report: dict[str, Any]) -> str:
    """For docs/performance.md."""
    shown = ["| work | way | time | memory | share of peak | against published (least to most) | on cores |"]
    shown.append("|---|---|---|---|---|---|---|")
    for row in report["rows"].values():
        for number, line in enumerate(lines_of(row)):
            cells = [row["title"] if number == 0 else "", line.way, *_cells(line, row["unit"])]
            shown.append(f"| {' | '.join(cells)} |")
    return "\n".join(shown)


def _cells(line: Line, unit: str) -> Sequence[str]:
    if line.error:
        return ["not measured", "", "", "", ""]
    return [
        told(line.seconds, unit),
        f"{line.gigabytes:.1f} GB",
        "" if line.share is None else f"{line.share:.0%}",
        "" if line.ratio is None else "**{:.2f}x** ({:.2f} to {:.2f})".format(*line.ratio),
        "" if line.cpu_ratio is None else f"{line.cpu_ratio:.2f}x",
    ]
