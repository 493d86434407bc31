"""A picture of what training will see: images with their boxes, the crops, and the captions."""

import textwrap
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from attngan.data.images import crop_rectangle, load_image
from attngan.records import CaptionedImage

_CELL = (420, 300)
_SIDE = 200  # of the image and of the crop in a cell
_BOX, _CROP = (230, 60, 40), (30, 140, 230)


def preview(images: Sequence[CaptionedImage], columns: int = 4) -> Image.Image:
    """A grid of images (box red, crop blue), each with its crop beside it and its first caption, if any, below.

    Args:
        images: Usable ones.
        columns: Images a row.
    """
    rows = -(-len(images) // columns)
    grid = Image.new("RGB", (_CELL[0] * min(columns, len(images)), _CELL[1] * rows), "white")
    for number, image in enumerate(images):
        grid.paste(_cell(image), (number % columns * _CELL[0], number // columns * _CELL[1]))
    return grid


def _cell(image: CaptionedImage) -> Image.Image:
    cell = Image.new("RGB", _CELL, "white")
    whole = load_image(image.path)
    rectangle = crop_rectangle(image.box, *whole.size)
    scale = _SIDE / max(whole.size)
    shown = whole.resize((max(1, round(whole.width * scale)), max(1, round(whole.height * scale))))
    draw = ImageDraw.Draw(shown)
    if image.box is not None:
        x, y, width, height = image.box
        draw.rectangle([x * scale, y * scale, (x + width) * scale, (y + height) * scale], outline=_BOX, width=2)
    draw.rectangle([side * scale for side in rectangle], outline=_CROP, width=2)
    crop = whole.crop(rectangle)
    crop.thumbnail((_SIDE, _SIDE))
    cell.paste(shown, (5, 20))
    cell.paste(crop, (_SIDE + 15, 20))
    text = ImageDraw.Draw(cell)
    small = ImageFont.load_default(11)
    text.text((5, 3), _short(image.name, 62), fill="black", font=small)
    lines = textwrap.wrap(image.captions[0], 68)[:4] if image.captions else []
    more = f" (+{len(image.captions) - 1})" if len(image.captions) > 1 else ""
    text.multiline_text((5, _SIDE + 26), "\n".join(lines) + more, fill="black", font=ImageFont.load_default(12))
    return cell


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else "..." + text[3 - length :]
