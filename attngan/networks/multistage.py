"""Generators that grow an image over stages, each mixing text into the features of the one before.

One network for StackGAN++, AttnGAN and DM-GAN: they differ in the fusion between stages and in the stages' widths.
"""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attngan.errors import InputError
from attngan.networks.attention import PaddingMask
from attngan.networks.blocks import (
    GATES,
    Activation,
    Init,
    ResidualBlock,
    Upsampling,
    activate,
    doublings,
    image_head,
    init_weights,
    upsample_block,
)
from attngan.networks.conditioning import ConditioningAugmentation
from attngan.networks.fusion import ConcatFusion, Fusion, MemoryFusion, WordAttentionFusion
from attngan.networks.generator import Generator
from attngan.records import GeneratedImages, GeneratorNoise, TextFeatures


class Stem(nn.Module):
    """Condition and noise, as one vector, to the first stage's features: a linear layer to 4 x 4, then upsampling."""

    def __init__(
        self,
        in_dim: int,
        width: int,
        base_size: int,
        activation: Activation = "glu",
        upsampling: Upsampling = "nearest",
    ) -> None:
        super().__init__()
        blocks = doublings(base_size, "base_size")
        channels = [width * 2 ** (blocks - i) for i in range(blocks + 1)]
        before = GATES[activation] * channels[0] * 4 * 4
        self.linear = nn.Linear(in_dim, before, bias=False)
        self.norm = nn.BatchNorm1d(before)
        self.activate = activate(activation)
        self.upsample = nn.Sequential(*(upsample_block(a, b, activation, upsampling) for a, b in pairwise(channels)))

    def forward(self, code: Float[Tensor, "batch code"]) -> Float[Tensor, "batch width side side"]:
        x = self.activate(self.norm(self.linear(code)))
        first: Tensor = self.upsample(x.unflatten(1, (-1, 4, 4)))
        return first


class Stage(nn.Module):
    """One step up: fuse text into the features, refine them, double their height and width."""

    def __init__(
        self,
        fusion: Fusion,
        width: int,
        residual_blocks: int,
        activation: Activation = "glu",
        upsampling: Upsampling = "nearest",
    ) -> None:
        super().__init__()
        self.fusion = fusion
        self.residual = nn.Sequential(*(ResidualBlock(fusion.out_channels, activation) for _ in range(residual_blocks)))
        self.upsample = upsample_block(fusion.out_channels, width, activation, upsampling)

    def forward(
        self,
        hidden: Float[Tensor, "batch width height side"],
        text: TextFeatures | None,
        condition: Float[Tensor, "batch condition"],
    ) -> tuple[Float[Tensor, "batch out twice_height twice_side"], Float[Tensor, "batch words height side"] | None]:
        joined, attention = self.fusion(hidden, text, condition)
        return self.upsample(self.residual(joined)), attention


class MultiStageGenerator(Generator):
    """Conditioning augmentation, a stem, one further stage a fusion, and image heads.

    Args:
        width: Channels of the stages' features (GF_DIM of the published code), or of each stage's.
        noise_dim: Length of the latent vector z.
        conditioning: Makes the condition of a sentence; None for a generator that reads no text: z then stands in the
            condition's place at the further stages.
        fusions: What joins each stage to the next, one a stage after the first.
        residual_blocks: Residual blocks a stage (R_NUM).
        base_size: Side of the first stage's image in pixels; each further stage doubles it.
        images: "every stage" draws an image at each, "last" only at the last (AttnDCGAN).
        activation: After each batch norm; "relu" in StackGAN.
        init: How weights start; see `init_weights`.
        upsampling: "nearest" as published, or "bilinear".
    """

    def __init__(
        self,
        width: int | Sequence[int],
        noise_dim: int,
        conditioning: ConditioningAugmentation | None,
        fusions: Sequence[Fusion],
        residual_blocks: int = 2,
        base_size: int = 64,
        images: Literal["every stage", "last"] = "every stage",
        activation: Activation = "glu",
        init: Init = "orthogonal",
        upsampling: Upsampling = "nearest",
    ) -> None:
        super().__init__()
        widths = [width] * (len(fusions) + 1) if isinstance(width, int) else list(width)
        if len(widths) != len(fusions) + 1:
            raise InputError(f"{len(widths)} widths for {len(fusions) + 1} stages: give one a stage")
        self.noise_dim = noise_dim
        self.embed_dim = None if conditioning is None else conditioning.embed_dim
        self.condition_dim = self.condition_noise_dim = 0 if conditioning is None else conditioning.condition_dim
        self.attends = any(fusion.attends for fusion in fusions)
        sizes = [base_size * 2**i for i in range(len(fusions) + 1)]
        self.image_sizes = sizes if images == "every stage" else sizes[-1:]
        self.conditioning = conditioning
        self.stem = Stem(self.condition_dim + noise_dim, widths[0], base_size, activation, upsampling)
        self.stages = nn.ModuleList(
            Stage(fusion, out, residual_blocks, activation, upsampling)
            for fusion, out in zip(fusions, widths[1:], strict=True)
        )
        self.heads = nn.ModuleList(image_head(channels) for channels in widths[-len(self.image_sizes) :])
        self.apply(partial(init_weights, init=init))

    def forward(self, noise: GeneratorNoise, text: TextFeatures | None) -> GeneratedImages:
        if self.conditioning is None:
            condition, mean, log_variance = noise.latent, None, None
            code = noise.latent
        else:
            condition, mean, log_variance = self.conditioning(sentence_of(text), noise.condition)
            code = torch.cat([condition, noise.latent], 1)
        hidden = self.stem(code)
        hiddens, attention = [hidden], []
        for stage in self.stages:
            hidden, weights = stage(hidden, text, condition)
            hiddens.append(hidden)
            if weights is not None:
                attention.append(weights)
        drawn = zip(self.heads, hiddens[-len(self.heads) :], strict=True)
        images = tuple(head(features) for head, features in drawn)
        return GeneratedImages(images, tuple(attention), mean, log_variance)


