"""The report: one HTML file that needs nothing else, with the table and pictures that say what the numbers mean."""

import base64
import html
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from attngan.evaluation.command import COLUMNS, facts, pivot, shown, write_whole
from attngan.evaluation.measuring import Measured
from attngan.evaluation.reference import Reference
from attngan.evaluation.scores import CaptionScores
from attngan.evaluation.subjects import Split

SIDE = 112  # of an image on the page, in pixels
STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222; max-width: 1040px; margin: 2em auto; padding: 0 1em }
h1 { font-size: 1.5em } h2 { font-size: 1.15em; margin-top: 2em }
table { border-collapse: collapse }
th, td { text-align: left; padding: .3em .8em .3em 0; border-bottom: 1px solid #ddd }
td.number { font-variant-numeric: tabular-nums } .over, .facts { color: #666; font-size: .85em }
figure { display: inline-block; margin: 0 8px 12px 0; width: 112px; vertical-align: top }
figcaption { font-size: .75em; color: #444; overflow-wrap: anywhere } img { max-width: 100% }
.row { white-space: nowrap; overflow-x: auto } .row figcaption { white-space: normal }
.no { color: #a02010 }
"""


def write_report(
    path: Path,
    result: dict[str, Any],
    measured: Measured,
    real: Split | None,
    compared: Reference,
    drawn: Callable[[int], Tensor],
) -> None:
    """Writes the page.

    Args:
        path: Of the HTML file.
        result: What scores.json holds.
        measured: Scores and what they saw of single images.
        real: The split.
        compared: The real images.
        drawn: Position to a scored image (3, height, width), uint8.
    """
    subject = result["subject"]
    of_what = subject.get("checkpoint") or subject.get("path")
    parts = [f"<h1>Scores of {html.escape(str(of_what))}</h1>", _table(result), _facts(result)]
    parts.append(_history(subject.get("checkpoint")))
    for row, judged in measured.judged.items():
        assert real is not None
        parts.append(_by_length(row, judged, real))
        parts.append(_best_and_worst(row, judged, real, drawn))
    if measured.manifold is not None:
        parts.append(_neighbours(measured, compared, drawn))
        parts.append(_precision_recall(measured, compared))
    body = "\n".join(part for part in parts if part)
    head = f'<meta charset="utf-8"><title>attngan scores</title><style>{STYLE}</style>'
    write_whole(path, f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n')


def _table(result: dict[str, Any]) -> str:
    suffixes, rows = pivot(result["scores"])
    head = "".join(f"<th>{COLUMNS[suffix]}</th>" for suffix in suffixes)
    lines = []
    for name, row in rows.items():
        cells = "".join(f'<td class="number">{_cell(row.get(suffix))}</td>' for suffix in suffixes)
        lines.append(f"<tr><td>{html.escape(name)}</td>{cells}</tr>")
    return f"<table><tr><th>score</th>{head}</tr>{''.join(lines)}</table>"


def _cell(score: dict[str, Any] | None) -> str:
    if score is None:
        return ""
    over = f'<br><span class="over">std over {html.escape(score["std_over"])}</span>' if "std" in score else ""
    return shown(score) + over


def _facts(result: dict[str, Any]) -> str:
    lines = []
    for fact in facts(result):
        mark = ' class="no"' if "NOT completed" in fact else ""
        lines.append(f"<div{mark}>{html.escape(fact)}</div>")
    return f'<h2>How they were computed</h2><div class="facts">{"".join(lines)}</div>'


def _history(checkpoint: str | None) -> str:
    """Best and last of the quick protocol, where the checkpoint lies in a run's folder."""
    if checkpoint is None:
        return ""
    folders = [parent / "quick" / "history.json" for parent in Path(checkpoint).resolve().parents[:2]]
    folders.append(Path(checkpoint).resolve().parent / "history.json")
    found = next((file for file in folders if file.is_file()), None)
    if found is None:
        return ""
    kept = json.loads(found.read_text())
    lines = []
    for name, best in kept["best"].items():
        last = kept["last"]["scores"].get(name, float("nan"))
        lines.append(
            f"<tr><td>{html.escape(name)}</td><td>{best['value']:.3f} (epoch {best['epoch']})</td>"
            f"<td>{last:.3f} (epoch {kept['last']['epoch']})</td></tr>"
        )
    return (
        "<h2>While it was trained</h2><p>Choosing a checkpoint by a score flatters that score: both are shown.</p>"
        f"<table><tr><th>score</th><th>best</th><th>last</th></tr>{''.join(lines)}</table>"
    )


def _by_length(row: str, judged: CaptionScores, real: Split) -> str:
    """Share of draws whose caption won, by the caption's number of words, with its 95 % interval."""
    lengths = np.array([len(real.captions[int(c)].split()) for c in judged.captions])
    hits = judged.hits.numpy().astype(float)
    edges = np.unique(np.quantile(lengths, np.linspace(0, 1, 7)).astype(int))
    middles, shares, errors, counts = [], [], [], []
    for low, high in zip(edges, [*edges[1:-1], edges[-1] + 1], strict=False):
        chosen = hits[(lengths >= low) & (lengths < high)]
        if len(chosen):
            middles.append(f"{low}" if high == low + 1 else f"{low}-{high - 1}")
            shares.append(100 * chosen.mean())
            errors.append(196 * np.sqrt(chosen.mean() * (1 - chosen.mean()) / len(chosen)))
            counts.append(len(chosen))

    def draw(axes: Any) -> None:
        axes.bar(range(len(shares)), shares, yerr=errors, color="#7aa6c2", capsize=3)
        axes.set_xticks(range(len(shares)), [f"{m}\n(n {n})" for m, n in zip(middles, counts, strict=True)])
        axes.set_xlabel("words in the caption")
        axes.set_ylabel("R-precision, %")
        axes.set_ylim(bottom=0)

    return f"<h2>R-precision by length of the caption ({row})</h2>{_plot(draw)}"


def _best_and_worst(
    row: str, judged: CaptionScores, real: Split, drawn: Callable[[int], Tensor], count: int = 8
) -> str:
    order = judged.cosines.argsort(descending=True)
    sections = []
    for title, chosen in (("best", order[:count]), ("worst", order[-count:].flip(0))):
        figures = []
        for i in chosen.tolist():
            text = real.captions[int(judged.captions[i])]
            won = "" if judged.hits[i] else ' <span class="no">(another caption was nearer)</span>'
            label = f"{judged.cosines[i]:.2f} {html.escape(text)}{won}"
            figures.append(_figure(drawn(int(judged.images[i])), label))
        sections.append(f"<h2>Images at the {title} caption scores ({row})</h2><div>{''.join(figures)}</div>")
    return "".join(sections)


def _neighbours(measured: Measured, compared: Reference, drawn: Callable[[int], Tensor], count: int = 8) -> str:
    """Some images, each beside the real ones nearest to it; the most suspicious one (nearest of all) first."""
    manifold = measured.manifold
    assert manifold is not None
    if compared.show is None:
        return ""
    closest = manifold.distances[:, 0].argsort()
    spread = torch.linspace(0, len(closest) - 1, min(count, len(closest))).long()
    rows = []
    for i in closest[spread].tolist():
        figures = [_figure(drawn(i), f"image {i}" + ("" if manifold.precise[i] else " (off the real ones)"))]
        for j, distance in zip(manifold.nearest[i].tolist(), manifold.distances[i].tolist(), strict=True):
            figures.append(_figure(compared.show(j), f"real {j}, distance {distance:.2f}"))
        rows.append(f'<div class="row">{"".join(figures)}</div>')
    return (
        "<h2>Nearest real images</h2><p>Is it copying? Each row: a scored image, then the real images whose features "
        f"are nearest; from the image nearest to any real one to the farthest.</p>{''.join(rows)}"
    )


def _precision_recall(measured: Measured, compared: Reference) -> str:
    """Both sets in the plane of the real images' two main directions."""
    manifold, features = measured.manifold, measured.features
    assert manifold is not None
    assert features is not None
    real = compared.rows["features"].double()
    centre = real.mean(0)
    directions = torch.linalg.eigh(compared.statistics.covariance).eigenvectors[:, [-1, -2]]
    sets = [
        (real[manifold.recalled], "real, covered", "#9db8a0", "o"),
        (real[~manifold.recalled], "real, not covered (recall misses)", "#2d6a3e", "x"),
        (features[manifold.precise].double(), "scored, among the real", "#e0a878", "o"),
        (features[~manifold.precise].double(), "scored, off the real (precision misses)", "#b03a1a", "x"),
    ]

    def draw(axes: Any) -> None:
        for points, label, colour, marker in sets:
            where = ((points - centre) @ directions)[:3000]
            label = f"{label}: {len(points)}"
            axes.scatter(where[:, 0], where[:, 1], s=9, c=colour, marker=marker, linewidths=0.7, label=label, alpha=0.7)
        axes.legend(fontsize=8, frameon=False)
        axes.set_xlabel("first main direction of the real images' features")
        axes.set_ylabel("second")

    title = f"Precision {manifold.precision:.2f}, recall {manifold.recall:.2f}"
    return f"<h2>{title}</h2>{_plot(draw, 5.5)}"


def _plot(draw: Callable[[Any], None], height: float = 3.2) -> str:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    draw(axes)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return f'<p><img alt="" src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"></p>'


def _figure(image: Tensor, label: str) -> str:
    picture = Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy()))
    if max(picture.size) != SIDE:
        scale = SIDE / max(picture.size)
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(size, Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=88)
    uri = f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return f'<figure><img alt="" src="{uri}"><figcaption>{label}</figcaption></figure>'


def page_images(page: str) -> Sequence[str]:
    """The sources of all images on a page, for checks that it needs no other file."""
    return [part.partition('"')[0] for part in page.split('src="')[1:]]
