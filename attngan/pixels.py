"""8-bit pixels and the range [-1, 1] that networks see and draw; the crop in the middle of an image."""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor


def from_uint8(
    values: UInt8[Tensor, "*batch 3 height width"] | Float[Tensor, "*batch 3 height width"],
) -> Float[Tensor, "*batch 3 height width"]:
    """8-bit values, or floats between 0 and 255 as resizing gives them, as float32 in [-1, 1]."""
    floats = values.float()
    # in place, unless they are the caller's own: a fresh tensor of this size costs more than the arithmetic
    return (floats.div(127.5) if floats is values else floats.div_(127.5)).sub_(1)


def to_uint8(images: Float[Tensor, "*batch 3 height width"]) -> UInt8[Tensor, "*batch 3 height width"]:
    """Images in [-1, 1] as 8-bit values, rounded to the nearest; what is outside of that range is clipped to it."""
    return images.float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)


def centre_corner(height: int, width: int, size: int) -> tuple[int, int]:
    """Top and left of the square of ``size`` pixels in the middle of an image; of an odd margin, less is before it."""
    return (height - size) // 2, (width - size) // 2


def centre_crop(pixels: UInt8[np.ndarray, "height width 3"], size: int) -> UInt8[np.ndarray, "{size} {size} 3"]:
    """The square of ``size`` pixels in the middle of an image, a view of it."""
    top, left = centre_corner(pixels.shape[0], pixels.shape[1], size)
    return pixels[top : top + size, left : left + size]
