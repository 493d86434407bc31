"""Work on many files in several processes: chunks go out, results come back as they are ready."""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType
from typing import Any

from attngan.errors import AttnganError

CHUNK = 32  # items a task
#: A worker that is told to end beside its parent has so long to give out what the parent's last step still needs.
GRACE_SECONDS = 30

Task = Callable[..., list[Any]]
Run = Callable[..., Iterator[Any]]


class ProcessKilledError(AttnganError, RuntimeError):
    """The system killed one of the processes, most often for its memory."""


@contextmanager
def worker_processes(processes: int | None, items: int) -> Iterator[Run]:
    """Yields ``run(task, items, *arguments)``: the results of ``task(chunk, *arguments)`` for all chunks, in any order.

    Args:
        processes: How many; None: one a core. With one, or few items, everything happens in this process.
        items: How many items there are to do.

    Raises:
        ProcessKilledError: When the system kills a process.
    """
    processes = min(processes or os.cpu_count() or 1, max(1, items // CHUNK))
    if processes == 1:
        yield lambda task, items, *arguments: (r for chunk in _chunks(items) for r in task(chunk, *arguments))
        return
    # fork where there is such a thing: the other ways start Python anew and import the user's script a second time
    method = "fork" if "fork" in multiprocessing.get_all_start_methods() else None
    begin = partial(begin_worker, os.getpid())
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context(method), initializer=begin)

    def run(task: Task, items: Sequence[Any], *arguments: Any) -> Iterator[Any]:
        try:
            for future in as_completed([pool.submit(task, chunk, *arguments) for chunk in _chunks(items)]):
                yield from future.result()
        except BrokenProcessPool as error:
            raise ProcessKilledError(
                "a process that read images was killed (out of memory?); run it again, it goes on where it was, "
                "perhaps with fewer processes"
            ) from error

    try:
        yield run
    finally:
        pool.shutdown(cancel_futures=True)


def _chunks(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (items[start : start + CHUNK] for start in range(0, len(items), CHUNK))


# --- what a worker is -------------------------------------------------------------------------------------------------


def begin_worker(parent: int, _number: int = 0) -> None:
    """The first thing that a worker process does: it ends with its parent, and leaves it to that one to stop in order.

    Ctrl-C reaches every process of a terminal, and a cluster's signals every process of a job: a worker that they ended
    would take the batch with it that its parent is waiting for.

    Args:
        parent: The process that started it.
        _number: Which of several loaders it is; they are all alike.
    """
    for name in ("SIGINT", "SIGUSR1"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    # not ignored: multiprocessing ends with it what does not end by itself
    signal.signal(signal.SIGTERM, _end_in_a_while)
    _end_with(parent)


def _end_in_a_while(number: int, frame: FrameType | None) -> None:
    if hasattr(signal, "alarm"):
        signal.alarm(GRACE_SECONDS)
    else:
        sys.exit(128 + number)


def _end_with(parent: int) -> None:
    """However the parent ends, this process does too: also where nobody could tell it (SIGKILL, out of memory)."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # the kernel kills it; works while it computes, too
            set_parent_death_signal = 1
            ctypes.CDLL(None, use_errno=True).prctl(set_parent_death_signal, signal.SIGKILL)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
