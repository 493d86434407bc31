#!/usr/bin/env python
"""How fast AttnGAN trains on this machine's GPU at the sizes of CUB, in under five minutes.

    python scripts/benchmark_gpu.py --json gpu.json         on a machine with attngan and a card
    scripts/gpu_run.sh benchmark --bundle gpu_bundle        on a bare one, with the wheels of `gpu_run.sh pack`
    python scripts/benchmark_gpu.py --tiny --device cpu     shows without a card that it runs

First one step in float32 is compared with the CPU's from the same weights, batch and noise. Then whole steps, as
`attngan train` runs them with configs/attngan_cub.yaml (data, discriminators, generator, DAMSM, average, log), at some
batch sizes and precisions, compiled and not, each in a process of its own. Told of each: images a second, hours for 600
epochs of CUB, the most memory, the share of the card's peak (a matrix product in the same precision), operators and
waits for the card a step. What there is no time for is left out and named.
"""

import argparse
import json
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import torch
from benchmarks.inputs import Inputs
from benchmarks.measuring import PEAK, Failed, Worker
from benchmarks.sizes import Sizes
from benchmarks.turns import COUNT, TIME, Turns, matrix_product
from benchmarks.ways import staged_options, trained

CUB_IMAGES, EPOCHS = 8855, 600
#: Turns by the clock, and turns that are counted: a step that logs is among ten.
ROUNDS, COUNTED = 20, 10
#: How far the losses of a step on a card may be from the CPU's.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Setting:
    """How a training is run.

    Args:
        batch: Images a step.
        precision: What the trainer computes in.
        compile: Whether the networks are compiled.
    """

    batch: int
    precision: str
    compile: bool = False

    @property
    def name(self) -> str:
        """As the table has it."""
        return f"{self.precision}, batch {self.batch}{', compiled' if self.compile else ''}"

    @property
    def dtype(self) -> str:
        """Of the matrix product that it is measured by."""
        return "bfloat16" if self.precision.startswith("bf16") else "float32"


#: In the order of what one wants to know first. float32 is with TF32 where the card has it, as in training.
SETTINGS = (
    Setting(20, "bf16-mixed"),
    Setting(20, "32-true"),
    Setting(64, "bf16-mixed"),
    Setting(20, "bf16-mixed", compile=True),
    Setting(64, "bf16-mixed", compile=True),
    Setting(64, "32-true"),
    Setting(128, "bf16-mixed"),
)


def main(arguments: list[str] | None = None) -> None:
    """Reads the command line and runs what it asks for."""
    given = _parser().parse_args(arguments)
    if given.worker:
        work(json.loads(given.worker))
        return
    if given.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("torch finds no GPU here; --tiny --device cpu shows that the script runs")
    with ExitStack() as stack:
        folder = given.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        report = measure(Bench(given.device, given.tiny, given.threads, folder), 60 * given.minutes)
    print(table(report))
    if given.json:
        given.json.write_text(json.dumps(report, indent=1))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=4.5, help="no setting begins later than this")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--work", type=Path, help="folder where inputs are kept for the next time")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="where the training runs")
    parser.add_argument("--threads", type=int, default=4, help="threads of the work on the CPU")
    parser.add_argument("--tiny", action="store_true", help="batches of 2 and small networks: shows that it runs")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser


@dataclass(frozen=True)
class Bench:
    """Starts workers.

    Args:
        device: "cuda" or "cpu".
        tiny: Small networks and batches.
        threads: Threads of each worker.
        folder: For inputs.
    """

    device: str
    tiny: bool
    threads: int
    folder: Path

    @property
    def settings(self) -> list[Setting]:
        """What is measured."""
        return [Setting(2, "32-true"), Setting(2, "bf16-mixed")] if self.tiny else list(SETTINGS)

    def sizes(self, batch: int) -> Sizes:
        """Of a training at this batch size."""
        sizes = replace(Sizes(batch), images=256)
        return sizes.tiny() if self.tiny else sizes

    def worker(self, setting: Setting, device: str | None = None, exact: bool = False) -> Worker:
        """A training.

        Args:
            setting: How it runs.
            device: Where, if not on this bench's.
            exact: Without TF32, to compare numbers.
        """
        device = device or self.device
        asked = {"device": device, "setting": asdict(setting), "sizes": asdict(self.sizes(setting.batch))}
        environment = {"NVIDIA_TF32_OVERRIDE": "0"} if exact else {}
        return Worker(Path(__file__).resolve(), asked, self.folder, self.threads, environment)

    def peak(self, dtype: str) -> float:
        """Floating point operations a second of a matrix product."""
        side = 1024 if self.device == "cpu" else 8192
        asked = {"device": self.device, "way": PEAK, "dtype": dtype, "side": side}
        worker = Worker(Path(__file__).resolve(), asked, self.folder, self.threads)
        try:
            return 1 / median(worker.ask(TIME)["seconds"] for _ in range(5))
        finally:
            worker.end()


