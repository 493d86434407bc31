"""The sets of images on which a metric is computed: the scored ones, and those that tell what a score can say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from attngan.errors import InputError
from attngan.evaluation.reference import Reference
from attngan.evaluation.scored_images import Split, caption_order
from attngan.metrics.declaration import ImageSetKind
from attngan.metrics.diversity import DIFFERENT

#: Put behind a score's name by the set of images that it is of.
REAL, HALVES, SHUFFLED = "_of_real_images", "_of_real_halves", "_of_shuffled_captions"
UNTRAINED = "_of_untrained_generator"
SUFFIXES: dict[ImageSetKind, str] = {
    "scored": "",
    "repeated": "",
    "real": REAL,
    "captioned": REAL,
    "halves": HALVES,
    "shuffled": SHUFFLED,
    "untrained": UNTRAINED,
}
#: What that is called in tables.
TITLES = {
    "": "scored",
    REAL: "real images",
    HALVES: "two halves of the real ones",
    SHUFFLED: "shuffled captions",
    DIFFERENT: "different captions",
    UNTRAINED: "untrained generator",
}


@dataclass(frozen=True)
class ImageSet:
    """Images as the networks saw them.

    Args:
        kind: Which set it is.
        outputs: Of the networks, one row an image.
        captions: Position in the split of each image's caption, where it has one.
        reference: The images to compare with.
        rows: Which of the scored images these are, where it is some of them.
        remark: Stands behind what an error is over.
    """

    kind: ImageSetKind
    outputs: Mapping[str, Tensor]
    captions: Sequence[int] | None = None
    reference: Reference = field(default_factory=Reference)
    rows: Tensor | None = None
    remark: str = ""


def reference_sets(reference: Reference, seed: int) -> list[ImageSet]:
    """The real images as a set of their own (in random order: a split is sorted by class), and two halves of them.

    None of published statistics, which have no images.
    """
    real: dict[str, Tensor] = {name: reference.rows[name] for name in ("features", "logits") if name in reference.rows}
    if "features" not in real:
        return []
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(real["features"])))
    shuffled: dict[str, Tensor] = {name: rows[order] for name, rows in real.items()}
    first, second = halves(real["features"], seed)
    return [
        ImageSet("real", shuffled, reference=reference, remark=f" of {len(order)} images"),
        ImageSet("halves", {"features": first}, reference=Reference({"features": second})),
    ]


def halves(rows: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Two random halves of equal size."""
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(rows)))
    middle = len(rows) // 2
    return rows[order[:middle]], rows[order[middle : 2 * middle]]


def caption_sets(
    sets: Sequence[ImageSet], row: str, real: Tensor, split: Split, known: Sequence[int], seed: int
) -> list[ImageSet]:
    """Images with captions that a network can read: the scored ones, real ones, and the scored ones shuffled.

    Args:
        sets: Those of the scored images and of an untrained generator's.
        row: The network's output.
        real: That of the split's real images, in order.
        split: Captions and classes.
        known: Positions of the captions that it can read.
        seed: Decides which captions of the real images are asked about.

    Raises:
        InputError: It can read none of the captions of the scored images.
    """
    found = []
    for image_set in sets:
        if image_set.captions is None or image_set.kind not in ("scored", "untrained"):
            continue
        own = _with_known_captions(image_set, row, known)
        found.append(own)
        if own.kind == "scored":
            found += [_captioned(own, row, real, split, known, seed), _shuffled(own, split)]
    return found


def _with_known_captions(image_set: ImageSet, row: str, known: Sequence[int]) -> ImageSet:
    readable, captions = set(known), image_set.captions or []
    rows = [i for i, caption in enumerate(captions) if caption in readable]
    if not rows:
        raise InputError("the scorer's vocabulary knows no word of any caption that was drawn")
    outputs = {row: image_set.outputs[row][rows]}
    return ImageSet(image_set.kind, outputs, [captions[i] for i in rows], image_set.reference, torch.tensor(rows))


def _captioned(scored: ImageSet, row: str, real: Tensor, split: Split, known: Sequence[int], seed: int) -> ImageSet:
    """As many draws of real images as were scored, each time with another of their captions."""
    order = caption_order(range(len(known)), len(scored.captions or []), seed)
    captions = [known[i] for i in order]
    return ImageSet("captioned", {row: real[split.owners[captions]]}, captions, scored.reference)


def _shuffled(scored: ImageSet, split: Split) -> ImageSet:
    """Another draw's caption for each draw, of another class or image wherever the first tries find one."""
    true = torch.tensor(scored.captions)
    groups = split.owners if split.classes is None else split.classes[split.owners]
    shuffled = true.clone()
    wrong = torch.ones(len(true), dtype=torch.bool)
    for shift in range(1, min(len(true), 50)):
        rolled = true.roll(shift * max(1, len(true) // 50))
        better = wrong & (groups[rolled] != groups[true])
        shuffled[better] = rolled[better]
        wrong &= ~better
    return ImageSet("shuffled", scored.outputs, shuffled.tolist(), scored.reference, scored.rows)
