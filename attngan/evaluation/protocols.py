"""Protocols: everything besides the images that decides a score, under a name that may stand beside the number.

A score bears a protocol's name only where nothing of it was left out; otherwise it is named after what was really done,
e.g. ``fid_2933_efficientnet-lite0``.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from attngan.extractors.extractor import FeatureExtractor, Precision, Resize

CLASSIFIER = "classifier"


@dataclass(frozen=True)
class Protocol:
    """What a named protocol fixes. All images are compared at the generator's own resolution, before the resize filter.

    Args:
        name: Stands in the names of completed scores.
        extractor: An extractor of ``attngan.extractors.named`` (which fixes network and range), or "classifier" for one
            fine-tuned on the data set's own test classes.
        resize: Filter that brings images to the extractor's size.
        images: How many are drawn.
        split: The split whose captions are drawn; each caption is used equally often, to within one.
        truncation: Noise is cut off at plus or minus 2 and multiplied by this; None for neither.
        splits: Parts of the Inception Score.
        seed: Decides noise, order of captions, and every random choice of a metric.
        reference: The real images: centre crops of the split, or random crops and flips of them.
        reference_images: How many real images; None for all of the split, once.
        batch: Images in a last batch smaller than this are dropped, on both sides; None drops none.
        precision: Precision of the feature pass.
        metrics: What it is meant for.
        source: Where it comes from.
    """

    name: str
    extractor: str
    resize: Resize
    images: int = 30_000
    split: Literal["test", "validation"] = "test"
    truncation: float | None = None
    splits: int = 10
    seed: int = 0
    reference: Literal["centre", "augmented"] = "centre"
    reference_images: int | None = None
    batch: int | None = None
    precision: Precision = "float32"
    metrics: tuple[str, ...] = ("is", "fid")
    source: str = ""

    @property
    def scored(self) -> int:
        """How many of the drawn images are looked at."""
        return self.whole_batches(self.images)

    def whole_batches(self, images: int) -> int:
        """So many images without a last, partial batch."""
        return images if self.batch is None else images - images % self.batch

    def description(self) -> dict[str, Any]:
        return asdict(self)


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "attngan",
            "inception-tf",
            "tensorflow",
            metrics=("is", "fid", "r_precision"),
            source="Xu et al. 2018: 30,000 images of test captions; Inception Score of the TensorFlow Inception",
        ),
        Protocol(
            "dmgan",
            "inception-pytorch-fid-2018",
            "pil",
            batch=50,
            metrics=("fid",),
            source="Zhu et al. 2019 and their pytorch-fid: torchvision's Inception on images in [0, 1] scaled as if "
            "they were normalised, files resized by Pillow, batches of 50, the last partial one dropped",
        ),
        Protocol(
            "dfgan",
            "inception-pytorch-fid-2018",
            "bilinear",
            truncation=0.88,
            reference="augmented",
            reference_images=30_000,
            metrics=("fid",),
            source="Tao et al. 2022: noise truncated (at 2, times 0.88), tensors resized without antialiasing, about "
            "30,000 random crops and flips of test images as reference",
        ),
        Protocol(
            "stackgan",
            CLASSIFIER,
            "pil",
            batch=64,
            metrics=("is",),
            source="Zhang et al. 2017: Inception Score of a classifier fine-tuned on the 50 test classes, "
            "background logit removed, batches of 64, the last partial one dropped",
        ),
        Protocol(
            "quick",
            "efficientnet-lite0",
            "antialias",
            images=1_000,
            split="validation",
            splits=1,
            metrics=("is", "fid", "kid"),
            source="for validation during training: comparable within one run, not between papers",
        ),
    )
}


def departures(
    protocol: Protocol,
    extractor: FeatureExtractor | None,
    images: int,
    split: str,
    truncation: float | None,
    splits: int,
    seed: int,
) -> list[str]:
    """In what a score was not computed as the protocol says; empty if it was completed.

    ``extractor`` is None where no score looks through one.
    """
    found = []

    def same(what: str, done: object, wanted: object) -> None:
        if done != wanted:
            found.append(f"{what} {done} instead of {wanted}")

    if extractor is None:
        pass
    elif protocol.extractor == CLASSIFIER:
        if extractor.kind != CLASSIFIER:
            found.append(f"extractor {extractor.base_name} instead of a classifier fine-tuned on the test classes")
        elif extractor.facts.get("split") != protocol.split:
            found.append(
                f"classifier of the {extractor.facts.get('split')} classes instead of the {protocol.split} ones"
            )
    else:
        same("extractor", extractor.base_name, protocol.extractor)
    if extractor is not None:
        same("resize filter", extractor.resize, protocol.resize)
        same("precision", extractor.precision, protocol.precision)
    same("images", images, protocol.scored)
    same("captions of split", split, protocol.split)
    same("truncation", truncation, protocol.truncation)
    same("splits", splits, protocol.splits)
    same("seed", seed, protocol.seed)
    return found


def score_name(metric: str, count: int, extractor: str, protocol: Protocol | None, completed: bool) -> str:
    """``fid_30k_attngan`` for a completed protocol, ``fid_2933_efficientnet-lite0`` for anything else."""
    if protocol is not None and completed:
        named_after = f"_{extractor}" if protocol.extractor == CLASSIFIER else ""
        return f"{metric}_{_short(count)}_{protocol.name}{named_after}"
    return f"{metric}_{count}_{extractor}"


def _short(count: int) -> str:
    return f"{count // 1000}k" if count % 1000 == 0 and count else str(count)
