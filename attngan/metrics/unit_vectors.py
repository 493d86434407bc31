"""Unit vectors of the joint embedding, in float64, refused where a cosine would have no meaning."""

import torch
from jaxtyping import Float
from torch import Tensor

from attngan.errors import InputError

# Two cosines closer than this are a tie: encoders compute in float32, and captions that are the same to them (such as
# two that differ beyond the word limit) come out up to some 1e-7 apart where they were encoded in other batches.
TIE = 1e-6


def unit_vectors(vectors: Float[Tensor, "items embed"], what: str) -> Float[Tensor, "items embed"]:
    """Each row divided by its length, in float64.

    Args:
        vectors: One vector a row.
        what: What the rows are ("image", "caption"), for the message of the error.

    Raises:
        InputError: A row that holds NaN or infinity, or is 0: its cosine to anything would be NaN, and a NaN must not
            pass for a hit or a miss.
    """
    rows = vectors.detach().double()
    bad = ~torch.isfinite(rows).all(1)
    if bad.any():
        raise InputError(f"{int(bad.sum())} of {len(rows)} {what} embeddings are not finite (first: row {_first(bad)})")
    lengths = rows.norm(dim=1, keepdim=True)
    bad = lengths[:, 0] == 0
    if bad.any():
        raise InputError(f"{int(bad.sum())} of {len(rows)} {what} embeddings are 0 (first: row {_first(bad)})")
    units: Tensor = rows / lengths
    return units


def _first(bad: Tensor) -> int:
    return int(bad.nonzero()[0, 0])
