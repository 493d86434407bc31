"""The generator's moving average: it draws the pictures and the scores; training goes on with the live one."""

import copy
from typing import Literal

import torch
from torch import Tensor, nn


class GeneratorEMA(nn.Module):
    """A copy of a generator whose weights follow it as an exponential moving average.

    Args:
        generator: The live generator.
        decay: Share of the average that is kept at each update.
        warmup: Start with a small decay, ``min(decay, (1 + n) / (10 + n))`` after n updates, so that the average is
            not held back by the untrained generator (with a constant 0.999 pictures stay grey for 1,600 steps).
        buffers: "averaged": the batch norm's running mean and variance are averaged like the weights, so they fit them.
            "published": the live generator's are taken, as the published code's did in effect.
    """

    updates: Tensor

    def __init__(
        self,
        generator: nn.Module,
        decay: float = 0.999,
        warmup: bool = False,
        buffers: Literal["averaged", "published"] = "averaged",
    ) -> None:
        super().__init__()
        self.decay, self.warmup, self.average_buffers = decay, warmup, buffers == "averaged"
        self.generator = copy.deepcopy(generator).eval().requires_grad_(False)
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self._count = 0

    def train(self, mode: bool = True) -> "GeneratorEMA":
        return super().train(False)  # it draws, it never learns: batch norm uses the averaged statistics

    @torch.no_grad()
    def update(self, live: nn.Module) -> None:
        """One step of the average towards ``live``."""
        count = self._count = self._count or int(self.updates)
        decay = min(self.decay, (1 + count) / (10 + count)) if self.warmup else self.decay
        torch._foreach_lerp_(list(self.generator.parameters()), list(live.parameters()), 1 - decay)
        for average, buffer in zip(self.generator.buffers(), live.buffers(), strict=True):
            if buffer.is_floating_point() and self.average_buffers:
                average.lerp_(buffer, 1 - decay)
            else:
                average.copy_(buffer)
        self._count += 1
        self.updates.fill_(self._count)
