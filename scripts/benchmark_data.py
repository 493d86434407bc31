#!/usr/bin/env python
"""How fast training reads its data: the published way against ours, in one run; and how fast ``prepare`` is.

The published way decodes a JPEG for each item, crops it to the box, resizes, crops and mirrors, makes the two smaller
images by resizing the largest, and turns each into a normalised tensor, one item at a time (written here from its
description). Ours crops and mirrors uint8 from the cache and makes the pyramid of a whole batch at once, the pyramid
counted. Every figure comes from a process of its own, so that memory is that of this way alone. Beside what the clock
says stands what an image costs in time on a core, of all processes together: where other programs have the cores, the
first falls and the second hardly moves.

    python scripts/benchmark_data.py                                  # 640 x 480 photographs, drawn for it
    python scripts/benchmark_data.py --root data/birds --source cub   # a data set of one's own
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", help="a data set; left out: photographs of 640 x 480 pixels are drawn")
    parser.add_argument("--source", default="folder", help="what kind of data set it is")
    parser.add_argument("--images", type=int, default=600, help="how many images are drawn")
    parser.add_argument("--image_size", type=int, default=256)
    parser.add_argument("--batch_size", type=int, default=20)
    parser.add_argument("--passes", type=int, default=3, help="each figure is the median of so many passes")
    parser.add_argument("--limit", type=int, default=2000, help="images a pass reads at most")
    parser.add_argument("--json", help="file for the figures")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root, source = given.root, given.source
        if root is None:
            root, source = f"{scratch}/drawn", "folder"
            draw_photographs(Path(root), given.images)
        report = measure(root, source, given, f"{scratch}/cache")
    show(report)
    if given.json:
        Path(given.json).write_text(json.dumps(report, indent=2))


def draw_photographs(root: Path, count: int) -> None:
    """JPEGs of 640 x 480 pixels and about 100 kB, as a photograph is: detail at all scales."""
    from PIL import Image

    root.mkdir(parents=True)
    rows = []
    for number in range(count):
        dice = np.random.default_rng(number)
        pixels = np.zeros((480, 640, 3), np.float32)
        for octave in range(2, 8):
            side = 2**octave
            coarse = dice.normal(0, 1, (side, side, 3)).astype(np.float32)
            for channel in range(3):
                layer = Image.fromarray(coarse[..., channel]).resize((640, 480), Image.Resampling.BICUBIC)
                pixels[..., channel] += np.asarray(layer) * 60 / octave
        Image.fromarray((pixels + 128).clip(0, 255).astype(np.uint8)).save(root / f"{number:05}.jpg", quality=90)
        rows.append({"file_name": f"{number:05}.jpg", "texts": ["a picture of nothing in particular"] * 5})
    (root / "metadata.jsonl").write_text("\n".join(json.dumps({**row, "split": "train"}) for row in rows))


def measure(root: str, source: str, given: argparse.Namespace, cache_dir: str) -> dict[str, Any]:
    options = {"image_size": given.image_size, "batch_size": given.batch_size, "cache_dir": cache_dir, "skip_bad": True}
    report: dict[str, Any] = {"root": given.root or "drawn 640 x 480", "cores": os.cpu_count(), **options}
    report["prepare"] = in_process_of_its_own(build, root, source, given.image_size, cache_dir)
    report["reading"] = {}
    for workers in (0, 1, 2):
        for way in (published, ours):
            print(f"{way.__name__}, {workers} workers ...", flush=True)
            arguments = (way, root, source, options, workers, given.passes, given.limit)
            report["reading"][f"{way.__name__}, {workers} workers"] = in_process_of_its_own(read, *arguments)
    return report


def in_process_of_its_own(task: Callable[..., Any], *arguments: Any) -> Any:
    context = multiprocessing.get_context("fork")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=lambda: sending.send(task(*arguments)))
    process.start()
    sending.close()  # so that a process that dies is seen as the end of the file
    result = receiving.recv()
    process.join()
    return result


def build(root: str, source: str, image_size: int, cache_dir: str) -> dict[str, float]:
    """The cache of all splits, from nothing."""
    from attngan.data.findings import Findings
    from attngan.data.image_cache import cache_path, open_or_build
    from attngan.data.images import shorter_side
    from attngan.data.sources.registry import read_source

    splits = {split: images for split, images in read_source(source, root, Findings()).items() if images}
    began, cpu = time.perf_counter(), cpu_seconds()
    for split, images in splits.items():
        open_or_build(cache_path(root, source, split, image_size, cache_dir), images, shorter_side(image_size))
    seconds = time.perf_counter() - began
    count = sum(map(len, splits.values()))
    bytes_an_image = sum(path.stat().st_size for path in Path(cache_dir).glob("*.cache")) / count
    return {
        "images": count,
        "seconds": seconds,
        "images_per_second": count / seconds,
        "cpu_milliseconds_per_image": (cpu_seconds() - cpu) / count * 1e3,
        "bytes_per_image": bytes_an_image,
    }


def read(
    way: Callable, root: str, source: str, options: dict, workers: int, passes: int, limit: int
) -> dict[str, float]:
    """Images a second of one way of reading, the median of several passes, and what memory it took."""
    import torch

    from attngan.allocator import tune_allocator

    tune_allocator()  # as the command line does
    torch.set_num_threads(1)  # one process, one core
    start_pass = way(root, source, options, workers)
    speeds, costs = [], []
    for number in range(passes + 1):
        images, began, cpu = 0, time.perf_counter(), cpu_seconds()
        for batch in start_pass(number):
            images += len(batch)
            if images >= limit:
                break
        speeds.append(images / (time.perf_counter() - began))
        costs.append((cpu_seconds() - cpu) / images * 1e3)
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024 if workers else 0
    return {
        "images_per_second": statistics.median(speeds[1:]),  # the first pass fills caches and starts workers
        "slowest": min(speeds[1:]),
        "fastest": max(speeds[1:]),
        "cpu_milliseconds_per_image": statistics.median(costs[1:]),
        "peak_megabytes": own,
        "private_megabytes": private_megabytes(),
        "peak_megabytes_of_a_worker": worker,
    }


def cpu_seconds() -> float:
    """Time on a core of this process and those it started, running or done."""
    own, ended = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    total = own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime
    for child in multiprocessing.active_children():
        with contextlib.suppress(OSError):  # it has just ended
            fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def private_megabytes() -> float:
    """Memory that is this process's own: without the pages of mapped files, which the system takes back at will."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1]) / 1024
    return float("nan")


