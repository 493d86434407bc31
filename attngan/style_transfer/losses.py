"""What a picture is optimised for: the content of one image, the style of others, and smoothness.

Sums of the paper are means here, so that weights mean the same at every size of image and layer.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def gram_matrix(features: Float[Tensor, "1 channels height width"]) -> Float[Tensor, "channels channels"]:
    """How the channels of a feature map occur together, wherever that is: ``F F^T / (channels height width)``.

    The paper's Gram matrix (its equation 3), divided by the number of values in the map.
    """
    flat = features[0].flatten(1)
    return flat @ flat.mT / flat.numel()


def content_loss(
    features: Float[Tensor, "1 channels height width"], target: Float[Tensor, "1 channels height width"]
) -> Float[Tensor, ""]:
    """Mean squared difference of two feature maps; the paper's (equation 1) times 2 over their number of values."""
    return F.mse_loss(features, target)


def style_loss(
    features: Float[Tensor, "1 channels height width"], target: Float[Tensor, "channels channels"]
) -> Float[Tensor, ""]:
    """Mean squared difference between a feature map's Gram matrix and another one.

    The paper's ``E_l`` (equation 4) times 4 over the square of the number of channels.
    """
    return F.mse_loss(gram_matrix(features), target)


def total_variation(image: Float[Tensor, "1 3 height width"]) -> Float[Tensor, ""]:
    """Mean squared difference between neighbouring pixels, below and beside (Mahendran and Vedaldi 2015, beta 2)."""
    down = image[:, :, 1:] - image[:, :, :-1]
    across = image[:, :, :, 1:] - image[:, :, :, :-1]
    return torch.stack([down.square().mean(), across.square().mean()]).sum()
