"""Kills attngan's commands at random moments, goes on with each, and compares with runs that nobody disturbed.

Every command runs in a process of its own, forked from this one, which has imported everything: what is killed is the
work, not the start of Python. A chain of kills ends with a run to the end, whose files are compared: all weights,
optimisers and random numbers of all checkpoints, pictures, caches and scores.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml

from attngan.cli import main as attngan
from attngan.commands import evaluate, prepare, train  # noqa: F401 - imported before the forks
from attngan.extractors.classifier import ImageClassifier
from attngan.integrity import DamagedFileError, check_whole
from attngan.networks.image_trunks import ConvTrunk
from attngan.toy_birds.dataset import draw_toy_birds

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
#: Seconds that a process may take to end after it was asked to: a batch takes a small part of one here.
PROMPT = 15.0
FINISH = 600.0
EMBED = 16


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="how many; dealt to the commands in turn")
    parser.add_argument("--seed", type=int, default=0, help="of moments and signals")
    parser.add_argument("--only", nargs="*", help="some of the commands: " + ", ".join(job.name for job in JOBS))
    parser.add_argument("--work", type=Path, help="folder to work in, which stays; by default a temporary one")
    given = parser.parse_args()
    work = given.work or Path(tempfile.mkdtemp(prefix="attngan-drill-", dir=Path.cwd()))
    try:
        return Drill(work.resolve(), random.Random(given.seed), given.only).run(given.kills)
    finally:
        if given.work is None:
            shutil.rmtree(work, ignore_errors=True)


# --- the commands -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """A command: what starts it in a folder, what goes on with it, and what it leaves there."""

    name: str
    start: Callable[[Path, Path], list[str]]
    outcome: Callable[[Path], dict[str, str]]
    is_run: bool = True

    def arguments(self, folder: Path, material: Path) -> list[str]:
        """To start, or to go on with what is there."""
        if self.is_run and any((folder / "checkpoints").glob("*.ckpt")):
            return [self.start(folder, material)[0], "--resume", str(folder)]
        return self.start(folder, material)


def recipe(name: str) -> Callable[[Path, Path], list[str]]:
    command = "pretrain" if name == "pretrain" else "train"
    return lambda folder, material: [
        command, "--config", str(material / f"{name}.yaml"), "--run_dir", str(folder),
    ]  # fmt: skip


def prepares(folder: Path, material: Path) -> list[str]:
    arguments = ["--image_size", "64", "--processes", "2", "--cache_dir", str(folder / "cache"), "--out", str(folder)]
    return ["prepare", str(material / "many_birds"), *arguments]


def evaluates(folder: Path, material: Path) -> list[str]:
    checkpoint, birds = material / "attngan" / "checkpoints" / "last.ckpt", material / "birds"
    arguments = ["--data", str(birds), "--metrics", "is", "fid", "r_precision", "--count", "600", "--write_images"]
    arguments += ["--extractor", str(material / "classifier.safetensors"), "--progress", "false", "--device", "cpu"]
    return ["evaluate", "--checkpoint", str(checkpoint), *arguments, "--out", str(folder), "--batch_size", "8"]


def of_run(folder: Path) -> dict[str, str]:
    """A digest of each file that a run must leave; of checkpoints that of their values."""
    found = {f"checkpoints/{path.name}": of_checkpoint(path) for path in (folder / "checkpoints").glob("*.ckpt")}
    for pattern in ("pictures/*", "quick/*"):
        found |= {str(path.relative_to(folder)): digest(path.read_bytes()) for path in folder.glob(pattern)}
    return found


def of_checkpoint(path: Path) -> str:
    check_whole(path)
    contents = torch.load(path, weights_only=True)
    kept = {name: contents[name] for name in ("epoch", "global_step", "state_dict", "optimizer_states", "attngan")}
    kept |= {"rates": contents["lr_schedulers"], "random": contents["callbacks"]["RandomState"]}
    return digest(repr(plain(kept)).encode())


def plain(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return digest(value.contiguous().view(-1).view(torch.uint8).numpy().tobytes()), tuple(value.shape)
    if isinstance(value, dict):
        return [(name, plain(own)) for name, own in value.items()]
    return [plain(own) for own in value] if isinstance(value, list | tuple) else value


def of_cache(folder: Path) -> dict[str, str]:
    found = {
        path.name: digest(path.read_bytes()) for path in (folder / "cache").glob("*.cache*") if path.suffix != ".lock"
    }
    report = json.loads((folder / "prepare_report.json").read_text())
    return found | {"report": digest(json.dumps([report["ok"], report["splits"], report["vocabulary"]]).encode())}


def of_scores(folder: Path) -> dict[str, str]:
    scores = json.loads((folder / "scores.json").read_text())["scores"]
    return {"scores": json.dumps(scores)} | {path.name: digest(path.read_bytes()) for path in folder.rglob("*.png")}


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


JOBS = (
    Job("pretrain", recipe("pretrain"), of_run),
    Job("attngan", recipe("attngan"), of_run),
    Job("dfgan", recipe("dfgan"), of_run),
    Job("stackgan++", recipe("stackgan++"), of_run),
    Job("prepare", prepares, of_cache, is_run=False),
    Job("evaluate", evaluates, of_scores, is_run=False),
)


def write_recipes(material: Path) -> None:
    """Networks of a few channels, a checkpoint at every step, validation, scores and pictures all along."""
    common = {"logger": "none", "last": {"every_minutes": 0}, "trainer": {"max_epochs": 4, "accelerator": "cpu"}}
    data = {"root": str(material / "birds"), "image_size": 16, "batch_size": 8, "workers": 0}
    trunk = {
        "class_path": "attngan.networks.image_trunks.ConvTrunk",
        "init_args": {"input_size": 16, "width": 2},
    }
    by_epochs = {
        "checkpoints": {"every_epochs": 1, "keep": 2},
        "pictures": {"every_steps": 5, "count": 2, "samples": 2},
    }
    drawn = {"width": 2, "noise_dim": 4, "condition_dim": 4, "residual_blocks": 1, "base_size": 8}
    damsm = str(material / "pretrain" / "checkpoints" / "last.ckpt")
    networks, pyramid = "attngan.networks", "attngan.networks.discriminators.DiscriminatorPyramid"

    def two(generator: dict[str, Any], discriminators: dict[str, Any], **model: Any) -> dict[str, Any]:
        return {"model": {"generator": generator, "discriminators": discriminators, **model}}

    recipes = {
        "pretrain": common
        | {
            "data": data | {"stages": 1},
            "model": {"image_trunk": trunk, "embed_dim": EMBED, "word_dim": 8, "image_dropout": 0.2},
            "checkpoints": {"best_by": "validation/r1"},
        },
        "attngan": common
        | by_epochs
        | two(
            {
                "class_path": f"{networks}.multistage.AttnGANGenerator",
                "init_args": drawn | {"stages": 2, "embed_dim": EMBED},
            },
            {"class_path": pyramid, "init_args": {"resolutions": [8, 16], "width": 2, "embed_dim": EMBED}},
            damsm=damsm,
        )
        | {"data": data | {"stages": 2, "workers": 1}}
        | {
            "quick": {
                "every_epochs": 1,
                "extractor": str(material / "classifier.safetensors"),
                "count": 24,
                "batch_size": 8,
            }
        },
        "dfgan": common
        | by_epochs
        | two(
            {
                "class_path": f"{networks}.dfgan.DFGANGenerator",
                "init_args": {"image_size": 16, "width": 4, "embed_dim": EMBED, "noise_dim": 4},
            },
            {
                "class_path": f"{networks}.dfgan.DFGANDiscriminator",
                "init_args": {"resolution": 16, "width": 4, "embed_dim": EMBED},
            },
            damsm=damsm,
            adversarial="hinge",
            matching=0.0,
            gradient_penalty=2.0,
        )
        | {"data": data | {"stages": 1}},
        "stackgan++": common
        | by_epochs
        | two(
            {
                "class_path": f"{networks}.multistage.StackGANPlusPlusGenerator",
                "init_args": {**drawn, "stages": 2, "embed_dim": None},
            },
            {"class_path": pyramid, "init_args": {"resolutions": [8, 16], "width": 2, "embed_dim": None}},
            adversarial="bce sum",
            matching=0.0,
            color_consistency=50.0,
        )
        | {"data": data | {"stages": 2, "captions_per_image": 0}, "budget": {"images": 150}},
    }
    del recipes["stackgan++"]["model"]["generator"]["init_args"]["condition_dim"]
    for name, content in recipes.items():
        (material / f"{name}.yaml").write_text(yaml.safe_dump(content))


# --- a process --------------------------------------------------------------------------------------------------------


@dataclass
class Child:
    """A command that runs in a fork of this process; all that it prints goes to a file."""

    pid: int
    log: Path
    code: int | None = None

    @classmethod
    def started(cls, arguments: list[str], log: Path) -> "Child":
        sys.stdout.flush()
        if pid := os.fork():
            with suppress(OSError):
                os.setpgid(pid, pid)
            return cls(pid, log)
        try:
            os.setpgid(0, 0)
            signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
            opened = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.dup2(opened, 1)
            os.dup2(opened, 2)
            os.write(1, f"\n$ attngan {' '.join(arguments)}\n".encode())
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", 1)
            code: Any = attngan(arguments)
        except SystemExit as ended:
            code = ended.code
        except BaseException:
            traceback.print_exc()
            code = 99
        finally:
            with suppress(BaseException):
                sys.stdout.flush()
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)

    def wait(self, seconds: float) -> bool:
        """Whether it has ended within so many seconds."""
        until = time.monotonic() + seconds
        while self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > until:
                return False
            else:
                time.sleep(0.005)
        return True

    def end(self) -> None:
        with suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)
        self.wait(PROMPT)

    def left_behind(self) -> list[int]:
        """Processes that it started and that are still there after a few seconds."""
        for _ in range(30):
            left = [pid for pid in processes_of_group(self.pid) if pid != self.pid]
            if not left:
                return []
            time.sleep(0.1)
        return left

    def said(self) -> str:
        text = self.log.read_text(errors="replace") if self.log.is_file() else ""
        return text.rpartition("\n$ attngan")[2]


def processes_of_group(group: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[2]) == group and fields[0] != "Z":
                found.append(int(stat.parent.name))
    return found


# --- the drill --------------------------------------------------------------------------------------------------------


@dataclass
class Row:
    """What became of one command and one signal."""

    kills: int = 0
    in_a_write: int = 0
    slowest: float = 0.0


@dataclass
class Drill:
    """Everything that is tried, and what was lost."""

    work: Path
    dice: random.Random
    only: list[str] | None = None
    rows: dict[tuple[str, str], Row] = field(default_factory=lambda: defaultdict(Row))
    compared: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    lost: list[str] = field(default_factory=list)
    trials: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    expected: dict[str, dict[str, str]] = field(default_factory=dict)

    def run(self, kills: int) -> int:
        began = time.monotonic()
        self.material = self.work / "material"
        self.prepare()
        jobs = [job for job in JOBS if not self.only or job.name in self.only]
        done, number = 0, 0
        try:
            while done < kills:
                done += self.chain(jobs[number % len(jobs)], number, min(kills - done, self.dice.randint(1, 4)))
                number += 1
            for job in jobs:
                self.full_disk(job)
                self.two_writers(job)
                self.flipped_bit(job)
        finally:
            self.report(time.monotonic() - began)
        return 1 if self.lost else 0

    def prepare(self) -> None:
        """Birds, and every command undisturbed."""
        self.material.mkdir(parents=True, exist_ok=True)
        draw_toy_birds(
            self.material / "birds", train_classes=6, test_classes=3, images_per_class=6, size=24, progress=False
        )
        draw_toy_birds(self.material / "many_birds", 20, 4, 24, size=80, progress=False)
        torch.manual_seed(0)
        ImageClassifier(ConvTrunk(16, 2), ("a", "b", "c", "d"), "tiny").save(self.material / "classifier.safetensors")
        write_recipes(self.material)
        for job in JOBS:
            folder = self.material / job.name
            began = time.monotonic()
            child = Child.started(job.start(folder, self.material), self.work / "undisturbed.log")
            if not child.wait(FINISH) or child.code:
                raise SystemExit(f"{job.name} does not even run undisturbed:\n{child.said()}")
            self.seconds[job.name], self.expected[job.name] = time.monotonic() - began, job.outcome(folder)
            print(
                f"undisturbed: {job.name}, {self.seconds[job.name]:.1f} s, {len(self.expected[job.name])} files",
                flush=True,
            )

    def chain(self, job: Job, number: int, kills: int) -> int:
        """Kills one process after the other of the same folder, then lets one come to its end; how many were killed."""
        folder, log = self.work / f"{job.name}-{number}", self.work / f"{job.name}-{number}.log"
        for kept in (self.material / "birds").glob(".attngan_cache/scored-*"):
            shutil.rmtree(kept)  # what evaluations keep of the real images: it is computed anew in each chain
        done = 0
        for _ in range(kills):
            child = Child.started(job.arguments(folder, self.material), log)
            if child.wait(self.dice.uniform(0.02, 1.0) * self.seconds[job.name]):
                break  # it was faster
            self.kill(job, child, folder)
            done += 1
        self.finish(job, folder, log, f"{job.name}, chain {number} of {done} kills")
        print(f"{job.name}: {done} kills; lost so far: {len(self.lost)}", flush=True)
        return done

    def kill(self, job: Job, child: Child, folder: Path) -> None:
        number = self.dice.choice(SIGNALS)
        twice = number is not signal.SIGKILL and self.dice.random() < 0.25
        row = self.rows[job.name, number.name]
        began = time.monotonic()
        os.kill(child.pid, number)
        if twice:
            time.sleep(self.dice.uniform(0, 0.05))
            with suppress(OSError):
                os.kill(child.pid, number)
        if not child.wait(PROMPT):
            self.lost.append(f"{job.name}: {number.name} had not ended it after {PROMPT:g} s")
            child.end()
        row.kills += 1
        row.slowest = max(row.slowest, time.monotonic() - began)
        row.in_a_write += any(folder.rglob("*.part"))
        asked = (-number, 128 + number) if number is not signal.SIGKILL else (-number,)
        if child.code not in (*asked, 0):
            self.lost.append(f"{job.name}: {number.name} ended it with {child.code}:\n{child.said()[-1500:]}")
        if left := child.left_behind():
            self.lost.append(f"{job.name}: {number.name} left processes {left}")
            child.end()
        self.check_files(job, folder, number.name)

    def check_files(self, job: Job, folder: Path, after: str) -> None:
        """What bears its final name is whole."""
        for path in [*folder.rglob("*.ckpt"), *folder.rglob("*.safetensors")]:
            try:
                check_whole(path)
            except DamagedFileError as error:
                self.lost.append(f"{job.name}: after {after}: {error}")

    def finish(self, job: Job, folder: Path, log: Path, told: str) -> None:
        """To the end, and everything as if nothing had happened."""
        child = Child.started(job.arguments(folder, self.material), log)
        if not child.wait(FINISH) or child.code:
            child.end()
            self.lost.append(f"{told}: it did not come to its end ({child.code}):\n{child.said()[-2000:]}")
            return
        try:
            found, expected = job.outcome(folder), self.expected[job.name]
        except Exception as error:
            self.lost.append(f"{told}: {error!r}")
            return
        differ = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
        self.compared[job.name] += 1
        if differ:
            self.lost.append(f"{told}: not as undisturbed: {', '.join(differ)} (kept in {folder})")
        else:
            shutil.rmtree(folder, ignore_errors=True)
        if parts := [str(path) for path in folder.rglob("*.part")]:
            self.lost.append(f"{told}: left {', '.join(parts)}")

    # --- full disk, two writers, a torn file ------------------------------------------------------------------

    def full_disk(self, job: Job) -> None:
        """A file system that has no room at some point: one line says so, what is there is whole, and it goes on."""
        with small_disk(self.work / "disk") as disk:
            if disk is None:
                self.trials.append(f"full disk, {job.name}: not tried, no tmpfs can be mounted here")
                return
            folder, log = disk / job.name, self.work / f"full-{job.name}.log"
            size = sum(path.stat().st_size for path in (self.material / job.name).rglob("*") if path.is_file())
            filler, told, code = disk / "filler", "", 0
            for share in (0.5, 0.25, 0.1, 0.02):
                shutil.rmtree(folder, ignore_errors=True)
                room = int(size * share)
                free = shutil.disk_usage(disk).free
                with filler.open("wb") as file:
                    file.write(b"\1" * max(0, free - room))
                child = Child.started(job.arguments(folder, self.material), log)
                if not child.wait(FINISH):
                    child.end()
                code, told = child.code or 0, child.said()
                filler.unlink()
                if code:
                    break
            if code == 0:
                self.trials.append(f"full disk, {job.name}: it fitted all the same")
                return
            if "Traceback" in told or code < 0 or code == 99:
                self.lost.append(f"full disk, {job.name}: ended with {code}:\n{told[-2500:]}")
            self.check_files(job, folder, "a full disk")
            self.finish(job, folder, log, f"{job.name} after a full disk")
            self.trials.append(f"full disk, {job.name}: refused with {code}, {told.strip().splitlines()[-1][:150]}")

    def two_writers(self, job: Job) -> None:
        """The second one of a run is told which is the first; of what is only shared it waits, and says for whom."""
        folder, log = self.work / f"two-{job.name}", self.work / f"two-{job.name}.log"
        first = Child.started(job.arguments(folder, self.material), log)
        until = time.monotonic() + FINISH
        ready = (
            (lambda: any((folder / "checkpoints").glob("*.ckpt")))
            if job.is_run
            else (lambda: any(folder.rglob("*lock")))
        )
        while not ready() and not first.wait(0.005) and time.monotonic() < until:
            pass
        os.kill(first.pid, signal.SIGSTOP)  # however fast it is
        second = Child.started(job.arguments(folder, self.material), self.work / f"second-{job.name}.log")
        if job.is_run:
            second.wait(60)
            told = second.said()
            if second.code in (0, None) or f"process {first.pid} on" not in told:
                self.lost.append(f"two writers, {job.name}: the second ended with {second.code}:\n{told[-1500:]}")
        else:
            deadline = time.monotonic() + 60
            while f"waiting for process {first.pid}" not in second.said() and time.monotonic() < deadline:
                time.sleep(0.1)
            told = second.said()
            if f"waiting for process {first.pid}" not in told and second.code is None:
                self.lost.append(
                    f"two writers, {job.name}: the second waits and does not say for whom:\n{told[-1500:]}"
                )
        os.kill(first.pid, signal.SIGCONT)
        if not first.wait(FINISH) or first.code or not second.wait(FINISH):
            self.lost.append(
                f"two writers, {job.name}: ended with {first.code} and {second.code}:\n{first.said()[-1500:]}"
            )
        line = next((own for own in told.splitlines() if str(first.pid) in own), "no word")
        self.trials.append(f"two writers, {job.name}: {line[:150]}")
        self.finish(job, folder, log, f"{job.name} after two writers")

    def flipped_bit(self, job: Job) -> None:
        """A bit of last.ckpt flips: the newest whole checkpoint is gone on with."""
        if not job.is_run:
            return
        folder = self.work / f"flipped-{job.name}"
        shutil.copytree(self.material / job.name, folder)
        last = folder / "checkpoints" / "last.ckpt"
        content = bytearray(last.read_bytes())
        content[self.dice.randrange(len(content))] ^= 1 << self.dice.randrange(8)
        last.write_bytes(content)
        log = self.work / f"flipped-{job.name}.log"
        self.finish(job, folder, log, f"{job.name} after a flipped bit")
        told = log.read_text()
        if "is damaged" not in told or "newest whole one" not in told:
            self.lost.append(f"flipped bit, {job.name}: nothing was said:\n{told[-1500:]}")
        self.trials.append(f"flipped bit, {job.name}: going on with the newest whole one")

    def report(self, seconds: float) -> None:
        print(f"\n{'command':<12} {'signal':<8} {'kills':>5} {'in a write':>10} {'slowest end':>12}")
        for (name, number), row in sorted(self.rows.items()):
            print(f"{name:<12} {number:<8} {row.kills:>5} {row.in_a_write:>10} {row.slowest:>10.2f} s")
        total = sum(row.kills for row in self.rows.values())
        compared = sum(self.compared.values())
        print(f"{total} kills; {compared} times gone on to the end and compared; {seconds / 60:.1f} minutes")
        print("\n".join(self.trials))
        for loss in self.lost:
            print(f"LOST: {loss}")
        print(f"lost: {len(self.lost)}")


@contextmanager
def small_disk(place: Path, size: str = "24m") -> Iterator[Path | None]:
    """A file system of its own; None where none can be mounted."""
    place.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], capture_output=True)
    try:
        yield place if mounted.returncode == 0 else None
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", "-l", str(place)], check=False)


if __name__ == "__main__":
    sys.exit(main())
