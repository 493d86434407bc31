"""The command `attngan evaluate`."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from attngan import __version__
from attngan.evaluation.observers import Scorer, extractor_observer
from attngan.evaluation.scores import Score, inception_scores, r_precision_scores
from attngan.evaluation.subjects import DrawnImages, GivenImages, Split, Subject, read_split
from attngan.metrics.feature_pass import observe
from attngan.metrics.features import EXTRACTORS, FeatureExtractor, Precision, Resize, load_extractor
from attngan.metrics.image_files import ImageFiles
from attngan.metrics.protocols import CLASSIFIER, PROTOCOLS, Protocol, departures, score_name

Metric = Literal["is", "r_precision"]
#: Scores that look through the feature extractor.
THROUGH_EXTRACTOR = frozenset({"is"})


def evaluate(
    checkpoint: Path | None = None,
    images: Path | None = None,
    data: Path | None = None,
    source: str = "cub",
    split: Literal["test", "validation", "train"] | None = None,
    image_size: int | None = None,
    metrics: Sequence[Metric] = ("is", "r_precision"),
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
    out: Path = Path("evaluation"),
    write_images: bool = False,
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
        metrics: Which scores: is (Inception Score); r_precision (is an image nearer to its caption than to 99 others).
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
        out: Folder for scores.json, for what an interrupted evaluation goes on from, and for written images.
        write_images: Also write the drawn images, under names with the caption's position and the seed.
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
    wanted = fixed or Protocol("none", "inception-tf", "tensorflow")
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    seed = wanted.seed if seed is None else seed
    splits = wanted.splits if splits is None else splits
    truncation = wanted.truncation if truncation is None else truncation
    split = split or wanted.split
    out = Path(out)

    network = None
    if THROUGH_EXTRACTOR & set(metrics):
        network = _wanted_extractor(fixed, extractor, extractor_weights, resize, precision, device)
    real: Split | None
    subject: Subject
    sampler = None
    if checkpoint is not None:
        from attngan.sampling import Sampler

        assert data is not None
        sampler = Sampler.load(checkpoint, device)
        real = read_split(data, source, split, image_size or sampler.resolution)
        folder = out / "images" if write_images else None
        subject = DrawnImages(sampler, real, count or wanted.images, seed, truncation, folder)
    else:
        assert images is not None
        real = None if data is None else read_split(data, source, split, _size_of_real(image_size))
        subject = GivenImages(ImageFiles(images, shuffle=seed), real)
    total = min(len(subject), count or len(subject))
    if fixed is not None and fixed.batch is not None:
        total -= total % fixed.batch
    judge = None
    if "r_precision" in metrics:
        judge = _wanted_scorer(scorer, checkpoint, subject, device)
        assert real is not None or subject.captions is None

    looks = [] if network is None else [extractor_observer(network)]
    looks += [] if judge is None else [judge.look]
    extractor_facts = None if network is None else network.description()
    key = {"subject": subject.description, "extractor": extractor_facts, "scorer": judge and judge.weights_sha256}
    batches = partial(subject.batches, batch_size=batch_size)
    with _progress_bar("drawing and looking" if checkpoint else "looking", total, progress) as step:
        said = observe(batches, looks, total, out / "pass", key, step, device)

    scores: list[Score] = []
    missed: list[str] = []
    if network is not None:
        if fixed is not None:
            missed = departures(fixed, network, total, split, truncation, splits, seed)
        named = partial(score_name, count=total, extractor=network.name, protocol=fixed, completed=not missed)
        if "is" in metrics:
            if "logits" not in said:
                raise ValueError(f"{network.name} does not classify: an Inception Score needs an extractor with logits")
            scores += inception_scores(named("is"), said["logits"], splits)
    own_scorer = None
    if judge is not None:
        assert real is not None
        assert subject.captions is not None
        own_scorer = None if sampler is None else judge.trained(sampler)
        name = f"r_precision_{total}_{judge.name}" + ("_that_trained_the_generator" if own_scorer else "")
        known, embeddings = judge.encode(real.captions)
        place = out / "reference-damsm"
        real_said = _look_at_real(real, [judge.look], judge.weights_sha256, place, progress, device)
        drawn, captions = said["damsm"], subject.captions[:total]
        scores += r_precision_scores(name, real, known, embeddings, drawn, captions, real_said["damsm"], seed)

    result = {
        "scores": {score.name: score.as_dict() for score in scores},
        "protocol": fixed and fixed.description() | {"completed": not missed, "departures": missed},
        "subject": subject.description | ({"checkpoint": str(checkpoint)} if checkpoint else {}),
        "images": total,
        "seed": seed,
        "splits": splits,
        "extractor": extractor_facts,
        "scorer": judge
        and {
            "path": str(judge.path),
            "sha256": judge.sha256,
            "weights_sha256": judge.weights_sha256,
            "trained_the_generator": own_scorer,
        },
        "reference": real and real.description | {"images": len(real.images), "fingerprint": real.fingerprint},
        "versions": {"attngan": __version__, "torch": torch.__version__, "device": str(device)},
    }
    _write_whole(out / "scores.json", json.dumps(result, indent=1))
    if progress:
        _print_table(result)
    return result


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
    if subject.captions is None:
        raise ValueError(
            "R-precision needs each image's caption: give --data and images whose names tell the caption's position, "
            "as `attngan evaluate --write_images` names them (000012_caption000345_seed0.png)"
        )
    if path is None:
        if checkpoint is None:
            raise ValueError("R-precision of images from files needs a scorer: give a DAMSM checkpoint with --scorer")
        import warnings

        warnings.warn(
            "R-precision is judged by the DAMSM that trained this generator, which flatters it: give another one with "
            "--scorer",
            stacklevel=3,
        )
        path = checkpoint
    return Scorer(path, device)


def _look_at_real(
    real: Split, looks: list[Any], network: str, folder: Path, progress: bool, device: str
) -> dict[str, Tensor]:
    """Rows about the real images; kept in ``folder`` for as long as neither images nor network change."""
    key = {"images": real.fingerprint, "split": real.description, "network": network}
    with _progress_bar("looking at real images", len(real.images), progress) as step:
        return observe(real.crops, looks, len(real.images), folder, key, step, device)


@contextmanager
def _progress_bar(title: str, total: int, shown: bool) -> Iterator[Callable[[int], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, disable=not shown) as bar:
        task = bar.add_task(title, total=total)
        yield lambda done: bar.update(task, completed=done)


def _print_table(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("score", "value", "±")
    for name, score in result["scores"].items():
        error = f"{score['std']:.3f} over {score['std_over']}" if "std" in score else ""
        table.add_row(name, f"{score['value']:.3f}", error)
    console = Console()
    console.print(table)
    for reason in (result["protocol"] or {}).get("departures", ()):
        console.print(f"protocol {result['protocol']['name']} not completed: {reason}", markup=False)


def _write_whole(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(text)
    part.replace(path)
