"""Losses are computed in float32 at least, whatever the precision of the networks; float64 stays float64."""

import functools

import torch
from torch import Tensor


def at_least_float32(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors in one floating-point type: the widest among them, but float32 at least."""
    wide = functools.reduce(torch.promote_types, (tensor.dtype for tensor in tensors), torch.float32)
    return tuple(tensor.to(wide) for tensor in tensors)
