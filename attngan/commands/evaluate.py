"""The command `attngan evaluate`."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from attngan import __version__
from attngan.evaluation.display import print_table, progress_bar, write_whole
from attngan.evaluation.feature_pass import observe
from attngan.evaluation.image_files import ImageFiles
from attngan.evaluation.instruments import (
    COMPARING,
    THROUGH_EXTRACTOR,
    Instruments,
    Metric,
    Wishes,
    choose_clip,
    choose_extractor,
    choose_metrics,
    choose_probe,
    choose_scorer,
    need_captions,
)
from attngan.evaluation.measuring import Naming, measure
from attngan.evaluation.protocols import PROTOCOLS, Protocol, departures
from attngan.evaluation.reference import Reference, look_at_real
from attngan.evaluation.scored_images import DrawnImages, GivenImages, Split, Subject, read_split
from attngan.evaluation.scores import DIFFERENT, HALVES, REAL, SHUFFLED, UNTRAINED, Score
from attngan.extractors.extractor import Precision, Resize
from attngan.metrics.diversity import diversity
from attngan.networks.description import build, describe
from attngan.networks.generator import Generator
from attngan.sampling import Sampler


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
    colour_probe: Path | None = None,
    text_embeddings: str | None = None,
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
            others?), clip (CLIPScore and CLIP R-precision), diversity (distance of images of one caption), colour_truth
            (of generated birds: share of the colours named by captions that are seen). By default the protocol's, else
            is and r_precision (of a folder or zip: is). A generator that reads no text has none of those about
            captions.
        protocol: A named protocol fixes everything below. What is given besides it overrides it, and the score is then
            named after what was done, not after the protocol.
        count: How many images; by default the protocol's, else 30,000, or all of a folder.
        seed: Decides noise, order of captions and distractors; by default the protocol's, else 0.
        splits: Parts of the Inception Score; by default the protocol's, else 10.
        truncation: Noise is cut off at plus or minus 2 and multiplied by this; by default the protocol's, else neither.
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
        colour_probe: File of a colour probe (`attngan demo` writes one): scores the colours of generated birds as well.
        text_embeddings: For a generator that reads precomputed sentence embeddings: their file, as in training
            (data.text_embeddings).
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
        raise ValueError("give the data set's root with --data: its captions are drawn, its images compared with")
    fixed = PROTOCOLS[protocol] if protocol else None
    wanted = fixed or Protocol("none", "inception-tf", "tensorflow", metrics=("is", "r_precision"))
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    seed = wanted.seed if seed is None else seed
    splits = wanted.splits if splits is None else splits
    truncation = wanted.truncation if truncation is None else truncation
    split = split or wanted.split
    out = Path(out)
    wishes = Wishes(extractor, extractor_weights, resize, precision, scorer, clip, clip_weights, colour_probe)

    sampler = None if checkpoint is None else Sampler.load(checkpoint, device)
    text = sampler is None or sampler.reads != "nothing"
    usual = wanted.metrics if fixed is not None or checkpoint is not None else ("is",)
    chosen, without_text = choose_metrics(metrics, usual, wishes, text)
    if chosen & COMPARING and data is None and reference is None:
        raise ValueError(f"{', '.join(sorted(chosen & COMPARING))}: compared with what? Give --data or --reference")
    network = choose_extractor(fixed, wishes, device) if THROUGH_EXTRACTOR & chosen else None
    real: Split | None = None
    if data is not None:
        side = image_size or (_size_of_real(image_size) if sampler is None else sampler.resolution)
        embedded = sampler is not None and sampler.reads == "embeddings"
        real = read_split(data, source, split, side, skip_bad, text, text_embeddings if embedded else None)
    subject: Subject
    if sampler is not None:
        assert real is not None
        folder = out / "images" if write_images else None
        subject = DrawnImages(sampler, real, count or wanted.images, seed, truncation, folder)
    else:
        assert images is not None
        subject = GivenImages(ImageFiles(images, shuffle=seed), real)
    total = min(len(subject), count or len(subject))
    total = wanted.whole_batches(total)
    if total < 1:
        raise ValueError("there is no image left to score: give more, or a larger --count")
    word_limit = None if sampler is None or not text else sampler.word_limit
    judge = choose_scorer(wishes, checkpoint, subject, word_limit, device) if "r_precision" in chosen else None
    clip_judge = choose_clip(wishes, subject, device) if "clip" in chosen else None
    probe = choose_probe(wishes, subject, device) if "colour_truth" in chosen else None
    tools = Instruments(chosen, network, judge, clip_judge, probe, splits, seed)

    compared = look_at_real(tools, wanted, real, reference, out, progress, device)
    missed = []
    if fixed is not None:
        missed = departures(fixed, network, total, split, truncation, splits, seed)
        missed += [] if reference is None else [f"reference {reference} instead of the data set's {fixed.split} split"]
        missed += [] if text else ["no captions: the generator reads no text"]
        if sampler is not None and image_size not in (None, sampler.resolution):
            missed.append(f"real images of {image_size} px instead of the generator's {sampler.resolution}")
    flattered = None if judge is None or sampler is None else judge.trained(sampler)
    of_reference = "" if wanted.reference == "centre" else f"_{wanted.reference}"
    naming = Naming(total, None if missed else fixed, bool(flattered), _marks(subject, split), of_reference)
    with progress_bar("drawing and looking" if checkpoint else "looking", total, progress) as step:
        said = _look(subject, tools, total, batch_size, out / "pass", step, device)
        if isinstance(subject, DrawnImages) and subject.folder is not None:
            subject.write_missing(total, batch_size)
    measured = measure(tools, naming, said, subject.captions and subject.captions[:total], real, compared)
    scores = list(measured.scores)
    if "diversity" in chosen:
        scores += _diversity(sampler, real, subject, tools, said, seed, truncation, batch_size, device)
    if untrained:
        folder = out / "pass-untrained"
        scores += _untrained(
            sampler, real, tools, naming, compared, total, seed, truncation, batch_size, folder, progress
        )

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
        "colour_probe": probe and probe.description(),
        "reference": compared.description or None,
        "left_out": {name: "the generator reads no text" for name in without_text},
        "versions": {"attngan": __version__, "torch": torch.__version__, "device": str(device)},
    }
    write_whole(out / "scores.json", json.dumps(result, indent=1))
    if report:
        from attngan.evaluation.report import write_report

        show = partial(_show, subject)
        write_report(out / "report.html", result, measured, real, compared, show, subject.captions)
    if progress:
        print_table(result)
        print(f"written: {out / 'scores.json'}" + (f", {out / 'report.html'}" if report else ""))
    return result


def _marks(subject: Subject, split: str) -> str:
    """What stands in a score's name besides number and extractor, so that no two different numbers bear one name."""
    if not isinstance(subject, DrawnImages):
        return ""
    of_noise = "" if subject.truncation is None else f"_truncated{subject.truncation:g}"
    return of_noise + ("" if split == "test" else f"_{split}")


