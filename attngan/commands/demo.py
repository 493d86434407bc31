"""``attngan demo``: pictures of captions at once, then the whole way from captioned images to scores, small."""

import itertools
import json
import os
import sys
import time
import webbrowser
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from attngan.commands.demo_facts import ColourTruths, DemoFacts
from attngan.commands.demo_page import DemoPage, Shipped, results
from attngan.commands.demo_training import ShownTraining
from attngan.errors import AttnganError, FileInTheWayError, InputError, require_at_least
from attngan.evaluation.measuring import ScoreEntry
from attngan.files import write_whole
from attngan.installed import recipe, shipped_generator
from attngan.terminal import say
from attngan.training.callbacks import FastestThreads
from attngan.training.precision import MeasuredPrecision, fastest_precision
from attngan.training.threads import use_fastest_threads

#: Recipes of ``configs/toy``: of the DAMSM and of the generator.
DAMSM, GENERATOR = "damsm", "attngan"
#: Images that two quiet CPU cores train on in each of the demo's minutes, scores and all else included.
IMAGES_A_MINUTE = 3_200
#: As many again, of which a DAMSM sees each some twenty times in a quarter of an hour.
DAMSM_IMAGES_A_MINUTE = 3_600
PRETRAINING_SHARE = 0.18  # of the time, at most, for the DAMSM; the generator has what is left
SCORING_MINUTES = 1.0  # at least; it takes about as long as drawing the birds and training the probe took
GIVEN_CAPTIONS = (
    "a small red bird with black wings",
    "this bird is yellow with a black crown and black wings",
    "a blue bird with a white belly and a short beak",
    "a small brown bird with a white breast and brown spots",
    "a black bird with an orange beak",
    "a white bird with grey wings and a long yellow beak",
)


def demo(
    out: Path | None = None,
    captions: list[str] | None = None,
    minutes: float = 15.0,
    images: int | None = None,
    smoke: bool = False,
    seed: int = 0,
    open: bool = True,
) -> int:
    """Draws captions with the generator that ships; then trains one on generated birds, scores it, and shows it all.

    Needs no download and no GPU. The page is OUT/index.html: it is there within the first minute, and rewritten as the
    training goes on. The checkpoints lie in OUT/damsm and OUT/attngan, for `attngan sample` and `attngan evaluate`.

    Args:
        out: Folder for data, runs and the page, new or empty; by default demo, or where that is taken demo_2 and so on.
        captions: What the first pictures show, about birds; by default six captions.
        minutes: Limit of all of it together. On a machine that other work slows down the training is cut by it.
        images: Images that the generator is trained on; by default what two quiet CPU cores do in these minutes (48,000
            in 15). More make better pictures: try --minutes 60.
        smoke: Only show that everything works: a few steps, under two minutes; the generated birds show nothing yet.
        seed: Seed of pictures, birds and training.
        open: Open the page in a browser, where there is a screen.

    Returns:
        The exit code.
    """
    require_at_least(0, 2**32 - 1, seed=seed)  # as far as numpy reads one
    require_at_least(1, images=images)
    if minutes < 5 and not smoke:
        raise InputError(f"{minutes:g} minutes are too few to see anything: give 5 or more, or --smoke")
    out = _folder(out)
    begun = time.monotonic()
    facts = DemoFacts(minutes, images or round(IMAGES_A_MINUTE * minutes), seed, smoke)
    _say(1, "captions, drawn by the generator that ships")
    shipped = _draw_captions(out, captions or [], seed)
    page = DemoPage(out / "index.html", shipped)
    page.under_way(1)
    say(f"after {time.monotonic() - begun:.0f} seconds: {page.path}, rewritten as the training goes on")
    if open:
        _open_in_browser(page.path)
    try:
        scores = _train_and_score(out, page, facts, begun)
        facts.took_minutes = (time.monotonic() - begun) / 60
        content = asdict(facts) | {"scores": scores, "shipped": shipped.title}
        write_whole(out / "demo.json", json.dumps(content, indent=1))
        page.finish(*results(out, out / "toy_birds", facts, scores))
    except BaseException as error:  # the pictures stay, without waiting for more
        page.stop(error)
        raise
    outcome = "a smoke test" if smoke or facts.generator is None else facts.generator.outcome(minutes)
    say(f"\n{facts.took_minutes:.1f} minutes; the training: {outcome}")
    say(f"Open {page.path} in a browser; the samples alone: {out / 'samples.png'}")
    say(f'Draw your own: attngan sample "{GIVEN_CAPTIONS[0]}" (birds as in photographs)')
    say(f'          or:  attngan sample {out}/attngan/checkpoints/last.ckpt "..." (generated birds)')
    return 0


