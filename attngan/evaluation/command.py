"""The command `attngan evaluate`."""

import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from attngan import __version__
from attngan.evaluation.measuring import Instruments, Naming, measure
from attngan.evaluation.observers import ClipJudge, Scorer
from attngan.evaluation.reference import (
    RealCrops,
    Reference,
    look_at_reference,
    published_statistics,
    real_crops,
)
from attngan.evaluation.scores import Score
from attngan.evaluation.subjects import DrawnImages, GivenImages, Split, Subject, read_split
from attngan.metrics.diversity import diversity
from attngan.metrics.feature_pass import Observer, observe
from attngan.metrics.features import EXTRACTORS, FeatureExtractor, Precision, Resize, load_extractor
from attngan.metrics.image_files import ImageFiles
from attngan.metrics.protocols import CLASSIFIER, PROTOCOLS, Protocol, departures

Metric = Literal["is", "fid", "fid_infinity", "kid", "precision_recall", "r_precision", "clip", "diversity"]
#: Scores that look through the feature extractor, and those that need real images to compare with.
THROUGH_EXTRACTOR = frozenset({"is", "fid", "fid_infinity", "kid", "precision_recall", "diversity"})
COMPARING = frozenset({"fid", "fid_infinity", "kid", "precision_recall"})
UNTRAINED = "_of_untrained_generator"


