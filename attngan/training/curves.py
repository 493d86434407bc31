"""What a run logged, read back from TensorBoard's event files."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Curve(NamedTuple):
    """A logged value over time.

    ``steps`` are Lightning's, which count each optimiser's; ``seconds`` are of the clock.
    """

    steps: Sequence[int]
    values: Sequence[float]
    seconds: Sequence[float]


def read_curves(run: Path) -> dict[str, Curve]:
    """Every logged number of a run by its name, in order; of a run that went on after an interruption as one curve.

    Args:
        run: Folder of the run; one without event files has no curves.
    """
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run), size_guidance={"scalars": 0, "images": 1})
    events.Reload()
    curves = {}
    for name in events.Tags()["scalars"]:
        points = events.Scalars(name)
        curves[name] = Curve([p.step for p in points], [p.value for p in points], [p.wall_time for p in points])
    return curves


def smoothed(values: Sequence[float], weight: float) -> list[float]:
    """Exponential moving average that gives its first values no more than their share, as TensorBoard shows it.

    Args:
        values: What is smoothed; numbers that are not finite are passed over.
        weight: 0 leaves them as they are; the nearer to 1, the smoother.
    """
    average, share, found = 0.0, 0.0, []
    for value in values:
        if np.isfinite(value):
            average = weight * average + (1 - weight) * value
            share = weight * share + (1 - weight)
        found.append(average / share if share else float("nan"))
    return found
