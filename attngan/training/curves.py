"""What a run logged, read back from TensorBoard's event files and from metrics.csv."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from attngan.errors import InputError
from attngan.training.csv_log import METRICS, STEP, TIME, read_rows


class Curve(NamedTuple):
    """A logged value over time.

    ``steps`` are Lightning's, which count each optimiser's; ``seconds`` are of the clock.
    """

    steps: Sequence[int]
    values: Sequence[float]
    seconds: Sequence[float]


class _Point(NamedTuple):
    step: int
    value: float
    seconds: float


def read_curves(run: Path) -> dict[str, Curve]:
    """Every logged number of a run by its name, in order; of a run that went on after an interruption as one curve.

    Args:
        run: Folder of the run; one without event files and metrics.csv has no curves.

    Raises:
        InputError: The run's metrics.csv holds what is no number.
    """
    points: dict[str, list[_Point]] = defaultdict(list)
    for name, point in [*_of_events(run), *_of_table(run / METRICS)]:
        points[name].append(point)
    curves = {}
    for name, found in points.items():
        steps, values, seconds = zip(*sorted(found, key=lambda point: point.step), strict=True)
        curves[name] = Curve(steps, values, seconds)
    return curves


def _of_events(run: Path) -> Iterator[tuple[str, _Point]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run), size_guidance={"scalars": 0, "images": 1})
    events.Reload()
    for name in events.Tags()["scalars"]:
        yield from ((name, _Point(point.step, point.value, point.wall_time)) for point in events.Scalars(name))


def _of_table(path: Path) -> Iterator[tuple[str, _Point]]:
    columns, rows = read_rows(path)
    try:
        for row in rows:
            step, seconds = int(float(row[STEP])), float(row.get(TIME) or path.stat().st_mtime)
            for name in columns:
                if name not in (STEP, TIME) and row[name]:
                    yield name, _Point(step, float(row[name]), seconds)
    except ValueError as error:
        raise InputError(f"{path}: the row of step {row[STEP]} holds what is no number: {error}") from error


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
