"""DF-GAN: one stage from noise to the full picture, the text fused in at every size of the features (Tao et al. 2022).

No batch norm anywhere; weights start as torch makes them.
"""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from attngan.networks.blocks import (
    Upsampling,
    conv3x3,
    critic_block,
    doublings,
    downsample,
    enlarge_and_convolve,
    image_head,
    tile,
)
from attngan.networks.discriminators import Discriminators, DiscriminatorStage
from attngan.networks.generator import Generator
from attngan.networks.multistage import sentence_of
from attngan.records import GeneratedImages, GeneratorNoise, TextFeatures


class Affine(nn.Module):
    """Scales and shifts each channel by what two small networks make of the condition; at first it changes nothing."""

    def __init__(self, condition_dim: int, channels: int) -> None:
        super().__init__()
        self.scale = self._network(condition_dim, channels, 1.0)
        self.shift = self._network(condition_dim, channels, 0.0)

    @staticmethod
    def _network(condition_dim: int, channels: int, start: float) -> nn.Sequential:
        last = nn.Linear(channels, channels)
        nn.init.zeros_(last.weight)
        nn.init.constant_(last.bias, start)
        return nn.Sequential(nn.Linear(condition_dim, channels), nn.ReLU(), last)

    def forward(
        self, x: Float[Tensor, "batch channels height width"], condition: Float[Tensor, "batch condition"]
    ) -> Float[Tensor, "batch channels height width"]:
        return torch.addcmul(tile(self.shift(condition), x), tile(self.scale(condition), x), x)


class TextFusion(nn.Module):
    """Two affine layers with LeakyReLU(0.2), then a 3x3 convolution (half of the paper's DFBlock, figure 4)."""

    def __init__(self, condition_dim: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.affines = nn.ModuleList(Affine(condition_dim, in_channels) for _ in range(2))
        self.conv = conv3x3(in_channels, out_channels, bias=True)

    def modulate(
        self, x: Float[Tensor, "batch channels height width"], condition: Float[Tensor, "batch condition"]
    ) -> Float[Tensor, "batch channels height width"]:
        """What comes before the convolution, and is done to each place alone."""
        for affine in self.affines:
            x = F.leaky_relu(affine(x, condition), 0.2, inplace=True)
        return x

    def forward(
        self, x: Float[Tensor, "batch channels height width"], condition: Float[Tensor, "batch condition"]
    ) -> Float[Tensor, "batch out height width"]:
        fused: Tensor = self.conv(self.modulate(x, condition))
        return fused


class UpBlock(nn.Module):
    """Twice the height and width, then two text fusions beside a skip connection (UPBlock)."""

    def __init__(
        self, condition_dim: int, in_channels: int, out_channels: int, upsampling: Upsampling = "nearest"
    ) -> None:
        super().__init__()
        self.enlarge = nn.Upsample(scale_factor=2, mode=upsampling)
        self.fusions = nn.ModuleList(TextFusion(condition_dim, a, out_channels) for a in (in_channels, out_channels))
        self.shortcut = nn.Identity() if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1)

    def forward(
        self, x: Float[Tensor, "batch channels height width"], condition: Float[Tensor, "batch condition"]
    ) -> Float[Tensor, "batch out twice_height twice_width"]:
        first, second = self.fusions
        assert isinstance(first, TextFusion)
        # what is done to each place alone gives the same before places are repeated, of which there are a quarter then;
        # a 1x1 convolution also before they are interpolated
        if self.enlarge.mode == "nearest":
            residual = enlarge_and_convolve(self.enlarge, first.conv, first.modulate(x, condition))
        else:
            residual = first(self.enlarge(x), condition)
        enlarged: Tensor = self.enlarge(self.shortcut(x)) + second(residual, condition)
        return enlarged


def channels_up_to(image_size: int, width: int) -> list[int]:
    """Channels at image_size, image_size / 2 ... 4 px: doubled at each halving, up to 8 times the width."""
    return [width * min(2**i, 8) for i in range(doublings(image_size, "an image's side") + 1)]


