"""Golden arrays as tensors, and what "equal" means for them."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from attngan.networks.attention import region_contexts, region_dots, region_weights


def tensors(arrays: Mapping[str, np.ndarray], prefix: str = "") -> dict[str, Tensor]:
    """The arrays whose names begin with ``prefix``, without it."""
    return {name.removeprefix(prefix): torch.as_tensor(a) for name, a in arrays.items() if name.startswith(prefix)}


def assert_close(
    actual: Tensor,
    expected: Tensor,
    relative: float = 1e-5,
    by_row: bool = False,
    in_float64: Tensor | None = None,
) -> None:
    """No element differs by more than ``relative`` times the largest magnitude; infinities stand at the same places.

    Args:
        actual: What we computed.
        expected: What is right.
        relative: The tolerance.
        by_row: Take the largest magnitude of each row (first axis) for itself.
        in_float64: ``actual`` computed in float64. Where some weights amplify rounding, this tells how much, and the
            expected values may be as far off again, some times over.
    """
    rounding = 0.0 if in_float64 is None else float((actual.detach() - in_float64.detach()).abs().max())
    actual, expected = actual.detach().double(), expected.double()
    assert actual.shape == expected.shape
    infinite = expected.isinf()
    assert torch.equal(actual[infinite], expected[infinite])
    actual, expected = actual.masked_fill(infinite, 0), expected.masked_fill(infinite, 0)
    magnitude = expected.abs()
    scale = magnitude.flatten(1).amax(1).view(-1, *[1] * (expected.ndim - 1)) if by_row else magnitude.max()
    difference = (actual - expected).abs()
    assert (difference <= relative * scale + 4 * rounding).all(), (
        f"differs by up to {difference.max():.3g} where magnitudes go up to {magnitude.max():.3g}"
    )


def region_attention(regions: Tensor, words: Tensor, padding: Tensor, gamma1: float = 4.0) -> tuple[Tensor, Tensor]:
    """Contexts (images, embed, captions, words) and weights (images, regions, captions, words), as published."""
    _, weights = region_weights(region_dots(regions, words), padding, gamma1)
    return region_contexts(regions, weights).permute(0, 3, 1, 2), weights.permute(0, 3, 1, 2)
