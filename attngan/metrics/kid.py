"""Kernel Inception Distance: squared maximum mean discrepancy of features, unbiased (Binkowski et al. 2018)."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from attngan.errors import InputError
from attngan.metrics.declaration import Measurement, TooFewImagesError, Value, metric


class KID(NamedTuple):
    """Mean and population standard deviation over subsets, and the size of the subsets."""

    mean: float
    std: float
    subset_size: int


def kid(
    features: Float[Tensor, "images features"],
    reference: Float[Tensor, "real features"],
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 0,
) -> KID:
    """Mean over random subsets of the unbiased squared MMD with the kernel (x . y / length + 1)^3.

    Slightly negative values are right for equal distributions. The subsets are those of torch-fidelity for an equal
    seed (its own is 2020), drawn by numpy's frozen generator.

    Args:
        features: Features of the drawn images.
        reference: Features of the real images.
        subsets: How many subsets.
        subset_size: Images of either side in a subset; half of the smaller side where that has no more than these: all
            of it in every subset would leave no spread to tell an error from.
        seed: Decides the subsets.

    Raises:
        InputError: Fewer than two images, or features of different length.
    """
    if features.shape[1] != reference.shape[1]:
        raise InputError(f"features of length {features.shape[1]} and of {reference.shape[1]} cannot be compared")
    smaller = min(len(features), len(reference))
    if smaller < 2:
        raise TooFewImagesError("KID needs at least two images on either side")
    size = subset_size if subset_size < smaller else max(2, smaller // 2)
    rng = np.random.RandomState(seed)
    values = []
    for _ in range(subsets):
        x = features[torch.from_numpy(rng.choice(len(features), size, replace=False))].double()
        y = reference[torch.from_numpy(rng.choice(len(reference), size, replace=False))].double()
        values.append(_squared_mmd(x, y))
    return KID(float(np.mean(values)), float(np.std(values)), size)


def _squared_mmd(x: Tensor, y: Tensor) -> float:
    n, length = x.shape

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / length + 1) ** 3

    xx, yy, xy = kernel(x, x), kernel(y, y), kernel(x, y)
    within = (xx.sum() - xx.trace() + yy.sum() - yy.trace()) / (n * (n - 1))
    return (within - 2 * xy.mean()).item()


@metric(
    "kid",
    label="KID",
    better="smaller",
    needs={"reference"},
    beside=("halves",),
    help="Kernel Inception Distance, unbiased for few images",
)
def kid_score(
    features: Float[Tensor, "images features"], reference: Float[Tensor, "real features"], seed: int
) -> Measurement:
    """KID, and the spread over its subsets."""
    score = kid(features, reference, seed=seed)
    return Measurement([Value("kid", score.mean, score.std, f"100 subsets of {score.subset_size}")])
