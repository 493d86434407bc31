"""How time and memory grow with each size of the work, beside how they may by the mathematics of the method."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import log
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measuring import Failed, Worker
from benchmarks.sizes import Sizes
from benchmarks.turns import TIME


@dataclass(frozen=True)
class Axis:
    """One size that grows, the others kept.

    Args:
        row: What is measured.
        name: The size, as a field of `Sizes`.
        values: What it is set to.
        label: What stands beneath the curve.
        order: With which power of the size the time may grow.
        shown: What of a value is shown: of the map's side the number of regions.
    """

    row: str
    name: str
    values: tuple[int, ...]
    label: str
    order: float
    shown: Callable[[int], int] = int


WORDS = Sizes(24)
#: Narrow networks, so that a step is seconds: how it grows does not depend on the width.
STEP = Sizes(4, width=8, discriminator_width=8, side=256, stages=3, images=48)
AXES = (
    Axis("words48", "batch", (12, 24, 48, 96), "images and captions of a batch", 2),
    Axis("words48", "words", (6, 12, 24, 48), "words of a caption", 1),
    Axis("words48", "places", (9, 13, 18, 26), "regions of an image", 1, lambda side: side**2),
    Axis("attngan", "batch", (2, 4, 8, 16), "images of a step", 1),
    Axis("attngan", "stages", (1, 2, 3), "stages, the largest image kept at 256 px", 1),
    Axis("attngan", "side", (64, 128, 256), "side of the largest image, px", 2),
)


def measure(
    start: Callable[[str, Sizes], Worker], rounds: int, tell: Callable[[str], None], tiny: bool
) -> list[dict[str, Any]]:
    """Time and memory of ours at each value of each axis.

    Args:
        start: Starts the worker of a row at these sizes.
        rounds: Turns of each.
        tell: Is told what goes on.
        tiny: Two values of each axis, at tiny sizes.
    """
    found = []
    for axis in AXES:
        base = WORDS if axis.row.startswith("words") else STEP
        points = []
        for value in axis.values[: 2 if tiny else None]:
            sizes = replace(base.tiny() if tiny else base, **{axis.name: value})
            tell(f"{axis.row}: {axis.label} {axis.shown(value)}")
            try:
                worker = start(axis.row, sizes)
            except Failed as error:
                tell(f"not measured: {error}")
                continue
            turns = [worker.ask(TIME) for _ in range(rounds)]
            worker.end()
            seconds = {name: median(turn[name] for turn in turns) for name in ("seconds", "cpu_seconds")}
            points.append({"value": axis.shown(value), "bytes": turns[-1]["bytes"], **seconds})
        found.append({"row": axis.row, "label": axis.label, "order": axis.order, "points": points})
    return found


def order_of(points: list[dict[str, Any]], what: str) -> float:
    """The power of the size with which the last two points grow."""
    before, last = points[-2:]
    return log(last[what] / before[what]) / log(last["value"] / before["value"])


def told(growth: list[dict[str, Any]]) -> str:
    """A line an axis."""
    lines = []
    for axis in growth:
        if len(axis["points"]) > 1:
            time, memory = (order_of(axis["points"], what) for what in ("cpu_seconds", "bytes"))
            may = f"may grow with power {axis['order']:g}"
            lines.append(f"{axis['row']}, {axis['label']}: {may}; time {time:.2f}, memory {memory:.2f}")
    return "\n".join(lines)


def draw(growth: list[dict[str, Any]], path: Path) -> None:
    """Curves of time and of memory on logarithmic axes, and the slope that the mathematics allows."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(2, 3, figsize=(12, 7), constrained_layout=True)
    for axis, panel in zip(growth, panels.flat, strict=True):
        values = [point["value"] for point in axis["points"]]
        seconds = [point["cpu_seconds"] for point in axis["points"]]
        panel.loglog(values, seconds, "o-", color="tab:blue", label="time on all cores, s")
        allowed = [seconds[-1] * (value / values[-1]) ** axis["order"] for value in values]
        panel.loglog(values, allowed, ":", color="tab:blue", label=f"power {axis['order']:g}")
        memory = panel.twinx()
        gigabytes = [point["bytes"] / 1e9 for point in axis["points"]]
        memory.semilogx(values, gigabytes, "s--", color="tab:orange")
        memory.set_ylim(0, 1.1 * max(gigabytes))
        memory.set_ylabel("memory of the process, GB", color="tab:orange")
        work = "words loss" if axis["row"].startswith("words") else "AttnGAN step"
        panel.set(title=work, xlabel=axis["label"], ylabel="time on all cores, s")
        panel.set_xticks(values, [str(value) for value in values])
        panel.minorticks_off()
        memory.minorticks_off()
        panel.legend(loc="lower right", frameon=False)
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
