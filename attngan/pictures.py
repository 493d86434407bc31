"""Pictures for people: grids of samples, captions beside them, and attention maps word by word."""

import io
import re
import textwrap
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path, PurePath

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from attngan.files import replacing
from attngan.pixels import from_uint8, to_uint8

MARGIN = 8
INK, PAPER, MARK = (40, 40, 40), (255, 255, 255), (200, 60, 20)

#: Names of pictures that show samples.
GRID, INTERPOLATION = "grid.png", "interpolation.png"
#: What is drawn of another picture ends so: where its words acted, and what it is in the style of others.
ATTENTION, STYLIZED = "_attention.png", "_stylized.png"
#: The text entry of a PNG that says what it is: a sample, or anything else that shows samples.
KIND_ENTRY, SAMPLE = "attngan", "sample"
#: Characters of a caption in the name of its picture.
LONGEST_NAME = 60
_LOOKS_LIKE_OVERVIEW = re.compile(r"(grid|interpolation|(samples|attention)_\d+|.*_attention|.*_stylized)\.png")
_DRAWN = re.compile(r"(\d{5}(_\d{3})?|interpolation_\d{3}_\d{3})\.png")


def save_sample(picture: Image.Image, path: Path | str, **facts: object) -> None:
    """Saves a PNG of one drawn picture that tells where it comes from: a text entry a fact.

    Args:
        picture: What was drawn.
        path: The file; whole or not there.
        facts: Caption, seed, number and checkpoint, say; what is None is left out.
    """
    with replacing(Path(path)) as part:
        picture.save(part, "PNG", pnginfo=_marks({KIND_ENTRY: SAMPLE, **facts}))


def encode_sample(picture: Image.Image, **facts: object) -> bytes:
    """The file that `save_sample` writes, where none is to be written."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", pnginfo=_marks({KIND_ENTRY: SAMPLE, **facts}))
    return buffer.getvalue()


def _marks(facts: Mapping[str, object]) -> PngInfo:
    marks = PngInfo()
    for name, fact in facts.items():
        if fact is not None:
            marks.add_text(name, str(fact).encode("utf-8", "replace").decode())
    return marks


def named_after(caption: str | None) -> str:
    """``_a-red-bird`` of "A red bird!": what a caption adds to a file's name; nothing where it has no letters."""
    plain = unicodedata.normalize("NFKD", caption or "").encode("ascii", "ignore").decode().lower()
    words = re.findall(r"[a-z0-9]+", plain)
    while words and len("-".join(words)) > LONGEST_NAME:
        words.pop()
    return f"_{'-'.join(words)}" if words else ""


def save_overview(picture: Image.Image, path: Path | str, **facts: object) -> None:
    """Saves a PNG that shows samples and is none, marked as such for whoever reads the folder's images.

    Args:
        picture: What shows them.
        path: The file; whole or not there.
        facts: As in `save_sample`.
    """
    with replacing(Path(path)) as part:
        picture.save(part, "PNG", pnginfo=_marks({KIND_ENTRY: "overview", **facts}))


def is_overview(picture: PurePath, beside: Collection[PurePath], marked: Callable[[], bool]) -> bool:
    """Whether a picture shows samples that `attngan sample` drew, and is none of them.

    By its mark; or by its name together with those of the samples, as far as they were drawn before there was a mark.

    Args:
        picture: Path of the file, or the name of a member of an archive.
        beside: All files that are there.
        marked: Whether the file says of itself that it is no sample (`KIND_ENTRY`); asked only where the name looks
            like it.
    """
    if not _LOOKS_LIKE_OVERVIEW.fullmatch(picture.name):
        return False
    for ending in (ATTENTION, STYLIZED):
        if picture.name.endswith(ending) and picture.with_name(picture.name.removesuffix(ending) + ".png") in beside:
            return True
    samples = (other for other in beside if other.parent == picture.parent and _DRAWN.fullmatch(other.name))
    return (picture.name in (GRID, INTERPOLATION) and any(samples)) or marked()


def to_pil(image: Float[Tensor, "3 height width"]) -> Image.Image:
    """One image in [-1, 1] for PIL."""
    return Image.fromarray(to_uint8(image).permute(1, 2, 0).cpu().numpy())


def from_pil(image: Image.Image) -> Float[Tensor, "3 height width"]:
    """An RGB image of PIL in [-1, 1]."""
    return from_uint8(torch.from_numpy(np.array(image, np.uint8)).permute(2, 0, 1))


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)


