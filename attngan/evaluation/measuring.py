"""What the instruments saw of images, to scores."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from attngan.evaluation.instruments import Instruments
from attngan.evaluation.protocols import Protocol, score_name
from attngan.evaluation.reference import Reference
from attngan.evaluation.scored_images import Split
from attngan.evaluation.scores import (
    CaptionScores,
    Score,
    caption_scores,
    colour_scores,
    fid_scores,
    inception_scores,
    kid_scores,
    manifold_score_list,
)
from attngan.metrics.manifold import ManifoldScores


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


@dataclass
class Measured:
    """Scores, and what the report shows of single images."""

    scores: list[Score] = field(default_factory=list)
    manifold: ManifoldScores | None = None
    judged: dict[str, CaptionScores] = field(default_factory=dict)
    features: Tensor | None = None


def measure(
    tools: Instruments,
    naming: Naming,
    said: dict[str, Tensor],
    captions: Sequence[int] | None,
    real: Split | None,
    compared: Reference,
) -> Measured:
    """The scores of images that the instruments have looked at.

    Args:
        tools: Those instruments.
        naming: How the scores are named.
        said: What they said of the images.
        captions: Position of each image's caption in the split, where it is known.
        real: The split.
        compared: What they said of the images to compare with.

    Raises:
        ValueError: A score that these rows do not allow; says why.
    """
    measured = Measured(features=said.get("features"))
    wanted, theirs = tools.metrics, compared.rows

    def name(metric: str) -> str:
        assert tools.extractor is not None
        done = naming.completed
        marks = naming.marks + ("" if metric == "is" else naming.reference)
        if done is not None:  # which fixes filter and precision: they need not stand in the name
            return score_name(metric, naming.images, tools.extractor.base_name, done, True)
        return score_name(metric, naming.images, tools.extractor.name, None, False) + marks

    if "is" in wanted:
        if "logits" not in said:
            assert tools.extractor is not None
            raise ValueError(f"{tools.extractor.name} does not classify: an Inception Score needs class logits")
        measured.scores += inception_scores(name("is"), said["logits"], theirs.get("logits"), tools.splits)
    if "fid" in wanted or "fid_infinity" in wanted:
        own, infinity = theirs.get("features"), "fid_infinity" in wanted
        measured.scores += fid_scores(name, said["features"], compared.statistics, own, infinity, tools.seed)
    if wanted & {"kid", "precision_recall"}:
        if "features" not in theirs:
            raise ValueError("KID, precision and recall need reference images: published statistics serve FID alone")
        if "kid" in wanted:
            measured.scores += kid_scores(name("kid"), said["features"], theirs["features"], tools.seed)
        if "precision_recall" in wanted:
            scores, measured.manifold = manifold_score_list(name, said["features"], theirs["features"], tools.seed)
            measured.scores += scores
    for judge in tools.judges:
        assert real is not None
        assert captions is not None
        known, embeddings = judge.encode(real.captions)
        label = f"{naming.images}_{judge.name}{naming.marks}"
        flattered = "_that_trained_the_generator" if naming.flattered and judge is tools.scorer else ""
        is_clip = judge is tools.clip
        judged = caption_scores(
            f"clip_r_precision_{label}" if is_clip else f"r_precision_{label}{flattered}",
            real,
            known,
            embeddings,
            said[judge.row],
            captions,
            theirs[judge.row],
            tools.seed,
            f"clip_score_{label}" if is_clip else None,
        )
        measured.judged[judge.row] = judged
        measured.scores += judged.scores
    if (probe := tools.probe) is not None:
        assert real is not None
        assert captions is not None
        label = f"colour_truth_{naming.images}_{probe.name}{naming.marks}"
        measured.scores += colour_scores(label, real, said[probe.row], captions, theirs[probe.row], tools.seed)
    return measured