def _folder(named: Path | None) -> Path:
    """Where everything goes.

    Raises:
        FileInTheWayError: The named folder is not empty.
    """
    if named is None:
        names = itertools.chain(["demo"], (f"demo_{number}" for number in itertools.count(2)))
        return next(folder for folder in map(Path, names) if _free(folder))
    if not _free(named):
        raise FileInTheWayError(f"{named} is not empty: name another folder with --out, or remove it")
    return named


def _free(folder: Path) -> bool:
    return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))


def _say(step: int, what: str) -> None:
    say(f"\n[{step}/5] {what}")


def _draw_captions(out: Path, captions: Sequence[str], seed: int) -> Shipped:
    """The first pictures; without them the demo goes on, and says so."""
    from attngan.sampling import Sampler

    try:
        sampler = Sampler.load(shipped_generator())
        shipped = Shipped.draw(sampler, captions or GIVEN_CAPTIONS, seed)
        if not shipped.captions:
            shipped = Shipped.draw(sampler, GIVEN_CAPTIONS, seed, shipped.refused)
    except AttnganError as error:
        shipped = Shipped("", problem=str(error))
    for told in (shipped.problem, *(f"no word of {caption!r} is known: not drawn" for caption in shipped.refused)):
        if told:
            say(told, error=True)
    if shipped.captions:
        out.mkdir(parents=True, exist_ok=True)
        shipped.picture().save(out / "captions.png")
        say(f"{len(shipped.captions)} captions drawn by {shipped.title}: {out / 'captions.png'}")
    return shipped


def _open_in_browser(page: Path) -> None:
    """Where there is a screen; a browser that does not start is no reason to stop."""
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return
    try:
        webbrowser.open(page.resolve().as_uri())
    except (webbrowser.Error, OSError) as error:
        say(f"no browser opened ({error})", error=True)


def _train_and_score(out: Path, page: DemoPage, facts: DemoFacts, begun: float) -> dict[str, ScoreEntry]:
    """Generated birds, DAMSM, generator and scores; what they gave goes into ``facts``."""
    from attngan.commands.train import pretrain, train

    most_threads = torch.get_num_threads()
    precision = fastest_precision()
    facts.precision = str(precision)
    _say(2, "generated birds with captions, and a probe that tells their colours")
    say(f"computing in {precision}, with {use_fastest_threads(most_threads, precision.bf16)} of {most_threads} threads")
    page.under_way(2)
    drawing = time.monotonic()
    data = _draw_birds(out, facts)
    probe = _train_probe(out, data, facts, precision)
    scoring_minutes = max(SCORING_MINUTES, (time.monotonic() - drawing) / 60)

    _say(3, "DAMSM: which caption belongs to which image?")
    page.under_way(3)
    common = ["--data.root", str(data), "--seed_everything", str(facts.seed)]
    pairs = round(facts.images * DAMSM_IMAGES_A_MINUTE / IMAGES_A_MINUTE)
    shown = ShownTraining(lambda told, picture: page.under_way(3, told, picture), pairs)
    pretrain(
        [*_run(out, DAMSM), *common, *_limits(facts, pairs, facts.minutes * PRETRAINING_SHARE)],
        callbacks=[shown, FastestThreads(most_threads)],
    )
    facts.damsm = shown.trained

    _say(4, "AttnGAN: captions to images")
    page.under_way(4)
    left = max(0.5, facts.minutes - (time.monotonic() - begun) / 60 - scoring_minutes)
    shown = ShownTraining(
        lambda told, picture: page.under_way(4, told, picture), facts.images, out / GENERATOR / "pictures"
    )
    train(
        [
            *_run(out, GENERATOR),
            *("--model.damsm", str(out / DAMSM / "checkpoints" / "best.ckpt")),
            *("--trainer.precision", precision.trainer, "--pictures.every_steps", "250"),
            *common,
            *_limits(facts, facts.images, left),
        ],
        callbacks=[shown, FastestThreads(most_threads)],
    )
    facts.generator = shown.trained

    _say(5, "scores and pictures")
    page.under_way(5)
    use_fastest_threads(most_threads, precision.bf16)
    return _score(out, data, probe, facts)


