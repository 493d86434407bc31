"""Random numbers of a training step: each sample's by (seed, step, position in the global batch), and by nothing else.

So they are the same however many processes or parts a batch is computed in, on a CPU and on a GPU, and after resuming,
without any state to keep. Counter-based, as jax's: each sample and draw has a SplitMix64 stream (Steele, Lea & Flood
2014) of its own, whose seed is a hash; integers, so bit for bit equal everywhere.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

_STEP = 0x9E3779B97F4A7C15
_FACTORS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_SHIFTS = (30, 27, 31)


def split_mix(state: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """SplitMix64's output for a state: 64 bits, read as a signed integer."""
    for shift, factor in zip(_SHIFTS, (*_FACTORS, None), strict=True):
        state = state ^ (state >> shift & (1 << 64 - shift) - 1)  # a logical shift
        if factor is not None:
            state = state * _signed(factor)
    return state


def _signed(bits: int) -> int:
    """64 bits as a signed integer: torch's arithmetic on those is that of unsigned ones."""
    bits &= (1 << 64) - 1
    return bits - (1 << 64) if bits >> 63 else bits


def _key(*numbers: int) -> int:
    """`split_mix` of one number after the other, in Python's integers: a tensor of one takes ten times as long."""
    key, bits = 0, (1 << 64) - 1
    for number in numbers:
        key = key + (number + 1) * _STEP & bits
        for shift, factor in zip(_SHIFTS, (*_FACTORS, 1), strict=True):
            key = (key ^ key >> shift) * factor & bits
    return _signed(key)


class Draws:
    """Draws for some samples of a step; each call gives new numbers, the same ones for the same order of calls.

    Args:
        seed: The run's.
        step: The step's number in the run.
        positions: The samples' positions in the global batch.
        device: Where the numbers are made.
    """

    def __init__(self, seed: int, step: int, positions: range, device: torch.device | str = "cpu") -> None:
        self._key, self._calls = _key(seed, step), 0
        self._positions = torch.arange(positions.start, positions.stop, positions.step, device=device)

    def bits(self, *shape: int) -> Int[Tensor, "samples *shape"]:
        """64 random bits each, as signed integers."""
        self._calls += 1
        of_samples = split_mix((self._positions + 1) * _signed(_STEP) + _key(self._key, self._calls))
        places = torch.arange(1, torch.Size(shape).numel() + 1, device=self._positions.device)
        numbers: Tensor = split_mix(of_samples[:, None] + places * _signed(_STEP))
        return numbers.unflatten(1, shape) if shape else numbers[:, 0]

    def uniform(self, *shape: int) -> Float[Tensor, "samples *shape"]:
        """In [0, 1), in steps of 2^-24."""
        return (self.bits(*shape) >> 40 & (1 << 24) - 1).to(torch.get_default_dtype()) * 2.0**-24

    def normal(self, *shape: int) -> Float[Tensor, "samples *shape"]:
        """Standard normal, by the inverse of the distribution function; no number is beyond 5.5."""
        centred = 2 * self.uniform(*shape) + (2.0**-24 - 1)  # in (-1, 1), never an end
        return centred.erfinv() * 2**0.5

    def integers(self, below: int, *shape: int) -> Int[Tensor, "samples *shape"]:
        """From 0 up to ``below``, which is far less than 2^24."""
        return (self.bits(*shape) >> 40 & (1 << 24) - 1) * below >> 24

    def dropout(self, values: Float[Tensor, "samples *shape"], rate: float) -> Float[Tensor, "samples *shape"]:
        """`torch.nn.functional.dropout`, with 16 bits a number: the rate is rounded to a multiple of 2^-16.

        What stands at a place does not depend on how many follow it, as padded words do.
        """
        if not rate or not values.numel():
            return values
        dropped = round(rate * 2**16)
        count = values[0].numel()
        bits = self.bits(-(-count // 4)).view(torch.int16)[:, :count].view_as(values)
        return values * (bits >= dropped - 2**15) * (2**16 / (2**16 - dropped) if dropped < 2**16 else 0.0)
