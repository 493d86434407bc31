"""Rows of numbers about images to the scores of the table."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from attngan.evaluation.subjects import Split, caption_order
from attngan.metrics.inception_score import inception_score
from attngan.metrics.r_precision import CaptionPool, r_precision, text_ids


class Score(NamedTuple):
    """One number of the table; ``error`` is a standard deviation, ``over`` says of what."""

    name: str
    value: float
    error: float | None = None
    over: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {"value": self.value} | ({} if self.error is None else {"std": self.error, "std_over": self.over})


def inception_scores(name: str, logits: Float[Tensor, "images classes"], splits: int) -> list[Score]:
    """Inception Score of the images whose logits these are, in the order in which they were drawn."""
    score = inception_score(logits.double().softmax(1), splits)
    return [Score(name, score.mean, score.std, f"{splits} splits")]


def r_precision_scores(
    name: str,
    split: Split,
    known: Sequence[int],
    embeddings: Float[Tensor, "known embed"],
    drawn: Float[Tensor, "images embed"],
    captions: Sequence[int],
    real: Float[Tensor, "real embed"],
    seed: int = 0,
) -> list[Score]:
    """R-precision of drawn images; beside it that of the real ones, and that of the drawn ones with shuffled captions.

    Args:
        name: Of the score.
        split: Captions and classes.
        known: Positions of the captions that the scorer can read.
        embeddings: Their places in the joint embedding.
        drawn: Places of the drawn images.
        captions: Position of each drawn image's caption in the split.
        real: Places of the split's real images.
        seed: Decides the distractors.
    """
    place = {caption: position for position, caption in enumerate(known)}
    owners = split.owners[list(known)]
    classes = None if split.classes is None else split.classes[owners]
    pool = CaptionPool(embeddings, owners, text_ids(split.captions)[list(known)], classes)
    rows = [i for i, caption in enumerate(captions) if caption in place]
    true = torch.tensor([place[captions[i]] for i in rows])
    folds = min(10, len(rows))
    score = r_precision(drawn[rows], true, pool, folds=folds, seed=seed)
    # as many draws of real images, each time with another of their captions
    own = torch.tensor(caption_order(range(len(known)), len(rows), seed))
    ceiling = r_precision(real[owners[own]], own, pool, folds=folds, seed=seed)
    shuffled = r_precision(drawn[rows], true.roll(max(1, len(rows) // 2)), pool, folds=folds, seed=seed)
    over = f"{folds} folds"
    return [
        Score(name, score.mean, score.std, over),
        Score(f"{name}_of_real_images", ceiling.mean, ceiling.std, over),
        Score(f"{name}_of_shuffled_captions", shuffled.mean, shuffled.std, over),
    ]
