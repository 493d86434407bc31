"""Ways take turns, each in a process of its own, so that another load on the machine meets all of them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.turns import COUNT, TIME

#: The matrix product whose speed is the machine's peak.
PEAK = "peak"
#: How often processes start anew where not all of them fit into memory at once.
BLOCKS = 3


@dataclass
class Measured:
    """What was measured of a way, turn by turn.

    Args:
        seconds: By the clock, of one unit of work.
        cpu_seconds: On all cores together.
        peak_seconds: What a floating point operation takes at the machine's peak, right after each turn.
        bytes: The most memory.
        flops: Floating point operations of one unit; None where nothing counts them.
        error: Why there is nothing.
    """

    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    peak_seconds: list[float] = field(default_factory=list)
    bytes: int = 0
    flops: float | None = None
    error: str = ""


class Failed(Exception):  # noqa: N818 - it is no fault of ours: a way could not be measured
    """A way's process ended; says why."""


class Worker:
    """A process that works a turn when asked.

    Args:
        script: The script that is run as a worker, with ``--worker`` and what it is to do.
        asked: What it is to do.
        folder: Where its inputs are.
        threads: Threads that it computes with.
        environment: Variables that it gets besides ours.
    """

    def __init__(
        self,
        script: Path,
        asked: Mapping[str, Any],
        folder: Path,
        threads: int,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        asked = {**asked, "folder": str(folder), "threads": threads}
        # the repository of the script itself, not one that is installed
        paths = [str(script.parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
        own = {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": os.pathsep.join(paths)}
        self._log = folder / "worker.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(script), "--worker", json.dumps(asked)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **own, **(environment or {})},
            )
        try:
            self.first = self._answer()
        except Failed:
            self.end()
            raise

    def ask(self, what: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(what + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it ended, and its log says why
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            said = self._log.read_text(errors="replace").strip().splitlines()
            raise Failed(f"it ended ({code}): {said[-1] if said else 'nothing said'}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def end(self) -> None:
        self._process.stdin.close()  # type: ignore[union-attr]
        self._process.wait()
        self._process.stdout.close()  # type: ignore[union-attr]


def measure(
    start: Callable[[str], Worker],
    ways: list[str],
    rounds: int,
    together: bool,
    count: bool,
    tell: Callable[[str], None],
) -> dict[str, Measured]:
    """Times ways by turns.

    Args:
        start: Starts a way's worker.
        ways: The ways.
        rounds: Turns of each.
        together: All processes live at once; else one after another, several times.
        count: Also counts floating point operations, and times the machine's peak after each turn.
        tell: Is told what goes on.
    """
    found = {way: Measured() for way in ways}
    with _ended(start(PEAK) if count else None) as peak:
        if together:
            with _all(start, found, tell) as workers:
                for number in range(rounds):
                    for way, worker in workers.items():
                        _turn(worker, peak, found[way])
                    tell(f"round {number + 1} of {rounds}")
                for way, worker in workers.items():
                    _finish(worker, found[way], count, tell)
            return found
        for block in range(BLOCKS):
            for way in ways:
                with _all(start, {way: found[way]}, tell) as workers:
                    for worker in workers.values():
                        for _ in range(-(-rounds // BLOCKS)):
                            _turn(worker, peak, found[way])
                        _finish(worker, found[way], count and block == 0, tell)
                tell(f"block {block + 1} of {BLOCKS}: {way}")
    return found


@contextmanager
def _ended(worker: Worker | None) -> Iterator[Worker | None]:
    try:
        yield worker
    finally:
        if worker is not None:
            worker.end()


@contextmanager
def _all(
    start: Callable[[str], Worker], found: dict[str, Measured], tell: Callable[[str], None]
) -> Iterator[dict[str, Worker]]:
    """The workers of the ways that start; each is warm before the next one begins."""
    workers: dict[str, Worker] = {}
    try:
        for way, measured in found.items():
            tell(f"{way} starts")
            try:
                workers[way] = start(way)
            except Failed as error:
                measured.error = str(error)
        yield workers
    finally:
        for worker in workers.values():
            worker.end()


def _turn(worker: Worker, peak: Worker | None, measured: Measured) -> None:
    if measured.error:
        return
    try:
        answer = worker.ask(TIME)
    except Failed as error:
        measured.error = str(error)
        return
    measured.seconds.append(answer["seconds"])
    measured.cpu_seconds.append(answer["cpu_seconds"])
    measured.bytes = max(measured.bytes, answer["bytes"])
    if peak is not None:
        measured.peak_seconds.append(peak.ask(TIME)["seconds"])


def _finish(worker: Worker, measured: Measured, count: bool, tell: Callable[[str], None]) -> None:
    """Counts operations; where that fails, the times stand without them."""
    if count and not measured.error:
        try:
            measured.flops = worker.ask(COUNT)["flops"]
        except Failed as error:
            tell(f"operations not counted: {error}")
