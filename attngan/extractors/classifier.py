"""A classifier of a data set's own classes, as the CUB Inception Score needs one; kept as one safetensors file."""

import json
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

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
        return self.head(self.trunk(images).pooled)

    def save(self, path: Path | str) -> None:
        """Writes weights, architecture, class names and facts into one safetensors file."""
        from safetensors.torch import save_file

        header = {
            "trunk": describe(self.trunk),
            "class_names": self.class_names,
            "name": self.name,
            "facts": self.facts,
        }
        tensors = {key: value.detach().cpu().contiguous() for key, value in self.state_dict().items()}
        # One entry only: safetensors writes several in an order that changes from run to run, and with it the SHA-256.
        save_file(tensors, str(path), {KIND: json.dumps(header)})


def safetensors_metadata(path: Path | str) -> dict[str, str]:
    """The strings in a safetensors file's header.

    Raises:
        ValueError: Not a safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), "pt") as file:
            return dict(file.metadata() or {})
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error})") from error


def load_classifier(path: Path | str) -> ImageClassifier:
    """Reads what ``ImageClassifier.save`` wrote; in eval mode.

    Raises:
        ValueError: The file holds something else.
    """
    from safetensors.torch import load_file

    metadata = safetensors_metadata(path)
    if KIND not in metadata:
        raise ValueError(f"{path} holds no image classifier: make one with `attngan finetune-classifier`")
    header = json.loads(metadata[KIND])
    classifier = ImageClassifier(build(header["trunk"]), tuple(header["class_names"]), header["name"], header["facts"])
    classifier.load_state_dict(load_file(str(path)))
    return classifier.eval().requires_grad_(False)


def accuracy(classifier: ImageClassifier, images: Float[Tensor, "n 3 height width"], classes: Tensor) -> float:
    """Percent of images in [-1, 1] whose most likely class is theirs."""
    with torch.inference_mode():
        return 100 * (classifier(images).argmax(1) == classes).double().mean().item()
