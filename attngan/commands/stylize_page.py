"""The page of a style transfer: result, images that it came from, how the picture and its losses went."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from PIL import Image

from attngan.data.images import load_named_image
from attngan.files import write_whole
from attngan.pages.page import Fact, Figure, Page, Section, picture, plot
from attngan.style_transfer.optimisation import Iteration, StyleTransfer

#: Pictures of the way that are shown at most, the longer side of each in pixels.
STRIP, STRIP_SIDE = 8, 320
TERMS = ("content", "style", "total_variation")


def write_page(
    path: Path,
    transfer: StyleTransfer,
    content: Image.Image,
    styles: Sequence[Image.Image],
    settings: Mapping[str, Any],
    kept: Sequence[tuple[int, Path]],
) -> Path:
    """Writes the page, which needs no other file.

    Args:
        path: The HTML file; the result lies beside it, ``stylized.png``.
        transfer: The run, with its history.
        content: The content image as it was optimised.
        styles: The style images.
        settings: What the run was asked for.
        kept: Pictures of the way with their iterations, in order.

    Returns:
        ``path``.
    """
    file = path.with_name("stylized.png")
    result = load_named_image(file, str(file))
    history = transfer.history
    sections = [
        Section("Result", pictures=[picture(result)]),
        Section("Of these", figures=[_small(content, "content"), *(_small(style, "style") for style in styles)]),
        Section(
            "How it came about",
            "The picture after so many iterations.",
            strips=[[_kept(number, file) for number, file in _spread(kept)]] if kept else [],
        ),
        Section(
            "Losses",
            "Of every iteration, each term with its weight; both axes in powers of ten. Where the curve is flat, more "
            "iterations change little.",
            pictures=[plot(lambda panels: _curves(panels[0], history))],
        ),
        Section("How it was made", facts=_facts(transfer, settings)),
    ]
    last, first = history[-1], history[0]
    lead = f"{last.number:,} iterations; the loss went from {first.total:.3g} to {last.total:.3g}."
    write_whole(path, Page("Style transfer", lead, sections).html())
    return path


def _spread(kept: Sequence[tuple[int, Path]]) -> list[tuple[int, Path]]:
    """Some of them: 1, 10, 100 and 1,000 first of all, then the last, then others from the end."""
    wanted = [pair for pair in kept if pair[0] in (1, 10, 100, 1000)]
    for pair in reversed(kept):
        if len(wanted) < STRIP and pair not in wanted:
            wanted.append(pair)
    return sorted(wanted)


def _kept(number: int, file: Path) -> Figure:
    return _small(load_named_image(file, str(file)), f"after {number:,}")


def _small(image: Image.Image, caption: str) -> Figure:
    shown = image.copy()
    shown.thumbnail((STRIP_SIDE, STRIP_SIDE))
    return picture(shown, caption)


def _curves(axes: Axes, history: Sequence[Iteration]) -> None:
    numbers = [iteration.number for iteration in history]
    for label, values in {
        "all together": [iteration.total for iteration in history],
        **{term.replace("total_variation", "smoothness"): [getattr(i, term) for i in history] for term in TERMS},
    }.items():
        if any(value > 0 for value in values):
            axes.plot(numbers, values, label=label, linewidth=1.8 if label == "all together" else 1.0)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("iteration")
    axes.set_ylabel("loss")
    axes.legend(fontsize=8, frameon=False)


def _facts(transfer: StyleTransfer, settings: Mapping[str, Any]) -> list[Fact]:
    height, width = transfer.image.shape[2:]
    measured = [
        Fact("size", f"{width} x {height} px"),
        Fact("evaluations", f"{transfer.evaluations:,} of the losses and their gradient"),
    ]
    told = {name.replace("_", " "): value for name, value in settings.items() if value is not None}
    return [*measured, *(Fact(name, _told(value)) for name, value in told.items())]


def _told(value: Any) -> str:
    """SHA-256 sums by their beginnings."""
    values = value if isinstance(value, list) else [value]
    return ", ".join(f"SHA-256 {one[:12]}" if isinstance(one, str) and len(one) == 64 else str(one) for one in values)
