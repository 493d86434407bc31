"""What looks at images: the feature extractor, the judges of captions, the colour probe; and how they are chosen."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from attngan.checkpoint import Checkpoint
from attngan.evaluation.feature_pass import Observer
from attngan.evaluation.protocols import CLASSIFIER, Protocol
from attngan.evaluation.scored_images import DrawnImages, Subject
from attngan.evaluation.scorers import ClipJudge, ColourWitness, Judge, Scorer, Witness, extractor_observer
from attngan.extractors.named import EXTRACTORS, FeatureExtractor, Precision, Resize, load_extractor

Metric = Literal[
    "is", "fid", "fid_infinity", "kid", "precision_recall", "r_precision", "clip", "diversity", "colour_truth"
]
#: Scores that look through the feature extractor; those that need real images to compare with; those about captions.
THROUGH_EXTRACTOR = frozenset({"is", "fid", "fid_infinity", "kid", "precision_recall", "diversity"})
COMPARING = frozenset({"fid", "fid_infinity", "kid", "precision_recall"})
OF_CAPTIONS = frozenset({"r_precision", "clip", "diversity", "colour_truth"})


@dataclass
class Instruments:
    """What looks at the images, and which scores are wanted."""

    metrics: frozenset[str]
    extractor: FeatureExtractor | None = None
    scorer: Scorer | None = None
    clip: ClipJudge | None = None
    probe: ColourWitness | None = None
    splits: int = 10
    seed: int = 0

    @property
    def judges(self) -> list[Judge]:
        """Those that place images and captions in one embedding."""
        return [judge for judge in (self.scorer, self.clip) if judge is not None]

    @property
    def witnesses(self) -> list[Witness]:
        """Whatever looks at images to compare them with captions."""
        return [*self.judges, *([] if self.probe is None else [self.probe])]

    def looks(self, witnesses: bool = True) -> list[Observer]:
        looks = [] if self.extractor is None else [extractor_observer(self.extractor)]
        return looks + ([witness.look for witness in self.witnesses] if witnesses else [])

    def identity(self, witnesses: bool = True) -> dict[str, Any]:
        """What decides the rows."""
        networks: dict[str, Any] = {} if self.extractor is None else {"extractor": self.extractor.description()}
        return networks | ({w.row: w.weights_sha256 for w in self.witnesses} if witnesses else {})

    @property
    def short_name(self) -> str:
        return "none" if self.extractor is None else f"{self.extractor.name}-{self.extractor.sha256[:8]}"

    def only_extractor(self) -> "Instruments":
        return replace(self, scorer=None, clip=None, probe=None)


@dataclass(frozen=True)
class Wishes:
    """What the user asked for; see the arguments of `attngan evaluate` of the same names."""

    extractor: str | None = None
    extractor_weights: Path | None = None
    resize: Resize | None = None
    precision: Precision = "float32"
    scorer: Path | None = None
    clip: str | None = None
    clip_weights: Path | None = None
    colour_probe: Path | None = None


def choose_metrics(
    asked: Sequence[Metric] | None, usual: Sequence[str], wishes: Wishes, text: bool
) -> tuple[frozenset[str], list[str]]:
    """The scores to be computed, and those of the usual ones that a generator without text cannot have.

    Args:
        asked: What the user named; None for the usual ones.
        usual: Of the protocol, or of the command.
        wishes: A CLIP model or a colour probe among them asks for its scores.
        text: Whether the images have captions at all.

    Raises:
        ValueError: Scores about captions were asked for where there are none.
    """
    extra = ({"clip"} if wishes.clip is not None else set()) | ({"colour_truth"} if wishes.colour_probe else set())
    wanted = frozenset(usual if asked is None else asked) | extra
    if text:
        return wanted, []
    explicit = frozenset(asked or ()) | extra
    if impossible := explicit & OF_CAPTIONS:
        raise ValueError(
            f"{', '.join(sorted(impossible))}: this generator was trained without text, there are no captions to score "
            "its images by"
        )
    return wanted - OF_CAPTIONS, sorted(wanted & OF_CAPTIONS)


def choose_extractor(fixed: Protocol | None, wishes: Wishes, device: str) -> FeatureExtractor:
    """The extractor asked for, else the protocol's, else the TensorFlow Inception.

    Raises:
        FileNotFoundError: It has no weights here; names one that comes with its own.
        ValueError: The protocol needs a classifier and none is given.
    """
    spec, resize = wishes.extractor, wishes.resize
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
        return load_extractor(spec, wishes.extractor_weights, resize, wishes.precision, device)
    except FileNotFoundError as error:
        if spec in EXTRACTORS and wishes.extractor_weights is None:
            raise FileNotFoundError(
                f"{error}\nOr choose an extractor that comes with its weights: --extractor efficientnet-lite0"
            ) from error
        raise


def choose_scorer(
    wishes: Wishes, checkpoint: Path | None, subject: Subject, word_limit: int | None, device: str
) -> Scorer:
    """The DAMSM that judges R-precision: the one asked for, else the one in the generator's checkpoint.

    Raises:
        ValueError: There is none, or the images have no captions.
    """
    need_captions("R-precision", subject)
    path = wishes.scorer
    if path is None:
        if checkpoint is None:
            raise ValueError("R-precision of images from files needs a scorer: give a DAMSM checkpoint with --scorer")
        warnings.warn(
            "R-precision is judged by the DAMSM that trained this generator, which flatters it: give another one with "
            "--scorer",
            stacklevel=3,
        )
        path = checkpoint
    if path == checkpoint and isinstance(subject, DrawnImages) and isinstance(subject.sampler.source, Checkpoint):
        return Scorer(subject.sampler.source, device, word_limit)  # it is open already
    return Scorer(path, device, word_limit)


def choose_clip(wishes: Wishes, subject: Subject, device: str) -> ClipJudge:
    """The CLIP model asked for."""
    need_captions("CLIPScore", subject)
    if wishes.clip is None or wishes.clip_weights is None:
        raise ValueError("CLIP scores need a model: give --clip ViT-B-32-quickgelu (say) and --clip_weights FILE")
    return ClipJudge(wishes.clip, wishes.clip_weights, device)


def choose_probe(wishes: Wishes, subject: Subject, device: str) -> ColourWitness:
    """The colour probe asked for."""
    need_captions("colour truth", subject)
    if wishes.colour_probe is None:
        raise ValueError("colour truth needs a colour probe of generated birds: give its file with --colour_probe")
    return ColourWitness(wishes.colour_probe, device)


def need_captions(what: str, subject: Subject) -> None:
    """Raises a ValueError that says what to do, if it is not known which caption each image belongs to."""
    if subject.captions is None:
        raise ValueError(
            f"{what} needs each image's caption: give --data and images whose names tell the caption's position, as "
            "`attngan evaluate --write_images true` does (000012_caption000345_seed0.png)"
        )
