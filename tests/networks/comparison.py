"""Golden arrays as tensors, and what "equal" means for them."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor


def tensors(arrays: Mapping[str, np.ndarray], prefix: str = "") -> dict[str, Tensor]:
    """The arrays whose names begin with ``prefix``, without it."""
    return {name.removeprefix(prefix): torch.as_tensor(a) for name, a in arrays.items() if name.startswith(prefix)}


def assert_close(actual: Tensor, expected: Tensor, relative: float = 1e-5, by_row: bool = False) -> None:
    """No element differs by more than ``relative`` times the largest magnitude; infinities stand at the same places.

    ``by_row`` takes the largest magnitude of each row (first axis) for itself.
    """
    actual, expected = actual.detach().double(), expected.double()
    assert actual.shape == expected.shape
    infinite = expected.isinf()
    assert torch.equal(actual[infinite], expected[infinite])
    actual, expected = actual.masked_fill(infinite, 0), expected.masked_fill(infinite, 0)
    magnitude = expected.abs()
    scale = magnitude.flatten(1).amax(1).view(-1, *[1] * (expected.ndim - 1)) if by_row else magnitude.max()
    difference = (actual - expected).abs()
    assert (difference <= relative * scale).all(), (
        f"differs by up to {difference.max():.3g} where magnitudes go up to {magnitude.max():.3g}"
    )
