"""Float32 or bfloat16, whichever computes a step's kind of work sooner on this machine: measured, not looked up."""

import time
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch.nn import functional as F

#: Bfloat16 must be so many times as fast: a smaller gain is no more than other work on the machine makes of it.
WORTH_IT = 1.1


class MeasuredPrecision(NamedTuple):
    """What was measured, in milliseconds for the same work: in float32, and under bfloat16 autocast."""

    float32_ms: float
    bf16_ms: float

    @property
    def bf16(self) -> bool:
        """Whether bfloat16 is worth it."""
        return self.bf16_ms * WORTH_IT <= self.float32_ms

    @property
    def trainer(self) -> Literal["bf16-mixed", "32-true"]:
        """For ``trainer.precision``."""
        return "bf16-mixed" if self.bf16 else "32-true"

    def __str__(self) -> str:
        measured = {"float32": self.float32_ms, "bfloat16": self.bf16_ms}
        chosen = "bfloat16" if self.bf16 else "float32"
        (other,) = set(measured) - {chosen}
        return f"{chosen} ({measured[chosen]:.1f} ms for a trial of its work, {other} {measured[other]:.1f} ms)"


class TrialStep:
    """A convolution and a matrix product, forward and backward: a little of what a training's step does.

    Args:
        device: Where it is computed.
        clock: What tells the time, in seconds.
    """

    def __init__(self, device: str | torch.device = "cpu", clock: Callable[[], float] = time.perf_counter) -> None:
        self.device, self.clock = torch.device(device), clock
        # the numbers do not matter, and the global random stream is not to be drawn from
        self.images = torch.full((16, 32, 32, 32), 0.1, device=device, requires_grad=True)
        self.filters = torch.full((32, 32, 3, 3), 0.1, device=device, requires_grad=True)
        self.weights = torch.full((32 * 16, 256), 0.1, device=device, requires_grad=True)

    def __call__(self, bf16: bool = False) -> float:
        """Seconds that it takes.

        Args:
            bf16: Whether to compute under bfloat16 autocast.
        """
        begun = self.clock()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            hidden = F.conv2d(self.images, self.filters, padding=1).relu()
            loss = (F.avg_pool2d(hidden, 8).flatten(1) @ self.weights).square().mean()
        torch.autograd.grad(loss, (self.images, self.filters, self.weights))
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return self.clock() - begun


def fastest_precision(device: str | torch.device = "cpu", seconds: float = 0.25) -> MeasuredPrecision:
    """Times a convolution and a matrix product, forward and backward, in either precision by turns.

    Which is faster is not known from the processor's name: where it has no instructions for bfloat16, the precision is
    imitated and slower. Of each the shortest time counts; on a CPU the time that one thread computed, without what it
    waited for other work.

    Args:
        device: Where the training will run.
        seconds: How long to go on measuring; each precision gets two turns at least, after one that does not count.
    """
    on_cpu, threads = torch.device(device).type == "cpu", torch.get_num_threads()
    trial = TrialStep(device, time.process_time if on_cpu else time.perf_counter)
    if on_cpu:
        torch.set_num_threads(1)
    best: dict[bool, float] = {}
    begun = time.perf_counter()
    for number in range(1_000):
        for bf16 in (False, True):
            took = trial(bf16)
            if number:  # the first turn compiles, and asks for memory
                best[bf16] = min(took, best.get(bf16, took))
        if number >= 2 and time.perf_counter() - begun > seconds:
            break
    torch.set_num_threads(threads)
    return MeasuredPrecision(1000 * best[False], 1000 * best[True])
