"""Rows of numbers about images to the scores of the table."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from attngan.evaluation.scored_images import Split, caption_order
from attngan.metrics.fid import GaussianStatistics, fid, fid_infinity, gaussian_statistics
from attngan.metrics.inception_score import inception_score
from attngan.metrics.kid import kid
from attngan.metrics.manifold import ManifoldScores, manifold_scores
from attngan.metrics.r_precision import CaptionPool, r_precision, text_ids
from attngan.metrics.unit_vectors import unit_vectors
from attngan.toy_birds.colour_truth import truth_of_colours

#: Put behind a score's name: what else was scored in the same way, to know what the score can say.
REAL, HALVES, SHUFFLED = "_of_real_images", "_of_real_halves", "_of_shuffled_captions"
DIFFERENT, UNTRAINED = "_of_different_captions", "_of_untrained_generator"
#: Whether a larger value is better, by the metric with which a score's name begins.
LARGER_IS_BETTER = {
    "is": True,
    "fid": False,
    "fid_infinity": False,
    "kid": False,
    "precision": True,
    "recall": True,
    "density": True,
    "coverage": True,
    "r_precision": True,
    "clip_score": True,
    "clip_r_precision": True,
    "colour_truth": True,
}


def larger_is_better(name: str) -> bool:
    """Of a score's name.

    Raises:
        ValueError: It begins with no metric that has a better and a worse.
    """
    metrics = [metric for metric in LARGER_IS_BETTER if name.startswith(f"{metric}_")]
    if not metrics:
        raise ValueError(f"{name} is not the name of a score of which a larger or a smaller value is better")
    return LARGER_IS_BETTER[max(metrics, key=len)]


class Score(NamedTuple):
    """One number of the table; ``error`` is a standard deviation (or error), ``over`` says of what."""

    name: str
    value: float
    error: float | None = None
    over: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {"value": self.value} | ({} if self.error is None else {"std": self.error, "std_over": self.over})


def inception_scores(
    name: str, logits: Float[Tensor, "images classes"], real: Float[Tensor, "real classes"] | None, splits: int
) -> list[Score]:
    """Inception Score of images in the order in which they were drawn, and of the real ones (in random order)."""
    score = inception_score(logits.double().softmax(1), splits)
    scores = [Score(name, score.mean, score.std, f"{splits} splits")]
    if real is not None and len(real) >= splits:
        order = torch.from_numpy(np.random.default_rng(0).permutation(len(real)))  # the split is sorted by class
        score = inception_score(real[order].double().softmax(1), splits)
        scores.append(Score(name + REAL, score.mean, score.std, f"{splits} splits of {len(real)} images"))
    return scores


def fid_scores(
    name: Callable[[str], str],
    features: Float[Tensor, "images features"],
    statistics: GaussianStatistics,
    real: Float[Tensor, "real features"] | None,
    infinity: bool,
    seed: int,
) -> list[Score]:
    """FID; beside it that of two halves of the real images, which is the bias of that number of images.

    Args:
        name: Metric to the score's name.
        features: Features of the drawn images.
        statistics: Statistics of the real images.
        real: Features of the real images, where they are at hand.
        infinity: Also extrapolate to endlessly many drawn images.
        seed: Decides halves and extrapolation.
    """
    scores = [Score(name("fid"), fid(gaussian_statistics(features), statistics))]
    if infinity:
        limit = fid_infinity(features, statistics, seed=seed)
        scores.append(Score(name("fid_infinity"), limit.value, limit.error, "10 numbers of images (standard error)"))
    if real is not None and len(real) >= 4:
        first, second = halves(real, seed)
        value = fid(gaussian_statistics(first), gaussian_statistics(second))
        scores.append(Score(name("fid") + HALVES, value, None, f"{len(first)} against {len(second)} real images"))
    return scores


def kid_scores(
    name: str, features: Float[Tensor, "images features"], real: Float[Tensor, "real features"], seed: int
) -> list[Score]:
    """KID, and that of two halves of the real images."""
    scores = []
    for suffix, (a, b) in (("", (features, real)), (HALVES, halves(real, seed))):
        score = kid(a, b, seed=seed)
        scores.append(Score(name + suffix, score.mean, score.std, f"100 subsets of {score.subset_size}"))
    return scores


def manifold_score_list(
    name: Callable[[str], str],
    features: Float[Tensor, "images features"],
    real: Float[Tensor, "real features"],
    seed: int,
) -> tuple[list[Score], ManifoldScores]:
    """Precision, recall, density and coverage, and those of two halves of the real images."""
    drawn = manifold_scores(features, real)
    of_halves = manifold_scores(*halves(real, seed))
    scores = []
    for metric in ("precision", "recall", "density", "coverage"):
        scores += [
            Score(name(metric), getattr(drawn, metric)),
            Score(name(metric) + HALVES, getattr(of_halves, metric)),
        ]
    return scores, drawn


def halves(rows: Float[Tensor, "real features"], seed: int) -> tuple[Tensor, Tensor]:
    """Two random halves of equal size."""
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(rows)))
    middle = len(rows) // 2
    return rows[order[:middle]], rows[order[middle : 2 * middle]]


class CaptionScores(NamedTuple):
    """Scores that need captions; per draw: row of the image, position of the caption, whether it won, its cosine."""

    scores: list[Score]
    images: Tensor
    captions: Tensor
    hits: Bool[Tensor, "draws"]
    cosines: Float[Tensor, "draws"]


def caption_scores(
    name: str,
    split: Split,
    known: Sequence[int],
    embeddings: Float[Tensor, "known embed"],
    drawn: Float[Tensor, "images embed"],
    captions: Sequence[int],
    real: Float[Tensor, "real embed"],
    seed: int = 0,
    cosine_name: str | None = None,
) -> CaptionScores:
    """R-precision of drawn images; beside it that of the real ones, and that of the drawn ones with shuffled captions.

    Args:
        name: Name of the score.
        split: Captions and classes.
        known: Positions of the captions that the scorer can read.
        embeddings: Their places in the joint embedding.
        drawn: Places of the drawn images.
        captions: Position of each drawn image's caption in the split.
        real: Places of the split's real images.
        seed: Decides the distractors.
        cosine_name: Also score 100 times the mean cosine (not below 0) of image and caption, under this name.
    """
    place = {caption: position for position, caption in enumerate(known)}
    owners = split.owners[list(known)]
    classes = None if split.classes is None else split.classes[owners]
    groups = owners if classes is None else classes
    pool = CaptionPool(embeddings, owners, text_ids(split.captions)[list(known)], classes)
    rows = [i for i, caption in enumerate(captions) if caption in place]
    if not rows:
        raise ValueError("the scorer's vocabulary knows no word of any caption that was drawn")
    true = torch.tensor([place[captions[i]] for i in rows])
    # as many draws of real images, each time with another of their captions
    own = torch.tensor(caption_order(range(len(known)), len(rows), seed))
    folds = min(10, len(rows))
    scores: list[Score] = []
    cases = (("", drawn[rows], true), (REAL, real[owners[own]], own), (SHUFFLED, drawn[rows], _others(true, groups)))
    hits, cosines = [], []
    for suffix, images, which in cases:
        result = r_precision(images, which, pool, folds=folds, seed=seed)
        scores.append(Score(name + suffix, result.mean, result.std, f"{folds} folds"))
        cosine = (unit_vectors(images, "image") * unit_vectors(embeddings[which], "caption")).sum(1)
        hits.append(result.hits)
        cosines.append(cosine)
    if cosine_name is not None:
        for (suffix, *_), cosine in zip(cases, cosines, strict=True):
            clipped = 100 * cosine.clamp_min(0)
            scores.append(Score(cosine_name + suffix, clipped.mean().item(), clipped.std().item(), "images"))
    return CaptionScores(scores, torch.tensor(rows), torch.tensor(captions)[rows], hits[0], cosines[0])


def colour_scores(
    name: str,
    split: Split,
    drawn: Float[Tensor, "images parts"],
    captions: Sequence[int],
    real: Float[Tensor, "real parts"],
    seed: int = 0,
) -> list[Score]:
    """Colour truth of drawn images; beside it that of the real ones, and that of the drawn ones with other captions.

    Args:
        name: Name of the score.
        split: Captions, owners and classes.
        drawn: Colours that the probe saw in the drawn images.
        captions: Position of each drawn image's caption in the split.
        real: Colours that it saw in the split's real images.
        seed: Decides which captions of the real images are asked about.

    Raises:
        ValueError: The captions name no colour of a part of a bird.
    """
    true = torch.tensor(captions)
    own = torch.tensor(caption_order(range(len(split.captions)), len(captions), seed))
    groups = split.owners if split.classes is None else split.classes[split.owners]
    scores = []
    for suffix, seen, which in (
        ("", drawn, true),
        (REAL, real[split.owners[own]], own),
        (SHUFFLED, drawn, _others(true, groups)),
    ):
        truth = truth_of_colours(seen.long(), [split.captions[i] for i in which.tolist()])
        named = sum(truth.named.values())
        if not named:
            raise ValueError("no caption names a colour of a bird's part: colour truth is for generated birds")
        share = truth.percent / 100
        error = 100 * (share * (1 - share) / named) ** 0.5
        scores.append(Score(name + suffix, truth.percent, error, f"{named} named colours (standard error)"))
    return scores


def _others(true: Tensor, groups: Tensor) -> Tensor:
    """Another draw's caption for each draw, of another class or image wherever the first tries find one."""
    shuffled = true.clone()
    wrong = torch.ones(len(true), dtype=torch.bool)
    for shift in range(1, min(len(true), 50)):
        rolled = true.roll(shift * max(1, len(true) // 50))
        better = wrong & (groups[rolled] != groups[true])
        shuffled[better] = rolled[better]
        wrong &= ~better
    return shuffled
