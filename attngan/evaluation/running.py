"""Runs an evaluation: draws each set of images, puts it through the networks, and computes every metric on it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from attngan import ranks
from attngan.evaluation.feature_pass import collect_outputs
from attngan.evaluation.image_sets import ImageSet, reference_sets
from attngan.evaluation.measuring import Measured, measure
from attngan.evaluation.networks import Networks
from attngan.evaluation.reference import Reference, reference_of
from attngan.evaluation.resolving import Evaluation
from attngan.evaluation.scored_images import DrawnImages, ScoredImages
from attngan.metrics.declaration import ImageSetKind
from attngan.networks.description import build, describe
from attngan.networks.generator import Generator
from attngan.progress import progress_bar
from attngan.sampling import Sampler

#: For a metric of several images of one caption: so many captions, so many images of each.
REPEATED_CAPTIONS, REPEATED_IMAGES = 50, 8


@dataclass(frozen=True)
class Drawing:
    """Images on their way through the networks: which set they are, how many, what they go through, where it is kept.

    ``folder`` is None where nothing is kept; ``title`` stands before the progress bar.
    """

    kind: ImageSetKind
    images: ScoredImages
    count: int
    networks: Networks
    folder: Path | None
    title: str


def run(evaluation: Evaluation) -> tuple[Measured, Reference]:
    """The scores, and the images that they were compared with; of several processes rank 0 has them."""
    request = evaluation.request
    reference = reference_of(
        evaluation.networks,
        evaluation.settings,
        evaluation.split,
        request.reference,
        request.out,
        request.progress,
        evaluation.device,
    )
    sets = [_image_set(drawing, evaluation, reference) for drawing in _drawings(evaluation)]
    if not ranks.is_first():
        return Measured(), reference
    sets += reference_sets(reference, evaluation.seed)
    measured = measure(
        sets,
        evaluation.metrics,
        evaluation.networks,
        evaluation.naming,
        evaluation.split,
        evaluation.splits,
        evaluation.seed,
    )
    return measured, reference


def show(images: ScoredImages, position: int) -> Tensor:
    """One of the scored images again, uint8 (3, height, width)."""
    return next(images.batches(position, 1))[0]


def _drawings(evaluation: Evaluation) -> Iterator[Drawing]:
    """The scored images, and those that are drawn besides."""
    out, networks, images = evaluation.request.out, evaluation.networks, evaluation.images
    title = "given images" if evaluation.sampler is None else "drawn images"
    yield Drawing("scored", images, evaluation.count, networks, out / "pass", title)
    if any(metric.on == "repeated" for metric in evaluation.metrics):
        repeated = _repeated(evaluation)
        count = evaluation.count if repeated is images else len(repeated)
        folder = out / "pass" if repeated is images else None
        through = networks if repeated is images else networks.only_extractor()
        yield Drawing("repeated", repeated, count, through, folder, "several images of a caption")
    if evaluation.request.untrained:
        untrained = _untrained(evaluation)
        yield Drawing("untrained", untrained, evaluation.count, networks, out / "pass-untrained", "untrained generator")


def _image_set(drawing: Drawing, evaluation: Evaluation, reference: Reference) -> ImageSet:
    """Through the networks; goes on where an interrupted evaluation stopped."""
    images, request = drawing.images, evaluation.request
    batches = partial(images.batches, batch_size=request.batch_size)
    key = {"subject": images.description, "networks": drawing.networks.identity()}
    with progress_bar(drawing.title, drawing.count, request.progress) as step:
        functions, device = drawing.networks.output_functions, evaluation.device
        outputs = collect_outputs(batches, functions, drawing.count, drawing.folder, key, step, device)
        if isinstance(images, DrawnImages) and images.folder is not None:
            images.write_missing(drawing.count, request.batch_size)
    captions = images.captions and images.captions[: drawing.count]
    return ImageSet(drawing.kind, outputs, captions, reference)


def _repeated(evaluation: Evaluation) -> ScoredImages:
    """Several images of each of a few captions; of given images those that are there."""
    if evaluation.sampler is None:
        return evaluation.images
    assert evaluation.split is not None
    count = min(REPEATED_CAPTIONS, len(evaluation.split.captions))
    seed, truncation = evaluation.seed, evaluation.truncation
    return DrawnImages(
        evaluation.sampler, evaluation.split, count, seed, truncation, images_per_caption=REPEATED_IMAGES
    )


def _untrained(evaluation: Evaluation) -> ScoredImages:
    """The same captions and noise, drawn by a generator of the same design that has learnt nothing."""
    sampler, split = evaluation.sampler, evaluation.split
    assert sampler is not None
    assert split is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(evaluation.seed)
        fresh = build(describe(sampler.generator), Generator)
    of_text = sampler.text_encoder, sampler.vocabulary
    untrained = Sampler(fresh, *of_text, f"untrained, as {sampler.sha256}", sampler.word_limit).to(sampler.device)
    return DrawnImages(untrained, split, evaluation.count, evaluation.seed, evaluation.truncation)
