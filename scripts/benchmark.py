#!/usr/bin/env python
"""How fast attngan is beside the published way of doing the same, on this machine and in one run.

    python scripts/benchmark.py                          every row at the published sizes: about an hour on 2 cores
    python scripts/benchmark.py words48 generator        some rows
    python scripts/benchmark.py --json figures.json      keeps the figures; called again, it goes on where it was
    python scripts/benchmark.py --json figures.json --again attngan      measures a row anew
    python scripts/benchmark.py --json figures.json --show               the table alone
    python scripts/benchmark.py --growth growth.png      how time and memory grow with each size, as a picture
    python scripts/benchmark.py --profile attngan        where a step's time goes, operator by operator
    python scripts/benchmark.py --tiny                   shows in a minute or two that it runs

The published form is plain eager float32 PyTorch under the system's own allocator (scripts/benchmarks/published_*.py;
tests/scripts holds it against numbers of the authors' code). Ours is what the command line runs with its recipes: data,
step and log under the tuned allocator. Each way has a process of its own, and they take turns. Of each stand the median
by the clock, what that is on all cores together, the most memory, and which share of the machine's peak its arithmetic
reaches: the speed of a float32 matrix product of 2048 x 2048, measured right after each turn.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import torch
from benchmarks import growth, profiles
from benchmarks.inputs import Inputs
from benchmarks.measuring import PEAK, Worker, measure
from benchmarks.report import markdown, table
from benchmarks.rows import ROWS
from benchmarks.sizes import Sizes
from benchmarks.turns import Turns, matrix_product
from benchmarks.ways import OURS, PUBLISHED


def main(arguments: list[str] | None = None) -> None:
    """Reads the command line and runs what it asks for."""
    given = _parser().parse_args(arguments)
    if given.worker:
        work(json.loads(given.worker))
        return
    if unknown := set(given.rows) - set(ROWS):
        raise SystemExit(f"no row {', '.join(sorted(unknown))}: there are {', '.join(ROWS)}")
    report = _kept(given.json)
    if given.show:
        print(markdown(report) if given.markdown else table(report))
        return
    with ExitStack() as stack:
        folder = given.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        bench = Bench(folder / ("tiny" if given.tiny else "whole"), given.threads, given.rounds, given.tiny)
        if given.growth:
            report["growth"] = growth.measure(bench.ours, given.rounds, tell, given.tiny)
            growth.draw(report["growth"], given.growth)
            print(growth.told(report["growth"]))
            _keep(report, given.json)
            return
        if given.profile:
            for row in given.rows or ("attngan", "dfgan", "damsm"):
                print(f"\n{row}: {ROWS[row].title}", flush=True)
                report["machine"] = machine(given.threads)
                report.setdefault("profiles", {})[row] = bench.profile(row)
                print(profiles.markdown(report["profiles"][row]), flush=True)
                _keep(report, given.json)
            return
        for row in given.rows or ROWS:
            if row in report["rows"] and not given.again:
                continue
            print(f"\n{row}: {ROWS[row].title}{' (tiny)' if given.tiny else ''}", flush=True)
            report["machine"] = machine(given.threads)
            report["rows"][row] = bench.measure(row)
            print(table({"rows": {row: report["rows"][row]}}), flush=True)
            _keep(report, given.json)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    titles = "; ".join(f"{name}: {row.title}" for name, row in ROWS.items())
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"which rows, all by default. {titles}")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each way; the median counts")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="threads that each way computes with")
    parser.add_argument("--json", type=Path, help="file of figures: rows in it are kept, new ones are added")
    parser.add_argument("--again", action="store_true", help="measure rows that the file has already")
    parser.add_argument("--show", action="store_true", help="measure nothing, show the file's figures")
    parser.add_argument("--markdown", action="store_true", help="with --show: as docs/performance.md has them")
    parser.add_argument("--growth", type=Path, metavar="PICTURE", help="measure growth instead of rows, and draw it")
    parser.add_argument("--profile", action="store_true", help="profile a turn of each way instead of timing many")
    parser.add_argument("--work", type=Path, help="folder where inputs are kept for the next time")
    parser.add_argument("--tiny", action="store_true", help="batches of 2 and small networks: shows that it runs")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser


def _kept(path: Path | None) -> dict[str, Any]:
    if path is not None and path.is_file():
        kept: dict[str, Any] = json.loads(path.read_text())
        return kept
    return {"rows": {}}


def _keep(report: dict[str, Any], path: Path | None) -> None:
    if path is not None:
        path.write_text(json.dumps(report, indent=1))


def tell(what: str) -> None:
    """Says what goes on."""
    print(f"  {time.strftime('%H:%M:%S')} {what}", flush=True)


def machine(threads: int) -> dict[str, Any]:
    """What the figures depend on."""
    names = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return {
        "processor": (names or [platform.processor() or platform.machine()])[0],
        "cores": os.cpu_count(),
        "threads": threads,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).is_file() else []


def available_gigabytes() -> float:
    """Memory that processes could take."""
    found = [line.split()[1] for line in _lines("/proc/meminfo") if line.startswith("MemAvailable:")]
    return int(found[0]) / 2**20 if found else float("inf")


@dataclass(frozen=True)
class Bench:
    """Measures rows.

    Args:
        folder: For inputs.
        threads: Threads of each way.
        rounds: Turns of each way.
        tiny: At tiny sizes.
    """

    folder: Path
    threads: int
    rounds: int
    tiny: bool

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    def worker(self, row: str, way: str, sizes: Sizes) -> Worker:
        """A way in a process of its own."""
        asked = {"row": row, "way": way, "sizes": asdict(sizes)}
        return Worker(Path(__file__).resolve(), asked, self.folder, self.threads)

    def ours(self, row: str, sizes: Sizes) -> Worker:
        """Our way of a row, at other sizes."""
        return self.worker(row, OURS, sizes)

    def sizes(self, name: str) -> Sizes:
        """Of a row."""
        return ROWS[name].sizes.tiny() if self.tiny else ROWS[name].sizes

    def profile(self, name: str) -> dict[str, Any]:
        """Where the time of a row's ways goes."""
        return profiles.measure(partial(self.worker, name, sizes=self.sizes(name)), ROWS[name].ways, tell)

    def measure(self, name: str) -> dict[str, Any]:
        """The figures of a row, for the report."""
        row = ROWS[name]
        sizes = self.sizes(name)
        together = self.tiny or available_gigabytes() > row.gigabytes
        start = partial(self.worker, name, sizes=sizes)
        found = measure(start, list(row.ways), self.rounds, together, row.computes, tell)
        return {
            "title": row.title,
            "unit": row.unit,
            "sizes": asdict(sizes),
            "load": os.getloadavg()[0],
            "measured": time.strftime("%Y-%m-%d %H:%M"),
            "ways": {way: asdict(measured) for way, measured in found.items()},
        }


def work(asked: dict[str, Any]) -> None:
    """As a worker: one way, turn after turn, until nobody asks any more."""
    turns = Turns()
    torch.manual_seed(0)
    torch.set_num_threads(asked["threads"])
    if asked["way"] == PEAK:
        turns.repeat(matrix_product(2048), units=2.0 * 2048**3)
    if not asked["way"].startswith(PUBLISHED):
        from attngan.allocator import tune_allocator

        tune_allocator()
        torch.set_float32_matmul_precision("high")
    sizes = Sizes(**asked["sizes"])
    ROWS[asked["row"]].ways[asked["way"]](Inputs(Path(asked["folder"]), sizes), turns)


if __name__ == "__main__":
    main()
