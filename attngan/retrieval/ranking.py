"""The nearest of many vectors to each of many others, a block at a time."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int

from attngan.metrics.unit_vectors import unit_vectors


class Nearest(NamedTuple):
    """For each query the rows of the gallery that are nearest, nearest first, and their cosines."""

    rows: Int[np.ndarray, "queries k"]
    cosines: Float[np.ndarray, "queries k"]


def nearest(
    queries: Float[np.ndarray, "queries embed"],
    gallery: Float[np.ndarray, "gallery embed"],
    k: int,
    block: tuple[int, int] = (512, 16384),
) -> Nearest:
    """The ``k`` nearest of the gallery to each query, by cosine; equal ones in the order of the gallery.

    Args:
        queries: One vector a row; may be mapped from a file.
        gallery: One vector a row, of what is searched; may be mapped from a file.
        k: How many, at most all there are.
        block: Queries and rows of the gallery of which the cosines are held at once.

    Raises:
        InputError: A vector that is not finite or is 0.
    """
    k = min(k, len(gallery))
    found_rows = np.empty((len(queries), k), np.int64)
    found_cosines = np.empty((len(queries), k), np.float32)
    for start in range(0, len(queries), block[0]):
        own = unit_vectors(torch.tensor(queries[start : start + block[0]]), "query")
        rows = torch.empty(len(own), 0, dtype=torch.int64)
        cosines = torch.empty(len(own), 0, dtype=own.dtype)
        for first in range(0, len(gallery), block[1]):
            part = own @ unit_vectors(torch.tensor(gallery[first : first + block[1]]), "gallery").T
            cosines = torch.cat([cosines, part], 1)
            rows = torch.cat([rows, torch.arange(first, first + part.shape[1]).expand(len(own), -1)], 1)
            cosines, places = cosines.topk(min(k, cosines.shape[1]), 1)
            rows = rows.gather(1, places)
        by_row = rows.argsort(1)  # so that a stable sort by the cosines leaves equal ones in the gallery's order
        cosines, order = cosines.gather(1, by_row).sort(dim=1, descending=True, stable=True)
        rows = rows.gather(1, by_row).gather(1, order)
        found_rows[start : start + len(own)] = rows.numpy()
        found_cosines[start : start + len(own)] = cosines.numpy()
    return Nearest(found_rows, found_cosines)
