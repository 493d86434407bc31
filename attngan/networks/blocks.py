"""The blocks that every generator and discriminator of the family is made of (Zhang et al. 2018, Xu et al. 2018)."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from attngan.draws import Draws
from attngan.errors import InputError
from attngan.networks.deep_convolution import DeepConvolution

Norm = Literal["batch", "spectral"]
#: What follows batch norm in a generator: StackGAN has ReLU, its followers have gated linear units.
Activation = Literal["glu", "relu"]
#: How features are enlarged: "nearest" as published; "bilinear" leaves no pattern of single pixels in short trainings.
Upsampling = Literal["nearest", "bilinear"]
#: How weights start: see `init_weights`.
Init = Literal["orthogonal", "normal", "torch"]

#: Numbers of enlarged features that a CPU holds at once, of as many whole images as it takes.
ENLARGED_AT_ONCE = 2**24

#: Channels that an activation takes for each that it gives.
GATES: dict[Activation, int] = {"glu": 2, "relu": 1}


def doublings(side: int, what: str) -> int:
    """How many times 4 px are doubled to give ``side``, once at least; ``what`` names it in the error message."""
    times = round(math.log2(max(side, 1) / 4))
    if times < 1 or side != 4 * 2**times:
        raise InputError(f"{what} must be 8, 16, 32, 64 ... pixels, not {side}")
    return times


class Dropout(nn.Dropout):
    """Torch's; in a training step by the step's draws, so that it does not depend on which process computes a row."""

    def forward(
        self, input: Float[Tensor, "batch *shape"], draws: Draws | None = None
    ) -> Float[Tensor, "batch *shape"]:
        if draws is None or not self.training:
            return super().forward(input)
        return draws.dropout(input, self.p)


class GLU(nn.Module):
    """Gated linear unit over channels: the first half of them times the sigmoid of the second half."""

    def forward(self, x: Float[Tensor, "batch channels *space"]) -> Float[Tensor, "batch half *space"]:
        return nn.functional.glu(x, dim=1)


def activate(kind: Activation) -> nn.Module:
    return GLU() if kind == "glu" else nn.ReLU()


def conv3x3(in_channels: int, out_channels: int, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=bias)


def downsample(in_channels: int, out_channels: int, bias: bool = False) -> nn.Conv2d:
    """Half the height and width: 4x4 convolution with stride 2."""
    return DeepConvolution(in_channels, out_channels, 4, stride=2, padding=1, bias=bias)


class Chain(nn.Sequential):
    """A sequence that keeps less for its backward pass: what costs little is made again there, of what is kept anyway.

    That is the output of a batch norm, which its activation would keep, and enlarged features, which the convolution
    after them would: two fifths of what a generator keeps. On a CPU, whose convolutions copy what they read and write,
    large features are enlarged and convolved some images at a time. Equal to the bit, the batch norm's statistics among
    it; the gradient at the convolution's weights up to the order of its sum.
    """

    def forward(self, x: Tensor) -> Tensor:
        again: Again | None = None
        parts = list(self)
        while parts:
            part = parts.pop(0)
            if type(part) is nn.Upsample and parts and type(parts[0]) is nn.Conv2d:
                x, again = enlarge_and_convolve(part, parts.pop(0), x), None
                continue
            with _not_kept(x, again):
                made = part(x)
            again, x = _again(part, x), made
        return x


class Again(NamedTuple):
    """How a tensor that is not kept is made once more: from a source that is kept anyway."""

    source: Tensor
    make: Callable[[], Tensor]


def enlarge_and_convolve(upsample: nn.Upsample, convolution: nn.Module, x: Tensor) -> Tensor:
    """Enlarges and convolves; what is enlarged is not kept, and where it is large there are only some images of it."""
    if torch.compiler.is_compiling() or not torch.is_grad_enabled():
        convolved: Tensor = convolution(upsample(x))
        return convolved
    images = len(x)
    if x.device.type == "cpu":
        images = max(1, ENLARGED_AT_ONCE // (x.shape[1:].numel() * int(upsample.scale_factor) ** 2))  # type: ignore[arg-type]

    def of_some(rows: Tensor) -> Tensor:
        enlarged = upsample(rows)
        with _not_kept(enlarged, Again(rows, lambda: upsample(rows))):
            convolved: Tensor = convolution(enlarged)
        return convolved

    return of_some(x) if images >= len(x) else torch.cat([of_some(rows) for rows in x.split(images)])


def _again(part: nn.Module, x: Tensor) -> Again | None:
    """What makes the output of a part again without learning anything from it; None where it is to be kept."""
    if torch.compiler.is_compiling() or not torch.is_grad_enabled():
        return None
    if type(part) is nn.BatchNorm2d and part.training:  # of several processes it is another class
        return Again(x, lambda: F.batch_norm(x, None, None, part.weight, part.bias, True, 0.0, part.eps))
    return None


def _not_kept(tensor: Tensor, again: Again | None) -> AbstractContextManager[Any]:
    """Within it, operators keep nothing of this tensor for their backward pass, if it can be made again."""
    if again is None or not tensor.requires_grad:
        return nullcontext()
    place, shape = tensor.data_ptr(), tensor.shape  # not the tensor itself: it would be kept
    source, make = again
    version = source._version

    def pack(kept: Tensor) -> Tensor | None:
        return None if kept.data_ptr() == place and kept.shape == shape else kept

    def unpack(kept: Tensor | None) -> Tensor:
        if kept is not None:
            return kept
        if source._version != version:  # as torch says of what it keeps itself
            raise RuntimeError("features were changed in place that the backward pass needs")
        with torch.no_grad():
            return make()

    return torch.autograd.graph.saved_tensors_hooks(pack, unpack)


def conv_block(in_channels: int, out_channels: int, activation: Activation = "glu") -> nn.Sequential:
    """3x3 convolution, batch norm, activation."""
    before = GATES[activation] * out_channels
    return Chain(conv3x3(in_channels, before), nn.BatchNorm2d(before), activate(activation))


def upsample_block(
    in_channels: int, out_channels: int, activation: Activation = "glu", upsampling: Upsampling = "nearest"
) -> nn.Sequential:
    """Twice the height and width, then a `conv_block`."""
    return Chain(nn.Upsample(scale_factor=2, mode=upsampling), *conv_block(in_channels, out_channels, activation))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a skip connection. As published, no activation follows the sum; StackGAN has a ReLU.

    Args:
        channels: Channels of input and output.
        activation: Between the convolutions; "relu" also after the sum.
    """

    def __init__(self, channels: int, activation: Activation = "glu") -> None:
        super().__init__()
        self.block = Chain(
            *conv_block(channels, channels, activation), conv3x3(channels, channels), nn.BatchNorm2d(channels)
        )
        self.after = nn.ReLU() if activation == "relu" else nn.Identity()

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels height width"]:
        after: Tensor = self.after(x + self.block(x))
        return after


