"""From an image file to the pixels that the cache keeps: upright, RGB, cropped to the box, shorter side resized.

The geometry is the published one, tested against it: the square of 1.5 times the box's longer side around its centre,
clipped to the image; shorter side to 76/64 of the training size with Pillow's bilinear filter (which antialiases).
"""

import importlib.util
import io
import stat
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngImageFile

from attngan.errors import InputError
from attngan.pictures import KIND_ENTRY, SAMPLE

MAX_PIXELS = 180_000_000  # larger ones are refused before anything is decoded: decompression bombs
MAX_BYTES = 1_000_000_000  # of a file: some decoders read all of it first; uncompressed pixels fit
MAX_ASPECT = 50  # a sliver of 1 x 5,000 px would become 76 x 380,000

#: Names of the images that are read, in lower case; of an animation the first picture.
IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".jpe", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".apng"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
)
#: Pictures that people have among them and that are not read: they are named rather than passed over in silence.
OTHER_PICTURES = frozenset({".heic", ".heif", ".jxl", ".svg", ".psd", ".dng", ".cr2", ".nef", ".arw", ".jp2", ".exr"})

# Whatever a file is called, no other decoder sees it: Pillow's list goes as far as running Ghostscript.
_AVIF = ("AVIF",) if importlib.util.find_spec("PIL.AvifImagePlugin") else ()  # from Pillow 11.3 on
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "DIB", "MPO", *_AVIF)
_ORIENTATION = 0x0112


@runtime_checkable
class PictureStream(Protocol):
    """A file that is open, or a member of an archive."""

    def read(self, size: int = -1, /) -> bytes: ...

    def seek(self, offset: int, whence: int = 0, /) -> int: ...


#: A picture: its file, the file's content, or a stream of it.
PictureFile = Path | bytes | PictureStream


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
    with open_image(path) as image:
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


def load_image(file: PictureFile) -> Image.Image:
    """The whole image, upright and RGB. What is transparent shows white.

    Raises:
        UnusableImageError: When it cannot be decoded or is too large.
    """
    with open_image(file) as image:
        try:
            _scale_transparent_colour(image)
            image.load()
            if _orientation(image) != 1:
                image = ImageOps.exif_transpose(image)
            return _rgb(image)
        except UnusableImageError:
            raise
        except Exception as error:  # a damaged file can make a decoder raise anything
            raise UnusableImageError(f"cannot be decoded: {error or type(error).__name__}") from error


def load_named_image(file: PictureFile, name: str) -> Image.Image:
    """`load_image` for those who do not go on without the image: the error's message begins with its name.

    Raises:
        InputError: When it cannot be decoded or is too large.
    """
    try:
        return load_image(file)
    except UnusableImageError as error:
        raise InputError(f"{name}: {error}") from error


def open_image(file: PictureFile) -> Image.Image:
    """The image with its header read and nothing decoded; the caller closes it.

    Raises:
        UnusableImageError: When it is no regular file, no image, or too large.
    """
    try:
        if isinstance(file, Path | bytes):
            check_size(_bytes_of(file))
        stream: Any = io.BytesIO(file) if isinstance(file, bytes) else file
        image = Image.open(stream, formats=_FORMATS)
    except UnusableImageError:
        raise
    except FileNotFoundError as error:
        raise UnusableImageError("there is no such file") from error
    except PermissionError as error:
        raise UnusableImageError("may not be read (its permissions)") from error
    except Image.DecompressionBombError as error:
        raise UnusableImageError(_too_large(str(error))) from error
    except Exception as error:
        raise UnusableImageError(f"not an image, or none of the kinds that are read ({', '.join(_FORMATS)})") from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        image.close()
        raise UnusableImageError(_too_large(f"{width:,} x {height:,} pixels"))
    return image


def check_size(size: int) -> None:
    """Refuses files of more bytes than any image that is read has, and empty ones.

    Raises:
        UnusableImageError: Says how large it is.
    """
    if size == 0:
        raise UnusableImageError("the file is empty (0 bytes)")
    if size > MAX_BYTES:
        raise UnusableImageError(f"larger than {MAX_BYTES:,} bytes ({size:,})")


def _bytes_of(file: Path | bytes) -> int:
    """The size of a file, once it is seen to be one: opening a FIFO would wait, a device may never end."""
    if isinstance(file, bytes):
        return len(file)
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):
        raise UnusableImageError("no regular file (a folder, FIFO, socket or device)")
    return status.st_size


def is_marked_overview(file: PictureFile) -> bool:
    """Whether a picture says of itself that it shows samples and is none; see `attngan.pictures.is_overview`."""
    try:
        with open_image(file) as image:
            return bool(image.info.get(KIND_ENTRY, SAMPLE) != SAMPLE)
    except UnusableImageError:
        return False  # it is told of when it is to be read


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
    if image.format == "TIFF":
        return 1  # Pillow turns these itself, and its size is that of the upright image
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged EXIF data says nothing; the pixels may still be fine
        return 1
    return orientation if orientation in range(1, 9) else 1


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode == "F":
        raise UnusableImageError("floating-point pixels have no agreed range: save it as an 8-bit image")
    if image.mode.startswith("I"):
        image = _eight_bits(image)
    if image.mode in ("RGBA", "LA", "PA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _scale_transparent_colour(image: Image.Image) -> None:
    """Brings the colour that a PNG calls transparent to 8 bits, as Pillow brings its pixels but not that."""
    colour = image.info.get("transparency")
    if isinstance(image, PngImageFile) and image.tile and colour is not None:
        packing = image.tile[0][3]
        if packing in ("L;2", "L;4"):
            image.info["transparency"] = colour * (85 if packing == "L;2" else 17)
        elif packing == "RGB;16B":
            image.info["transparency"] = tuple(value >> 8 for value in colour)


def _eight_bits(image: Image.Image) -> Image.Image:
    """The upper 8 of 16 bits, as of 16-bit colour; Pillow's own conversion clips all but the darkest to white.

    Integers of 32 bits do not say their range: what fits into 8 bits is taken for such, else for 16.
    """
    values = np.asarray(image).astype(np.int64)
    full_range = image.mode.startswith("I;16") or image.format == "PPM"
    if values.min() < 0 or values.max() > 65535:
        raise UnusableImageError("32-bit pixels have no agreed range: save it as an 8-bit image")
    grey = Image.fromarray((values >> 8 if full_range or values.max() > 255 else values).astype(np.uint8))
    if (transparent := image.info.get("transparency")) is not None:
        grey.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return grey