def _run(out: Path, name: str) -> list[str]:
    return ["--config", str(recipe(f"toy/{name}.yaml")), "--run_dir", str(out / name)]


def _limits(facts: DemoFacts, images: int, minutes: float) -> list[str]:
    if facts.smoke:
        return ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", "4"]
    return ["--budget.images", str(images), "--budget.minutes", f"{minutes:.2f}", "--trainer.max_epochs", "100000"]


def _draw_birds(out: Path, facts: DemoFacts) -> Path:
    from attngan.toy_birds.dataset import draw_toy_birds

    train_classes, test_classes = (24, 12) if facts.smoke else (300, 50)
    return draw_toy_birds(out / "toy_birds", train_classes, test_classes, images_per_class=10, size=96, seed=facts.seed)


def _train_probe(out: Path, data: Path, facts: DemoFacts, precision: MeasuredPrecision) -> Path:
    from attngan.toy_birds.probe_training import train_probe

    epochs, more_birds = (1, 0) if facts.smoke else (6, 2000)
    probe, accuracy = train_probe(data, epochs=epochs, more_birds=more_birds, seed=facts.seed, bf16=precision.bf16)
    truth = facts.colour_truth
    truth.real, truth.real_with_other_captions = accuracy.new_classes.percent, accuracy.mismatched.percent
    path = out / "colour_probe.safetensors"
    probe.save(path)
    say(
        f"the probe sees {truth.real:.1f} % of the colours that captions name in real test birds, "
        f"{truth.real_with_other_captions:.1f} % where the captions are those of other birds"
    )
    return path


def _score(out: Path, data: Path, probe: Path, facts: DemoFacts) -> dict[str, ScoreEntry]:
    """Inception Score and R-precision by `attngan evaluate`; colour truth goes into the facts."""
    from attngan.commands.evaluate import evaluate

    checkpoint = out / GENERATOR / "checkpoints" / "last.ckpt"
    count = 40 if facts.smoke else 1000
    result = evaluate(
        checkpoint=checkpoint,
        data=data,
        metrics=["is", "r_precision"],
        count=count,
        seed=facts.seed,
        extractor=str(probe),
        out=out / "evaluation",
        progress=True,
    )
    truth = facts.colour_truth
    _colour_truth(truth, checkpoint, data, probe, count, facts.seed)
    say(
        f"colour truth: {truth.samples:.1f} % of {truth.named} colours named by test captions "
        f"(real birds {truth.real:.1f} %, other birds' captions {truth.samples_with_other_captions:.1f} %)"
    )
    return dict(result["scores"])


def _colour_truth(truth: ColourTruths, checkpoint: Path, data: Path, probe: Path, count: int, seed: int) -> None:
    """Of samples of test captions: with their own captions, by part, and with those of other birds."""
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
    truth.samples, truth.samples_by_part, truth.named = drawn.percent, drawn.percent_of, sum(drawn.named.values())
    truth.samples_with_other_captions = colour_truth(seen, torch.cat(parts), others).percent


def test_captions(data: Path) -> tuple[list[tuple[str, ...]], list[int]]:
    """Captions and classes of the test birds."""
    from attngan.data.sources.cub import read_cub

    images = read_cub(data, "test")
    return [i.captions for i in images], [i.class_id or 0 for i in images]
