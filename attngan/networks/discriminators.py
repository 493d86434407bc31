"""Discriminators: is this an image, and is it one of this caption? One network a stage of the generator."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from attngan.networks.blocks import Norm, conv3x3, critic_block, downsample, init_weights
from attngan.networks.description import Described


class StageDiscriminator(Described):
    """Image to 4 x 4 features; two heads on them (Zhang et al. 2018; Xu et al. 2018).

    Args:
        resolution: Side of the image in pixels: 4 times a power of two.
        width: Channels of the first block (DF_DIM).
        embed_dim: Length of the sentence embedding.
        norm: "batch" as published, or "spectral" (Miyato et al. 2018) in its place.
        unconditional: Whether there is a head that judges the image alone.
    """

    def __init__(
        self,
        resolution: int,
        width: int = 64,
        embed_dim: int = 256,
        norm: Norm = "batch",
        unconditional: bool = True,
    ) -> None:
        super().__init__()
        downs = round(math.log2(resolution / 4))
        if resolution != 4 * 2**downs or downs < 1:
            raise ValueError(f"a discriminator's resolution must be 8, 16, 32, 64 ... pixels, not {resolution}")
        channels = [3, *(width * 2**i for i in range(downs))]
        convs = [downsample(a, b) for a, b in pairwise(channels)]
        while channels[-1] > 8 * width:  # beyond 64 px: back to 8 times the width, at 4 x 4
            channels.append(channels[-1] // 2)
            convs.append(conv3x3(2 * channels[-1], channels[-1]))
        joint = conv3x3(channels[-1] + embed_dim, channels[-1])
        self.conditional_head = nn.Conv2d(channels[-1], 1, 4, stride=4)
        self.unconditional_head = nn.Conv2d(channels[-1], 1, 4, stride=4) if unconditional else None
        for conv in (*convs, joint, self.conditional_head, self.unconditional_head):
            if conv is not None:
                init_weights(conv)
        if norm == "spectral":
            spectral_norm(self.conditional_head)
            if self.unconditional_head is not None:
                spectral_norm(self.unconditional_head)
        # the first block of the published network has no batch norm; spectral norm goes everywhere
        norms = [None if norm == "batch" else norm, *([norm] * (len(convs) - 1))]
        self.encoder = nn.Sequential(*(critic_block(conv, n) for conv, n in zip(convs, norms, strict=True)))
        self.joint = critic_block(joint, norm)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                init_weights(module)

    def forward(self, images: Float[Tensor, "batch 3 side side"]) -> Float[Tensor, "batch channels 4 4"]:
        """Features of images in [-1, 1], for the two heads."""
        return self.encoder(images)

    def judge_pair(
        self, features: Float[Tensor, "batch channels 4 4"], sentence: Float[Tensor, "batch embed"]
    ) -> Float[Tensor, " batch"]:
        """Logits: does the image show what the sentence says?"""
        tiled = sentence[:, :, None, None].expand(-1, -1, 4, 4)
        return self.conditional_head(self.joint(torch.cat([features, tiled], 1))).flatten()

    def judge_image(self, features: Float[Tensor, "batch channels 4 4"]) -> Float[Tensor, " batch"] | None:
        """Logits: is the image a real one? None where the network has no such head."""
        return None if self.unconditional_head is None else self.unconditional_head(features).flatten()


class DiscriminatorPyramid(Described):
    """One `StageDiscriminator` for each image that the generator draws, smallest first.

    Args:
        resolutions: Sides of the images in pixels, as the generator draws them.
        width: Channels of a discriminator's first block (DF_DIM).
        embed_dim: Length of the sentence embedding; must fit the DAMSM.
        norm: "batch" as published, or "spectral".
        unconditional: Whether each has a head that judges the image alone.
    """

    def __init__(
        self,
        resolutions: Sequence[int] = (64, 128, 256),
        width: int = 64,
        embed_dim: int = 256,
        norm: Norm = "batch",
        unconditional: bool = True,
    ) -> None:
        super().__init__()
        self.embed_dim = embed_dim
        self.resolutions = tuple(resolutions)
        self.stages = nn.ModuleList(
            StageDiscriminator(side, width, embed_dim, norm, unconditional) for side in resolutions
        )
