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
