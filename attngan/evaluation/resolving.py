"""From what the user asked to an evaluation that is decided in every respect, before an image is drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from attngan.data.sources.tables import Columns
from attngan.device import usable_device
from attngan.errors import InputError, require_at_least, tell_without_effect
from attngan.evaluation.image_files import ImageFiles
from attngan.evaluation.measuring import Naming
from attngan.evaluation.metric_table import DECLARED, Metric, in_order
from attngan.evaluation.networks import Networks, choose_extractor, choose_networks
from attngan.evaluation.protocols import PROTOCOLS, Protocol, departures
from attngan.evaluation.request import Request
from attngan.evaluation.run_data import USUAL_SOURCE, with_data_of_run
from attngan.evaluation.scored_images import DrawnImages, GivenImages, ScoredImages, Split, read_split
from attngan.sampling import Sampler


@dataclass(frozen=True)
class Evaluation:
    """One evaluation, with nothing left to decide.

    Args:
        request: What was asked.
        metrics: What is computed, in the table's order.
        left_out: The protocol's metrics that images without captions cannot have.
        protocol: The named one, if any.
        settings: The protocol's, or what is usual without one.
        split_name: Whose captions are drawn.
        split: That split, where there is a data set.
        sampler: The generator, where images are drawn.
        images: Those that are scored.
        count: How many of them.
        networks: What they go through.
        seed: Seed of noise, order and every random choice.
        splits: Parts of the Inception Score.
        truncation: Truncation of the noise; None for none.
        device: Where the networks are.
    """

    request: Request
    metrics: Sequence[Metric]
    left_out: Sequence[str]
    protocol: Protocol | None
    settings: Protocol
    split_name: str
    split: Split | None
    sampler: Sampler | None
    images: ScoredImages
    count: int
    networks: Networks
    seed: int
    splits: int
    truncation: float | None
    device: str

    @property
    def captions(self) -> list[int] | None:
        """Position in the split of each scored image's caption, where it is known."""
        return self.images.captions and self.images.captions[: self.count]

    @cached_property
    def departures(self) -> list[str]:
        """In what this is not as its protocol says; empty if it is, and where there is none."""
        if self.protocol is None:
            return []
        found = departures(
            self.protocol,
            self.networks.extractor,
            self.count,
            self.split_name,
            self.truncation,
            self.splits,
            self.seed,
        )
        asked = self.request
        if asked.reference is not None:
            found.append(f"reference {asked.reference} instead of the data set's {self.protocol.split} split")
        if not _reads_text(self.sampler):
            found.append("no captions: the generator reads no text")
        if self.sampler is not None and asked.image_size not in (None, self.sampler.resolution):
            found.append(f"real images of {asked.image_size} px instead of the generator's {self.sampler.resolution}")
        return found

    @cached_property
    def flattered(self) -> bool | None:
        """Whether the DAMSM that scores trained the generator; None where none scores a generator's images."""
        scorer = self.networks.damsm
        return None if scorer is None or self.sampler is None else scorer.trained(self.sampler)

    @property
    def naming(self) -> Naming:
        """How its scores are named."""
        marks = ""
        if self.sampler is not None:
            marks = "" if self.truncation is None else f"_truncated{self.truncation:g}"
            marks += "" if self.split_name == "test" else f"_{self.split_name}"
        of_reference = "" if self.settings.reference == "centre" else f"_{self.settings.reference}"
        completed = None if self.departures else self.protocol
        return Naming(self.count, completed, bool(self.flattered), marks, of_reference)


def resolve(request: Request) -> Evaluation:
    """Decides what was left open, reads the data set and the checkpoint, and loads the networks.

    Raises:
        FileNotFoundError: No checkpoint, images or weights at the place named.
        InputError: Arguments that do not fit together; says which.
    """
    request = with_data_of_run(request)
    _check(request)
    require_at_least(1, count=request.count, image_size=request.image_size)
    require_at_least(1, splits=request.splits, batch_size=request.batch_size)
    require_at_least(0, seed=request.seed, truncation=request.truncation)
    protocol = PROTOCOLS[request.protocol] if request.protocol else None
    settings = protocol or Protocol("none", "inception-tf", "tensorflow", metrics=("is", "r_precision"))
    device = str(usable_device(request.device))
    seed = settings.seed if request.seed is None else request.seed
    truncation = settings.truncation if request.truncation is None else request.truncation
    split_name = request.split or settings.split

    sampler = None if request.checkpoint is None else Sampler.load(request.checkpoint, device)
    usual = settings.metrics if protocol is not None or sampler is not None else ("is",)
    metrics, left_out = _choose_metrics(request, usual, _reads_text(sampler))
    _tell_unused(request, metrics, sampler)
    extractor = None
    if any(metric.through == "extractor" for metric in metrics):
        extractor = choose_extractor(protocol, request, device)
    split = _read_split(request, split_name, sampler)
    images = _choose_images(request, settings, split, sampler, seed, truncation)
    count = settings.whole_batches(min(len(images), request.count or len(images)))
    if count < 1:
        raise InputError("there is no image left to score: give more, or a larger --count")
    word_limit = None if sampler is None or not _reads_text(sampler) else sampler.word_limit
    return Evaluation(
        request=request,
        metrics=metrics,
        left_out=left_out,
        protocol=protocol,
        settings=settings,
        split_name=split_name,
        split=split,
        sampler=sampler,
        images=images,
        count=count,
        networks=choose_networks(metrics, request, sampler, images, word_limit, extractor, device),
        seed=seed,
        splits=settings.splits if request.splits is None else request.splits,
        truncation=truncation,
        device=device,
    )


