"""How far drawn images lie among real ones and cover them: balls around images, up to their k-th nearest neighbour.

Improved precision and recall (Kynkaanniemi et al. 2019, k = 3); density and coverage (Naeem et al. 2020, k = 5), which
one outlier cannot spoil.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attngan.metrics.declaration import Measurement, ScoreKind, TooFewImagesError, Value, metric

_CHUNK = 1024  # rows of a matrix of distances held at once


class ManifoldScores(NamedTuple):
    """Shares between 0 and 1 (density may exceed 1), and what the report shows of single images.

    ``precise``: drawn images within a ball of a real one. ``recalled``: real images within a ball of a drawn one.
    ``nearest``: each drawn image's nearest real images, nearest first, and ``distances`` to them.
    """

    precision: float
    recall: float
    density: float
    coverage: float
    precise: Bool[Tensor, "images"]
    recalled: Bool[Tensor, "real"]
    nearest: Int[Tensor, "images neighbours"]
    distances: Float[Tensor, "images neighbours"]


def manifold_scores(
    features: Float[Tensor, "images features"],
    reference: Float[Tensor, "real features"],
    k: int = 3,
    k_density: int = 5,
    neighbours: int = 5,
    chunk: int = _CHUNK,
) -> ManifoldScores:
    """All four scores, and nearest neighbours, from one pass over the distances; never all distances in memory.

    Args:
        features: Features of the drawn images.
        reference: Features of the real images.
        k: Neighbour that decides the radius for precision and recall.
        k_density: Neighbour that decides the radius for density and coverage.
        neighbours: How many nearest real images of each drawn one are returned.
        chunk: Rows of the distance matrix held at once.

    Raises:
        ValueError: Too few images for their neighbours.
    """
    fewest = min(len(features), len(reference))
    if fewest <= max(k, k_density):
        raise TooFewImagesError(f"balls up to neighbour {max(k, k_density)} need more images than that, got {fewest}")
    x, y = features.double(), reference.double()
    centre = y.mean(0)  # distances of centred features lose fewer digits
    x, y = x - centre, y - centre
    real_radii = _radii(y, (k, k_density), chunk)
    drawn_radius = _radii(x, (k,), chunk)[0]
    recalled = torch.zeros(len(y), dtype=torch.bool)
    covered = torch.zeros(len(y), dtype=torch.bool)
    precise, balls, nearest, distances = [], 0, [], []
    for start in range(0, len(x), chunk):
        between = _distances(x[start : start + chunk], y)
        precise.append((between <= real_radii[0]).any(1))
        recalled |= (between <= drawn_radius[start : start + chunk, None]).any(0)
        within = between < real_radii[1]
        balls += int(within.sum())
        covered |= within.any(0)
        closest = between.topk(min(neighbours, len(y)), largest=False)
        nearest.append(closest.indices)
        distances.append(closest.values)
    is_precise = torch.cat(precise)
    return ManifoldScores(
        is_precise.double().mean().item(),
        recalled.double().mean().item(),
        balls / (k_density * len(x)),
        covered.double().mean().item(),
        is_precise,
        recalled,
        torch.cat(nearest),
        torch.cat(distances),
    )


def _radii(points: Tensor, ks: tuple[int, ...], chunk: int) -> list[Tensor]:
    """Distance of each point to its k-th neighbour, itself not counted."""
    found = []
    for start in range(0, len(points), chunk):
        rows = points[start : start + chunk]
        own = _distances(rows, points)
        own[torch.arange(len(rows)), torch.arange(start, start + len(rows))] = 0.0
        smallest = own.topk(max(ks) + 1, largest=False).values
        found.append(smallest[:, list(ks)])
    return list(torch.cat(found).unbind(1))


def _distances(a: Tensor, b: Tensor) -> Tensor:
    squares = a.square().sum(1, keepdim=True) + b.square().sum(1) - 2 * a @ b.T
    # what is left of equal points after cancellation is no distance
    noise = 1e-12 * (a.square().sum(1, keepdim=True) + b.square().sum(1))
    return torch.where(squares <= noise, 0.0, squares).sqrt()


@metric(
    "precision_recall",
    kinds={
        "precision": ScoreKind("Precision", "larger"),
        "recall": ScoreKind("Recall", "larger"),
        "density": ScoreKind("Density", "larger"),
        "coverage": ScoreKind("Coverage", "larger"),
    },
    needs={"reference"},
    beside=("halves",),
    help="how far the images lie among the real ones and cover them, with density and coverage",
)
def precision_recall(
    features: Float[Tensor, "images features"], reference: Float[Tensor, "real features"]
) -> Measurement:
    """All four, and for the report which images lie among the real ones and which of those are nearest."""
    found = manifold_scores(features, reference)
    kinds = ("precision", "recall", "density", "coverage")
    return Measurement([Value(kind, getattr(found, kind)) for kind in kinds], found)


@metric(
    "authenticity",
    label="Authenticity",
    better="larger",
    unit="%",
    needs={"reference"},
    beside=("halves",),
    help="share of images that copy no real one; with --split train, and beside that of the real halves",
)
def authenticity(features: Float[Tensor, "images features"], reference: Float[Tensor, "real features"]) -> float:
    """Percent of images that are farther from the real image nearest to them than that one is from all other real ones.

    AuthPct (Alaa et al. 2022; compared with other copy checks by Stein et al. 2023). Of new images of the same
    distribution half and somewhat more (the halves of the real images tell), of copies 0 %. A generator whose images
    are far from all real ones has 100 %: it says that nothing was copied, not that anything is good. The images that
    the generator was trained on must be the reference.

    Args:
        features: Features of the drawn images.
        reference: Features of the real images.

    Raises:
        TooFewImagesError: Fewer than two real images.
    """
    if len(reference) < 2:
        raise TooFewImagesError(f"authenticity needs two real images and more, got {len(reference)}")
    x, y = features.double(), reference.double()
    x, y = x - y.mean(0), y - y.mean(0)
    own = _radii(y, (1,), _CHUNK)[0]
    nearest = [_distances(rows, y).min(1) for rows in x.split(_CHUNK)]
    authentic = torch.cat([found.values > own[found.indices] for found in nearest])
    return 100 * authentic.double().mean().item()
