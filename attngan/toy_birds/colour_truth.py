"""Colour truth: how many of the colours that captions name are seen in the images drawn for them.

Only generated birds (``toy_birds/dataset.py``) have a truth to ask for: each caption names colours of some parts, and a
small network, the colour probe (trained by ``probe_training.py``), tells the colours of all parts of an image. The
probe's own accuracy bounds what colour truth can say.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attngan.errors import InputError
from attngan.metrics.declaration import Measurement, Value, metric
from attngan.toy_birds.captions import COLOURS, PARTS, Dice, named_colours
from attngan.toy_birds.colour_probe import ColourProbe

COLOUR_NAMES = tuple(COLOURS)


@dataclass(frozen=True)
class ColourTruth:
    """How many colours captions named and how many of them the probe saw, by part; sums over batches with ``+``."""

    named: dict[str, int]
    correct: dict[str, int]

    @property
    def percent(self) -> float:
        """Of all named colours; NaN if no caption named any."""
        return percent_of_whole(sum(self.correct.values()), sum(self.named.values()))

    @property
    def percent_of(self) -> dict[str, float]:
        """The same for each part."""
        return {part: percent_of_whole(self.correct[part], self.named[part]) for part in PARTS}

    def __add__(self, other: "ColourTruth") -> "ColourTruth":
        return ColourTruth(
            {part: self.named[part] + other.named[part] for part in PARTS},
            {part: self.correct[part] + other.correct[part] for part in PARTS},
        )


def colour_truth(
    probe: ColourProbe, images: Float[Tensor, "images 3 _ _"], captions: Sequence[str], batch_size: int = 256
) -> ColourTruth:
    """How many of the colours that the captions name the probe sees in the images.

    Args:
        probe: A trained probe.
        images: In [-1, 1], of any size.
        captions: One an image; captions that name no colour count for nothing.
        batch_size: Images that the probe is given at once.
    """
    if len(images) != len(captions):
        raise InputError(f"{len(images)} images and {len(captions)} captions: give one caption an image")
    return truth_of_colours(_seen_colours(probe, images, batch_size), captions)


def captions_of_other_classes(captions: Sequence[Sequence[str]], classes: Sequence[int], seed: int) -> list[str]:
    """For each image a random caption of an image of another class: what colour truth is by chance.

    Args:
        captions: The captions of each image.
        classes: The class of each image; at least two different ones.
        seed: Seed of the choice.
    """
    if len(set(classes)) < 2:
        raise InputError("captions of other classes need images of at least two classes")
    dice = Dice(seed)
    others = {number: [i for i, other in enumerate(classes) if other != number] for number in set(classes)}
    return [dice.pick(captions[dice.pick(others[number])]) for number in classes]


def _seen_colours(probe: ColourProbe, images: Tensor, batch_size: int = 256) -> Int[Tensor, "images parts"]:
    device = probe.class_head.colours.device
    with torch.inference_mode():
        return torch.cat([probe(batch.to(device)).colours.argmax(-1).cpu() for batch in images.split(batch_size)])


def truth_of_colours(seen: Int[Tensor, "images parts"], captions: Sequence[str]) -> ColourTruth:
    """How many of the colours that the captions name are those seen in the images.

    Args:
        seen: The number of each part's colour, as the probe tells them.
        captions: One an image.
    """
    named, correct = dict.fromkeys(PARTS, 0), dict.fromkeys(PARTS, 0)
    for colours, caption in zip(seen.tolist(), captions, strict=True):
        for part, colour in named_colours(caption).items():
            named[part] += 1
            correct[part] += COLOUR_NAMES[colours[PARTS.index(part)]] == colour
    return ColourTruth(named, correct)


@metric(
    "colour_truth",
    label="Colour truth",
    better="larger",
    unit="%",
    through="colours",
    needs={"captions"},
    beside=("captioned", "shuffled"),
    help="of generated birds: share of the colours named by captions that are seen",
)
def colour_truth_of_seen(colours: Float[Tensor, "images parts"], texts: Sequence[str]) -> Measurement:
    """The share of named colours that were seen, with its standard error.

    Raises:
        InputError: The captions name no colour of a part of a bird.
    """
    truth = truth_of_colours(colours.long(), texts)
    named = sum(truth.named.values())
    if not named:
        raise InputError("no caption names a colour of a bird's part: colour truth is for generated birds")
    share = truth.percent / 100
    error = 100 * (share * (1 - share) / named) ** 0.5
    return Measurement([Value("colour_truth", truth.percent, error, f"{named} named colours (standard error)")])


def percent_of_whole(part: int, whole: int) -> float:
    return 100 * part / whole if whole else float("nan")