Pass = Callable[[int], Iterator[Any]]


def ours(root: str, source: str, options: dict, workers: int) -> Pass:
    from attngan.data.datamodule import TextImageDataModule

    data = TextImageDataModule(root, source, stages=3, workers=workers, **options)
    data.setup()
    loader = data.train_dataloader()

    def one_pass(epoch: int) -> Iterator[Any]:
        loader.sampler.set_epoch(epoch)
        for batch in loader:
            yield data.on_after_batch_transfer(batch).images[0]

    return one_pass


def published(root: str, source: str, options: dict, workers: int) -> Pass:
    import torch
    from torch.utils.data import DataLoader

    from attngan.data.findings import Findings
    from attngan.data.sources.registry import read_source

    images = read_source(source, root, Findings())["train"]
    dataset = PublishedDataset(images, options["image_size"])
    loader: DataLoader = DataLoader(
        dataset,
        options["batch_size"],
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )

    def one_pass(epoch: int) -> Iterator[Any]:
        torch.manual_seed(epoch)
        for images, _caption, _length in loader:
            yield images[0]

    return one_pass


class PublishedDataset:
    """One item at a time, from the JPEG: three images of 64, 128 and 256 pixels and a padded caption."""

    def __init__(self, images: list, image_size: int) -> None:
        from torchvision import transforms

        self.images = images
        self.sizes = [image_size // 4, image_size // 2, image_size]
        self.augment = transforms.Compose(
            [
                transforms.Resize(int(image_size * 76 / 64)),
                transforms.RandomCrop(image_size),
                transforms.RandomHorizontalFlip(),
            ]
        )
        self.smaller = [transforms.Resize(size) for size in self.sizes[:-1]]
        self.normalise = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[list, np.ndarray, int]:
        from PIL import Image

        item = self.images[index]
        image = Image.open(item.path).convert("RGB")
        if item.box is not None:
            x, y, box_width, box_height = (int(number) for number in item.box)
            reach, width, height = int(max(box_width, box_height) * 0.75), *image.size
            centre_x, centre_y = int((2 * x + box_width) / 2), int((2 * y + box_height) / 2)
            left, right = max(0, centre_x - reach), min(width, centre_x + reach)
            image = image.crop((left, max(0, centre_y - reach), right, min(height, centre_y + reach)))
        image = self.augment(image)
        levels = [self.normalise(resize(image)) for resize in self.smaller] + [self.normalise(image)]
        words = np.arange(1, 1 + min(18, len(item.captions[0].split())))
        caption = np.zeros((18, 1), dtype=np.int64)
        caption[: len(words), 0] = words
        return levels, caption, len(words)


def show(report: dict[str, Any]) -> None:
    prepared = report["prepare"]
    speed = prepared["images_per_second"]
    print(
        f"\n{report['root']}, {report['image_size']} pixels, batches of {report['batch_size']}, {report['cores']} cores"
    )
    print(
        f"prepare: {prepared['images']:,} images in {prepared['seconds']:.1f} s, {speed:,.0f} a second (each "
        f"{prepared['cpu_milliseconds_per_image']:.1f} ms on a core); at that speed "
        f"10,000 in {10_000 / speed / 60:.1f} min, COCO's 123,287 in {123_287 / speed / 60:.0f} min and "
        f"{123_287 * prepared['bytes_per_image'] / 1e9:.0f} GB"
    )
    print(
        f"{'workers':>8} {'published':>12} {'ours':>12} {'ratio':>8}   ms on a core an image, ratio   "
        "peak memory published / ours (private), MB"
    )
    for workers in (0, 1, 2):
        old, new = (report["reading"][f"{way}, {workers} workers"] for way in ("published", "ours"))
        old_speed, new_speed = old["images_per_second"], new["images_per_second"]
        costs = [way["cpu_milliseconds_per_image"] for way in (old, new)]
        cost = f"{costs[0]:.2f} / {costs[1]:.2f}, {costs[0] / costs[1]:.1f}x"
        memory = " / ".join(f"{w['peak_megabytes']:.0f} ({w['private_megabytes']:.0f})" for w in (old, new))
        if workers:
            memory += "; a worker " + " / ".join(f"{w['peak_megabytes_of_a_worker']:.0f}" for w in (old, new))
        speeds = f"{old_speed:>10,.0f}/s {new_speed:>10,.0f}/s {new_speed / old_speed:>7.1f}x"
        print(f"{workers:>8} {speeds}   {cost:<28} {memory}")


if __name__ == "__main__":
    main()
