"""Terms that keep the players within bounds."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from attngan.errors import require_at_least, tell_without_effect
from attngan.losses.precision import at_least_float32


def kl_divergence(
    mean: Float[Tensor, "batch condition"], log_variance: Float[Tensor, "batch condition"]
) -> Float[Tensor, ""]:
    """KL of the conditioning augmentation's Gaussian from N(0, 1), as a mean over batch and dimensions.

    ``-1/2 mean(1 + log sigma^2 - mu^2 - sigma^2)`` (Zhang et al. 2017, equation 2; there a sum over dimensions).
    """
    mean, log_variance = at_least_float32(mean, log_variance)
    return -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).mean()


@dataclass(frozen=True)
class R1:
    """The gradient penalty on real images (Mescheder et al. 2018): how much of it, and how often.

    Args:
        weight: gamma, of which the loss takes half; 0 for none, as published.
        every: It is computed at every so many steps, with so many times the weight.
    """

    weight: float = 0.0
    every: int = 4

    def __post_init__(self) -> None:
        require_at_least(0, within="model.r1.", weight=self.weight)
        require_at_least(1, within="model.r1.", every=self.every)
        if not self.weight:
            tell_without_effect("model.r1.weight is 0", "model.r1.", every=(self.every, 4))

    def weight_at(self, step: int) -> float:
        """Gamma at this step, counted from 0."""
        return self.weight * self.every if self.weight > 0 and step % self.every == 0 else 0.0


def _of_images(logits: Float[Tensor, "batch *places"]) -> Float[Tensor, ""]:
    """The sum over images of each one's mean logit, whose gradient at an image is that of its own mean logit."""
    return logits.flatten(1).mean(1).sum() if logits.dim() > 1 else logits.sum()


def r1_penalty(
    logits: Float[Tensor, "batch *places"], images: Float[Tensor, "batch 3 height width"]
) -> Float[Tensor, ""]:
    """Mean squared gradient of a discriminator's logits at real images (Mescheder et al. 2018, equation 9).

    Of logits at places, it is the gradient of their mean.
    """
    (gradient,) = torch.autograd.grad(_of_images(logits), images, create_graph=True)
    return at_least_float32(gradient)[0].square().sum((1, 2, 3)).mean()


def matching_aware_gradient_penalty(
    logits: Float[Tensor, "batch *places"],
    images: Float[Tensor, "batch 3 height width"],
    sentence: Float[Tensor, "batch embed"],
) -> Float[Tensor, ""]:
    """Mean sixth power of the gradient's norm at real images and their sentences, both together (Tao et al. 2022, 3.3).

    ``mean(||(grad_images, grad_sentence)||^6)``; the paper's k is the weight, its p is 6. As the cube of a squared
    norm there is no square root, whose gradient at zero would not be finite. The discriminator must have judged in
    float32: a sixth power leaves the range of float16 and the precision of bfloat16.

    Args:
        logits: Logits of the pairs; of logits at places, their mean counts.
        images: What they were computed of; requires a gradient.
        sentence: Sentence embeddings of the pairs; must require a gradient.
    """
    gradients = torch.autograd.grad(_of_images(logits), (images, sentence), create_graph=True)
    of_image, of_sentence = at_least_float32(*gradients)
    squared_norm = of_image.square().sum((1, 2, 3)) + of_sentence.square().sum(1)
    return squared_norm.pow(3).mean()


def color_consistency(
    lower: Float[Tensor, "batch 3 _ _"],
    higher: Float[Tensor, "batch 3 _ _"],
    covariance: float = 5.0,
) -> Float[Tensor, ""]:
    """How far the colours of a stage's images are from those of the stage before (Zhang et al. 2018, 4.3).

    Mean squared difference, over batch and channels, of the images' mean colours, and ``covariance`` times that of
    their 3 x 3 colour covariances. The lower stage gets no gradient: the higher one follows it.

    Args:
        lower: Images of the stage before.
        higher: Images of the same captions and noise, at any size.
        covariance: Weight of the covariances.
    """
    mean_lower, covariance_lower = _colors(lower.detach())
    mean_higher, covariance_higher = _colors(higher)
    return F.mse_loss(mean_higher, mean_lower) + covariance * F.mse_loss(covariance_higher, covariance_lower)


def _colors(
    images: Float[Tensor, "batch 3 height width"],
) -> tuple[Float[Tensor, "batch 3"], Float[Tensor, "batch 3 3"]]:
    """Mean and covariance of each image's pixels."""
    pixels = at_least_float32(images)[0].flatten(2)
    mean = pixels.mean(2)
    centred = pixels - mean[:, :, None]
    with torch.autocast(images.device.type, enabled=False):  # the product would run in low precision
        return mean, centred @ centred.mT / pixels.shape[2]
