"""Diversity: how far images of one caption lie apart, next to how far images of different captions do."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Diversity(NamedTuple):
    """Mean distance of two images of one caption, its standard deviation over captions, and the mean over all pairs."""

    within: float
    std: float
    between: float
    captions: int


def diversity(features: Float[Tensor, "images features"], captions: Int[Tensor, "images"]) -> Diversity:
    """Mean Euclidean distance between features of two images of one caption; 0 when the noise changes nothing.

    ``between`` is the same for images of different captions: a within of the same size means that captions decide
    nothing.

    Raises:
        ValueError: No caption with two images.
    """
    x = features.double()
    means = []
    for caption in captions.unique():
        own = x[captions == caption]
        if len(own) > 1:
            means.append(torch.nn.functional.pdist(own).mean())
    if not means:
        raise ValueError("diversity needs at least two images of one caption")
    within = torch.stack(means)
    distances = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")
    different = captions[:, None] != captions
    between = distances[different].mean().item() if different.any() else float("nan")
    return Diversity(within.mean().item(), within.std(correction=0).item(), between, len(means))