def image_head(channels: int, bias: bool = False) -> nn.Sequential:
    """Features to an RGB image in [-1, 1]."""
    return nn.Sequential(conv3x3(channels, 3, bias), nn.Tanh())


def critic_block(conv: nn.Conv2d, norm: Norm | None) -> nn.Sequential:
    """A convolution of a discriminator with its normalisation and LeakyReLU(0.2); ``norm`` None for the first."""
    if norm == "spectral":
        return nn.Sequential(spectral_norm(conv), nn.LeakyReLU(0.2, inplace=True))
    if norm == "batch":
        return nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels), nn.LeakyReLU(0.2, inplace=True))
    return nn.Sequential(conv, nn.LeakyReLU(0.2, inplace=True))


def tile(vector: Float[Tensor, "batch length"], like: Tensor) -> Float[Tensor, "batch length height width"]:
    """The same vector at each place of a feature map."""
    return vector[:, :, None, None].expand(-1, -1, *like.shape[2:])


@torch.no_grad()
def init_weights(module: nn.Module, init: Init = "orthogonal") -> None:
    """Gives a module its starting weights. To be applied before spectral norm wraps a weight, or to a whole network.

    Args:
        module: A layer; anything but convolutions, linear layers and batch norm is left as it is.
        init: "orthogonal" (StackGAN++ and what follows it) or "normal" (StackGAN: N(0, 0.02)) convolutions and linear
            layers, and batch norm weights N(1, 0.02); "torch": as torch made them (DF-GAN). As published, biases of
            linear layers and of batch norm start at 0, those of convolutions as torch made them.
    """
    if init == "torch":
        return
    if any(weight.is_meta for weight in module.parameters(recurse=False)):
        return  # a network in outline, whose weights a file will bring
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear) and not hasattr(module, "parametrizations"):
        if init == "orthogonal":
            nn.init.orthogonal_(module.weight)
        else:
            nn.init.normal_(module.weight, 0.0, 0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)
