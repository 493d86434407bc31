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

from attngan.evaluation.display import COLUMNS, facts, pivot, shown, write_whole
from attngan.evaluation.measuring import Measured
from attngan.evaluation.reference import Reference
from attngan.evaluation.scored_images import Split
from attngan.evaluation.scores import LARGER_IS_BETTER, CaptionScores

SIDE = 112  # of an image on the page, in pixels
METRICS = {
    "is": "Inception Score",
    "fid": "FID",
    "fid_infinity": "FID, endlessly many images",
    "kid": "KID",
    "precision": "Precision",
    "recall": "Recall",
    "density": "Density",
    "coverage": "Coverage",
    "r_precision": "R-precision, %",
    "clip_r_precision": "CLIP R-precision, %",
    "clip_score": "CLIPScore",
    "colour_truth": "Colour truth, %",
    "diversity": "Diversity within a caption",
}
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #f4f4f1; margin: 0 }
main { max-width: 1060px; margin: 0 auto; padding: 1.5em 1em 4em }
section { background: #fff; border: 1px solid #e3e3de; border-radius: 8px; padding: .6em 1.4em 1.2em; margin: 1.2em 0 }
h1 { font-size: 1.5em; margin: .4em 0 0; overflow-wrap: anywhere } h2 { font-size: 1.12em; margin: .8em 0 .4em }
p.lead { color: #555; margin: .2em 0 0 } p.note { color: #666; font-size: .9em; margin: .2em 0 .8em }
.wide { overflow-x: auto } table { border-collapse: collapse; width: 100% }
th { font-size: .82em; font-weight: 600; color: #555 } td { vertical-align: top }
th, td { text-align: left; padding: .45em 1em .45em 0; border-bottom: 1px solid #e8e8e4 }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap } td.main { font-weight: 600 }
code, .over { color: #777; font-size: .78em; font-weight: 400 }
code { display: block; overflow-wrap: anywhere; min-width: 15em }
.over { white-space: normal; display: block; max-width: 11em }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25em 1.2em; margin: 0; font-size: .86em }
dt { color: #666 } dd { margin: 0; overflow-wrap: anywhere }
.badge { display: inline-block; padding: .05em .6em; border-radius: 1em; background: #dfeee2; color: #1f5a30 }
.badge.no { background: #f6e0dc } .no { color: #a02010 }
figure { display: inline-block; margin: 0 8px 12px 0; width: 112px; vertical-align: top }
figcaption { font-size: .74em; line-height: 1.3; color: #444; overflow-wrap: anywhere }
img { max-width: 100%; border-radius: 3px }
.row { white-space: nowrap; overflow-x: auto } .row figcaption { white-space: normal }
.row figure:first-child { margin-right: 22px }
"""


def write_report(
    path: Path,
    result: dict[str, Any],
    measured: Measured,
    real: Split | None,
    compared: Reference,
    drawn: Callable[[int], Tensor],
    captions: Sequence[int] | None = None,
) -> None:
    """Writes the page.

    Args:
        path: The HTML file.
        result: What scores.json holds.
        measured: Scores and what they saw of single images.
        real: The split.
        compared: The real images.
        drawn: Position to a scored image (3, height, width), uint8.
        captions: Position of each scored image's caption in the split, where it is known.
    """
    parts = [
        _table(result),
        _samples(result["images"], real, drawn, captions),
        _history(result["subject"].get("checkpoint")),
    ]
    for row, judged in measured.judged.items():
        assert real is not None
        parts.append(_by_length(row, judged, real))
        parts.append(_best_and_worst(row, judged, real, drawn))
    if measured.manifold is not None:
        parts.append(_neighbours(measured, compared, drawn))
        parts.append(_precision_recall(measured, compared))
    parts.append(_facts(result))
    body = "\n".join(f"<section>{part}</section>" for part in parts if part)
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>attngan scores</title>'
    page = f"<head>{head}<style>{STYLE}</style></head>\n<body><main>\n{_lead(result)}\n{body}\n</main></body>"
    write_whole(path, f'<!doctype html>\n<html lang="en">{page}</html>\n')


def _lead(result: dict[str, Any]) -> str:
    """What was scored, in a sentence, and whether a protocol was completed."""
    subject, protocol = result["subject"], result["protocol"]
    of_what = Path(str(subject.get("checkpoint") or subject.get("path")))
    split = (subject.get("split") or {}).get("split")
    where = f"captions of the {split} split" if subject.get("reads") in ("captions", "embeddings") else "no captions"
    how = f"{result['images']:,} images drawn from {where}" if split else f"{result['images']:,} images from files"
    badge = ""
    if protocol:
        kind, told = ("", "completed") if protocol["completed"] else (" no", "not completed")
        badge = f' <span class="badge{kind}">protocol {html.escape(protocol["name"])}: {told}</span>'
    name = html.escape("/".join(of_what.parts[-3:]))
    return f'<h1>Scores of {name}</h1><p class="lead">{how}, seed {result["seed"]}.{badge}</p>'


def _table(result: dict[str, Any]) -> str:
    suffixes, rows = pivot(result["scores"])
    head = "".join(f"<th>{COLUMNS[suffix]}</th>" for suffix in suffixes)
    lines = []
    for name, row in rows.items():
        cells = "".join(
            f'<td class="number{"" if suffix else " main"}">{_cell(row.get(suffix))}</td>' for suffix in suffixes
        )
        lines.append(f"<tr><td>{_label(name)}<code>{html.escape(name)}</code></td>{cells}</tr>")
    table = f"<table><tr><th>score</th>{head}</tr>{''.join(lines)}</table>"
    note = "The arrow points to better values. The name below each says how it was computed: only numbers of one name "
    return f'<h2>Scores</h2><p class="note">{note}can be compared.</p><div class="wide">{table}</div>'


def _label(name: str) -> str:
    metric = max((m for m in METRICS if name.startswith(f"{m}_")), key=len, default="")
    if metric not in LARGER_IS_BETTER:
        return METRICS.get(metric, "")
    return f"{METRICS[metric]} {'↑' if LARGER_IS_BETTER[metric] else '↓'}"


def _cell(score: dict[str, Any] | None) -> str:
    if score is None:
        return ""
    over = f'<span class="over">± over {html.escape(score["std_over"])}</span>' if "std" in score else ""
    return shown(score) + over


def _samples(
    total: int, real: Split | None, drawn: Callable[[int], Tensor], captions: Sequence[int] | None, count: int = 16
) -> str:
    """Images as they come, spread over all, not chosen by anything."""
    figures = []
    for i in [position * total // min(count, total) for position in range(min(count, total))]:
        known = real is not None and captions is not None
        text = real.captions[captions[i]] if known else f"image {i}"  # type: ignore[union-attr, index]
        figures.append(_figure(drawn(i), html.escape(text)))
    return f"<h2>Images, not chosen</h2><div>{''.join(figures)}</div>"


def _facts(result: dict[str, Any]) -> str:
    lines = []
    for title, fact in facts(result):
        mark = ' class="no"' if "NOT completed" in fact else ""
        lines.append(f"<dt>{html.escape(title)}</dt><dd{mark}>{html.escape(fact)}</dd>")
    return f"<h2>How they were computed</h2><dl>{''.join(lines)}</dl>"


def _history(checkpoint: str | None) -> str:
    """Best and last of the quick protocol, as the run's history beside the checkpoint tells them."""
    if checkpoint is None:
        return ""
    folders = [parent / "quick" / "history.json" for parent in Path(checkpoint).resolve().parents[:2]]
    folders.append(Path(checkpoint).resolve().parent / "history.json")
    found = next((file for file in folders if file.is_file()), None)
    if found is None:
        return (
            "<h2>While it was trained</h2><p class='note'>No history of scores lies beside this checkpoint "
            "(quick.every_epochs of its recipe was 0, or it was copied away): best and last cannot be shown.</p>"
        )
    kept = json.loads(found.read_text())
    lines = []
    for name, best in kept["best"].items():
        last = kept["last"]["scores"].get(name, float("nan"))
        lines.append(
            f"<tr><td>{html.escape(name)}</td><td>{best['value']:.3f} (epoch {best['epoch']})</td>"
            f"<td>{last:.3f} (epoch {kept['last']['epoch']})</td></tr>"
        )
    return (
        "<h2>While it was trained</h2><p class='note'>Choosing a checkpoint by a score flatters that score: both are "
        "shown.</p>"
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
        "<h2>Nearest real images</h2><p class='note'>Is it copying? Each row: a scored image, then the real images "
        f"whose features are nearest; from the image nearest to any real one to the farthest.</p>{''.join(rows)}"
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
