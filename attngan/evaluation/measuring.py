"""From the networks' outputs to scores: every chosen metric on every set of images that it is declared for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, TypedDict

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attngan.errors import InputError
from attngan.evaluation.image_sets import SUFFIXES, ImageSet, caption_sets
from attngan.evaluation.metric_table import Metric
from attngan.evaluation.networks import Networks
from attngan.evaluation.protocols import Protocol, score_name
from attngan.evaluation.scored_images import Split
from attngan.metrics.declaration import Measurement, TooFewImagesError
from attngan.metrics.manifold import ManifoldScores
from attngan.metrics.r_precision import CaptionDraws, CaptionPool, text_ids


class _Value(TypedDict):
    value: float


class ScoreEntry(_Value, total=False):
    """A score in scores.json; ``std`` is a standard deviation (or error) over what ``std_over`` says.

    ``seeds`` are the values of several trainings, whose mean it is.
    """

    std: float
    std_over: str
    seeds: list[float]


class Score(NamedTuple):
    """One number of the table; ``error`` is a standard deviation (or error), ``over`` says of what."""

    name: str
    value: float
    error: float | None = None
    over: str = ""

    def as_dict(self) -> ScoreEntry:
        if self.error is None:
            return {"value": self.value}
        return {"value": self.value, "std": self.error, "std_over": self.over}


@dataclass(frozen=True)
class Naming:
    """How scores are named: number of images, protocol where it was completed, a scorer that flatters.

    ``marks`` tell, where no protocol was completed, what else decides the number ("_truncated0.88"), and
    ``reference`` which real images it was compared with, if not centre crops.
    """

    images: int
    completed: Protocol | None = None
    flattered: bool = False
    marks: str = ""
    reference: str = ""

    def name(self, metric: Metric, networks: Networks, kind: str, counted: str | None = None) -> str:
        """The technical name of one of a metric's scores; no two different numbers bear one name.

        ``counted`` stands instead of the number of images where a metric counts otherwise; that number is the
        metric's own, and the name then never a protocol's.
        """
        if metric.through == "extractor":
            assert networks.extractor is not None
            marks = self.marks + (self.reference if "reference" in metric.needs else "")
            if counted is not None:
                return f"{kind}_{counted}_{networks.extractor.name}{marks}"
            if self.completed is not None:  # which fixes filter and precision: they need not stand in the name
                return score_name(kind, self.images, networks.extractor.base_name, self.completed, True)
            return score_name(kind, self.images, networks.extractor.name, None, False) + marks
        scorer = {"damsm": networks.damsm, "clip": networks.clip, "colours": networks.colours}[metric.through]
        assert scorer is not None
        flattered = "_that_trained_the_generator" if self.flattered and metric.through == "damsm" else ""
        return f"{kind}_{counted or self.images}_{scorer.name}{self.marks}{flattered}"


class ScoredDraws(NamedTuple):
    """Of a metric that compares images with captions: each draw's image, its caption's position, hit and cosine."""

    images: Int[Tensor, "draws"]
    captions: Int[Tensor, "draws"]
    hits: Bool[Tensor, "draws"]
    cosines: Float[Tensor, "draws"]


@dataclass
class Measured:
    """Scores, and what the report shows of single images; ``draws`` by the metric that compared them with captions."""

    scores: list[Score] = field(default_factory=list)
    features: Tensor | None = None
    manifold: ManifoldScores | None = None
    draws: dict[str, ScoredDraws] = field(default_factory=dict)

    def add(self, metric: Metric, image_set: ImageSet, found: Measurement, names: Callable[[str], str]) -> None:
        """Takes over what a metric gave of a set of images."""
        suffix = SUFFIXES[image_set.kind]
        for value in found.values:
            over = value.over and value.over + image_set.remark
            self.scores.append(Score(names(value.kind) + suffix + value.suffix, value.value, value.error, over))
        if image_set.kind != "scored":
            return
        if isinstance(found.details, ManifoldScores):
            self.manifold = found.details
        if isinstance(found.details, CaptionDraws) and image_set.rows is not None:
            captions = torch.tensor(image_set.captions)
            self.draws[metric.name] = ScoredDraws(image_set.rows, captions, *found.details)


def measure(
    sets: Sequence[ImageSet],
    metrics: Sequence[Metric],
    networks: Networks,
    naming: Naming,
    split: Split | None,
    splits: int,
    seed: int,
) -> Measured:
    """The scores of images that have gone through the networks.

    Args:
        sets: The scored images, and those that tell what their scores can say.
        metrics: To be computed, in this order.
        networks: Those that the images went through.
        naming: How the scores are named.
        split: The data set's split, where metrics need captions.
        splits: Parts of the Inception Score.
        seed: Seed of every random choice.

    Raises:
        InputError: A score that these outputs do not allow; says why.
    """
    measured = Measured(features=next((s.outputs.get("features") for s in sets if s.kind == "scored"), None))
    readers = {network: _Reader.of(network, sets, networks, split, seed) for network in {m.through for m in metrics}}
    for metric in metrics:
        reader = readers[metric.through]
        for image_set in reader.sets_of(metric):
            try:
                found = metric.measure(_Inputs(metric, image_set, reader, splits, seed))
            except TooFewImagesError:
                if image_set.kind in metric.beside:  # there is nothing to compare the score with
                    continue
                raise
            measured.add(metric, image_set, found, partial(naming.name, metric, networks, counted=found.counted))
    return measured


@dataclass(frozen=True)
class _Reader:
    """A network with the sets of images that metrics see through it, and the captions that it can read."""

    name: str
    row: str
    sets: Sequence[ImageSet]
    split: Split | None = None
    pool: CaptionPool | None = None
    known: Sequence[int] = ()

    def sets_of(self, metric: Metric) -> list[ImageSet]:
        """Those that the metric is declared for, in the order of its declaration."""
        return [image_set for kind in metric.sets for image_set in self.sets if image_set.kind == kind]

    @classmethod
    def of(
        cls, through: str, sets: Sequence[ImageSet], networks: Networks, split: Split | None, seed: int
    ) -> "_Reader":
        if through == "extractor":
            return cls("" if networks.extractor is None else networks.extractor.name, "features", sets)
        assert split is not None
        scored = next(s for s in sets if s.kind == "scored")
        pool: CaptionPool | None = None
        if through == "colours":
            assert networks.colours is not None
            name, row, known = networks.colours.name, networks.colours.row, list(range(len(split.captions)))
        else:
            scorer = networks.damsm if through == "damsm" else networks.clip
            assert scorer is not None
            name, row = scorer.name, scorer.row
            known, embeddings = scorer.encode(split.captions)
            owners = split.owners[known]
            classes = None if split.classes is None else split.classes[owners]
            pool = CaptionPool(embeddings, owners, text_ids(split.captions)[known], classes)
        captioned = caption_sets(sets, row, scored.reference.rows[row], split, known, seed)
        return cls(name, row, captioned, split, pool, known)


@dataclass(frozen=True)
class _Inputs:
    """Called with the name of a metric's parameter, gives its value for one set of images."""

    metric: Metric
    image_set: ImageSet
    reader: _Reader
    splits: int
    seed: int

    def __call__(self, name: str) -> object:
        if name in ("splits", "seed"):
            return self.splits if name == "splits" else self.seed
        if name == "captions":
            return self._captions()
        if name == "pool":
            return self.reader.pool
        if name == "texts":
            assert self.reader.split is not None
            return [self.reader.split.captions[i] for i in self.image_set.captions or ()]
        if name == "statistics":
            return self.image_set.reference.statistics
        if name == "reference":
            return self._reference()
        row = {"embeddings": self.reader.row}.get(name, name)
        if row not in self.image_set.outputs:
            if row == "logits":
                raise InputError(f"{self.reader.name} does not classify: an {self.metric.label} needs class logits")
            raise InputError(f"{self.metric.label} needs {row}, which {self.reader.name or 'no network'} gives")
        return self.image_set.outputs[row]

    def _captions(self) -> Tensor:
        """Positions in the pool of what the network can read; in the split where there is no pool."""
        captions = self.image_set.captions
        assert captions is not None
        if self.reader.pool is None:
            return torch.tensor(captions)
        place = {caption: position for position, caption in enumerate(self.reader.known)}
        return torch.tensor([place[caption] for caption in captions])

    def _reference(self) -> Tensor:
        rows = self.image_set.reference.rows
        if "features" not in rows:
            raise InputError(f"{self.metric.label} needs reference images: published statistics serve FID alone")
        return rows["features"]
