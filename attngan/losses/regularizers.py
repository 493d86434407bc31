"""Terms that keep the players within bounds."""

import torch
from jaxtyping import Float
from torch import Tensor


def kl_divergence(
    mean: Float[Tensor, "batch condition"], log_variance: Float[Tensor, "batch condition"]
) -> Float[Tensor, ""]:
    """KL of the conditioning augmentation's Gaussian from N(0, 1), as a mean over batch and dimensions.

    ``-1/2 mean(1 + log sigma^2 - mu^2 - sigma^2)`` (Zhang et al. 2017, equation 2; there a sum over dimensions).
    """
    mean, log_variance = mean.float(), log_variance.float()
    return -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).mean()


def r1_penalty(logits: Float[Tensor, " batch"], images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, ""]:
    """Mean squared gradient of a discriminator's logits at real images (Mescheder et al. 2018, equation 9)."""
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.float().square().sum((1, 2, 3)).mean()
