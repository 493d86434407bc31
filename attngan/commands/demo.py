"""``attngan demo``: the whole way from captioned images to scores and pictures, small, on generated birds."""

import json
import time
from pathlib import Path
from typing import Any

from attngan.commands.demo_page import write_page
from attngan.commands.recipe_files import recipe
from attngan.errors import FileInTheWayError, InputError
from attngan.evaluation.measuring import ScoreEntry

RECIPES = ("damsm", "attngan")
PRETRAINING_SHARE = 0.18  # of the time, for the DAMSM; the generator has what is left
SCORING_MINUTES = 1.0


def demo(out: Path = Path("demo"), minutes: float = 15.0, smoke: bool = False, seed: int = 0) -> int:
    """Generates birds, trains a DAMSM and a two-stage AttnGAN on them, scores it, and shows it all on one HTML page.

    Needs no download and no GPU. The page is OUT/index.html; the checkpoints lie in OUT/damsm and OUT/attngan, for
    `attngan sample` and `attngan evaluate`.

    Args:
        out: Folder for data, runs and the page; must be new or empty.
        minutes: How long it may take on two CPU cores. More makes better pictures: try 60.
        smoke: Only shows that everything works: a few steps, under two minutes; the pictures show nothing yet.
        seed: Seed of birds and training.

    Returns:
        The exit code.
    """
    out = Path(out)
    if out.exists() and any(out.iterdir()):
        raise FileInTheWayError(f"{out} is not empty: name another folder with --out, or remove it")
    if minutes < 5 and not smoke:
        raise InputError(f"{minutes:g} minutes are too few to see anything: give 5 or more, or --smoke")
    begun = time.monotonic()
    facts: dict[str, Any] = {"minutes": minutes, "smoke": smoke, "seed": seed}
    data = _draw_birds(out, smoke, seed)
    probe = _train_probe(out, data, smoke, seed, facts)

    from attngan.commands.train import pretrain, train

    _say("2/4", "DAMSM: which caption belongs to which image?")
    common = ["--data.root", str(data), "--seed_everything", str(seed)]
    limits = ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", "4"] if smoke else []
    of_damsm = ["--budget.minutes", f"{minutes * PRETRAINING_SHARE:.2f}", "--trainer.max_epochs", "1000"]
    runs = {name: ["--config", str(recipe(f"toy/{name}.yaml")), "--run_dir", str(out / name)] for name in RECIPES}
    pretrain([*runs["damsm"], *common, *(limits or of_damsm)])

    _say("3/4", "AttnGAN: captions to images")
    left = max(0.5, minutes - (time.monotonic() - begun) / 60 - SCORING_MINUTES)
    of_gan = ["--budget.minutes", f"{left:.2f}"]
    precision = ["--trainer.precision", _fast_precision()]
    damsm = out / "damsm" / "checkpoints" / "best.ckpt"
    train([*runs["attngan"], "--model.damsm", str(damsm), *common, *precision, *(limits or of_gan)])

    _say("4/4", "scores and pictures")
    scores = _score(out, data, probe, smoke, seed, facts)
    facts["took_minutes"] = (time.monotonic() - begun) / 60
    (out / "demo.json").write_text(json.dumps(facts | {"scores": scores}, indent=1))
    page = write_page(out, data, facts, scores)
    print(f"\n{facts['took_minutes']:.1f} minutes. Open {page} in a browser; the samples alone: {out / 'samples.png'}")
    print(f'Draw your own: attngan sample {out}/attngan/checkpoints/last.ckpt "a small red bird with black wings"')
    return 0


def _fast_precision() -> str:
    """Bfloat16 where the processor computes in it (1.6 times as fast here); elsewhere it would only be imitated."""
    import torch

    native = torch.cuda.is_available() or torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return "bf16-mixed" if native else "32-true"


def _say(step: str, what: str) -> None:
    print(f"\n[{step}] {what}", flush=True)


def _draw_birds(out: Path, smoke: bool, seed: int) -> Path:
    from attngan.toy_birds.dataset import draw_toy_birds

    _say("1/4", "generated birds with captions, and a probe that tells their colours")
    train_classes, test_classes = (24, 12) if smoke else (300, 50)
    return draw_toy_birds(out / "toy_birds", train_classes, test_classes, images_per_class=10, size=96, seed=seed)


def _train_probe(out: Path, data: Path, smoke: bool, seed: int, facts: dict[str, Any]) -> Path:
    from attngan.toy_birds.probe_training import train_probe

    probe, accuracy = train_probe(data, epochs=1 if smoke else 6, more_birds=0 if smoke else 2000, seed=seed, bf16=True)
    facts["probe"] = accuracy.percentages()
    path = out / "colour_probe.safetensors"
    probe.save(path)
    print(
        f"the probe sees {accuracy.new_classes.percent:.1f} % of the colours that captions name in real test birds, "
        f"{accuracy.mismatched.percent:.1f} % where the captions are those of other birds"
    )
    return path


def _score(out: Path, data: Path, probe: Path, smoke: bool, seed: int, facts: dict[str, Any]) -> dict[str, ScoreEntry]:
    """Inception Score and R-precision by `attngan evaluate`; colour truth, real and mismatched, goes into the facts."""
    from attngan.commands.evaluate import evaluate

    checkpoint = out / "attngan" / "checkpoints" / "last.ckpt"
    count = 40 if smoke else 1000
    result = evaluate(
        checkpoint=checkpoint,
        data=data,
        metrics=["is", "r_precision"],
        count=count,
        seed=seed,
        extractor=str(probe),
        out=out / "evaluation",
        progress=True,
    )
    facts["colour_truth"] = truth = _colour_truth(checkpoint, data, probe, count, seed)
    truth["real"], truth["real_with_other_captions"] = facts["probe"]["new_classes"], facts["probe"]["mismatched"]
    print(
        f"colour truth: {truth['samples']:.1f} % of {truth['named']} colours named by test captions "
        f"(real birds {truth['real']:.1f} %, other birds' captions {truth['samples_with_other_captions']:.1f} %)"
    )
    return result["scores"]


def _colour_truth(checkpoint: Path, data: Path, probe: Path, count: int, seed: int) -> dict[str, Any]:
    """Of samples of test captions: with their own captions, by part, and with those of other birds."""
    import torch

    from attngan.sampling import Sampler
    from attngan.toy_birds.colour_probe import ColourProbe
    from attngan.toy_birds.colour_truth import captions_of_other_classes, colour_truth

    seen, sampler = ColourProbe.load(probe), Sampler.load(checkpoint)
    captions, classes = test_captions(data)
    rows = range(0, len(captions), max(1, len(captions) // count))
    chosen = [captions[row][row % len(captions[row])] for row in rows]
    parts = [
        sampler.draw(chosen[i : i + 32], list(range(i, min(i + 32, len(chosen)))), seed).images[-1].cpu()
        for i in range(0, len(chosen), 32)
    ]
    drawn = colour_truth(seen, torch.cat(parts), chosen)
    others = captions_of_other_classes([captions[row] for row in rows], [classes[row] for row in rows], seed)
    return {
        "samples": drawn.percent,
        "samples_by_part": drawn.percent_of,
        "named": sum(drawn.named.values()),
        "samples_with_other_captions": colour_truth(seen, torch.cat(parts), others).percent,
    }


def test_captions(data: Path) -> tuple[list[tuple[str, ...]], list[int]]:
    """Captions and classes of the test birds."""
    from attngan.data.sources.cub import read_cub

    images = read_cub(data, "test")
    return [i.captions for i in images], [i.class_id or 0 for i in images]
