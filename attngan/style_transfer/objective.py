"""The loss of a picture against one content and several styles, weighted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from attngan.errors import InputError
from attngan.style_transfer.losses import content_loss, gram_matrix, style_loss, total_variation
from attngan.style_transfer.networks import StyleNetwork

#: Places that a layer must have each way: of a single one there is no content, and a Gram matrix says nothing.
FEWEST_PLACES = 2


@dataclass(frozen=True)
class Weights:
    """What counts how much.

    Args:
        content: Weight of the content's loss.
        style: Weight of the style's loss.
        total_variation: Weight of the smoothness.
        styles: Weight of each style image; they are divided by their sum.
        layers: Weight of each style layer by its name; they are divided by their sum.
        content_blend: Share of the finer content layer; the rest is the deeper one's.

    Raises:
        InputError: A negative weight, a share outside of [0, 1], or weights of which nothing is left.
    """

    content: float
    style: float
    total_variation: float
    styles: Sequence[float]
    layers: Mapping[str, float]
    content_blend: float = 1.0

    def __post_init__(self) -> None:
        single = {"content": self.content, "style": self.style, "total_variation": self.total_variation}
        for name, value in single.items():
            if not 0 <= value < float("inf"):
                raise InputError(f"--{name}_weight is {value}: a weight is 0 or more")
        for name, values in {"style_weights": list(self.styles), "style_layers": list(self.layers.values())}.items():
            if min(values, default=0) < 0 or not 0 < sum(values) < float("inf"):
                raise InputError(f"--{name} are {values}: each is 0 or more, and one is more than 0")
        if not 0 <= self.content_blend <= 1:
            raise InputError(f"--content_blend is {self.content_blend}: a share between 0 and 1")


class Losses(NamedTuple):
    """The terms, weighted, and their sum."""

    content: Tensor
    style: Tensor
    total_variation: Tensor

    @property
    def total(self) -> Tensor:
        """What is minimised."""
        return torch.stack(self).sum()


class Objective:
    """Losses of a picture of the content's size.

    Args:
        network: Whose feature maps tell content and style.
        content: The content image, in [-1, 1].
        styles: The style images, each of its own size.
        weights: What counts how much.

    Raises:
        InputError: An image too small for the layers, or a layer that the network does not have.
    """

    def __init__(
        self,
        network: StyleNetwork,
        content: Float[Tensor, "1 3 height width"],
        styles: Sequence[Float[Tensor, "1 3 _ _"]],
        weights: Weights,
    ) -> None:
        finer, deeper = network.content_layers
        blend = {finer: weights.content_blend, deeper: 1 - weights.content_blend}
        self.network, self.weights = network, weights
        self.content_shares = {name: share for name, share in blend.items() if share > 0}
        whole = sum(weights.layers.values())
        self.style_shares = {name: weight / whole for name, weight in weights.layers.items() if weight > 0}
        network.check(list(weights.layers))
        self._check_sizes("the content image", content, [*self.content_shares, *self.style_shares])
        self.layers = sorted({*self.content_shares, *self.style_shares}, key=list(network.layers).index)
        with torch.no_grad():
            self.content = network(content, list(self.content_shares))
            self.grams = self._blended_grams(styles)

    def _check_sizes(self, what: str, image: Tensor, layers: Sequence[str]) -> None:
        coarsest = max(self.network.strides[name] for name in layers)
        if min(image.shape[2:]) < FEWEST_PLACES * coarsest:
            raise InputError(
                f"{what} is {image.shape[3]} x {image.shape[2]} px: its layers need {FEWEST_PLACES * coarsest} px each "
                "way; give a larger image or --size, or leave out the deepest layers"
            )

    def _blended_grams(self, styles: Sequence[Tensor]) -> list[tuple[float, dict[str, Tensor]]]:
        """Of each style its share and its Gram matrices, layer by layer."""
        whole, found = sum(self.weights.styles), []
        for number, (style, weight) in enumerate(zip(styles, self.weights.styles, strict=True), 1):
            self._check_sizes(f"style image {number}", style, list(self.style_shares))
            if weight > 0:
                features = self.network(style, list(self.style_shares))
                found.append((weight / whole, {name: gram_matrix(features[name]) for name in self.style_shares}))
        return found

    def __call__(self, image: Float[Tensor, "1 3 height width"]) -> Losses:
        features = self.network(image, self.layers)
        content = image.new_zeros(())
        for name, share in self.content_shares.items():
            content = content + share * content_loss(features[name], self.content[name])
        style = image.new_zeros(())
        for of_style, grams in self.grams:
            for name, of_layer in self.style_shares.items():
                style = style + of_style * of_layer * style_loss(features[name], grams[name])
        weights = self.weights
        smooth = weights.total_variation * total_variation(image)
        return Losses(weights.content * content, weights.style * style, smooth)
