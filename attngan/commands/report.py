"""``attngan report``: one page of a run, while it runs or after: curves, samples over time, scores, its recipe."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from matplotlib.axes import Axes

from attngan.bounded import read_json, read_recipe
from attngan.data.images import load_named_image
from attngan.errors import InputError, MissingFileError, require_at_least
from attngan.evaluation.image_sets import TITLES
from attngan.evaluation.metric_table import title_of
from attngan.evaluation.table import pivot, shown
from attngan.files import write_whole
from attngan.pages.page import Badge, Cell, Fact, Page, Row, Section, Table, photo, plot
from attngan.terminal import say
from attngan.training.callbacks.budget import SHARE_DONE
from attngan.training.curves import Curve, read_curves, smoothed

SLIDES = 16  # pictures of the samples' slider at most
#: A run whose last logged number is younger than this many seconds is taken to be running.
RUNNING = 180.0
#: How many of the last logged values tell speed and time left.
RECENT = 20


class Panel(NamedTuple):
    """A plot: its title, what belongs to it by the logged name, whether its axis is in powers of ten."""

    title: str
    belongs: Callable[[str], bool]
    log: bool = False


LOSSES = (
    Panel("generator", lambda name: name in ("generator/loss", "generator/kl"), True),
    Panel(
        "adversarial", lambda name: name.startswith(("generator_", "discriminator_")) and name.endswith("/loss"), True
    ),
    Panel("matching", lambda name: name.startswith("matching/"), True),
    Panel("pretraining", lambda name: name in ("train/loss_step", "validation/loss"), True),
)
FURTHER = (
    Panel("retrieval on validation captions, %", lambda name: name.startswith("validation/") and "loss" not in name),
    Panel("gradient norms", lambda name: "gradient" in name and "norm" in name, True),
    Panel("learning rates", lambda name: "learning_rate" in name or name.startswith("lr"), True),
    Panel("images a second", lambda name: name == "images_per_second"),
)
ACCURACIES = Panel("share that a discriminator gets right", lambda name: "/accuracy_" in name)


@dataclass(frozen=True)
class RunRecord:
    """What lies in a run's folder.

    Args:
        folder: The folder.
        config: What config.yaml says; empty without one.
        made_by: Versions and machine, as its first line tells them; "": it does not.
        curves: What it logged; empty without event files and metrics.csv.
        history: The quick scores; None without.
    """

    folder: Path
    config: Mapping[str, Any]
    made_by: str
    curves: Mapping[str, Curve]
    history: Mapping[str, Any] | None

    @classmethod
    def read(cls, folder: Path) -> "RunRecord":
        """Reads it.

        Raises:
            MissingFileError: There is no folder, or none of a run.
            InputError: A file of it cannot be read.
        """
        if not folder.is_dir():
            raise MissingFileError(f"no folder at {folder.resolve()}: name a run's, such as runs/attngan_cub")
        recipe, history = folder / "config.yaml", folder / "quick" / "history.json"
        try:
            config = read_recipe(recipe) if recipe.is_file() else {}
            first = recipe.read_text(encoding="utf-8").partition("\n")[0] if recipe.is_file() else ""
            scores = read_json(history.read_bytes()) if history.is_file() else None
        except ValueError as error:
            raise InputError(f"{folder}: config.yaml or quick/history.json cannot be read: {error}") from error
        made_by = first.lstrip("# ") if first.startswith("#") else ""
        record = cls(folder, config if isinstance(config, dict) else {}, made_by, read_curves(folder), scores)
        if not record.config and not record.curves and not record.pictures("samples"):
            raise MissingFileError(
                f"{folder} is no run: it has neither config.yaml nor logs nor pictures. A run is what `attngan train` "
                "or `attngan pretrain` writes, by default in runs/"
            )
        return record

    def pictures(self, kind: str) -> list[tuple[int, Path]]:
        """Pictures that it drew of a kind, samples or attention, with their steps."""
        found = sorted((self.folder / "pictures").glob(f"{kind}_*.png"))
        return [(int(path.stem.rpartition("_")[2]), path) for path in found]

    def last(self, name: str) -> float | None:
        """The last logged value of a name."""
        curve = self.curves.get(name)
        return curve.values[-1] if curve else None

    @property
    def last_seen(self) -> float | None:
        """When it logged last, in seconds of the clock."""
        return max((curve.seconds[-1] for curve in self.curves.values()), default=None)

    def images_at(self, curve: Curve) -> list[float]:
        """Images seen at each point of a curve; steps, where they were not logged."""
        seen = self.curves.get("images_seen")
        if seen is None:
            return [float(step) for step in curve.steps]
        known = dict(zip(seen.steps, seen.values, strict=True))
        found, latest = [], 0.0
        for step in curve.steps:
            latest = known.get(step, latest)
            found.append(latest)
        return found


def report(
    run: Path, out: Path | None = None, smoothing: float = 0.8, refresh: int | None = None, watch: bool = False
) -> int:
    """Writes a page of a run: loss curves, accuracies, speed, samples over time, scores, recipe. Needs no other file.

    Args:
        run: Folder of the run, of `attngan train` or `attngan pretrain`.
        out: The page; by default report.html in the run's folder.
        smoothing: How smooth the curves are, from 0 (as logged) to below 1; what was logged stays visible behind them.
        refresh: Seconds after which a browser reads the page again; by default never, with --watch 30.
        watch: Write the page again every 30 seconds, until the run has not logged anything for three minutes.

    Returns:
        The exit code.

    Raises:
        MissingFileError: There is no run at the place named.
        InputError: An argument that makes no sense.
    """
    if not 0 <= smoothing < 1:
        raise InputError(f"--smoothing is {smoothing}: 0 is none, and it must be below 1")
    require_at_least(1, refresh=refresh)
    page = out or run / "report.html"
    refresh = refresh or (30 if watch else None)
    while True:
        record = RunRecord.read(run)
        running = is_running(record)
        write_whole(page, run_page(record, smoothing, refresh if running else None).html())
        if not (watch and running):
            break
        time.sleep(30)
    say(page)
    return 0


def is_running(record: RunRecord) -> bool:
    """Whether it logged something a moment ago, and is not at its end."""
    if (record.last(SHARE_DONE) or 0) >= 1:
        return False
    return record.last_seen is not None and time.time() - record.last_seen < RUNNING


def run_page(record: RunRecord, smoothing: float = 0.8, refresh: int | None = None) -> Page:
    """The page of a run.

    Args:
        record: The run.
        smoothing: How smooth the curves are, from 0 (as logged) to below 1.
        refresh: Seconds after which a browser reads it again; None: never.
    """
    running = is_running(record)
    sections = [
        Section("The run", facts=list(_facts(record))),
        *_slides(
            record, "samples", "Samples", "The same captions and noise, as the generator learns: move the slider."
        ),
        *_scores(record),
        *_plots(record, "Losses", "", LOSSES, smoothing),
        *_plots(
            record,
            "Who is winning",
            "Of real, drawn and wrongly captioned images, the share that the discriminators get right. Around 0.5 to "
            "0.8 both players learn. Where those of real and drawn images stay at 1, the discriminators have won: the "
            "generator gets no gradient worth having. Then lower their learning rate, augment what they see "
            "(model.augment), or give the generator more weight.",
            (ACCURACIES,),
            smoothing,
        ),
        *_plots(record, "Speed and steps", "", FURTHER, smoothing),
        *_slides(record, "attention", "Attention", "Where each word acted, as the generator learns."),
        Section("Recipe", text="config.yaml\n" + yaml.safe_dump(_without_nothing(record.config), sort_keys=False)),
    ]
    badge = Badge("running", good=True) if running else None
    return Page(f"Run {record.folder.resolve().name}", _lead(record), sections, badge, refresh)


def _lead(record: RunRecord) -> str:
    images, last = record.last("images_seen"), record.last_seen
    parts = [f"{images:,.0f} training images" if images else "what there is of it"]
    if last is not None:
        parts.append(f"last heard of {datetime.fromtimestamp(last, timezone.utc):%Y-%m-%d %H:%M} UTC")
    return ", ".join(parts) + "."


def _facts(record: RunRecord) -> Iterable[Fact]:
    yield Fact("folder", str(record.folder.resolve()))
    for curve, told in (("images_seen", "images seen"), ("epoch", "epoch")):
        if (value := record.last(curve)) is not None:
            yield Fact(told, f"{value:,.0f}")
    if speed := record.curves.get("images_per_second"):
        recent = sorted(speed.values[-RECENT:])
        yield Fact("speed", f"{recent[len(recent) // 2]:.1f} images/s (median of the last {len(recent)} logged)")
    if left := _left(record):
        yield Fact("left", left)
    if record.curves:
        started = min(curve.seconds[0] for curve in record.curves.values())
        yield Fact("first logged", f"{datetime.fromtimestamp(started, timezone.utc):%Y-%m-%d %H:%M} UTC")
    if record.made_by:
        yield Fact("made by", record.made_by)
    checkpoints = sorted((record.folder / "checkpoints").glob("*.ckpt"))
    yield Fact("checkpoints", ", ".join(path.name for path in checkpoints) or "none yet", bad=not checkpoints)
    if not record.curves:
        yield Fact("curves", "none: it was trained with --logger none, or has not logged yet", bad=True)


def _left(record: RunRecord) -> str:
    """How much of the run is left, and how long that takes at the speed of the last logged values."""
    done = record.curves.get(SHARE_DONE)
    if done is None:
        return ""
    shares, seconds = done.values[-RECENT:], done.seconds[-RECENT:]
    left = max(0.0, 1 - shares[-1])
    gained = shares[-1] - shares[0]
    told = f"{100 * left:.0f} % of the run"
    if not left:
        return "nothing: it is finished"
    if gained <= 0:
        return told
    return f"{told}, about {timedelta(seconds=round(left * (seconds[-1] - seconds[0]) / gained))}"


def _plots(record: RunRecord, title: str, note: str, panels: Sequence[Panel], smoothing: float) -> Iterable[Section]:
    """The panels of which something was logged; no section without any."""
    named = [(panel, sorted(name for name in record.curves if panel.belongs(name))) for panel in panels]
    there = [(panel, names) for panel, names in named if names]
    if there:
        seen = "images" if "images_seen" in record.curves else "steps"
        figures = [plot(_drawer(record, panel, names, smoothing, seen), height=2.9) for panel, names in there]
        yield Section(title, note, pictures=figures)


def _drawer(
    record: RunRecord, panel: Panel, names: Sequence[str], smoothing: float, seen: str
) -> Callable[[Sequence[Axes]], None]:
    def draw(all_axes: Sequence[Axes]) -> None:
        axes = all_axes[0]
        for name in names:
            curve = record.curves[name]
            places = record.images_at(curve)
            smooth = smoothed(curve.values, smoothing if len(curve.values) > 20 else 0)
            (line,) = axes.plot(places, smooth, label=name, linewidth=1.3)
            axes.plot(places, curve.values, color=line.get_color(), alpha=0.18, linewidth=0.8)
        if panel.log and all(value > 0 for name in names for value in record.curves[name].values):
            axes.set_yscale("log")
        axes.set_title(panel.title, fontsize=10)
        axes.set_xlabel(seen, fontsize=8)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))

    return draw


def _slides(record: RunRecord, kind: str, title: str, note: str) -> Iterable[Section]:
    found = record.pictures(kind)
    if not found:
        return
    count = min(SLIDES, len(found))
    chosen = [found[round(i * (len(found) - 1) / max(1, count - 1))] for i in range(count)]
    slides = []
    for steps, path in dict.fromkeys(chosen):
        slides.append(photo(load_named_image(path, str(path)), f"after {steps:,} steps"))
    yield Section(title, note, slides=slides)


def _scores(record: RunRecord) -> Iterable[Section]:
    """The quick scores of every time, beside those of the real images."""
    if record.history is None or not record.history.get("history"):
        return
    times = record.history["history"]
    suffixes, rows = pivot({name: {"value": value} for name, value in times[-1]["scores"].items()})
    lines = [
        Row(title_of(name), [Cell(shown(row.get(suffix)), main=not suffix) for suffix in suffixes], name)
        for name, row in rows.items()
    ]
    table = Table(["last scores", *(TITLES[suffix] for suffix in suffixes)], lines)

    def draw_of(name: str) -> Callable[[Sequence[Axes]], None]:
        def draw(all_axes: Sequence[Axes]) -> None:
            axes = all_axes[0]
            axes.plot([t["images_seen"] for t in times], [t["scores"].get(name) for t in times], "o-", markersize=4)
            for suffix in suffixes[1:]:
                if (beside := rows[name].get(suffix)) is not None:
                    axes.axhline(beside["value"], linestyle=":", color="grey")
                    axes.annotate(
                        TITLES[suffix],
                        (0.01, beside["value"]),
                        xycoords=("axes fraction", "data"),
                        xytext=(0, 3),
                        textcoords="offset points",
                        fontsize=7,
                    )
            axes.set_title(title_of(name), fontsize=10)
            axes.set_xlabel("images", fontsize=8)
            axes.margins(y=0.12)

        return draw

    yield Section("Scores while it trained", table=table, pictures=[plot(draw_of(name), height=2.6) for name in rows])


def _without_nothing(config: Any) -> Any:
    """Without the arguments that were not given."""
    if isinstance(config, dict):
        return {key: _without_nothing(value) for key, value in config.items() if value is not None}
    return config
