"""Generators that grow an image over stages, each mixing text into the features of the one before."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attngan.networks.attention import PaddingMask
from attngan.networks.blocks import GLU, ResidualBlock, image_head, init_weights, upsample_block
from attngan.networks.conditioning import ConditioningAugmentation
from attngan.networks.description import Described
from attngan.networks.fusion import WordAttentionFusion
from attngan.records import GeneratedImages, GeneratorNoise, TextFeatures


class Stem(nn.Module):
    """Condition and noise to the first stage's features: a linear layer to 4 x 4, then upsampling blocks."""

    def __init__(self, in_dim: int, width: int, base_size: int) -> None:
        super().__init__()
        blocks = round(math.log2(base_size / 4))
        if base_size != 4 * 2**blocks or blocks < 1:
            raise ValueError(f"base_size must be 8, 16, 32, 64 ... pixels, not {base_size}")
        channels = [width * 2 ** (blocks - i) for i in range(blocks + 1)]
        self.linear = nn.Linear(in_dim, channels[0] * 4 * 4 * 2, bias=False)
        self.norm = nn.BatchNorm1d(channels[0] * 4 * 4 * 2)
        self.glu = GLU()
        self.upsample = nn.Sequential(*(upsample_block(a, b) for a, b in pairwise(channels)))

    def forward(
        self, condition: Float[Tensor, "batch condition"], latent: Float[Tensor, "batch noise"]
    ) -> Float[Tensor, "batch width side side"]:
        x = self.glu(self.norm(self.linear(torch.cat([condition, latent], 1))))
        return self.upsample(x.unflatten(1, (-1, 4, 4)))


class Stage(nn.Module):
    """One step up: fuse text into the features, refine them, double their height and width."""

    def __init__(self, fusion: WordAttentionFusion, width: int, residual_blocks: int) -> None:
        super().__init__()
        self.fusion = fusion
        self.residual = nn.Sequential(*(ResidualBlock(fusion.out_channels) for _ in range(residual_blocks)))
        self.upsample = upsample_block(fusion.out_channels, width)

    def forward(
        self, hidden: Float[Tensor, "batch width height side"], text: TextFeatures
    ) -> tuple[Float[Tensor, "batch out twice_height twice_side"], Float[Tensor, "batch words height side"]]:
        joined, attention = self.fusion(hidden, text)
        return self.upsample(self.residual(joined)), attention


class MultiStageGenerator(Described):
    """Conditioning augmentation, a stem, one further stage a fusion, and image heads.

    Args:
        width: Channels of a stage's features (GF_DIM of the published code).
        noise_dim: Length of the latent vector z.
        conditioning: Makes the condition of a sentence.
        fusions: What joins each stage to the next, one a stage after the first.
        residual_blocks: Residual blocks a stage (R_NUM).
        base_size: Side of the first stage's image in pixels; each further stage doubles it.
        images: "every stage" draws an image at each, "last" only at the last (AttnDCGAN).
    """

    def __init__(
        self,
        width: int,
        noise_dim: int,
        conditioning: ConditioningAugmentation,
        fusions: Sequence[WordAttentionFusion],
        residual_blocks: int = 2,
        base_size: int = 64,
        images: Literal["every stage", "last"] = "every stage",
    ) -> None:
        super().__init__()
        self.noise_dim = noise_dim
        self.condition_dim = conditioning.condition_dim
        sizes = [base_size * 2**i for i in range(len(fusions) + 1)]
        self.image_sizes = sizes if images == "every stage" else sizes[-1:]
        self.conditioning = conditioning
        self.stem = Stem(conditioning.condition_dim + noise_dim, width, base_size)
        self.stages = nn.ModuleList(Stage(fusion, width, residual_blocks) for fusion in fusions)
        self.heads = nn.ModuleList(image_head(width) for _ in self.image_sizes)
        self.apply(init_weights)

    def draw_noise(self, batch: int, generator: torch.Generator | None = None) -> GeneratorNoise:
        """Fresh standard normal noise, on the CPU generator's or the global stream, then on the network's device."""
        device = next(self.parameters()).device
        on = device if generator is None else generator.device
        return GeneratorNoise(
            torch.randn(batch, self.noise_dim, generator=generator, device=on).to(device),
            torch.randn(batch, self.condition_dim, generator=generator, device=on).to(device),
        )

    def forward(self, noise: GeneratorNoise, text: TextFeatures) -> GeneratedImages:
        condition, mean, log_variance = self.conditioning(text.sentence, noise.condition)
        hidden = self.stem(condition, noise.latent)
        hiddens, attention = [hidden], []
        for stage in self.stages:
            hidden, weights = stage(hidden, text)
            hiddens.append(hidden)
            attention.append(weights)
        drawn = zip(self.heads, hiddens[-len(self.heads) :], strict=True)
        images = tuple(head(features) for head, features in drawn)
        return GeneratedImages(images, tuple(attention), mean, log_variance)


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
    ) -> None:
        if stages < 1:
            raise ValueError(f"a generator has 1 stage or more, not {stages}")
        super().__init__(
            width,
            noise_dim,
            ConditioningAugmentation(embed_dim, condition_dim),
            [WordAttentionFusion(width, embed_dim, padding_mask) for _ in range(stages - 1)],
            residual_blocks,
            base_size,
            images,
        )
        self.embed_dim = embed_dim
