"""The networks of one evaluation, and how they are chosen from what was asked for."""

import warnings
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from attngan.checkpoint import Checkpoint, open_checkpoint
from attngan.errors import InputError, MissingFileError
from attngan.evaluation.feature_pass import OutputFunction
from attngan.evaluation.metric_table import Metric
from attngan.evaluation.protocols import CLASSIFIER, Protocol
from attngan.evaluation.request import Request
from attngan.evaluation.scored_images import ScoredImages
from attngan.evaluation.scorers import (
    ClipScorer,
    ColourScorer,
    DamsmScorer,
    ImageScorer,
    extractor_outputs,
)
from attngan.extractors.extractor import FeatureExtractor
from attngan.extractors.named import EXTRACTORS, load_extractor
from attngan.sampling import Sampler


@dataclass(frozen=True)
class Networks:
    """What the images go through; a metric's ``through`` names the one whose outputs it reads."""

    extractor: FeatureExtractor | None = None
    damsm: DamsmScorer | None = None
    clip: ClipScorer | None = None
    colours: ColourScorer | None = None

    @property
    def scorers(self) -> list[ImageScorer]:
        """Those that compare images with captions."""
        return [scorer for scorer in (self.damsm, self.clip, self.colours) if scorer is not None]

    @property
    def output_functions(self) -> list[OutputFunction]:
        of_extractor = [] if self.extractor is None else [extractor_outputs(self.extractor)]
        return [*of_extractor, *(scorer.outputs for scorer in self.scorers)]

    def identity(self) -> dict[str, Any]:
        """What decides the outputs."""
        of_extractor = {} if self.extractor is None else {"extractor": self.extractor.description()}
        return {**of_extractor, **{scorer.row: scorer.weights_sha256 for scorer in self.scorers}}

    @property
    def short_name(self) -> str:
        """The extractor's, for the names of folders."""
        return "none" if self.extractor is None else f"{self.extractor.name}-{self.extractor.sha256[:8]}"

    def each_scorer(self) -> list["Networks"]:
        """One for each network that compares images with captions, alone."""
        alone = [Networks(damsm=self.damsm), Networks(clip=self.clip), Networks(colours=self.colours)]
        return [networks for networks in alone if networks.scorers]

    def only_extractor(self) -> "Networks":
        return replace(self, damsm=None, clip=None, colours=None)


def choose_networks(
    metrics: Collection[Metric],
    request: Request,
    sampler: Sampler | None,
    images: ScoredImages,
    word_limit: int | None,
    extractor: FeatureExtractor | None,
    device: str,
) -> Networks:
    """The networks that these metrics go through.

    Args:
        metrics: To be computed.
        request: What was asked for.
        sampler: Sampler of the generator; the DAMSM in its checkpoint scores where no other is given.
        images: Those that are scored.
        word_limit: Words of a caption that the generator reads.
        extractor: Chosen already, by `choose_extractor`.
        device: Where they run.

    Raises:
        MissingFileError: A network's weights are not there.
        InputError: A network that nothing was said of, or images without captions where a metric needs some.
    """
    for metric in metrics:
        if "captions" in metric.needs and images.captions is None:
            raise InputError(
                f"{metric.label} needs each image's caption: give --data and images whose names tell the caption's "
                "position, as `attngan evaluate --write_images true` does (000012_caption000345_seed0.png)"
            )
    through = {metric.through for metric in metrics}
    return Networks(
        extractor,
        _choose_damsm(request, sampler, word_limit, device) if "damsm" in through else None,
        _choose_clip(request, device) if "clip" in through else None,
        _choose_probe(request, device) if "colours" in through else None,
    )


def choose_extractor(protocol: Protocol | None, request: Request, device: str) -> FeatureExtractor:
    """The extractor asked for, else the protocol's, else the TensorFlow Inception.

    Raises:
        MissingFileError: It has no weights here; names one that comes with its own.
        InputError: The protocol needs a classifier and none is given.
    """
    spec, resize = request.extractor, request.resize
    if spec is None:
        spec = "inception-tf" if protocol is None else protocol.extractor
        if spec == CLASSIFIER:
            assert protocol is not None
            raise InputError(
                f"protocol {protocol.name} needs a classifier of the data set's own classes: make one with `attngan "
                "finetune-classifier` and give it with --extractor FILE.safetensors"
            )
    if resize is None and protocol is not None and (spec == protocol.extractor or protocol.extractor == CLASSIFIER):
        resize = protocol.resize
    try:
        return load_extractor(spec, request.extractor_weights, resize, request.precision, device)
    except FileNotFoundError as error:
        if spec in EXTRACTORS and request.extractor_weights is None:
            raise MissingFileError(
                f"{error}\nOr choose an extractor that comes with its weights: --extractor efficientnet-lite0"
            ) from error
        raise


def _choose_damsm(request: Request, sampler: Sampler | None, word_limit: int | None, device: str) -> DamsmScorer:
    """The DAMSM asked for, else the one in the generator's checkpoint."""
    if request.scorer is not None:
        return DamsmScorer(open_checkpoint(request.scorer), device, word_limit)
    if request.checkpoint is None:
        raise InputError("R-precision of images from files needs a scorer: give a DAMSM checkpoint with --scorer")
    source = None if sampler is None else sampler.source
    opened = source if isinstance(source, Checkpoint) else open_checkpoint(request.checkpoint)
    if not opened.holds_damsm:
        raise InputError(
            f"R-precision is judged by a DAMSM, and {request.checkpoint} holds none: give a checkpoint of `attngan "
            "pretrain` with --scorer, or ask for other scores (--metrics is fid)"
        )
    warnings.warn(
        "R-precision is judged by the DAMSM that trained this generator, which flatters it: give another one with "
        "--scorer",
        stacklevel=5,
    )
    return DamsmScorer(opened, device, word_limit)


def _choose_clip(request: Request, device: str) -> ClipScorer:
    if request.clip is None or request.clip_weights is None:
        raise InputError("CLIP scores need a model: give --clip ViT-B-32-quickgelu (say) and --clip_weights FILE")
    return ClipScorer(request.clip, request.clip_weights, device)


def _choose_probe(request: Request, device: str) -> ColourScorer:
    if request.colour_probe is None:
        raise InputError("colour truth needs a colour probe of generated birds: give its file with --colour_probe")
    return ColourScorer(request.colour_probe, device)
