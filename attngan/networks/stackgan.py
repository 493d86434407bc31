"""StackGAN: one generator draws a small picture, a second one reads it and draws a large one (Zhang et al. 2017).

They are trained one after the other. ReLU follows every batch norm, and weights start at N(0, 0.02).
"""

from functools import partial
from itertools import pairwise

import torch
from torch import nn

from attngan.errors import InputError
from attngan.networks.blocks import (
    ResidualBlock,
    Upsampling,
    conv3x3,
    doublings,
    downsample,
    image_head,
    init_weights,
    upsample_block,
)
from attngan.networks.conditioning import ConditioningAugmentation
from attngan.networks.fusion import ConcatFusion
from attngan.networks.generator import Generator
from attngan.networks.multistage import MultiStageGenerator, sentence_of
from attngan.records import GeneratedImages, GeneratorNoise, TextFeatures


class StackGANGenerator(MultiStageGenerator):
    """Stage I: a picture from noise and sentence. The defaults are those of the TensorFlow original for CUB.

    Args:
        width: GF_DIM: the features are 8 times as wide at 4 x 4, and half as wide at the end (192 for COCO).
        embed_dim: Length of the sentence embedding: the DAMSM's, or a precomputed one's (1024 as published).
        noise_dim: Length of the latent vector z.
        condition_dim: Length of the augmented sentence.
        base_size: Side of the image in pixels.
        upsampling: "nearest" as published, or "bilinear", for short trainings.
    """

    def __init__(
        self,
        width: int = 128,
        embed_dim: int = 256,
        noise_dim: int = 100,
        condition_dim: int = 128,
        base_size: int = 64,
        upsampling: Upsampling = "nearest",
    ) -> None:
        halvings = doublings(base_size, "base_size")
        if 8 * width % 2**halvings:
            raise InputError(f"8 x width is halved {halvings} times up to {base_size} px: {width} cannot be")
        super().__init__(
            8 * width // 2**halvings,
            noise_dim,
            ConditioningAugmentation(embed_dim, condition_dim, "relu"),
            [],
            base_size=base_size,
            activation="relu",
            init="normal",
            upsampling=upsampling,
        )


class StackGANStage2Generator(Generator):
    """Stage II: reads stage I's picture and the sentence, and draws a picture of four times its side.

    Stage I stays as it is: it draws in eval mode without gradient, and only its picture goes on. Each stage has a
    conditioning augmentation of its own, and noise of its own for it.

    Args:
        stage1: The trained stage I; goes into the checkpoint. In a recipe: `attngan.checkpoint.trained_generator` with
            stage I's checkpoint.
        width: GF_DIM (192 for COCO).
        embed_dim: Length of the sentence embedding; must be stage I's.
        condition_dim: Length of the augmented sentence.
        residual_blocks: Residual blocks (R_NUM; 4 in the TensorFlow original, 2 for COCO).
        upsampling: "nearest" as published, or "bilinear", for short trainings.
    """

    def __init__(
        self,
        stage1: Generator,
        width: int = 128,
        embed_dim: int = 256,
        condition_dim: int = 128,
        residual_blocks: int = 4,
        upsampling: Upsampling = "nearest",
    ) -> None:
        super().__init__()
        if stage1.embed_dim != embed_dim:
            raise InputError(
                f"stage I reads sentence embeddings of {stage1.embed_dim} numbers, stage II of {embed_dim}: set "
                f"embed_dim={stage1.embed_dim}"
            )
        if width % 4:
            raise InputError(f"the last features have a quarter of the width: it must be a multiple of 4, not {width}")
        self.noise_dim = stage1.noise_dim
        self.embed_dim = embed_dim
        self.condition_dim = condition_dim
        self.condition_noise_dim = condition_dim + stage1.condition_noise_dim
        self.image_sizes = [4 * stage1.image_sizes[-1]]
        self.attends = False
        self.conditioning = ConditioningAugmentation(embed_dim, condition_dim, "relu")
        self.encoder = nn.Sequential(
            conv3x3(3, width),
            nn.ReLU(),
            *(downsample(width, 2 * width), nn.BatchNorm2d(2 * width), nn.ReLU()),
            *(downsample(2 * width, 4 * width), nn.BatchNorm2d(4 * width), nn.ReLU()),
        )
        self.fusion = ConcatFusion(4 * width, condition_dim, "relu")
        self.residual = nn.Sequential(*(ResidualBlock(4 * width, "relu") for _ in range(residual_blocks)))
        channels = [4 * width, 2 * width, width, width // 2, width // 4]
        self.upsample = nn.Sequential(*(upsample_block(a, b, "relu", upsampling) for a, b in pairwise(channels)))
        self.head = image_head(channels[-1])
        self.apply(partial(init_weights, init="normal"))
        self.stage1 = stage1.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> "StackGANStage2Generator":
        super().train(mode)
        self.stage1.eval()
        return self

    def forward(self, noise: GeneratorNoise, text: TextFeatures | None) -> GeneratedImages:
        mine, of_stage1 = noise.condition[:, : self.condition_dim], noise.condition[:, self.condition_dim :]
        with torch.no_grad():
            small = self.stage1(GeneratorNoise(noise.latent, of_stage1), text).images[-1]
        condition, mean, log_variance = self.conditioning(sentence_of(text), mine)
        joined, _ = self.fusion(self.encoder(small), text, condition)
        image = self.head(self.upsample(self.residual(joined)))
        return GeneratedImages((image,), (), mean, log_variance)