class DFGANGenerator(Generator):
    """Noise and sentence to a picture in one stage. The defaults are the published ones.

    Args:
        image_size: Side of the image in pixels.
        width: Channels of the last features (nf).
        embed_dim: Length of the sentence embedding; must fit the DAMSM.
        noise_dim: Length of the latent vector z.
        upsampling: "nearest" as published, or "bilinear", for short trainings.
    """

    def __init__(
        self,
        image_size: int = 256,
        width: int = 32,
        embed_dim: int = 256,
        noise_dim: int = 100,
        upsampling: Upsampling = "nearest",
    ) -> None:
        super().__init__()
        self.noise_dim = noise_dim
        self.embed_dim = embed_dim
        self.condition_dim = self.condition_noise_dim = 0
        self.image_sizes = [image_size]
        self.attends = False
        channels = channels_up_to(image_size, width)[::-1]
        self.linear = nn.Linear(noise_dim, channels[0] * 4 * 4)
        self.blocks = nn.ModuleList(UpBlock(noise_dim + embed_dim, a, b, upsampling) for a, b in pairwise(channels))
        self.head = nn.Sequential(nn.LeakyReLU(0.2), *image_head(channels[-1], bias=True))

    def forward(self, noise: GeneratorNoise, text: TextFeatures | None) -> GeneratedImages:
        condition = torch.cat([noise.latent, sentence_of(text)], 1)
        hidden = self.linear(noise.latent).unflatten(1, (-1, 4, 4))
        for block in self.blocks:
            hidden = block(hidden, condition)
        return GeneratedImages((self.head(hidden),), (), None, None)


class DownBlock(nn.Module):
    """Half the height and width: a residual that starts at weight 0, beside an averaged skip connection.

    As in the published code, a block whose width does not change has a convolution for its shortcut and does not use
    it; it is kept so that published weights and counts fit.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            *critic_block(downsample(in_channels, out_channels), None),
            *critic_block(conv3x3(out_channels, out_channels), None),
        )
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1)
        self.widens = in_channels != out_channels
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch out half_height half_width"]:
        skip = F.avg_pool2d(x, 2)  # before the 1x1 convolution, which gives the same then for a quarter of the places
        reduced: Tensor = (self.shortcut(skip) if self.widens else skip) + self.weight * self.residual(x)
        return reduced


class DFGANStage(DiscriminatorStage):
    """Image to 4 x 4 features, and one head that asks for real and matching at once."""

    def __init__(self, resolution: int, width: int, embed_dim: int) -> None:
        super().__init__()
        channels = channels_up_to(resolution, width)
        self.encoder = nn.Sequential(conv3x3(3, width, bias=True), *(DownBlock(a, b) for a, b in pairwise(channels)))
        self.joint = critic_block(conv3x3(channels[-1] + embed_dim, 2 * width), None)
        self.head = nn.Conv2d(2 * width, 1, 4, bias=False)

    def forward(self, images: Float[Tensor, "batch 3 side side"]) -> Float[Tensor, "batch channels 4 4"]:
        """Features of images in [-1, 1], for the head."""
        features: Tensor = self.encoder(images)
        return features

    def judge_pair(
        self, features: Float[Tensor, "batch channels 4 4"], sentence: Float[Tensor, "batch embed"]
    ) -> Float[Tensor, " batch"]:
        """Logits: is the image a real one that shows what the sentence says?"""
        logits: Tensor = self.head(self.joint(torch.cat([features, tile(sentence, features)], 1)))
        return logits.flatten()


class DFGANDiscriminator(Discriminators):
    """One discriminator with one output, for the hinge loss. The defaults are the published ones.

    Args:
        resolution: Side of the image in pixels, as the generator draws it.
        width: Channels of the first features (nf).
        embed_dim: Length of the sentence embedding; must fit the DAMSM.
    """

    def __init__(self, resolution: int = 256, width: int = 32, embed_dim: int = 256) -> None:
        super().__init__()
        self.resolutions = (resolution,)
        self.embed_dim = embed_dim
        self.stages = nn.ModuleList([DFGANStage(resolution, width, embed_dim)])
