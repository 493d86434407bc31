"""Discriminators: one an image, each with a head for image-and-caption pairs, for images alone, or both."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attngan.errors import InputError
from attngan.networks.blocks import Init, Norm, conv3x3, critic_block, doublings, downsample, init_weights, tile
from attngan.networks.deep_convolution import DeepConvolution
from attngan.networks.description import Described
from attngan.networks.image_trunks import ImageTrunk
from attngan.records import FrozenFeatures


class DiscriminatorStage(Described):
    """Base of what judges one image of the generator: features of images, and logits of them by one or two heads.

    `extract` is the part that nothing trains; what it gives of a drawn image serves the discriminator's step and the
    generator's. Called with its ``levels`` (images, where nothing is frozen), a stage gives features of them, (batch,
    channels, *places), for the heads.
    """

    def extract(self, images: Float[Tensor, "batch 3 height width"]) -> FrozenFeatures:
        """What a frozen network makes of images in [-1, 1]; the images themselves, where nothing is frozen."""
        return FrozenFeatures((images,))

    def sees_through(self, trunk: ImageTrunk) -> bool:
        """Whether `extract` gives the features of this very trunk: same weights, same size."""
        return False

    def judge_pair(
        self, features: Float[Tensor, "batch channels *places"], sentence: Float[Tensor, "batch embed"]
    ) -> Float[Tensor, "batch *judged"] | None:
        """Logits, one an image or one a place of it: does it show what the sentence says? None without such a head."""
        return None

    def judge_image(self, features: Float[Tensor, "batch channels *places"]) -> Float[Tensor, "batch *judged"] | None:
        """Logits, one an image or one a place of it: is the image a real one? None without a head."""
        return None


class Discriminators(Described):
    """Base of all discriminators: one stage for each image that the generator draws, smallest first."""

    #: Sides of the images in pixels.
    resolutions: tuple[int, ...]
    #: Length of what the head for pairs reads; None: there is no such head.
    embed_dim: int | None
    stages: nn.ModuleList

    def stage(self, number: int) -> DiscriminatorStage:
        """The discriminator of the generator's image of this number, counted from 0."""
        stage = self.stages[number]
        assert isinstance(stage, DiscriminatorStage), f"{type(stage).__name__} is no DiscriminatorStage"
        return stage


class StageDiscriminator(DiscriminatorStage):
    """Image to 4 x 4 features; one or two heads on them (Zhang et al. 2018; Xu et al. 2018).

    Args:
        resolution: Side of the image in pixels: 4 times a power of two.
        width: Channels of the first block (DF_DIM).
        embed_dim: Length of the sentence embedding; None: no head for pairs of image and sentence.
        norm: "batch" as published, or "spectral" (Miyato et al. 2018) in its place; convolutions then have biases.
        unconditional: Whether there is a head that judges the image alone.
        init: How weights start; see `init_weights`.
    """

    def __init__(
        self,
        resolution: int,
        width: int = 64,
        embed_dim: int | None = 256,
        norm: Norm = "batch",
        unconditional: bool = True,
        init: Init = "orthogonal",
    ) -> None:
        super().__init__()
        if embed_dim is None and not unconditional:
            raise InputError("a discriminator without a head for pairs (embed_dim null) needs unconditional=true")
        downs = doublings(resolution, "a discriminator's resolution")
        bias = norm == "spectral"  # batch norm brings biases of its own
        channels = [3, *(width * 2**i for i in range(downs))]
        convs = [downsample(a, b, bias) for a, b in pairwise(channels)]
        while channels[-1] > 8 * width:  # beyond 64 px: back to 8 times the width, at 4 x 4
            channels.append(channels[-1] // 2)
            convs.append(DeepConvolution(2 * channels[-1], channels[-1], 3, padding=1, bias=bias))
        last = channels[-1]
        joint = None if embed_dim is None else conv3x3(last + embed_dim, last, bias)
        self.conditional_head = None if embed_dim is None else nn.Conv2d(last, 1, 4, stride=4)
        self.unconditional_head = nn.Conv2d(last, 1, 4, stride=4) if unconditional else None
        heads = [head for head in (self.conditional_head, self.unconditional_head) if head is not None]
        for conv in (*convs, *([] if joint is None else [joint]), *heads):
            init_weights(conv, init)
        # the first block of the published network has no batch norm; spectral norm goes into every block, and as in
        # DM-GAN's code not into the heads, whose logits it would bound
        norms = [None if norm == "batch" else norm, *([norm] * (len(convs) - 1))]
        self.encoder = nn.Sequential(*(critic_block(conv, n) for conv, n in zip(convs, norms, strict=True)))
        self.joint = None if joint is None else critic_block(joint, norm)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                init_weights(module, init)

    def forward(self, images: Float[Tensor, "batch 3 side side"]) -> Float[Tensor, "batch channels 4 4"]:
        """Features of images in [-1, 1], for the heads."""
        features: Tensor = self.encoder(images)
        return features

    def judge_pair(
        self, features: Float[Tensor, "batch channels 4 4"], sentence: Float[Tensor, "batch embed"]
    ) -> Float[Tensor, " batch"] | None:
        """Logits: does the image show what the sentence says? None where the network has no such head."""
        if self.joint is None or self.conditional_head is None:
            return None
        logits: Tensor = self.conditional_head(self.joint(torch.cat([features, tile(sentence, features)], 1)))
        return logits.flatten()

    def judge_image(self, features: Float[Tensor, "batch channels 4 4"]) -> Float[Tensor, " batch"] | None:
        """Logits: is the image a real one? None where the network has no such head."""
        return None if self.unconditional_head is None else self.unconditional_head(features).flatten()


class DiscriminatorPyramid(Discriminators):
    """One `StageDiscriminator` for each image that the generator draws, smallest first.

    Args:
        resolutions: Sides of the images in pixels, as the generator draws them.
        width: Channels of a discriminator's first block (DF_DIM).
        embed_dim: Length of what the discriminators read of a caption: the sentence embedding, or the mean of the
            generator's conditioning augmentation; null for discriminators that read no text.
        norm: "batch" as published, or "spectral".
        unconditional: Whether each has a head that judges the image alone.
        init: How weights start: "orthogonal", "normal" (StackGAN: N(0, 0.02)) or "torch" (torch's own).
    """

    def __init__(
        self,
        resolutions: Sequence[int] = (64, 128, 256),
        width: int = 64,
        embed_dim: int | None = 256,
        norm: Norm = "batch",
        unconditional: bool = True,
        init: Init = "orthogonal",
    ) -> None:
        super().__init__()
        self.embed_dim = embed_dim
        self.resolutions = tuple(resolutions)
        self.stages = nn.ModuleList(
            StageDiscriminator(side, width, embed_dim, norm, unconditional, init) for side in resolutions
        )
