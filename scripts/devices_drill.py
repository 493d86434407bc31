"""Kills and stops one process of several, or all, goes on with as many or others, and compares with an undisturbed run.

The processes are real ones, under torchrun. Networks and data are those of `fault_drill.py`, of a few channels and
birds; the run of two processes that nobody disturbed is the measure: what goes on with two must equal it bit by bit,
what goes on with one or four to rounding.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from fault_drill import write_recipes

from attngan.toy_birds.dataset import draw_toy_birds

#: Relative to the largest weight of a tensor: sums in another order, over all steps of the run.
ROUNDING = 1e-3
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
PATIENCE = 900.0


@dataclass(frozen=True)
class Blow:
    """What is done to a run of two processes, and how it goes on."""

    number: signal.Signals
    to: str
    goes_on: int
    restarts: int = 0


BLOWS = (
    Blow(signal.SIGKILL, "rank 1", 2),
    Blow(signal.SIGKILL, "all", 2),
    Blow(signal.SIGKILL, "rank 0", 2, restarts=1),
    Blow(signal.SIGTERM, "rank 1", 1),
    Blow(signal.SIGTERM, "torchrun", 2),
    Blow(signal.SIGINT, "rank 0", 4),
    Blow(signal.SIGINT, "all", 2),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="*", default=["pretrain", "attngan"])
    parser.add_argument("--work", type=Path, help="folder to work in, which stays; else a temporary one")
    given = parser.parse_args()
    work = (given.work or Path(tempfile.mkdtemp(prefix="attngan-drill-", dir=Path.cwd()))).resolve()
    try:
        lost = [told for name in given.recipes for told in drill(name, work)]
    finally:
        if given.work is None:
            shutil.rmtree(work, ignore_errors=True)
    print(f"\nlost: {'; '.join(lost) or 'nothing'}")
    return 1 if lost else 0


def drill(name: str, work: Path) -> list[str]:
    """All blows to one recipe; tells what did not come out as it should."""
    material = work / "material"
    if not (material / "birds").is_dir():
        draw_toy_birds(material / "birds", train_classes=6, test_classes=3, images_per_class=6, size=24, progress=False)
        torch.manual_seed(0)
        from attngan.extractors.classifier import ImageClassifier
        from attngan.networks.image_trunks import ConvTrunk

        ImageClassifier(ConvTrunk(16, 2), ("a", "b"), "tiny").save(material / "classifier.safetensors")
        write_recipes(material)
    undisturbed(work, "pretrain")  # the others' DAMSM
    measure, begin = undisturbed(work, name), beginning(work, name)
    print("| recipe | signal | to | ended after (s) | goes on with | that took (s) | largest difference |", flush=True)
    lost = []
    for blow in BLOWS:
        run = work / name / f"{blow.number.name}-{blow.to.replace(' ', '')}-{blow.goes_on}"
        if run.is_dir():
            continue
        ended, took = struck(begin, run, blow)
        far = difference(run, measure)
        print(
            f"| {name} | {blow.number.name} | {blow.to} | {ended} | "
            f"{'torchrun --max-restarts' if blow.restarts else blow.goes_on} | {took:.0f} | {far:.1e} |",
            flush=True,
        )
        if far > (0.0 if blow.goes_on == 2 else ROUNDING):
            lost.append(f"{name} {blow}: {far:.1e}")
    return lost


def beginning(work: Path, name: str) -> list[str]:
    """The command line of a recipe, but for the folder of the run."""
    return ["pretrain" if name == "pretrain" else "train", "--config", str(work / "material" / f"{name}.yaml")]


def undisturbed(work: Path, name: str) -> Path:
    """A recipe's run of two processes that nobody disturbs; where an earlier drill in this folder made it, that one."""
    run = work / "material" / "pretrain" if name == "pretrain" else work / name / "undisturbed"
    if not run.is_dir():
        seconds = finish(Run([*beginning(work, name), "--run_dir", str(run)], run, 2))
        print(f"{name}, two processes, undisturbed: {seconds:.0f} s", flush=True)
    return run


# --- a run in several processes ---------------------------------------------------------------------------------------


class Run:
    """A command under torchrun, from now on."""

    def __init__(self, arguments: Sequence[str], folder: Path, count: int, restarts: int = 0) -> None:
        self.folder, self.log = folder, folder.with_name(f"{folder.name}.log")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(count)]
        command = [*torchrun, "--max-restarts", str(restarts), "-m", "attngan", *arguments]
        self.began = time.monotonic()
        with self.log.open("a") as log:
            self.launcher = subprocess.Popen(command, env=ENVIRONMENT, stdout=log, stderr=log)

    def processes(self) -> dict[int, int]:
        """Number of each rank's process."""
        found = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError, StopIteration, ValueError):
                if int(stat.read_text().rpartition(")")[2].split()[1]) == self.launcher.pid:
                    words = (stat.parent / "environ").read_bytes().split(b"\0")
                    found[int(next(word for word in words if word.startswith(b"RANK="))[5:])] = int(stat.parent.name)
        return found

    def wait(self) -> float:
        """Seconds until it ended."""
        self.launcher.wait(PATIENCE)
        return time.monotonic() - self.began


def finish(run: Run) -> float:
    """Seconds until it ended as it should."""
    seconds = run.wait()
    if run.launcher.returncode:
        raise SystemExit(f"it does not run undisturbed, see {run.log}:\n{run.log.read_text()[-2000:]}")
    return seconds


def struck(begin: list[str], folder: Path, blow: Blow) -> tuple[str, float]:
    """Begins a run, strikes after its third checkpoint, and goes on with it; how long both took."""
    run = Run([*begin, "--run_dir", str(folder)], folder, 2, blow.restarts)
    last = folder / "checkpoints" / "last.ckpt"
    written = 0.0
    for _ in range(3):
        written = wait_until(
            lambda since=written: last.is_file() and last.stat().st_mtime > since and last.stat().st_mtime
        )
    ranks = run.processes()
    meant = {"all": [*ranks.values()], "torchrun": [run.launcher.pid]}
    struck_at = time.monotonic()
    for process in meant.get(blow.to) or [ranks[int(blow.to[-1])]]:
        with suppress(ProcessLookupError):
            os.kill(process, blow.number)
    run.wait()
    ended = time.monotonic() - struck_at
    if blow.restarts:
        return "-", ended
    count = blow.goes_on
    exact = ["--model.accumulate", "1"] if count < 2 else []
    return f"{ended:.1f}", finish(Run([begin[0], "--resume", str(folder), *exact], folder, count))


def wait_until(what: Callable[[], float]) -> float:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        with suppress(FileNotFoundError):
            if found := what():
                return found
        time.sleep(0.02)
    raise SystemExit("nothing was written")


def difference(run: Path, other: Path) -> float:
    """The largest difference of a weight, relative to the largest of its tensor; infinite where steps are missing."""
    one, two = (torch.load(path / "checkpoints" / "last.ckpt", weights_only=True) for path in (run, other))
    if one["attngan"]["steps"] != two["attngan"]["steps"]:
        return float("inf")
    far = [
        float((value.double() - two["state_dict"][name].double()).abs().max() / two["state_dict"][name].abs().max())
        for name, value in one["state_dict"].items()
        if value.numel() and two["state_dict"][name].abs().max() > 0
    ]
    return max(far)


if __name__ == "__main__":
    raise SystemExit(main())
