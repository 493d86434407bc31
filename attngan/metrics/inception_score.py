"""Inception Score: exp of the mean divergence of class probabilities from their average (Salimans et al. 2016).

Follows the published evaluation of this family: splits in the order of generation, floor-division bounds, population
standard deviation over the splits.
"""

import itertools
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from attngan.errors import InputError
from attngan.metrics.declaration import Measurement, TooFewImagesError, Value, metric


class InceptionScore(NamedTuple):
    """Mean over the splits and their population standard deviation."""

    mean: float
    std: float


def inception_score(probabilities: Float[Tensor, "images classes"], splits: int = 10) -> InceptionScore:
    """exp(mean_i KL(p_i || mean p)) of each split, then mean and population standard deviation over the splits.

    No epsilon is added; a probability of exactly 0 contributes nothing (0 log 0 = 0), where the published code gives
    NaN. The order of the images decides which split they fall into.

    Args:
        probabilities: Class probabilities of each image (not logits), rows that sum to 1; computed on in float64.
        splits: Number of consecutive parts of nearly equal size; split i holds images ``i * n // splits`` up to
            ``(i + 1) * n // splits``.

    Raises:
        InputError: Fewer images than splits, or rows that are not probabilities.
    """
    count = len(probabilities)
    if not 1 <= splits <= count:
        raise TooFewImagesError(f"an Inception Score over {splits} splits needs at least that many images, got {count}")
    p = probabilities.detach().double().cpu()
    # bf16 probabilities are off by up to 1 % a row; logits are off by far more.
    if not torch.isfinite(p).all() or (p < 0).any() or ((p.sum(1) - 1).abs() > 0.02).any():
        raise InputError("an Inception Score needs class probabilities: finite, not negative, each row summing to 1")
    bounds = [i * count // splits for i in range(splits + 1)]
    scores = torch.stack([_score(p[start:end]) for start, end in itertools.pairwise(bounds)])
    return InceptionScore(scores.mean().item(), scores.std(correction=0).item())


def _score(p: Tensor) -> Tensor:
    divergence = torch.xlogy(p, p) - torch.xlogy(p, p.mean(0, keepdim=True))
    return divergence.sum(1).mean().exp()


@metric(
    "is",
    label="Inception Score",
    better="larger",
    beside=("real",),
    help="Inception Score: images classified with certainty, classes evenly used",
)
def inception_score_of_logits(logits: Float[Tensor, "images classes"], splits: int) -> Measurement:
    """The Inception Score of images in the order in which they come, and its spread over the splits."""
    score = inception_score(logits.double().softmax(1), splits)
    return Measurement([Value("is", score.mean, score.std, f"{splits} splits")])
