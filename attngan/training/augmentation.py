"""Differentiable augmentation of what the discriminators see (Zhao et al. 2020): for short runs and small data sets."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def same_augmentation(
    images: Float[Tensor, "batch 3 height width"], shift: float
) -> Float[Tensor, "batch 3 height width"]:
    """Each image moved by a random number of pixels, up to ``shift`` of its side each way; the edge is repeated.

    Colours stay as they are: captions speak of them. Gradients flow through, so the generator does not learn to draw
    shifted images.

    Args:
        images: Real or generated images.
        shift: Largest move as a part of the side; 0 for none.
    """
    reach = round(shift * images.shape[-1])
    if reach == 0:
        return images
    batch, _, height, width = images.shape
    padded = F.pad(images, (reach, reach, reach, reach), mode="replicate")
    down, right = torch.randint(0, 2 * reach + 1, (2, batch, 1), device=images.device)
    rows = (down + torch.arange(height, device=images.device))[:, None, :, None]  # (batch, 1, height, 1)
    columns = (right + torch.arange(width, device=images.device))[:, None, None, :]
    item = torch.arange(batch, device=images.device)[:, None, None, None]
    channel = torch.arange(3, device=images.device)[None, :, None, None]
    return padded[item, channel, rows, columns]


def binomial_blur(images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels height width"]:
    """A 1-2-1 filter both ways, the edge repeated: a pattern that alternates from pixel to pixel vanishes."""
    weights = images.new_tensor([0.25, 0.5, 0.25])
    kernel = (weights[:, None] * weights).expand(images.shape[1], 1, 3, 3)
    return F.conv2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), kernel, groups=images.shape[1])