def _show(subject: Subject, position: int) -> Tensor:
    """One of the scored images again."""
    return next(subject.batches(position, 1))[0]


def _size_of_real(image_size: int | None) -> int:
    if image_size is None:
        raise ValueError("real images are compared at the size of the scored ones: give it with --image_size")
    return image_size


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
    sampler: Sampler | None,
    real: Split | None,
    subject: Subject,
    tools: Instruments,
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
        count = min(captions, len(real.captions))
        drawn = DrawnImages(sampler, real, count, seed, truncation, images_per_caption=samples)
        features = _look(drawn, tools.only_extractor(), len(drawn), batch_size, None, lambda done: None, device)
        rows, which = features["features"], torch.tensor(drawn.captions)
    else:
        if subject.captions is None:
            need_captions("diversity", subject)
        rows, which = said["features"], torch.tensor((subject.captions or [])[: len(said["features"])])
    score = diversity(rows, which)
    name = f"diversity_{score.captions}x{score.images // score.captions}_{tools.extractor.name}"
    return [
        Score(name, score.within, score.std, f"{score.captions} captions"),
        Score(name + DIFFERENT, score.between),
    ]


def _untrained(
    sampler: Sampler | None,
    real: Split | None,
    tools: Instruments,
    naming: Naming,
    compared: Reference,
    total: int,
    seed: int,
    truncation: float | None,
    batch_size: int,
    folder: Path,
    progress: bool,
) -> list[Score]:
    """The same scores of a generator of the same design that has learnt nothing."""
    if sampler is None:
        raise ValueError("--untrained needs --checkpoint: a folder of images has no untrained generator")
    assert real is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = build(describe(sampler.generator), Generator)
    of_text = sampler.text_encoder, sampler.vocabulary
    newborn = Sampler(fresh, *of_text, f"untrained, as {sampler.sha256}", sampler.word_limit).to(sampler.device)
    subject = DrawnImages(newborn, real, total, seed, truncation)
    with progress_bar("an untrained generator", total, progress) as step:
        said = _look(subject, tools, total, batch_size, folder, step, str(sampler.device))
    measured = measure(tools, naming, said, subject.captions, real, compared)
    return [
        score._replace(name=score.name + UNTRAINED)
        for score in measured.scores
        if not score.name.endswith((REAL, HALVES, SHUFFLED))
    ]
