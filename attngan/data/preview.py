"""A picture of what training will see: images with their boxes, the crops, and the captions."""

import textwrap
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from attngan.data.images import crop_rectangle, load_image, load_pixels, shorter_side
from attngan.pixels import centre_crop
from attngan.records import CaptionedImage

_WIDTH = 420  # of a cell
_SIDE = 200  # of the image and of the crop in a cell
_TOP = 20  # above them: the name
_LINES, _LINE = 4, 16  # of captions below them, pixels each
_BOX, _KEPT = (230, 60, 40), (30, 140, 230)


def preview(images: Sequence[CaptionedImage], columns: int = 4) -> Image.Image:
    """A grid of images (box red, what is kept blue), each with its centre crop beside it and its captions below.

    The crop is what validation and test see; training sees crops of the same size around it.

    Args:
        images: Images that can be used.
        columns: Images a row.
    """
    height = _TOP + _SIDE + 10 + (_LINES * _LINE + 6 if any(image.captions for image in images) else 0)
    rows = -(-len(images) // columns)
    grid = Image.new("RGB", (_WIDTH * min(columns, len(images)), height * rows), "white")
    for number, image in enumerate(images):
        grid.paste(_cell(image, height), (number % columns * _WIDTH, number // columns * height))
    return grid


def _cell(image: CaptionedImage, height: int) -> Image.Image:
    cell = Image.new("RGB", (_WIDTH, height), "white")
    cell.paste(_with_frames(image), (5, _TOP))
    pixels = load_pixels(image.path, image.box, shorter_side(_SIDE))
    cell.paste(Image.fromarray(centre_crop(pixels, _SIDE)), (_SIDE + 15, _TOP))
    text = ImageDraw.Draw(cell)
    text.text((5, 3), _short(image.name, 62), fill="black", font=ImageFont.load_default(11))
    for number, line in enumerate(_lines(image.captions)):
        text.text((5, _TOP + _SIDE + 4 + number * _LINE), line, fill="black", font=ImageFont.load_default(12))
    return cell


def _with_frames(image: CaptionedImage) -> Image.Image:
    """The whole image, small, with its box and with the rectangle that is kept of it."""
    whole = load_image(image.path)
    scale = _SIDE / max(whole.size)
    shown = whole.resize((max(1, round(whole.width * scale)), max(1, round(whole.height * scale))))
    draw = ImageDraw.Draw(shown)
    if image.box is not None:
        x, y, width, height = image.box
        draw.rectangle([x * scale, y * scale, (x + width) * scale, (y + height) * scale], outline=_BOX, width=2)
    draw.rectangle([side * scale for side in crop_rectangle(image.box, *whole.size)], outline=_KEPT, width=2)
    return shown


def _lines(captions: Sequence[str]) -> list[str]:
    """As many captions as there is room for; what is left out is counted in the last line."""
    lines: list[str] = []
    for number, caption in enumerate(captions):
        own = textwrap.wrap(caption, 64, initial_indent="- ", subsequent_indent="  ")
        if number and len(lines) + len(own) > _LINES:
            lines[-1] += f" (+{len(captions) - number})"
            break
        lines += own[:_LINES]
    return lines


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else "..." + text[3 - length :]
