"""A picture in the colours of another one."""

from PIL import Image


def with_colours_of(picture: Image.Image, colours: Image.Image) -> Image.Image:
    """Brightness of the one, colours of the other: luminance alone is transferred (Gatys et al. 2016, "Preserving
    Color in Neural Artistic Style Transfer", section 3.2).

    Args:
        picture: Gives the brightness; RGB.
        colours: Gives the colours; RGB, of the same size.
    """
    brightness, *_ = picture.convert("YCbCr").split()
    _, blue, red = colours.convert("YCbCr").split()
    return Image.merge("YCbCr", (brightness, blue, red)).convert("RGB")