def evaluate(
    checkpoint: Path | None = None,
    images: Path | None = None,
    data: Path | None = None,
    source: str = "cub",
    split: Literal["test", "validation", "train"] | None = None,
    image_size: int | None = None,
    skip_bad: bool = False,
    reference: Path | None = None,
    metrics: Sequence[Metric] | None = None,
    protocol: Literal["attngan", "dmgan", "dfgan", "stackgan", "quick"] | None = None,
    count: int | None = None,
    seed: int | None = None,
    splits: int | None = None,
    truncation: float | None = None,
    extractor: str | None = None,
    extractor_weights: Path | None = None,
    resize: Resize | None = None,
    precision: Precision = "float32",
    scorer: Path | None = None,
    clip: str | None = None,
    clip_weights: Path | None = None,
    untrained: bool = False,
    out: Path = Path("evaluation"),
    write_images: bool = False,
    report: bool = False,
    batch_size: int = 32,
    device: str | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Scores images drawn by a checkpoint, or images from a folder or zip, and says how each number was computed.

    The result is printed as a table and written to OUT/scores.json, with the SHA-256 of the checkpoint and of the
    feature extractor. An interrupted evaluation goes on where it stopped when it is called with the same arguments.

    Args:
        checkpoint: Generator to draw from: a checkpoint of `attngan train` or a file of `attngan export`.
        images: Folder or zip of images to score instead, from any model.
        data: Root of the data set whose captions are drawn and whose images are the reference; only the Inception Score
            of a folder does without.
        source: Layout of the data set: cub, coco, folder ... as in training.
        split: Split whose captions are drawn and whose images are the reference; by default the protocol's, else test.
        image_size: Side of the real images in pixels; by default the generator's.
        skip_bad: Leave out images of the data set that cannot be used (missing, damaged) instead of stopping.
        reference: Other images to compare with: a folder, a zip, or an .npz with mu and sigma (FID alone).
        metrics: Which scores: is (Inception Score), fid, fid_infinity (FID extrapolated to endlessly many images), kid,
            precision_recall (with density and coverage), r_precision (is an image nearer to its caption than to 99
            others?), clip (CLIPScore and CLIP R-precision), diversity (distance of images of one caption). By default
            the protocol's, else is and r_precision (of a folder or zip: is).
        protocol: A named protocol fixes everything below. What is given besides it overrides it, and the score is then
            named after what was done, not after the protocol.
        count: How many images; by default the protocol's, else 30,000, or all of a folder.
        seed: Decides noise, order of captions and distractors; by default the protocol's, else 0.
        splits: Parts of the Inception Score; by default the protocol's, else 10.
        truncation: Noise beyond plus or minus this is drawn again; by default the protocol's, else none.
        extractor: Feature extractor: inception-tf, inception-torchvision, inception-pytorch-fid-2018,
            efficientnet-lite0, efficientnet-lite2, a classifier's .safetensors file, or module:callable. By default the
            protocol's, else inception-tf.
        extractor_weights: File with the extractor's weights; by default the library's own download.
        resize: Filter that brings images to the extractor's size; by default the extractor's own.
        precision: bf16 is several times faster on processors that have it, and goes into the scores' names.
        scorer: DAMSM checkpoint that judges R-precision. By default the one in the generator's checkpoint, which the
            generator was trained to please: better give one that it has never seen.
        clip: CLIP model of open_clip that judges as well, e.g. ViT-B-32-quickgelu (needs the clip extra).
        clip_weights: File of its weights.
        untrained: Also score an untrained generator of the same design: what the scores are when nothing was learnt.
        out: Folder for scores.json, for what an interrupted evaluation goes on from, for written images and the report.
        write_images: Also write the drawn images, under names with the caption's position and the seed.
        report: Also write report.html: table, nearest real images, best and worst captions, in one file.
        batch_size: Images drawn and looked at together; the scores do not depend on it.
        device: cpu, cuda ...; by default cuda where there is one.
        progress: Show a progress bar and the table.

    Returns:
        What is written to scores.json.

    Raises:
        FileNotFoundError: No checkpoint, images or weights at the place named.
        ValueError: Arguments that do not fit together, or an unreadable image; says which.
    """
    if (checkpoint is None) == (images is None):
        raise ValueError("give either --checkpoint or --images: what is to be scored")
    if checkpoint is not None and data is None:
        raise ValueError("drawing needs captions: give the data set's root with --data")
    fixed = PROTOCOLS[protocol] if protocol else None
    wanted = fixed or Protocol("none", "inception-tf", "tensorflow", metrics=("is", "r_precision"))
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    seed = wanted.seed if seed is None else seed
    splits = wanted.splits if splits is None else splits
    truncation = wanted.truncation if truncation is None else truncation
    split = split or wanted.split
    usual = wanted.metrics if fixed is not None or checkpoint is not None else ("is",)
    chosen = frozenset(usual if metrics is None else metrics) | (frozenset() if clip is None else {"clip"})
    out = Path(out)
    if chosen & COMPARING and data is None and reference is None:
        raise ValueError(f"{', '.join(sorted(chosen & COMPARING))}: compared with what? Give --data or --reference")

    network = None
    if THROUGH_EXTRACTOR & chosen:
        network = _wanted_extractor(fixed, extractor, extractor_weights, resize, precision, device)
    sampler: Any = None
    real: Split | None = None
    subject: Subject
    if checkpoint is not None:
        from attngan.sampling import Sampler

        assert data is not None
        sampler = Sampler.load(checkpoint, device)
        real = read_split(data, source, split, image_size or sampler.resolution, skip_bad)
        folder = out / "images" if write_images else None
        subject = DrawnImages(sampler, real, count or wanted.images, seed, truncation, folder)
    else:
        assert images is not None
        if data is not None:
            real = read_split(data, source, split, _size_of_real(image_size), skip_bad)
        subject = GivenImages(ImageFiles(images, shuffle=seed), real)
    total = min(len(subject), count or len(subject))
    if fixed is not None and fixed.batch is not None:
        total -= total % fixed.batch
    judge = _wanted_scorer(scorer, checkpoint, subject, device) if "r_precision" in chosen else None
    clip_judge = _wanted_clip(clip, clip_weights, subject, device) if "clip" in chosen else None
    tools = Instruments(chosen, network, judge, clip_judge, splits, seed)

    compared = _reference(tools, wanted, real, reference, out, progress, device)
    missed = []
    if fixed is not None and network is not None:
        missed = departures(fixed, network, total, split, truncation, splits, seed)
        missed += [] if reference is None else [f"reference {reference} instead of the data set's {fixed.split} split"]
    flattered = None if judge is None or sampler is None else judge.trained(sampler)
    naming = Naming(total, None if missed else fixed, bool(flattered))
    with _progress_bar("drawing and looking" if checkpoint else "looking", total, progress) as step:
        said = _look(subject, tools, total, batch_size, out / "pass", step, device)
    measured = measure(tools, naming, said, subject.captions and subject.captions[:total], real, compared)
    scores = list(measured.scores)
    if "diversity" in chosen:
        scores += _diversity(sampler, real, subject, tools, naming, said, seed, truncation, batch_size, device)
    if untrained:
        scores += _untrained(sampler, real, tools, naming, compared, total, seed, truncation, batch_size, progress)

    result = {
        "scores": {score.name: score.as_dict() for score in scores},
        "protocol": fixed and fixed.description() | {"completed": not missed, "departures": missed},
        "subject": subject.description | ({"checkpoint": str(checkpoint)} if checkpoint else {}),
        "images": total,
        "seed": seed,
        "splits": splits,
        "extractor": network and network.description(),
        "scorer": judge and judge.description() | {"trained_the_generator": flattered},
        "clip": clip_judge and clip_judge.description(),
        "reference": compared.description or None,
        "versions": {"attngan": __version__, "torch": torch.__version__, "device": str(device)},
    }
    write_whole(out / "scores.json", json.dumps(result, indent=1))
    if report:
        from attngan.evaluation.report import write_report

        write_report(out / "report.html", result, measured, real, compared, lambda i: next(subject.batches(i, 1))[0])
    if progress:
        _print_table(result)
        print(f"written: {out / 'scores.json'}" + (f", {out / 'report.html'}" if report else ""))
    return result


# --- what is to be used -----------------------------------------------------------------------------------------------


def _wanted_extractor(
    fixed: Protocol | None,
    spec: str | None,
    weights: Path | None,
    resize: Resize | None,
    precision: Precision,
    device: str,
) -> FeatureExtractor:
    if spec is None:
        spec = "inception-tf" if fixed is None else fixed.extractor
        if spec == CLASSIFIER:
            assert fixed is not None
            raise ValueError(
                f"protocol {fixed.name} needs a classifier of the data set's own classes: make one with `attngan "
                "finetune-classifier` and give it with --extractor FILE.safetensors"
            )
    if resize is None and fixed is not None and (spec == fixed.extractor or fixed.extractor == CLASSIFIER):
        resize = fixed.resize
    try:
        return load_extractor(spec, weights, resize, precision, device)
    except FileNotFoundError as error:
        if spec in EXTRACTORS and weights is None:
            raise FileNotFoundError(
                f"{error}\nOr choose an extractor that comes with its weights: --extractor efficientnet-lite0"
            ) from error
        raise


def _size_of_real(image_size: int | None) -> int:
    if image_size is None:
        raise ValueError("real images are compared at the size of the scored ones: give it with --image_size")
    return image_size


def _wanted_scorer(path: Path | None, checkpoint: Path | None, subject: Subject, device: str) -> Scorer:
    _need_captions("R-precision", subject)
    if path is None:
        if checkpoint is None:
            raise ValueError("R-precision of images from files needs a scorer: give a DAMSM checkpoint with --scorer")
        warnings.warn(
            "R-precision is judged by the DAMSM that trained this generator, which flatters it: give another one with "
            "--scorer",
            stacklevel=3,
        )
        path = checkpoint
    return Scorer(path, device)


def _wanted_clip(model: str | None, weights: Path | None, subject: Subject, device: str) -> ClipJudge:
    _need_captions("CLIPScore", subject)
    if model is None or weights is None:
        raise ValueError("CLIP scores need a model: give --clip ViT-B-32-quickgelu (say) and --clip_weights FILE")
    return ClipJudge(model, weights, device)


def _need_captions(what: str, subject: Subject) -> None:
    if subject.captions is None:
        raise ValueError(
            f"{what} needs each image's caption: give --data and images whose names tell the caption's position, as "
            "`attngan evaluate --write_images true` does (000012_caption000345_seed0.png)"
        )


def _reference(
    tools: Instruments, wanted: Protocol, real: Split | None, given: Path | None, out: Path, progress: bool, device: str
) -> Reference:
    """Rows about what the images are compared with: the images of ``given``, else the split's real ones.

    Judges see the split's real images, each once, whatever the protocol wants the extractor to see.
    """
    stale = partial(warnings.warn, stacklevel=2)
    kept = real.cache if real is not None and real.cache is not None else out
    split = "" if real is None else f"{real.description.get('split')}-{real.description.get('image_size')}px"

    def look(
        source: RealCrops | ImageFiles, looks: list[Observer], networks: dict[str, Any], batch: int | None, label: str
    ) -> Reference:
        total = len(source) if isinstance(source, ImageFiles) else source.count
        with _progress_bar("looking at real images", total, progress) as step:
            return look_at_reference(source, looks, networks, batch, kept / f"scored-{label}", step, stale, device)

    found = Reference()
    if given is not None and given.suffix == ".npz":
        found = published_statistics(given)
    elif tools.extractor is not None and (given is not None or real is not None):
        source: RealCrops | ImageFiles
        if given is not None:
            source = ImageFiles(given)
            label = f"{source.fingerprint[:16]}-{tools.short_name}"
        else:
            assert real is not None
            source = real_crops(real, wanted.reference, wanted.reference_images, wanted.seed)
            label = f"{split}-{wanted.reference}-{tools.short_name}"
        found = look(source, tools.looks(judges=False), tools.identity(judges=False), wanted.batch, label)
    for judge in tools.judges:
        assert real is not None
        plain = real_crops(real, "centre", None, wanted.seed)
        said = look(plain, [judge.look], {judge.row: judge.weights_sha256}, None, f"{split}-{judge.name}")
        found.rows |= said.rows
        found.description = found.description or said.description
        found.show = found.show or said.show
    return found


# --- the passes -------------------------------------------------------------------------------------------------------


def _look(
    subject: Subject,
    tools: Instruments,
    total: int,
    batch_size: int,
    folder: Path | None,
    step: Callable[[int], None],
    device: str,
) -> dict[str, Tensor]:
    key = {"subject": subject.description, "networks": tools.identity()}
    return observe(partial(subject.batches, batch_size=batch_size), tools.looks(), total, folder, key, step, device)


def _diversity(
    sampler: Any,
    real: Split | None,
    subject: Subject,
    tools: Instruments,
    naming: Naming,
    said: dict[str, Tensor],
    seed: int,
    truncation: float | None,
    batch_size: int,
    device: str,
    captions: int = 50,
    samples: int = 8,
) -> list[Score]:
    """Distance of features between images of one caption: drawn for it, or found among given images."""
    assert tools.extractor is not None
    if sampler is not None:
        assert real is not None
        drawn = DrawnImages(sampler, real, min(captions, len(real.captions)), seed, truncation)
        drawn.captions = [caption for caption in drawn.captions or [] for _ in range(samples)]
        features = _look(drawn, tools.only_extractor(), len(drawn), batch_size, None, lambda done: None, device)
        rows, which = features["features"], torch.tensor(drawn.captions)
    else:
        if subject.captions is None:
            _need_captions("diversity", subject)
        rows, which = said["features"], torch.tensor((subject.captions or [])[: len(said["features"])])
    score = diversity(rows, which)
    name = f"diversity_{score.captions}x{len(rows) // score.captions}_{tools.extractor.name}"
    return [
        Score(name, score.within, score.std, f"{score.captions} captions"),
        Score(f"{name}_of_different_captions", score.between),
    ]


def _untrained(
    sampler: Any,
    real: Split | None,
    tools: Instruments,
    naming: Naming,
    compared: Reference,
    total: int,
    seed: int,
    truncation: float | None,
    batch_size: int,
    progress: bool,
) -> list[Score]:
    """The same scores of a generator of the same design that has learnt nothing."""
    if sampler is None:
        raise ValueError("--untrained needs --checkpoint: a folder of images has no untrained generator")
    from attngan.networks.description import build, describe
    from attngan.sampling import Sampler

    assert real is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = build(describe(sampler.generator))
    newborn = Sampler(fresh, sampler.text_encoder, sampler.vocabulary, "untrained").to(sampler.device)
    subject = DrawnImages(newborn, real, total, seed, truncation)
    with _progress_bar("an untrained generator", total, progress) as step:
        said = _look(subject, tools, total, batch_size, None, step, str(sampler.device))
    measured = measure(tools, naming, said, subject.captions, real, compared)
    return [
        score._replace(name=score.name + UNTRAINED)
        for score in measured.scores
        if not any(part in score.name for part in ("_of_real", "_of_shuffled"))
    ]


# --- the user's screen and disk ---------------------------------------------------------------------------------------


@contextmanager
def _progress_bar(title: str, total: int, shown: bool) -> Iterator[Callable[[int], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, disable=not shown) as bar:
        task = bar.add_task(title, total=total)
        yield lambda done: bar.update(task, completed=done)


COLUMNS = {
    "": "scored",
    "_of_real_images": "real images",
    "_of_real_halves": "two halves of the real ones",
    "_of_shuffled_captions": "shuffled captions",
    "_of_different_captions": "different captions",
    UNTRAINED: "untrained generator",
}


def pivot(scores: dict[str, dict[str, Any]]) -> tuple[list[str], dict[str, dict[str, dict[str, Any]]]]:
    """Suffixes that occur, and name to suffix to score."""
    rows: dict[str, dict[str, dict[str, Any]]] = {}
    for name, score in scores.items():
        suffix = next((s for s in COLUMNS if s and name.endswith(s)), "")
        rows.setdefault(name.removesuffix(suffix), {})[suffix] = score
    return [suffix for suffix in COLUMNS if any(suffix in row for row in rows.values())], rows


def shown(score: dict[str, Any] | None) -> str:
    """A score with its error, as in the table."""
    if score is None:
        return ""
    return _number(score["value"]) + (f" ± {_number(score['std'])}" if "std" in score else "")


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) >= 0.1 or value == 0 else f"{value:.5f}"


def _print_table(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Column, Table

    # names are never cut: what they say is the point of them
    table = Table(*(Column(title, no_wrap=True) for title in ("score", "value", "±", "over")))
    for name, row in pivot(result["scores"])[1].items():
        for suffix, score in row.items():
            error = _number(score["std"]) if "std" in score else ""
            label = f"  {COLUMNS[suffix]}" if suffix else name
            table.add_row(label, _number(score["value"]), error, score.get("std_over", ""))
    console = Console(width=max(Console().width, Console(width=300).measure(table).maximum))
    console.print(table)
    for line in facts(result):
        print(line)


def facts(result: dict[str, Any]) -> list[str]:
    """What decides the numbers, one fact a line."""
    lines = []
    if result["protocol"]:
        name = result["protocol"]["name"]
        missed = result["protocol"]["departures"]
        lines.append(f"protocol {name}: " + ("completed" if not missed else "NOT completed: " + "; ".join(missed)))
        fixed = {k: v for k, v in result["protocol"].items() if k not in ("name", "departures", "completed")}
        lines.append(f"protocol {name} fixes " + ", ".join(f"{k} {v}" for k, v in fixed.items()))
    lines.append(f"images {result['images']}, seed {result['seed']}, splits {result['splits']}")
    for part in ("extractor", "scorer", "clip", "subject", "reference"):
        if result[part]:
            told = ", ".join(f"{k} {v}" for k, v in result[part].items() if not isinstance(v, dict))
            lines.append(f"{part}: {told}")
    return lines


def write_whole(path: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
