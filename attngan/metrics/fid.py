"""Fréchet Inception Distance: of two Gaussians fitted to features (Heusel et al. 2017), and its limit (Chong 2020)."""

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from attngan.errors import InputError
from attngan.metrics.declaration import Measurement, TooFewImagesError, Value, metric


class GaussianStatistics(NamedTuple):
    """Mean and covariance (divided by n - 1) of features, in float64, and how many they are of."""

    mean: Float[Tensor, "features"]
    covariance: Float[Tensor, "features features"]
    images: int


class FIDInfinity(NamedTuple):
    """FID extrapolated to endlessly many images, and the standard error of the extrapolation."""

    value: float
    error: float


def gaussian_statistics(features: Float[Tensor, "images features"], chunk: int = 4096) -> GaussianStatistics:
    """Mean and covariance, in two passes (a one-pass sum of squares loses digits).

    Raises:
        InputError: Fewer than two images, or features that are not finite.
    """
    count = len(features)
    if count < 2:
        raise TooFewImagesError(f"a covariance needs at least two images, got {count}")
    if not torch.isfinite(features).all():
        raise InputError("features are not finite")
    parts = range(0, count, chunk)
    mean = torch.stack([features[i : i + chunk].double().sum(0) for i in parts]).sum(0) / count
    covariance = features.new_zeros(features.shape[1], features.shape[1], dtype=torch.float64)
    for i in parts:
        centred = features[i : i + chunk].double() - mean
        covariance += centred.T @ centred
    return GaussianStatistics(mean, covariance / (count - 1), count)


def fid(a: GaussianStatistics, b: GaussianStatistics) -> float:
    """|mean_a - mean_b|^2 + trace(A + B - 2 (A B)^(1/2)).

    The trace of the root is the sum of the singular values of F^T G with A = F F^T and B = G G^T: exact for singular
    covariances (fewer images than features), where a matrix square root needs an epsilon on the diagonal.

    Raises:
        InputError: Features of different length.
    """
    if a.mean.shape != b.mean.shape:
        raise InputError(f"features of length {len(a.mean)} and of length {len(b.mean)} cannot be compared")
    return _fid(a, _root(a.covariance), b, _root(b.covariance))


def _fid(a: GaussianStatistics, a_root: Tensor, b: GaussianStatistics, b_root: Tensor) -> float:
    overlap = torch.linalg.svdvals(a_root.T @ b_root).sum()
    traces = a.covariance.trace() + b.covariance.trace()
    return float((a.mean - b.mean).square().sum() + traces - 2 * overlap)


def _root(covariance: Tensor) -> Tensor:
    """F with F F^T = covariance, only as many columns as it has rank."""
    values, vectors = torch.linalg.eigh(covariance)
    kept = values > values[-1].clamp_min(0) * len(values) * torch.finfo(torch.float64).eps
    root: Tensor = vectors[:, kept] * values[kept].sqrt()
    return root


def fid_infinity(
    features: Float[Tensor, "images features"], reference: GaussianStatistics, points: int = 10, seed: int = 0
) -> FIDInfinity:
    """FID is biased by about 1 / n: a line through FIDs of growing numbers of images, read off at 1 / n = 0.

    The bias of the reference's own number of images stays.

    Args:
        features: Features of the drawn images.
        reference: Features of the real images.
        points: Numbers of images between half and all of them, evenly spaced in 1 / n.
        seed: Decides which images each point takes.

    Raises:
        InputError: Fewer than 100 images.
    """
    count = len(features)
    if count < 100:
        raise TooFewImagesError(f"an extrapolation of FID needs at least 100 images, got {count}")
    inverse = np.linspace(1 / count, 2 / count, points)
    root = _root(reference.covariance)
    rng = np.random.default_rng(seed)
    values = []
    for share in inverse:
        rows = torch.from_numpy(rng.permutation(count)[: math.floor(1 / share + 0.5)])
        statistics = gaussian_statistics(features[rows])
        values.append(_fid(statistics, _root(statistics.covariance), reference, root))
    (slope, intercept), covariance = np.polyfit(inverse, values, 1, cov=True)
    del slope
    return FIDInfinity(float(intercept), float(np.sqrt(covariance[1, 1])))


@metric(
    "fid",
    label="FID",
    better="smaller",
    needs={"reference"},
    beside=("halves",),
    help="Fréchet Inception Distance to the real images",
)
def fid_score(features: Float[Tensor, "images features"], statistics: GaussianStatistics) -> float:
    """FID of images to the Gaussian of the real ones."""
    return fid(gaussian_statistics(features), statistics)


@metric(
    "fid_infinity",
    label="FID at infinity",
    better="smaller",
    needs={"reference"},
    implies=("fid",),
    help="FID extrapolated to endlessly many images",
)
def fid_infinity_score(
    features: Float[Tensor, "images features"], statistics: GaussianStatistics, seed: int
) -> Measurement:
    """FID without the bias of the number of drawn images."""
    limit = fid_infinity(features, statistics, seed=seed)
    over = "10 numbers of images (standard error)"
    return Measurement([Value("fid_infinity", limit.value, limit.error, over)])
