"""One way in a process of its own: it works a turn when it is asked to, and says how long that took."""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

#: Operators whose result's shape or value the host needs: on a GPU it waits for all that was asked before.
WAITING = {
    "_local_scalar_dense",
    "nonzero",
    "unique_dim",
    "unique_consecutive",
    "_unique2",
    "masked_select",
    "is_nonzero",
}
#: What the other side asks for: a turn's time, or a turn under the counter of operations, or under the profiler.
TIME, COUNT, PROFILE = "time", "count", "profile"


class OperatorCounter(TorchDispatchMode):
    """Counts what torch is asked to do: floating point operations by torch's formulas, and waits for the device.

    torch's own `FlopCounterMode` also asks which module each is of, by hooks that a gradient of gradients cannot have.
    """

    flops = operators = waits = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        formula = flop_registry.get(func._overloadpacket)
        if formula is None:
            with self:  # of what it is made of
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        out = func(*args, **kwargs)
        self.operators += 1
        self.waits += func._overloadpacket._qualified_op_name.removeprefix("aten::") in WAITING
        if formula is not None:
            self.flops += formula(*args, **kwargs, out_val=out)
        return out


class Turns:
    """The clock of a way. It calls `done` at the end of each turn, and goes on when it returns.

    Args:
        warm: Turns before the first one that is told of.
        device: Where the work is done.
    """

    def __init__(self, warm: int = 2, device: str = "cpu") -> None:
        self._answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)  # what a library prints is no answer
        self._warm, self._device = warm, device
        self._counter: OperatorCounter | None = None
        self._profiler: torch.profiler.profile | None = None
        self._told: dict[str, float] = {}
        self._start()

    def done(self, work: float = 1.0, told: dict[str, float] | None = None) -> None:
        """A turn ends; returns when the next one begins.

        Args:
            work: How much was done; times and counts are told of one unit.
            told: What else is to be told of the first turns.
        """
        if self._device == "cuda":
            torch.cuda.synchronize()
        seconds, cpu = time.perf_counter() - self._began, cpu_seconds() - self._cpu
        counted: dict[str, Any] = {}
        if self._profiler is not None:
            self._profiler.stop()
            counted["profile"] = {name: took / work for name, took in seconds_by_operator(self._profiler).items()}
            self._profiler = None
        if self._counter is not None:
            counted = {name: getattr(self._counter, name) / work for name in ("flops", "operators", "waits")}
            self._counter.__exit__(None, None, None)
            self._counter = None
        self._told |= told or {}
        self._warm -= 1
        if self._warm > 0:
            self._start()
            return
        answer = {"seconds": seconds / work, "cpu_seconds": cpu / work, "bytes": peak_bytes(), **counted, **self._told}
        self._told = {}
        self._answers.write(json.dumps(answer) + "\n")
        self._answers.flush()
        asked = sys.stdin.readline().strip()
        if not asked:  # nobody asks any more; a trainer in the middle of a run has nothing to tidy up
            os._exit(0)
        if asked == COUNT:
            self._counter = OperatorCounter()
            self._counter.__enter__()
        if asked == PROFILE:
            self._profiler = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU])
            self._profiler.start()
        self._start()

    def _start(self) -> None:
        self._began, self._cpu = time.perf_counter(), cpu_seconds()

    def repeat(self, work: Callable[[], Any], units: float = 1.0) -> None:
        """The same again and again.

        Args:
            work: A turn.
            units: How much that is.
        """
        while True:
            work()
            self.done(units)


def seconds_by_operator(profiler: torch.profiler.profile) -> dict[str, float]:
    """What each operator took without those that it called, by the clock of the thread that asked for it."""
    return {event.key: event.self_cpu_time_total / 1e6 for event in profiler.key_averages()}


def matrix_product(side: int, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Callable[[], Tensor]:
    """The machine's peak: 2 side^3 floating point operations."""
    a, b = torch.rand(2, side, side, device=device, dtype=dtype)
    out = torch.empty_like(a)
    return lambda: torch.mm(a, b, out=out)


def cpu_seconds() -> float:
    """Time on a core of this process and of those that it started, running or done."""
    total = 0.0
    for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        used = resource.getrusage(whose)
        total += used.ru_utime + used.ru_stime
    for child in _children():
        try:
            fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def _children() -> list[str]:
    listed = Path(f"/proc/self/task/{os.getpid()}/children")
    return listed.read_text().split() if listed.is_file() else []


def peak_bytes() -> int:
    """The most memory that this process had, or one that it started.

    By the system's count for the process alone: ``ru_maxrss`` begins with what the process had that started it.
    """
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return int(torch.cuda.max_memory_allocated())
    ended = 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    own = [_high_water(f"/proc/{process}/status") for process in ("self", *_children())]
    return max(ended, *own)


def _high_water(status: str) -> int:
    try:
        lines = Path(status).read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)
