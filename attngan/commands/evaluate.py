"""The command `attngan evaluate`."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal, cast

from attngan import ranks
from attngan.errors import require_at_least
from attngan.evaluation.metric_table import metrics_help
from attngan.evaluation.request import Request
from attngan.evaluation.resolving import resolve
from attngan.evaluation.result import EvaluationResult, result_of
from attngan.evaluation.running import run, show
from attngan.evaluation.table import print_table
from attngan.extractors.extractor import Precision, Resize
from attngan.files import write_whole
from attngan.launching import SeveralDevices
from attngan.terminal import say


def evaluate(
    checkpoint: str | Path | None = None,
    images: str | Path | None = None,
    data: str | Path | None = None,
    source: str | None = None,
    split: Literal["test", "validation", "train"] | None = None,
    image_size: int | None = None,
    skip_bad: bool = False,
    image_column: str | None = None,
    caption_column: str | None = None,
    reference: str | Path | None = None,
    metrics: Sequence[str] | None = None,
    protocol: Literal["attngan", "dmgan", "dfgan", "stackgan", "quick"] | None = None,
    count: int | None = None,
    seed: int | None = None,
    splits: int | None = None,
    truncation: float | None = None,
    extractor: str | None = None,
    extractor_weights: str | Path | None = None,
    resize: Resize | None = None,
    precision: Precision = "float32",
    scorer: str | Path | None = None,
    clip: str | None = None,
    clip_weights: str | Path | None = None,
    colour_probe: str | Path | None = None,
    text_embeddings: str | None = None,
    untrained: bool = False,
    out: str | Path = Path("evaluation"),
    write_images: bool = False,
    report: bool = False,
    batch_size: int = 32,
    device: str | None = None,
    devices: int = 1,
    progress: bool = True,
) -> EvaluationResult:
    """Scores images drawn by a checkpoint, or images from a folder or zip, and says how each number was computed.

    The result is printed as a table and written to OUT/scores.json, with the SHA-256 of the checkpoint and of the
    feature extractor. An interrupted evaluation goes on where it stopped when it is called with the same arguments.

    Args:
        checkpoint: Generator to draw from: a checkpoint of `attngan train` or a file of `attngan export`.
        images: Folder or zip of images to score instead, from any model.
        data: Root of the data set whose captions are drawn and whose images are the reference; by default that of the
            run that the checkpoint lies in (its config.yaml). Only the Inception Score of a folder does without.
        source: Layout of the data set: cub, coco, folder ... as in training; by default the run's, else cub.
        split: Split whose captions are drawn and whose images are the reference; by default the protocol's, else test.
        image_size: Side of the real images in pixels; by default the generator's.
        skip_bad: Leave out images of the data set that cannot be used (missing, damaged) instead of stopping.
        image_column: For a folder with a table: the column with the images' names, as in training.
        caption_column: Column of such a table with the captions.
        reference: Other images to compare with: a folder, a zip, or an .npz with mu and sigma (FID alone).
        metrics: Which scores: METRICS. By default the protocol's, else is and r_precision (of a folder or zip: is). A
            generator that reads no text has none of those about captions.
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
        clip_weights: File of the CLIP model's weights.
        colour_probe: File of a colour probe (`attngan demo` writes one): scores the colours of generated birds as well.
        text_embeddings: For a generator that reads precomputed sentence embeddings: their file, as in training
            (data.text_embeddings).
        untrained: Also score an untrained generator of the same design: what the scores are when nothing was learnt.
        out: Folder for scores.json, for what an interrupted evaluation goes on from, for written images and the report.
        write_images: Also write the drawn images, under names with the caption's position and the seed.
        report: Also write report.html: table, nearest real images, best and worst captions, in one file.
        batch_size: Images drawn and looked at together; the scores do not depend on it.
        device: cpu, cuda ...; by default cuda where there is one.
        devices: How many of them draw and look at images together, in a process each; as many processes as torchrun or
            srun started, where one of them did. The numbers are those of one device.
        progress: Show a progress bar and the table.

    Returns:
        What is written to scores.json.

    Raises:
        FileNotFoundError: No checkpoint, images or weights at the place named.
        ValueError: Arguments that do not fit together, or an unreadable image; says which.
    """
    request = Request.of(**locals())
    require_at_least(1, devices=devices)
    if devices > 1 and not ranks.is_started_as_one_of_several():
        raise SeveralDevices(devices)
    ranks.join()
    with ranks.first_goes_ahead():  # it prepares what the others then find: caches, kept rows
        evaluation = resolve(request)
    measured, compared = run(evaluation)
    if not ranks.is_first():
        return ranks.broadcast(cast(EvaluationResult, {}))  # that of rank 0
    result = result_of(evaluation, measured, compared)
    write_whole(request.out / "scores.json", json.dumps(result, indent=1))
    if report:
        from attngan.evaluation.report import write_report

        page, drawn = request.out / "report.html", partial(show, evaluation.images)
        write_report(page, result, measured, evaluation.split, compared, drawn, evaluation.captions)
    if progress:
        print_table(result)
        also = f", {request.out / 'report.html'}" if report else ""
        say(f"written: {request.out / 'scores.json'} (each score's name, files and hashes){also}")
    return ranks.broadcast(result)


if evaluate.__doc__:  # None under python -OO
    evaluate.__doc__ = evaluate.__doc__.replace("METRICS", metrics_help())
