"""How many threads to compute with: as many as are fastest on this machine while its other work goes on.

Threads wait for each other at the end of every operator. Where other work holds one of two cores, two threads were 10
to 40 times slower than one; where nothing does, one leaves half of the machine unused. Only a measurement tells which.
"""

import statistics
import time
from collections.abc import Sequence

import torch

from attngan.training.precision import WORTH_IT, TrialStep


def thread_counts(most: int) -> list[int]:
    """What there is to choose from: one thread, half of them, all of them; ascending."""
    return sorted({1, max(1, most // 2), max(1, most)})


def fastest_count(seconds: dict[int, float], current: int) -> int:
    """The number of threads to go on with: another one than now only where it is clearly faster.

    Args:
        seconds: What the same work took with each number of threads.
        current: The number of threads now.
    """
    best = min(seconds, key=lambda count: seconds[count])
    return best if seconds[best] * WORTH_IT <= seconds[current] else current


def use_fastest_threads(most: int, bf16: bool = False, seconds: float = 0.5) -> int:
    """Measures a trial of a training's work with each number of threads, by turns, and sets the fastest for CPU work.

    Args:
        most: Threads that may be used.
        bf16: Whether the work is done in bfloat16.
        seconds: How long to go on measuring; each number gets three turns at least, after one that does not count.

    Returns:
        The number of threads, which is set.
    """
    counts = thread_counts(most)
    if len(counts) > 1:
        taken = _times(counts, bf16, seconds)
        # the median: what other work does to the waiting threads must count
        torch.set_num_threads(fastest_count({n: statistics.median(taken[n]) for n in counts}, counts[-1]))
    else:
        torch.set_num_threads(counts[0])
    return torch.get_num_threads()


def _times(counts: Sequence[int], bf16: bool, seconds: float) -> dict[int, list[float]]:
    trial, taken = TrialStep(), {count: list[float]() for count in counts}
    begun = time.perf_counter()
    while len(taken[counts[-1]]) < 3 or time.perf_counter() - begun < seconds:
        for count in counts:
            torch.set_num_threads(count)
            trial(bf16)  # the first one after a change prepares
            taken[count].append(trial(bf16))
    return taken
