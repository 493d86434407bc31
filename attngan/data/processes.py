"""Work on many files in several processes: chunks go out, results come back as they are ready."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from attngan.errors import AttnganError

CHUNK = 32  # items a task

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
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context(method), initializer=_ignore_interrupts)

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


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C stops the main process, which then stops these
