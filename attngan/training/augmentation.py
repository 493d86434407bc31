"""Differentiable augmentation of what the discriminators see (Zhao et al. 2020): for short runs and small data sets."""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from attngan.draws import Draws
from attngan.errors import InputError


def _moved(
    images: Float[Tensor, "batch 3 height width"], reach_of_side: float, padding: str, draws: Draws
) -> Float[Tensor, "batch 3 height width"]:
    reach = round(reach_of_side * images.shape[-1])
    if reach == 0:
        return images
    batch, _, height, width = images.shape
    padded = F.pad(images, (reach, reach, reach, reach), mode=padding)
    down, right = draws.integers(2 * reach + 1, 2, 1).unbind(1)
    rows = (down + torch.arange(height, device=images.device))[:, None, :, None]  # (batch, 1, height, 1)
    columns = (right + torch.arange(width, device=images.device))[:, None, None, :]
    # rows, then columns: the gradient of one index for all would sort them on a GPU
    strip = padded.gather(2, rows.expand(batch, 3, height, padded.shape[3]))
    return strip.gather(3, columns.expand(batch, 3, height, width))


def color(
    images: Float[Tensor, "batch 3 height width"], strength: float, draws: Draws
) -> Float[Tensor, "batch 3 height width"]:
    """Random brightness, saturation and contrast of each image. At strength 1 as published.

    Brightness moves by up to a half (of values in [-1, 1]); saturation is multiplied by 0 to 2, contrast by 0.5 to 1.5.
    Not for captions that speak of colours.
    """
    brightness, saturation, contrast = ((draws.uniform(3, 1, 1, 1) - 0.5) * strength).unbind(1)
    images = images + brightness
    grey = images.mean(1, keepdim=True)
    images = grey + (images - grey) * (1 + 2 * saturation)
    mean = images.mean((1, 2, 3), keepdim=True)
    contrasted: Tensor = mean + (images - mean) * (1 + contrast)
    return contrasted


def translation(
    images: Float[Tensor, "batch 3 height width"], strength: float, draws: Draws
) -> Float[Tensor, "batch 3 height width"]:
    """Each image moved by up to ``strength`` (published: 0.125) of its side each way; zero (grey) where nothing is."""
    return _moved(images, strength, "constant", draws)


def shift(
    images: Float[Tensor, "batch 3 height width"], strength: float, draws: Draws
) -> Float[Tensor, "batch 3 height width"]:
    """`translation` with the image's edge repeated in the place of grey. Ours."""
    return _moved(images, strength, "replicate", draws)


def cutout(
    images: Float[Tensor, "batch 3 height width"], strength: float, draws: Draws
) -> Float[Tensor, "batch 3 height width"]:
    """A square of ``strength`` (published: 0.5) of the side set to zero, anywhere; the image's edge may cut it."""
    _, _, *sides = images.shape
    inside = []
    for side in sides:
        size = int(strength * side + 0.5)
        first = draws.integers(side + 1 - size % 2, 1) - size // 2
        places = torch.arange(side, device=images.device)
        inside.append((places >= first) & (places < first + size))
    rows, columns = inside
    return images.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0.0)


Policy = Callable[[Tensor, float, Draws], Tensor]
#: By name: those of the paper, and `shift`.
POLICIES: dict[str, Policy] = {"color": color, "translation": translation, "cutout": cutout, "shift": shift}


class Augmentation:
    """Policies one after the other, each image by its own random numbers, and differentiably.

    Args:
        policies: Strength of each policy by its name, see `POLICIES`. As published: color 1, translation 0.125, cutout
            0.5. A number alone is that of `shift`.

    Raises:
        ValueError: There is no policy of a name, or a strength is negative.
    """

    def __init__(self, policies: Mapping[str, float] | float) -> None:
        given = policies if isinstance(policies, Mapping) else {"shift": policies}
        if unknown := sorted(set(given) - set(POLICIES)):
            raise InputError(f"model.augment has no policy {', '.join(unknown)}: there are {', '.join(POLICIES)}")
        if negative := [name for name, strength in given.items() if strength < 0]:
            raise InputError(f"model.augment.{negative[0]} is {given[negative[0]]}: 0 is none, and less cannot be")
        self.policies = {name: strength for name, strength in given.items() if strength}

    def __call__(
        self, images: Float[Tensor, "batch 3 height width"], draws: Draws
    ) -> Float[Tensor, "batch 3 height width"]:
        for name, strength in self.policies.items():
            images = POLICIES[name](images, strength, draws)
        return images


def binomial_blur(images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels height width"]:
    """A 1-2-1 filter both ways, the edge repeated: a pattern that alternates from pixel to pixel vanishes."""
    padded = F.pad(images, (1, 1, 1, 1), mode="replicate")
    return F.avg_pool2d(F.avg_pool2d(padded, 2, stride=1), 2, stride=1)  # 1-1 twice
