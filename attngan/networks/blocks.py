"""The blocks that every generator and discriminator of the family is made of (Zhang et al. 2018, Xu et al. 2018)."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

Norm = Literal["batch", "spectral"]


class GLU(nn.Module):
    """Gated linear unit over channels: the first half of them times the sigmoid of the second half."""

    def forward(self, x: Float[Tensor, "batch channels *space"]) -> Float[Tensor, "batch half *space"]:
        return nn.functional.glu(x, dim=1)


def conv3x3(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)


def upsample_block(in_channels: int, out_channels: int) -> nn.Sequential:
    """Twice the height and width: nearest neighbour, then 3x3 convolution, batch norm, GLU."""
    return nn.Sequential(
        nn.Upsample(scale_factor=2, mode="nearest"),
        conv3x3(in_channels, 2 * out_channels),
        nn.BatchNorm2d(2 * out_channels),
        GLU(),
    )


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a skip connection; no activation after the sum, as published."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            conv3x3(channels, 2 * channels),
            nn.BatchNorm2d(2 * channels),
            GLU(),
            conv3x3(channels, channels),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels height width"]:
        return x + self.block(x)


def image_head(channels: int) -> nn.Sequential:
    """Features to an RGB image in [-1, 1]."""
    return nn.Sequential(conv3x3(channels, 3), nn.Tanh())


def critic_block(conv: nn.Conv2d, norm: Norm | None) -> nn.Sequential:
    """A convolution of a discriminator with its normalisation and LeakyReLU(0.2); ``norm`` None for the first."""
    if norm == "spectral":
        return nn.Sequential(spectral_norm(conv), nn.LeakyReLU(0.2, inplace=True))
    if norm == "batch":
        return nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels), nn.LeakyReLU(0.2, inplace=True))
    return nn.Sequential(conv, nn.LeakyReLU(0.2, inplace=True))


def downsample(in_channels: int, out_channels: int) -> nn.Conv2d:
    """Half the height and width: 4x4 convolution with stride 2."""
    return nn.Conv2d(in_channels, out_channels, 4, stride=2, padding=1, bias=False)


@torch.no_grad()
def init_weights(module: nn.Module) -> None:
    """The published start: orthogonal convolutions and linear layers, batch norm weights N(1, 0.02), zero biases.

    To be applied before spectral norm wraps a weight, or to a whole network (``network.apply(init_weights)``).
    """
    if isinstance(module, nn.Conv2d | nn.Linear) and not hasattr(module, "parametrizations"):
        nn.init.orthogonal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)
