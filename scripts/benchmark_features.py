"""How fast the feature pass is against plain eager float32 Inception, and whether its scores stay the same.

    python scripts/benchmark_features.py                                  # speed, on random weights and images
    python scripts/benchmark_features.py --images data/birds/CUB_200_2011/images   # and scores in float32 and bf16

Each way of running the network has a process of its own (the allocator is tuned for a whole process); they take turns,
batch by batch, so that another load on the machine meets all of them, and the fastest and the median batch are shown.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WAYS = {
    "plain": "torch-fidelity's Inception, eager float32, as it comes",
    "float32": "attngan, float32: channels last, batch norms folded in, tuned allocator",
    "bf16": "attngan, bf16: the same in bf16",
}


def main() -> None:
    """Reads the command line and runs what it asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12, help="batches a way")
    parser.add_argument("--batch", type=int, default=32, help="images a batch")
    parser.add_argument("--threads", type=int, default=2, help="threads")
    parser.add_argument("--weights", type=Path, help="the real weights of inception-tf; random ones serve for speed")
    parser.add_argument("--images", type=Path, help="folder of images whose scores are compared between precisions")
    parser.add_argument("--extractor", default="efficientnet-lite0", help="extractor of that comparison")
    parser.add_argument("--count", type=int, default=500, help="images a seed in that comparison")
    parser.add_argument("--seeds", type=int, default=4, help="seeds in that comparison")
    parser.add_argument("--as-way", choices=list(WAYS), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.as_way:
        _work(given.as_way, given.weights, given.batch, given.threads)
        return
    speed(given.weights, given.rounds, given.batch, given.threads)
    if given.images is not None:
        agreement(given.images, given.extractor, given.count, given.seeds, given.threads)


def speed(weights: Path | None, rounds: int, batch: int, threads: int) -> None:
    """Prints images per second of each way, and how many times as fast as plain it is."""
    with tempfile.TemporaryDirectory() as folder:
        path = weights or _random_weights(Path(folder) / "inception.pth")
        command = [sys.executable, __file__, "--weights", str(path), "--batch", str(batch), "--threads", str(threads)]
        workers = {
            way: subprocess.Popen([*command, "--as-way", way], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for way in WAYS
        }
        seconds: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(rounds):
            for way, worker in workers.items():
                assert worker.stdin is not None
                assert worker.stdout is not None
                worker.stdin.write("go\n")
                worker.stdin.flush()
                seconds[way].append(float(worker.stdout.readline()))
        for worker in workers.values():
            assert worker.stdin is not None
            worker.stdin.close()
            worker.wait()
    print(
        f"{'':8} {'fastest':>9} {'median':>9}  images/s ({batch} of 256 px a batch, {threads} threads, {rounds} rounds)"
    )
    for way, what in WAYS.items():
        best, middle = batch / min(seconds[way]), batch / statistics.median(seconds[way])
        times = min(seconds["plain"]) / min(seconds[way])
        paired = statistics.median(a / b for a, b in zip(seconds["plain"], seconds[way], strict=True))
        print(f"{way:8} {best:9.1f} {middle:9.1f}  {times:.2f} times plain (median of rounds {paired:.2f}): {what}")


def _work(way: str, weights: Path, batch: int, threads: int) -> None:
    """One way: a line in, the seconds of one batch out."""
    import torch

    torch.set_num_threads(threads)
    images = torch.randint(0, 256, (batch, 3, 256, 256), dtype=torch.uint8)
    if way == "plain":
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048", "logits_unbiased"], str(weights))
    else:
        from attngan.allocator import tune_allocator
        from attngan.extractors.named import load_extractor

        tune_allocator()
        network = load_extractor("inception-tf", weights, precision=way)  # type: ignore[arg-type]
    with torch.no_grad():
        network(images)
        for _ in sys.stdin:
            begun = time.perf_counter()
            network(images)
            print(time.perf_counter() - begun, flush=True)


def _random_weights(path: Path) -> Path:
    """Weights in the layout of the published file; speed does not depend on their values."""
    import torch
    from torch_fidelity import feature_extractor_inceptionv3 as fidelity

    class Unloaded(fidelity.FeatureExtractorInceptionV3):
        def load_state_dict(self, *_: object, **__: object) -> None:  # type: ignore[override]
            pass

    torch.save({}, path)
    network = Unloaded("inception-v3-compat", ["2048"], str(path))
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    torch.save(network.state_dict(), path)
    return path


def agreement(images: Path, extractor: str, count: int, seeds: int, threads: int) -> None:
    """Prints Inception Score and FID of random subsets in float32 and bf16, and the spread over seeds."""
    import numpy as np
    import torch
    from rich.progress import track

    from attngan.allocator import tune_allocator
    from attngan.evaluation.image_files import ImageFiles
    from attngan.extractors.named import load_extractor
    from attngan.metrics.fid import fid, gaussian_statistics
    from attngan.metrics.inception_score import inception_score

    tune_allocator()
    torch.set_num_threads(threads)
    files = ImageFiles(images, shuffle=0)
    total = min(len(files), count * (seeds + 1))
    scores: dict[str, dict[str, list[float]]] = {}
    for precision in ("float32", "bf16"):
        network = load_extractor(extractor, precision=precision)  # type: ignore[arg-type]
        features, logits, seen = [], [], 0
        batches = files.batches(batch_size=32)
        for batch in track(batches, f"{network.name}", total=None, transient=True):
            said = network(batch[: total - seen])
            features.append(said.features)
            logits.append(said.logits)
            seen += len(said.features)
            if seen == total:
                break
        rows, classes = torch.cat(features), torch.cat([x for x in logits if x is not None])
        reference = gaussian_statistics(rows[:count])
        found: dict[str, list[float]] = {"is": [], "fid": []}
        for seed in range(seeds):
            chosen = torch.from_numpy(np.random.default_rng(seed).permutation(total - count)[:count] + count)
            found["is"].append(inception_score(classes[chosen].double().softmax(1), 1).mean)
            found["fid"].append(fid(gaussian_statistics(rows[chosen]), reference))
        scores[precision] = found
    print(f"\n{extractor}, {count} images a seed, {seeds} seeds")
    for metric in ("is", "fid"):
        full, half = np.array(scores["float32"][metric]), np.array(scores["bf16"][metric])
        print(
            f"{metric:4} float32 {full.mean():8.3f} ± {full.std():.3f} over seeds; bf16 {half.mean():8.3f} ± "
            f"{half.std():.3f}; largest difference at a seed {np.abs(full - half).max():.3f}"
        )


if __name__ == "__main__":
    main()
