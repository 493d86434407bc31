"""R-precision: is an image nearer to its own caption than to 99 captions of other images? (Xu et al. 2018, section 4).

The published code counts ties and NaN as hits and lets captions of the same text or class be distractors; here a tie is
a miss, a NaN is an error, and distractors come from another class where there are classes, otherwise from another
image, and never say the same as the true caption.
"""

import itertools
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attngan.errors import InputError
from attngan.metrics.declaration import Measurement, ScoreKind, TooFewImagesError, Value, metric
from attngan.metrics.unit_vectors import TIE, unit_vectors


class CaptionPool(NamedTuple):
    """All captions that may be the true one or a distractor.

    ``owners`` tells which image a caption describes, ``classes`` its class (None for data without classes), ``texts``
    is equal for captions that say the same (see ``text_ids``).
    """

    embeddings: Float[Tensor, "captions embed"]
    owners: Int[Tensor, "captions"]
    texts: Int[Tensor, "captions"]
    classes: Int[Tensor, "captions"] | None = None


class RPrecision(NamedTuple):
    """Percent of draws whose true caption is nearest, its population standard deviation over folds, each draw's hit."""

    mean: float
    std: float
    hits: Bool[Tensor, "draws"]


def text_ids(captions: list[str]) -> Int[Tensor, "captions"]:
    """One number a distinct text; letter case and spacing do not make a text another one."""
    numbers: dict[str, int] = {}
    return torch.tensor([numbers.setdefault(" ".join(text.lower().split()), len(numbers)) for text in captions])


def r_precision(
    images: Float[Tensor, "draws embed"],
    captions: Int[Tensor, "draws"],
    pool: CaptionPool,
    candidates: int = 100,
    folds: int = 10,
    seed: int = 0,
) -> RPrecision:
    """Percent of draws in which the true caption is strictly the nearest (by cosine) of ``candidates`` captions.

    A draw's distractors depend on (seed, number of the draw) alone, not on how many others there are.

    Args:
        images: One image embedding a draw.
        captions: Position in ``pool`` of each draw's true caption.
        pool: True captions and distractors.
        candidates: The true caption and ``candidates - 1`` distractors.
        folds: Consecutive parts of nearly equal size whose scores give the standard deviation.
        seed: Decides the distractors.

    Raises:
        InputError: An embedding that is not finite or is 0, fewer draws than folds, or too few possible distractors.
    """
    draws = len(images)
    if not 1 <= folds <= draws:
        raise TooFewImagesError(f"R-precision over {folds} folds needs at least that many draws, got {draws}")
    if len(captions) != draws:
        raise InputError(f"{draws} images but {len(captions)} true captions")
    image_units, caption_units = unit_vectors(images.cpu(), "image"), unit_vectors(pool.embeddings.cpu(), "caption")
    rivals = _Rivals(pool)
    hits = torch.empty(draws, dtype=torch.bool)
    for draw, true in enumerate(captions.tolist()):
        others = rivals.draw(true, candidates - 1, np.random.default_rng((seed, draw)))
        scores = caption_units[others] @ image_units[draw]
        hits[draw] = (caption_units[true] @ image_units[draw] > scores + TIE).all()
    bounds = [i * draws // folds for i in range(folds + 1)]
    shares = [hits[a:b].double().mean().item() for a, b in itertools.pairwise(bounds)]
    return RPrecision(100 * hits.double().mean().item(), 100 * float(np.std(shares)), hits)


class _Rivals:
    """Draws the captions that may stand against a true one."""

    def __init__(self, pool: CaptionPool) -> None:
        self.groups = (pool.owners if pool.classes is None else pool.classes).cpu().numpy()
        self.group_name = "image" if pool.classes is None else "class"
        self.texts = pool.texts.cpu().numpy()

    def draw(self, true: int, count: int, rng: np.random.Generator) -> Tensor:
        # The first distinct allowed ones of a uniform sequence are a uniform choice without replacement; this is far
        # cheaper than listing everything that is allowed for each of 30,000 draws.
        sequence = rng.integers(len(self.groups), size=2 * count + 16)
        allowed = (self.groups[sequence] != self.groups[true]) & (self.texts[sequence] != self.texts[true])
        sequence = sequence[allowed]
        _, first = np.unique(sequence, return_index=True)
        chosen = sequence[np.sort(first)][:count]
        if len(chosen) < count:
            everything = np.flatnonzero((self.groups != self.groups[true]) & (self.texts != self.texts[true]))
            if len(everything) < count:
                raise InputError(
                    f"R-precision needs {count} captions of another {self.group_name} and another text beside caption "
                    f"{true}, and the split has {len(everything)}: score a larger split (--split train), or leave "
                    "r_precision out of --metrics"
                )
            chosen = rng.choice(everything, count, replace=False)
        return torch.from_numpy(chosen)


class CaptionDraws(NamedTuple):
    """For the report: whether each draw's own caption was nearest, and the cosine of image and caption."""

    hits: Bool[Tensor, "draws"]
    cosines: Float[Tensor, "draws"]


@metric(
    "r_precision",
    label="R-precision",
    better="larger",
    unit="%",
    through="damsm",
    needs={"captions"},
    beside=("captioned", "shuffled"),
    help="is an image nearer to its caption than to 99 others, as a DAMSM sees it?",
)
def r_precision_of_damsm(
    embeddings: Float[Tensor, "draws embed"], captions: Int[Tensor, "draws"], pool: CaptionPool, seed: int
) -> Measurement:
    """R-precision in the joint embedding of a DAMSM, over ten folds."""
    value, draws = _in_folds("r_precision", embeddings, captions, pool, seed)
    return Measurement([value], draws)


@metric(
    "clip",
    kinds={
        "clip_r_precision": ScoreKind("CLIP R-precision", "larger", "%"),
        "clip_score": ScoreKind("CLIPScore", "larger"),
    },
    through="clip",
    needs={"captions"},
    beside=("captioned", "shuffled"),
    help="CLIPScore and CLIP R-precision",
)
def clip_scores(
    embeddings: Float[Tensor, "draws embed"], captions: Int[Tensor, "draws"], pool: CaptionPool, seed: int
) -> Measurement:
    """R-precision in CLIP's embedding, and 100 times the mean cosine (not below 0) of image and caption."""
    value, draws = _in_folds("clip_r_precision", embeddings, captions, pool, seed)
    clipped = 100 * draws.cosines.clamp_min(0)
    return Measurement([value, Value("clip_score", clipped.mean().item(), clipped.std().item(), "images")], draws)


def _in_folds(
    kind: str, embeddings: Tensor, captions: Tensor, pool: CaptionPool, seed: int
) -> tuple[Value, CaptionDraws]:
    folds = min(10, len(captions))
    found = r_precision(embeddings, captions, pool, folds=folds, seed=seed)
    own = unit_vectors(embeddings, "image") * unit_vectors(pool.embeddings[captions], "caption")
    return Value(kind, found.mean, found.std, f"{folds} folds"), CaptionDraws(found.hits, own.sum(1))