def measure(bench: Bench, seconds: float) -> dict[str, Any]:
    """The figures of all settings that there is time for."""
    began = time.monotonic()
    device = torch.cuda.get_device_name() if bench.device == "cuda" else "CPU"
    report: dict[str, Any] = {"device": device, "torch": torch.__version__, "settings": {}, "left_out": []}
    tell("the inputs, and one step on both devices")
    report["against_the_cpu"] = against_the_cpu(bench)
    report["peaks"] = {dtype: bench.peak(dtype) for dtype in {setting.dtype for setting in bench.settings}}
    for setting in bench.settings:
        if time.monotonic() - began > seconds:
            report["left_out"].append(setting.name)
            continue
        tell(setting.name)
        try:
            report["settings"][setting.name] = figures(bench, setting, report["peaks"][setting.dtype])
        except Failed as error:
            report["settings"][setting.name] = {"error": str(error)}
    return report


def tell(what: str) -> None:
    """Says what goes on."""
    print(f"{time.strftime('%H:%M:%S')} {what}", flush=True)


def against_the_cpu(bench: Bench) -> dict[str, Any]:
    """How far the first step's losses are from the CPU's: the same weights, batch and noise."""
    setting = Setting(min(4, bench.settings[0].batch), "32-true")
    losses = []
    for device in ("cpu", bench.device):
        worker = bench.worker(setting, device, exact=True)
        losses.append({name: value for name, value in worker.first.items() if "loss" in name})
        worker.end()
    of_cpu, of_device = losses
    off = {name: abs(of_device[name] - value) / max(abs(value), 1e-6) for name, value in of_cpu.items()}
    worst = max(off, key=lambda name: off[name])
    return {"worst": worst, "relative": off[worst], "equal": off[worst] <= TOLERANCE, "losses": len(off)}


def figures(bench: Bench, setting: Setting, peak: float) -> dict[str, Any]:
    """Of one setting.

    Raises:
        Failed: The training's process ended.
    """
    worker = bench.worker(setting)
    try:
        turns = [worker.ask(TIME) for _ in range(3 if bench.tiny else ROUNDS)]
        counts = [worker.ask(COUNT) for _ in range(2 if bench.tiny else COUNTED)]
    finally:
        worker.end()
    seconds = median(turn["seconds"] for turn in turns)
    batch = bench.sizes(setting.batch).batch
    flops = counts[0]["flops"]
    return {
        "seconds": [turn["seconds"] for turn in turns],
        "images_per_second": batch / seconds,
        "hours": CUB_IMAGES * EPOCHS / (batch / seconds) / 3600,
        "bytes": max(turn["bytes"] for turn in turns),
        "share_of_peak": None if setting.compile else flops / seconds / peak,  # compiled operators are not counted
        "operators": median(count["operators"] for count in counts),
        "waits": [count["waits"] for count in counts],
    }


def table(report: dict[str, Any]) -> str:
    """In Markdown, for docs/performance.md."""
    compared = report["against_the_cpu"]
    peaks = ", ".join(f"{name} {speed / 1e12:.3g}" for name, speed in sorted(report["peaks"].items()))
    shown = [
        f"{report['device']}, torch {report['torch']}; matrix product in TFLOP/s: {peaks}",
        f"one step beside the CPU's: {'equal' if compared['equal'] else 'NOT EQUAL'}; of {compared['losses']} losses "
        f"{compared['worst']} is furthest off, by {compared['relative']:.1e} of its value",
        "",
        "| training | images/s | a step | 600 epochs of CUB | memory | share of peak | operators | waits |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, found in report["settings"].items():
        if "error" in found:
            shown.append(f"| {name} | not measured: {found['error']} | | | | | | |")
            continue
        share = "" if found["share_of_peak"] is None else f"{found['share_of_peak']:.0%}"
        waits = f"{min(found['waits'])} to {max(found['waits'])}"
        step = f"{1000 * median(found['seconds']):.1f} ms"
        cells = [name, f"{found['images_per_second']:,.0f}", step, f"{found['hours']:.2f} h"]
        cells += [f"{found['bytes'] / 1e9:.1f} GB", share, f"{found['operators']:,.0f}", waits]
        shown.append(f"| {' | '.join(cells)} |")
    if report["left_out"]:
        shown.append(f"\nno time for: {'; '.join(report['left_out'])}")
    return "\n".join(shown)


def work(asked: dict[str, Any]) -> None:
    """As a worker: a training, or the machine's peak."""
    from attngan.allocator import tune_allocator

    device = asked["device"]
    turns = Turns(warm=2, device=device)
    torch.set_num_threads(asked["threads"])
    if asked.get("way") == PEAK:
        side = asked["side"]
        turns.repeat(matrix_product(side, device, getattr(torch, asked["dtype"])), units=2.0 * side**3)
    tune_allocator()
    setting = Setting(**asked["setting"])
    options = {
        "trainer.accelerator": {"cuda": "gpu", "cpu": "cpu"}[device],
        "trainer.precision": setting.precision,
        "model.compile": setting.compile,
        "data.workers": 0 if device == "cpu" else 4,
    }
    inputs = Inputs(Path(asked["folder"]), Sizes(**asked["sizes"]))
    trained("train", "attngan_cub.yaml", lambda given: staged_options(given) | options)(inputs, turns)


if __name__ == "__main__":
    main()
