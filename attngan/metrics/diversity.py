"""Diversity: how far images of one caption lie apart, next to how far images of different captions do."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attngan.errors import InputError
from attngan.metrics.declaration import Measurement, Value, metric


class Diversity(NamedTuple):
    """Mean distance of two images of one caption, its standard deviation over captions, and that of different captions.

    ``captions`` are those that have two images or more, ``images`` theirs.
    """

    within: float
    std: float
    between: float
    captions: int
    images: int


def diversity(
    features: Float[Tensor, "images features"], captions: Int[Tensor, "images"], most: int = 2000
) -> Diversity:
    """Mean Euclidean distance between features of two images of one caption; 0 when the noise changes nothing.

    ``between`` is the same for images of different captions, of at most ``most`` images spread over all: a within of
    the same size means that captions decide nothing.

    Raises:
        InputError: No caption with two images.
    """
    x = features.double()
    means, images = [], 0
    for caption in captions.unique():
        own = x[captions == caption]
        if len(own) > 1:
            means.append(torch.nn.functional.pdist(own).mean())
            images += len(own)
    if not means:
        raise InputError("diversity needs at least two images of one caption")
    within = torch.stack(means)
    spread = torch.linspace(0, len(x) - 1, min(most, len(x))).long()  # all pairs of 30,000 would fill 7 GB
    x, captions = x[spread], captions[spread]
    distances = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")
    different = captions[:, None] != captions
    between = distances[different].mean().item() if different.any() else float("nan")
    return Diversity(within.mean().item(), within.std(correction=0).item(), between, len(means), images)


#: Behind the name of the distance of images of different captions, which the diversity of one caption is compared with.
DIFFERENT = "_of_different_captions"


@metric(
    "diversity",
    label="Diversity within a caption",
    needs={"captions"},
    on="repeated",
    help="distance of images of one caption",
)
def diversity_score(features: Float[Tensor, "images features"], captions: Int[Tensor, "images"]) -> Measurement:
    """Distance of features between images of one caption, and between images of different captions."""
    found = diversity(features, captions)
    values = [
        Value("diversity", found.within, found.std, f"{found.captions} captions"),
        Value("diversity", found.between, suffix=DIFFERENT),
    ]
    return Measurement(values, counted=f"{found.captions}x{found.images // found.captions}")