def caption_grid(
    rows: Sequence[tuple[str, Sequence[Float[Tensor, "3 _ _"]]]],
    side: int = 96,
    text_width: int = 260,
    header: Sequence[str] = (),
) -> Image.Image:
    """A row a caption: its text, then its images.

    Args:
        rows: Captions, each with its images in [-1, 1].
        side: Side of an image in the picture, in pixels.
        text_width: Room for the captions.
        header: What stands above each column.
    """
    if not rows:
        raise ValueError("there is no caption to show")
    columns = max(len(images) for _, images in rows)
    above = [textwrap.wrap(text, max(4, side // 6)) for text in header]
    header_height = max((15 * len(lines) + MARGIN for lines in above), default=0)
    size = (text_width + columns * (side + MARGIN) + MARGIN, header_height + len(rows) * (side + MARGIN) + MARGIN)
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    font = _font(13)
    for column, lines in enumerate(above):
        left = text_width + column * (side + MARGIN)
        draw.multiline_text((left, MARGIN), "\n".join(lines), fill=INK, font=_font(11), spacing=2)
    for row, (caption, images) in enumerate(rows):
        top = MARGIN + header_height + row * (side + MARGIN)
        lines = textwrap.wrap(caption, int(text_width / 7))[: max(1, side // 16)]
        draw.multiline_text((MARGIN, top), "\n".join(lines), fill=INK, font=font, spacing=3)
        for column, image in enumerate(images):
            picture = to_pil(image).resize((side, side), Image.Resampling.BICUBIC)
            sheet.paste(picture, (text_width + column * (side + MARGIN), top))
    return sheet


def attention_picture(
    image: Float[Tensor, "3 height width"],
    words: Sequence[str],
    attention: Float[Tensor, "words rows columns"],
    side: int = 96,
    strongest: int = 5,
) -> Image.Image:
    """The image, then for each word where it acted: bright where the word has weight; the strongest words are marked.

    Args:
        image: The image, in [-1, 1].
        words: The caption's words that the generator saw.
        attention: One map a word (padded ones are left out), weights over words at each place.
        side: Side of each map in the picture, in pixels.
        strongest: How many words to mark: those with the largest mean weight.
    """
    maps = attention[: len(words)].detach().float().cpu()
    mean = maps.mean((1, 2))
    marked = set(mean.argsort(descending=True)[:strongest].tolist())
    per_line = 8
    cells = [("", None), *((word, maps[i]) for i, word in enumerate(words))]
    lines = -(-len(cells) // per_line)
    cell_height = side + 20
    sheet = Image.new("RGB", (per_line * (side + MARGIN) + MARGIN, lines * (cell_height + MARGIN) + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    base = to_pil(image).resize((side, side), Image.Resampling.BICUBIC)
    for number, (word, weights) in enumerate(cells):
        left = MARGIN + number % per_line * (side + MARGIN)
        top = MARGIN + number // per_line * (cell_height + MARGIN)
        sheet.paste(base if weights is None else _highlight(base, weights), (left, top))
        if weights is None:
            continue
        strong = number - 1 in marked
        label = f"{word} {100 * float(mean[number - 1]):.0f}%" if strong else word
        draw.text((left, top + side + 3), label, fill=MARK if strong else INK, font=_font(13))
        if strong:
            draw.rectangle((left - 2, top - 2, left + side + 1, top + side + 1), outline=MARK, width=2)
    return sheet


def _highlight(base: Image.Image, weights: Float[Tensor, "rows columns"]) -> Image.Image:
    """The image dimmed, and lit where the weights are high; each map is scaled to its own largest weight."""
    low, high = float(weights.min()), float(weights.max())
    scaled = ((weights - low) / max(high - low, 1e-6)).mul(255).to(torch.uint8).numpy()
    light = Image.fromarray(scaled).resize(base.size, Image.Resampling.BICUBIC)
    share = np.asarray(light, np.float32)[..., None] / 255
    pixels = np.asarray(base, np.float32)
    lit = pixels * (0.25 + 0.75 * share) + np.array([255, 240, 180], np.float32) * (0.35 * share)
    return Image.fromarray(lit.clip(0, 255).astype(np.uint8))


def stack(pictures: Sequence[Image.Image]) -> Image.Image:
    """Pictures below one another."""
    sheet = Image.new("RGB", (max(p.width for p in pictures), sum(p.height for p in pictures)), PAPER)
    top = 0
    for picture in pictures:
        sheet.paste(picture, (0, top))
        top += picture.height
    return sheet