def sentence_of(text: TextFeatures | None) -> Float[Tensor, "batch embed"]:
    """The sentence, for a generator that cannot do without."""
    if text is None:
        raise InputError("this generator reads text and was given none")
    return text.sentence


def further_stages(stages: int) -> range:
    """Numbers of the stages after the first, from 0."""
    if stages < 1:
        raise InputError(f"a generator has 1 stage or more, not {stages}")
    return range(stages - 1)


class AttnGANGenerator(MultiStageGenerator):
    """Stages that attend to words (Xu et al. 2018). The defaults are the published ones for CUB.

    Args:
        stages: Stages, 1 to 3 in the paper.
        width: Channels of a stage's features (GF_DIM).
        embed_dim: Length of the text encoder's features; must fit the DAMSM.
        noise_dim: Length of the latent vector z.
        condition_dim: Length of the augmented sentence.
        residual_blocks: Residual blocks a stage (R_NUM).
        base_size: Side of the first stage's image in pixels; each further stage doubles it.
        images: "every stage", or "last": only the last stage draws (AttnDCGAN).
        padding_mask: "own": a sample's own padding; "published": the published code's mixed-up rows.
        upsampling: "nearest" as published, or "bilinear", for short trainings.
    """

    def __init__(
        self,
        stages: int = 3,
        width: int = 32,
        embed_dim: int = 256,
        noise_dim: int = 100,
        condition_dim: int = 100,
        residual_blocks: int = 2,
        base_size: int = 64,
        images: Literal["every stage", "last"] = "every stage",
        padding_mask: PaddingMask = "own",
        upsampling: Upsampling = "nearest",
    ) -> None:
        super().__init__(
            width,
            noise_dim,
            ConditioningAugmentation(embed_dim, condition_dim),
            [WordAttentionFusion(width, embed_dim, padding_mask) for _ in further_stages(stages)],
            residual_blocks,
            base_size,
            images,
            upsampling=upsampling,
        )


class DMGANGenerator(MultiStageGenerator):
    """Stages that read a memory of the words (Zhu et al. 2019). The defaults are the published ones for CUB.

    Args:
        stages: Stages, 3 in the paper.
        width: Channels of a stage's features (GF_DIM).
        embed_dim: Length of the text encoder's features; must fit the DAMSM.
        noise_dim: Length of the latent vector z.
        condition_dim: Length of the augmented sentence.
        residual_blocks: Residual blocks a stage (R_NUM; 3 for COCO).
        base_size: Side of the first stage's image in pixels; each further stage doubles it.
        padding_mask: "own": a sample's own padding; "published": the published code's mixed-up rows.
        upsampling: "nearest" as published, or "bilinear", for short trainings.
    """

    def __init__(
        self,
        stages: int = 3,
        width: int = 64,
        embed_dim: int = 256,
        noise_dim: int = 100,
        condition_dim: int = 100,
        residual_blocks: int = 2,
        base_size: int = 64,
        padding_mask: PaddingMask = "own",
        upsampling: Upsampling = "nearest",
    ) -> None:
        super().__init__(
            width,
            noise_dim,
            ConditioningAugmentation(embed_dim, condition_dim),
            [MemoryFusion(width, embed_dim, padding_mask) for _ in further_stages(stages)],
            residual_blocks,
            base_size,
            upsampling=upsampling,
        )


class StackGANPlusPlusGenerator(MultiStageGenerator):
    """Stages that the sentence joins, or without text z; each has half the width of the one before (Zhang et al. 2018).

    Args:
        stages: Stages, 3 in the paper.
        width: Channels of the first stage's features (GF_DIM).
        embed_dim: Length of the sentence embedding: the DAMSM's, or a precomputed one's (1024 as published); null for
            the unconditional generator, which reads no text.
        noise_dim: Length of the latent vector z.
        condition_dim: Length of the augmented sentence; without text there is none.
        residual_blocks: Residual blocks a stage (R_NUM).
        base_size: Side of the first stage's image in pixels; each further stage doubles it.
        upsampling: "nearest" as published, or "bilinear", for short trainings.
    """

    def __init__(
        self,
        stages: int = 3,
        width: int = 64,
        embed_dim: int | None = 256,
        noise_dim: int = 100,
        condition_dim: int = 128,
        residual_blocks: int = 2,
        base_size: int = 64,
        upsampling: Upsampling = "nearest",
    ) -> None:
        widths = [width, *(width // 2 ** (i + 1) for i in further_stages(stages))]
        if width % 2 ** (stages - 1) or not widths[-1]:
            raise InputError(
                f"{stages} stages, each of half the width of the one before, need a width that is a multiple of "
                f"{2 ** (stages - 1)}, not {width}"
            )
        conditioning = None if embed_dim is None else ConditioningAugmentation(embed_dim, condition_dim)
        joined = noise_dim if conditioning is None else condition_dim
        fusions = [ConcatFusion(before, joined) for before in widths[:-1]]
        super().__init__(widths, noise_dim, conditioning, fusions, residual_blocks, base_size, upsampling=upsampling)
