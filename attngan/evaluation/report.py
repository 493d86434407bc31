"""The report: one HTML file that needs nothing else, with the table and pictures that say what the numbers mean."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from attngan.evaluation.image_sets import TITLES
from attngan.evaluation.measuring import Measured, ScoredDraws, ScoreEntry
from attngan.evaluation.metric_table import DECLARED, title_of
from attngan.evaluation.reference import Reference
from attngan.evaluation.result import EvaluationResult
from attngan.evaluation.scored_images import Split
from attngan.evaluation.table import facts, pivot, shown
from attngan.files import write_whole
from attngan.pages.page import Badge, Cell, Fact, Figure, Page, Row, Section, Table, pixels_figure, plot


def write_report(
    path: Path,
    result: EvaluationResult,
    measured: Measured,
    split: Split | None,
    reference: Reference,
    drawn: Callable[[int], Tensor],
    captions: Sequence[int] | None = None,
) -> None:
    """Writes the page.

    Args:
        path: The HTML file.
        result: What scores.json holds.
        measured: Scores and what they saw of single images.
        split: The data set's split.
        reference: The real images.
        drawn: Position to a scored image (3, height, width), uint8.
        captions: Position of each scored image's caption in the split, where it is known.
    """
    sections = [_scores(result), _samples(result["images"], split, drawn, captions)]
    sections += _history(result["subject"].get("checkpoint"))
    for name, draws in measured.draws.items():
        assert split is not None
        label = DECLARED[name].label
        sections += [_by_length(label, draws, split), *_best_and_worst(label, draws, split, drawn)]
    if measured.manifold is not None:
        sections += _neighbours(measured, reference, drawn)
        sections.append(_precision_recall(measured, reference))
    told = [Fact(title, fact, "NOT completed" in fact) for title, fact in facts(result)]
    sections.append(Section("How they were computed", facts=told))
    subject = result["subject"]
    of_what = Path(str(subject.get("checkpoint") or subject.get("path")))
    title = f"Scores of {'/'.join(of_what.parts[-3:])}"
    write_whole(path, Page(title, _lead(result), sections, _badge(result)).html())


def _lead(result: EvaluationResult) -> str:
    """What was scored, in a sentence."""
    subject = result["subject"]
    split = (subject.get("split") or {}).get("split")
    where = f"captions of the {split} split" if subject.get("reads") in ("captions", "embeddings") else "no captions"
    how = f"{result['images']:,} images drawn from {where}" if split else f"{result['images']:,} images from files"
    return f"{how}, seed {result['seed']}."


def _badge(result: EvaluationResult) -> Badge | None:
    """Whether a protocol was completed."""
    if (protocol := result["protocol"]) is None:
        return None
    told = "completed" if protocol["completed"] else "not completed"
    return Badge(f"protocol {protocol['name']}: {told}", bool(protocol["completed"]))


def _scores(result: EvaluationResult) -> Section:
    suffixes, rows = pivot(result["scores"])
    lines = [
        Row(title_of(name), [_cell(row.get(suffix), not suffix) for suffix in suffixes], name)
        for name, row in rows.items()
    ]
    note = (
        "The arrow points to better values. The name below each says how it was computed: only numbers of one name can "
        "be compared."
    )
    return Section("Scores", note, table=Table(["score", *(TITLES[suffix] for suffix in suffixes)], lines))


def _cell(score: ScoreEntry | None, main: bool) -> Cell:
    if score is None:
        return Cell("")
    return Cell(shown(score), f"± over {score['std_over']}" if "std" in score else "", main)


def _samples(
    total: int, split: Split | None, drawn: Callable[[int], Tensor], captions: Sequence[int] | None, count: int = 16
) -> Section:
    """Images as they come, spread over all, not chosen by anything."""
    figures = []
    for i in [position * total // min(count, total) for position in range(min(count, total))]:
        text = f"image {i}" if split is None or captions is None else split.captions[captions[i]]
        figures.append(pixels_figure(drawn(i), text))
    return Section("Images, not chosen", figures=figures)


def _history(checkpoint: str | None) -> Iterator[Section]:
    """Best and last of the quick protocol, as the run's history beside the checkpoint tells them."""
    if checkpoint is None:
        return
    title, place = "While it was trained", Path(checkpoint).resolve()
    files = [parent / "quick" / "history.json" for parent in place.parents[:2]] + [place.parent / "history.json"]
    found = next((file for file in files if file.is_file()), None)
    if found is None:
        note = (
            "No history of scores lies beside this checkpoint (quick.every_epochs of its recipe was 0, or it was "
            "copied away): best and last cannot be shown."
        )
        yield Section(title, note)
        return
    kept = json.loads(found.read_text())
    rows = []
    for name, best in kept["best"].items():
        last = kept["last"]["scores"].get(name, float("nan"))
        cells = [Cell(f"{best['value']:.3f} (epoch {best['epoch']})")]
        cells.append(Cell(f"{last:.3f} (epoch {kept['last']['epoch']})"))
        rows.append(Row(title_of(name), cells, name))
    note = "Choosing a checkpoint by a score flatters that score: both are shown."
    yield Section(title, note, table=Table(["score", "best", "last"], rows))


