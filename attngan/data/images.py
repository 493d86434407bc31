"""From an image file to the pixels that the cache keeps: upright, RGB, cropped to the box, shorter side resized.

The geometry is the published one, tested against it: the square of 1.5 times the box's longer side around its centre,
clipped to the image; shorter side to 76/64 of the training size with Pillow's bilinear filter (which antialiases).
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from attngan.errors import InputError

MAX_PIXELS = 180_000_000  # larger ones are refused before anything is decoded: decompression bombs
MAX_ASPECT = 50  # a sliver of 1 x 5,000 px would become 76 x 380,000

_ORIENTATION = 0x0112


class UnusableImageError(InputError):
    """An image file that cannot be trained on; the message says why, without the file's name."""


def crop_rectangle(box: tuple[float, ...] | None, width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of what is kept of an image.

    Args:
        box: Bounding box ``(x, y, width, height)`` of the object; None keeps everything.
        width: Width of the image in pixels.
        height: Height of the image in pixels.

    Returns:
        The square of 1.5 times the box's longer side around its centre, clipped to the image (so not square at the
        border, and empty or negative for boxes of one pixel or far outside).
    """
    if box is None:
        return 0, 0, width, height
    x, y, box_width, box_height = (int(number) for number in box)
    reach = int(max(box_width, box_height) * 0.75)
    centre_x, centre_y = int((2 * x + box_width) / 2), int((2 * y + box_height) / 2)
    left, right = max(0, centre_x - reach), min(width, centre_x + reach)
    top, bottom = max(0, centre_y - reach), min(height, centre_y + reach)
    return left, top, right, bottom


def shorter_side(image_size: int) -> int:
    """The size that an image is resized to before a random crop of `image_size` is taken from it."""
    return int(image_size * 76 / 64)


def resized_shape(width: int, height: int, short: int) -> tuple[int, int]:
    """Width and height with the shorter of them at `short`."""
    if width <= height:
        return short, int(short * height / width)
    return int(short * width / height), short


def kept_shape(path: Path, box: tuple[float, ...] | None, short: int) -> tuple[int, int]:
    """Width and height of what `load_pixels` will give, from the file's header alone.

    Raises:
        UnusableImageError: When the file is no image or too large, or the box keeps nothing of it.
    """
    left, top, right, bottom = _checked_rectangle(box, *upright_size(path))
    return resized_shape(right - left, bottom - top, short)


def upright_size(path: Path) -> tuple[int, int]:
    """Width and height as a viewer shows the image, from the file's header alone.

    Raises:
        UnusableImageError: When the file is no image or too large.
    """
    with _opened(path) as image:
        width, height = image.size
        return (height, width) if _orientation(image) >= 5 else (width, height)  # 5 to 8 are stored on their side


def load_pixels(file: Path | bytes, box: tuple[float, ...] | None, short: int) -> np.ndarray:
    """The image as it is cached: uint8, height x width x 3.

    Args:
        file: The image file, or its content.
        box: Bounding box of the object, where there is one.
        short: What its shorter side is resized to, in pixels.

    Raises:
        UnusableImageError: When it cannot be decoded, is too large, or the box keeps nothing of it.
    """
    image = load_image(file)
    rectangle = _checked_rectangle(box, *image.size)
    if rectangle != (0, 0, *image.size):
        image = image.crop(rectangle)
    return np.asarray(image.resize(resized_shape(*image.size, short), Image.Resampling.BILINEAR))


def load_image(file: Path | bytes) -> Image.Image:
    """The whole image, upright and RGB. What is transparent shows white.

    Raises:
        UnusableImageError: When it cannot be decoded or is too large.
    """
    with _opened(file) as image:
        try:
            image.load()
            if _orientation(image) != 1:
                image = ImageOps.exif_transpose(image)
            return _rgb(image)
        except UnusableImageError:
            raise
        except Exception as error:  # a damaged file can make a decoder raise anything
            raise UnusableImageError(f"cannot be decoded: {error or type(error).__name__}") from error


def _opened(file: Path | bytes) -> Image.Image:
    try:
        size = len(file) if isinstance(file, bytes) else file.stat().st_size
        if size == 0:
            raise UnusableImageError("the file is empty (0 bytes)")
        image = Image.open(io.BytesIO(file) if isinstance(file, bytes) else file)
    except UnusableImageError:
        raise
    except FileNotFoundError as error:
        raise UnusableImageError("there is no such file") from error
    except Image.DecompressionBombError as error:
        raise UnusableImageError(_too_large(str(error))) from error
    except Exception as error:
        raise UnusableImageError("not an image, or one of a kind that Pillow does not know") from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        image.close()
        raise UnusableImageError(_too_large(f"{width:,} x {height:,} pixels"))
    return image


def _too_large(what: str) -> str:
    return f"larger than {MAX_PIXELS:,} pixels, refused as a decompression bomb ({what})"


def _checked_rectangle(box: tuple[float, ...] | None, width: int, height: int) -> tuple[int, int, int, int]:
    left, top, right, bottom = crop_rectangle(box, width, height)
    if right <= left or bottom <= top:
        raise UnusableImageError(f"the box {box} keeps nothing of an image of {width} x {height} pixels")
    longer, shorter = max(right - left, bottom - top), min(right - left, bottom - top)
    if longer > MAX_ASPECT * shorter:
        raise UnusableImageError(f"a sliver of {right - left} x {bottom - top} pixels, longer than 1:{MAX_ASPECT}")
    return left, top, right, bottom


def _orientation(image: Image.Image) -> int:
    if image.format == "PNG" and "exif" not in image.info:
        return 1  # getexif() would decode the whole file to look behind the pixels
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged EXIF data says nothing; the pixels may still be fine
        return 1
    return orientation if orientation in range(1, 9) else 1


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    if image.mode == "F":
        raise UnusableImageError("floating-point pixels have no agreed range: save it as an 8-bit image")
    if image.mode.startswith("I"):  # 16 bits a pixel; Pillow's own conversion would clip all but the darkest to white
        values = np.asarray(image).astype(np.int64)
        image = Image.fromarray((values >> 8 if values.max() > 255 else values).clip(0, 255).astype(np.uint8))
    return image.convert("RGB")
