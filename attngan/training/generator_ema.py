"""The generator's moving average: it draws the pictures and the scores; training goes on with the live one."""

import copy
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import torch
from torch import Tensor, nn

from attngan.errors import InputError, require_at_least, tell_without_effect

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class EMA:
    """How the generator's moving average follows it.

    Args:
        decay: Share of the average that is kept at each update; 0: the average is the generator itself (StackGAN).
        warmup: Start with a smaller decay, ``min(decay, (1 + n) / (10 + n))`` after n updates, so that short runs are
            not held back by the untrained generator (with a constant 0.999 pictures stay grey for 1,600 steps).
        buffers: "averaged": the batch norm's running mean and variance are averaged like the weights, so they fit them.
            "published": the live generator's are taken, as the published code's did in effect.
    """

    decay: float = 0.999
    warmup: bool = False
    buffers: Literal["averaged", "published"] = "averaged"

    def __post_init__(self) -> None:
        require_at_least(0, 1, within="model.ema.", decay=self.decay)
        if not self.decay:
            own = {"warmup": (self.warmup, False), "buffers": (self.buffers, "averaged")}
            tell_without_effect("model.ema.decay is 0: the average is the generator", "model.ema.", **own)
        if self.decay == 1:
            raise InputError(
                "model.ema.decay is 1: the average would stay the untrained generator; use less, e.g. 0.999"
            )

    def decay_after(self, updates: int) -> float:
        """The decay of the next update."""
        return min(self.decay, (1 + updates) / (10 + updates)) if self.warmup else self.decay


class GeneratorEMA(nn.Module, Generic[Network]):
    """A copy of a generator whose weights follow it as an exponential moving average.

    Args:
        generator: The live generator.
        settings: How the copy follows it.
    """

    generator: Network
    updates: Tensor

    def __init__(self, generator: Network, settings: EMA = EMA()) -> None:
        super().__init__()
        self.settings = settings
        self.generator = copy.deepcopy(generator).eval().requires_grad_(False)
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self._count = 0

    def train(self, mode: bool = True) -> "GeneratorEMA[Network]":
        return super().train(False)  # it draws, it never learns: batch norm uses the averaged statistics

    @torch.no_grad()
    def update(self, live: Network) -> None:
        """One step of the average towards ``live``."""
        count = self._count = self._count or int(self.updates)
        decay = self.settings.decay_after(count)
        averaged: list[tuple[Tensor, Tensor]] = [*zip(self.generator.parameters(), live.parameters(), strict=True)]
        copied: list[tuple[Tensor, Tensor]] = []
        for pair in zip(self.generator.buffers(), live.buffers(), strict=True):
            (averaged if pair[0].is_floating_point() and self.settings.buffers == "averaged" else copied).append(pair)
        if averaged:
            own, followed = map(list, zip(*averaged, strict=True))
            torch._foreach_lerp_(own, followed, 1 - decay)
        if copied:
            own, followed = map(list, zip(*copied, strict=True))
            torch._foreach_copy_(own, followed)
        self._count += 1
        self.updates.fill_(self._count)  # a count of the CPU's, which no device is asked for