def _by_length(label: str, draws: ScoredDraws, split: Split) -> Section:
    """Share of draws whose caption won, by the caption's number of words, with its 95 % interval."""
    lengths = np.array([len(split.captions[int(caption)].split()) for caption in draws.captions])
    hits = draws.hits.numpy().astype(float)
    edges = np.unique(np.quantile(lengths, np.linspace(0, 1, 7)).astype(int))
    names, shares, errors = [], [], []
    for low, high in zip(edges, [*edges[1:-1], edges[-1] + 1], strict=False):
        chosen = hits[(lengths >= low) & (lengths < high)]
        if len(chosen):
            words = f"{low}" if high == low + 1 else f"{low}-{high - 1}"
            names.append(f"{words}\n(n {len(chosen)})")
            shares.append(100 * chosen.mean())
            errors.append(196 * np.sqrt(chosen.mean() * (1 - chosen.mean()) / len(chosen)))

    def draw(panels: Sequence[Axes]) -> None:
        axes = panels[0]
        axes.bar(range(len(shares)), shares, yerr=errors, color="#7aa6c2", capsize=3)
        axes.set_xticks(range(len(shares)), names)
        axes.set_xlabel("words in the caption")
        axes.set_ylabel("own caption nearest, %")
        axes.set_ylim(bottom=0)

    return Section(f"{label} by length of the caption", pictures=[plot(draw)])


def _best_and_worst(
    label: str, draws: ScoredDraws, split: Split, drawn: Callable[[int], Tensor], count: int = 8
) -> Iterator[Section]:
    order = draws.cosines.argsort(descending=True)
    for title, chosen in (("best", order[:count]), ("worst", order[-count:].flip(0))):
        figures = []
        for i in chosen.tolist():
            text = f"{draws.cosines[i]:.2f} {split.captions[int(draws.captions[i])]}"
            warning = "" if draws.hits[i] else "another caption was nearer"
            figures.append(pixels_figure(drawn(int(draws.images[i])), text, warning))
        yield Section(f"Images at the {title} caption scores ({label})", figures=figures)


def _neighbours(
    measured: Measured, reference: Reference, drawn: Callable[[int], Tensor], count: int = 8
) -> Iterator[Section]:
    """Some images, each beside the real ones nearest to it; the most suspicious one (nearest of all) first."""
    manifold = measured.manifold
    if manifold is None or reference.show is None:
        return
    closest = manifold.distances[:, 0].argsort()
    spread = torch.linspace(0, len(closest) - 1, min(count, len(closest))).long()
    strips: list[list[Figure]] = []
    for i in closest[spread].tolist():
        strip = [pixels_figure(drawn(i), f"image {i}", "" if manifold.precise[i] else "off the real ones")]
        for j, distance in zip(manifold.nearest[i].tolist(), manifold.distances[i].tolist(), strict=True):
            strip.append(pixels_figure(reference.show(j), f"real {j}, distance {distance:.2f}"))
        strips.append(strip)
    note = (
        "Is it copying? Each row: a scored image, then the real images whose features are nearest; from the image "
        "nearest to any real one to the farthest."
    )
    yield Section("Nearest real images", note, strips=strips)


def _precision_recall(measured: Measured, reference: Reference) -> Section:
    """Both sets in the plane of the real images' two main directions."""
    manifold, features = measured.manifold, measured.features
    assert manifold is not None
    assert features is not None
    real = reference.rows["features"].double()
    centre = real.mean(0)
    directions = torch.linalg.eigh(reference.statistics.covariance).eigenvectors[:, [-1, -2]]
    sets = [
        (real[manifold.recalled], "real, covered", "#9db8a0", "o"),
        (real[~manifold.recalled], "real, not covered (recall misses)", "#2d6a3e", "x"),
        (features[manifold.precise].double(), "scored, among the real", "#e0a878", "o"),
        (features[~manifold.precise].double(), "scored, off the real (precision misses)", "#b03a1a", "x"),
    ]

    def draw(panels: Sequence[Axes]) -> None:
        axes = panels[0]
        for points, label, colour, marker in sets:
            where = ((points - centre) @ directions)[:3000]
            label = f"{label}: {len(points)}"
            axes.scatter(where[:, 0], where[:, 1], s=9, c=colour, marker=marker, linewidths=0.7, label=label, alpha=0.7)
        axes.legend(fontsize=8, frameon=False)
        axes.set_xlabel("first main direction of the real images' features")
        axes.set_ylabel("second")

    title = f"Precision {manifold.precision:.2f}, recall {manifold.recall:.2f}"
    return Section(title, pictures=[plot(draw, height=5.5)])
