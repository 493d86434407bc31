"""A classifier of a data set's own classes, as the CUB Inception Score needs one; kept as one safetensors file."""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attngan import described_weights
from attngan.errors import InputError
from attngan.networks.description import build, describe
from attngan.networks.image_trunks import ImageTrunk

KIND = "image-classifier-1"


class ImageClassifier(nn.Module):
    """A linear layer on an image trunk's pooled vector.

    Args:
        trunk: The image network.
        class_names: One a class; "background" names a class of no image, left out of scores.
        name: Goes into the names of the scores that use it, e.g. ``cub-test50-efficientnet-lite0``.
        facts: What is known of it (data set, accuracy, seed ...); stored with it.
    """

    def __init__(
        self, trunk: ImageTrunk, class_names: tuple[str, ...], name: str, facts: dict[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.class_names = tuple(class_names)
        self.name = name
        self.facts = dict(facts or {})
        self.head = nn.Linear(trunk.pooled_channels, len(self.class_names))

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch classes"]:
        """Logits of images in [-1, 1]."""
        logits: Tensor = self.head(self.trunk(images).pooled)
        return logits

    def save(self, path: Path | str) -> None:
        """Writes weights, architecture, class names and facts into one safetensors file."""
        header = {
            "trunk": describe(self.trunk),
            "class_names": self.class_names,
            "name": self.name,
            "facts": self.facts,
        }
        described_weights.write(path, KIND, header, self.state_dict())


def load_classifier(path: Path | str) -> ImageClassifier:
    """Reads what ``ImageClassifier.save`` wrote; in eval mode.

    Raises:
        InputError: The file holds something else, or is damaged.
    """
    header = described_weights.read_description(path, KIND)
    if header is None:
        raise InputError(f"{path} holds no image classifier: make one with `attngan finetune-classifier`")
    weights = described_weights.read_weights(path)
    return described_weights.build_with(lambda: _described(header), weights, str(path)).eval().requires_grad_(False)


def _described(header: dict[str, Any]) -> ImageClassifier:
    trunk = build(header["trunk"], ImageTrunk)
    return ImageClassifier(trunk, tuple(map(str, header["class_names"])), str(header["name"]), dict(header["facts"]))


def accuracy(classifier: ImageClassifier, images: Float[Tensor, "n 3 height width"], classes: Tensor) -> float:
    """Percent of images in [-1, 1] whose most likely class is theirs."""
    with torch.inference_mode():
        right: Tensor = classifier(images).argmax(1) == classes
    return 100 * float(right.double().mean())