def _check(request: Request) -> None:
    """Refuses what does not fit together, before anything is read."""
    if (request.checkpoint is None) == (request.images is None):
        raise InputError("give either --checkpoint or --images: what is to be scored")
    if request.checkpoint is not None and request.data is None:
        raise InputError(
            "give the data set's root with --data: its captions are drawn, its images compared with (no config.yaml of "
            "a run beside the checkpoint tells it)"
        )
    if request.untrained and request.checkpoint is None:
        raise InputError("--untrained needs --checkpoint: a folder of images has no untrained generator")
    in_order(request.metrics)


def _tell_unused(request: Request, metrics: Sequence[Metric], sampler: Sampler | None) -> None:
    """Tells what was asked for and changes no score."""
    through = {metric.through for metric in metrics}
    if request.images is not None:
        own = {"truncation": (request.truncation, None), "write_images": (request.write_images, False)}
        tell_without_effect("--images are scored as they are", "--", **own)
    if request.data is None:
        of_data: dict[str, Any] = {"split": (request.split, None), "image_size": (request.image_size, None)}
        tell_without_effect("no --data is given", "--", **of_data, skip_bad=(request.skip_bad, False))
    if sampler is not None and sampler.reads != "embeddings":
        embeddings = {"text_embeddings": (request.text_embeddings, None)}
        tell_without_effect(f"this generator reads {sampler.reads}", "--", **embeddings)
    if "damsm" not in through:
        tell_without_effect("no metric asks a DAMSM (r_precision does)", "--", scorer=(request.scorer, None))
    if request.clip is None:
        tell_without_effect("no --clip is given", "--", clip_weights=(request.clip_weights, None))
    if "extractor" not in through:
        chosen = {"extractor": (request.extractor, None), "extractor_weights": (request.extractor_weights, None)}
        tell_without_effect(
            "no metric looks through a feature extractor", "--", **chosen, resize=(request.resize, None)
        )
    if not any(metric.name == "is" for metric in metrics):
        tell_without_effect("the Inception Score is not asked for", "--", splits=(request.splits, None))


def _reads_text(sampler: Sampler | None) -> bool:
    """Whether the images have captions at all; given images may."""
    return sampler is None or sampler.reads != "nothing"


def _choose_metrics(request: Request, usual: Sequence[str], text: bool) -> tuple[list[Metric], list[str]]:
    """The metrics to be computed, and those of the usual ones that a generator without text cannot have.

    Args:
        request: Names metrics, or none for the usual ones; a CLIP model or a colour probe asks for its own.
        usual: What the protocol or the command uses.
        text: Whether the images have captions.
    """
    given = {"clip": request.clip, "colours": request.colour_probe}
    extra = {metric.name for metric in DECLARED.values() if given.get(metric.through) is not None}
    wanted = {*(usual if request.metrics is None else request.metrics), *extra}
    wanted |= {implied for metric in in_order(wanted) for implied in metric.implies}
    metrics = in_order(wanted)
    impossible = [] if text else [metric.name for metric in metrics if "captions" in metric.needs]
    if named := sorted(set(impossible) & {*(request.metrics or ()), *extra}):
        raise InputError(
            f"{', '.join(named)}: this generator was trained without text, there are no captions to score its images by"
        )
    comparing = [metric.name for metric in metrics if "reference" in metric.needs]
    if comparing and request.data is None and request.reference is None:
        raise InputError(f"{', '.join(comparing)}: compared with what? Give --data or --reference")
    return [metric for metric in metrics if metric.name not in impossible], impossible


def _read_split(request: Request, split_name: str, sampler: Sampler | None) -> Split | None:
    if request.data is None:
        return None
    side = request.image_size or (None if sampler is None else sampler.resolution)
    if side is None:
        raise InputError("real images are compared at the size of the scored ones: give it with --image_size")
    embeddings = request.text_embeddings if sampler is not None and sampler.reads == "embeddings" else None
    text = _reads_text(sampler)
    columns = Columns(request.image_column, request.caption_column)
    return read_split(
        request.data, request.source or USUAL_SOURCE, split_name, side, request.skip_bad, text, embeddings, columns
    )


def _choose_images(
    request: Request,
    settings: Protocol,
    split: Split | None,
    sampler: Sampler | None,
    seed: int,
    truncation: float | None,
) -> ScoredImages:
    """Images to be drawn, or those of a folder or zip."""
    if sampler is None:
        assert request.images is not None
        return GivenImages(ImageFiles(request.images, shuffle=seed), split)
    assert split is not None
    folder = Path(request.out) / "images" if request.write_images else None
    return DrawnImages(sampler, split, request.count or settings.images, seed, truncation, folder)
