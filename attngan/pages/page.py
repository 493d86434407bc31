"""A page that needs no other file: sections of figures, pictures, tables and facts, in one style.

The reports say what is on a page; ``templates/`` says how it looks, in the light and in the dark, on a phone too. What
is written into a page is escaped there: a caption cannot break it.
"""

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes
from PIL import Image
from torch import Tensor

from attngan.pages.rendering import render

SIDE = 112  # of an image among others, in pixels


class Figure(NamedTuple):
    """An image with a few words beneath it; ``warning`` stands out among them."""

    source: str
    caption: str = ""
    warning: str = ""


class Captioned(NamedTuple):
    """A caption and the images of it, as many side by side as there is room for; ``note`` is small print."""

    caption: str
    figures: Sequence[Figure]
    note: str = ""


class Answer(NamedTuple):
    """A line of text with small print; ``good`` ones are marked."""

    text: str
    note: str = ""
    good: bool = False


class Answered(NamedTuple):
    """An image and lines beside it, in order."""

    figure: Figure
    answers: Sequence[Answer]


class Cell(NamedTuple):
    """A number in a table, with small print; ``main`` ones are what the table is about."""

    text: str
    note: str = ""
    main: bool = False


class Row(NamedTuple):
    """A row of a table: what it is of, in words, beneath it the technical name, and its cells."""

    label: str
    cells: Sequence[Cell]
    name: str = ""


class Table(NamedTuple):
    """A table; the first title is that of the labels."""

    titles: Sequence[str]
    rows: Sequence[Row]


class Fact(NamedTuple):
    """A title and what is to say; ``bad`` stands out."""

    title: str
    text: str
    bad: bool = False


class Badge(NamedTuple):
    """A few words beside the lead, in green or in red."""

    text: str
    good: bool


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Args:
        title: Heading of the section.
        note: What there is to see, in a sentence or two.
        captioned: Captions, each with its images.
        answered: Images, each with lines beside it.
        figures: Small images in a grid.
        strips: Rows of small images, the first of each set apart.
        pictures: Large ones, one beneath the other.
        slides: Large pictures, one after the other beneath a slider; the last is shown first.
        table: A table.
        facts: A list of facts.
        text: Lines as they are, folded away; their first line is the title that unfolds them.
    """

    title: str
    note: str = ""
    captioned: Sequence[Captioned] = ()
    answered: Sequence[Answered] = ()
    figures: Sequence[Figure] = ()
    strips: Sequence[Sequence[Figure]] = ()
    pictures: Sequence[Figure] = ()
    slides: Sequence[Figure] = ()
    table: Table | None = None
    facts: Sequence[Fact] = ()
    text: str = ""


@dataclass(frozen=True)
class Page:
    """A whole page.

    Args:
        title: Heading of the page, and that of the browser's window.
        lead: What it is of, in a sentence.
        sections: Parts of the page.
        badge: Beside the lead.
        refresh: Seconds after which a browser reads the file again, of a page that is still being made; None: never.
    """

    title: str
    lead: str
    sections: Sequence[Section]
    badge: Badge | None = None
    refresh: int | None = None

    def html(self) -> str:
        """The page as one file."""
        return render("page.html", page=self)


def pixels_figure(image: UInt8[Tensor, "3 height width"], caption: str, warning: str = "") -> Figure:
    """A small image among others, its longer side ``SIDE`` pixels."""
    picture = Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy()))
    if max(picture.size) != SIDE:
        scale = SIDE / max(picture.size)
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(size, Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=88)
    return Figure(_source("jpeg", buffer), caption, warning)


def picture(image: Image.Image, caption: str = "") -> Figure:
    """A large picture, without loss."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return Figure(_source("png", buffer), caption)


def photo(image: Image.Image, caption: str = "") -> Figure:
    """A large picture with a little loss, for pages of many."""
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=88)
    return Figure(_source("jpeg", buffer), caption)


def plot(draw: Callable[[Sequence[Axes]], None], panels: int = 1, height: float = 3.2, caption: str = "") -> Figure:
    """A plot.

    Args:
        draw: Draws into the panels' axes.
        panels: How many, side by side.
        height: In inches, of 8 to 10 wide.
        caption: Beneath it.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(8 if panels == 1 else 10, height), dpi=110, layout="constrained")
    FigureCanvasAgg(canvas)
    axes = [canvas.add_subplot(1, panels, number + 1) for number in range(panels)]
    for panel in axes:
        panel.spines[["top", "right"]].set_visible(False)
    draw(axes)
    buffer = io.BytesIO()
    canvas.savefig(buffer, format="png")
    return Figure(_source("png", buffer), caption)


def _source(kind: str, buffer: io.BytesIO) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
