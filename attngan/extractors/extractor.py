"""The frame of every feature extractor: images as files store them to features, by a network that is given to it.

It fixes what decides a score besides the images (resize filter, range, precision) and bears the name and the SHA-256 of
the network's weights; which networks there are stands in ``attngan.extractors.named``.
"""

import itertools
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

Resize = Literal["antialias", "bilinear", "corners", "pil", "tensorflow"]
Precision = Literal["float32", "bf16"]


class ExtractedFeatures(NamedTuple):
    """What an extractor says of images; float32. ``logits`` is None for extractors that do not classify."""

    features: Float[Tensor, "batch features"]
    logits: Float[Tensor, "batch classes"] | None


def resize_images(
    images: UInt8[Tensor, "batch 3 height width"], size: int, filter: Resize
) -> Float[Tensor, "batch 3 {size} {size}"]:
    """Resizes to a square; float32 in the range 0 to 255.

    Args:
        images: Images of any size.
        size: Side of the result in pixels.
        filter: All bilinear, yet FID differs between them. "antialias": the filter widens where images are reduced.
            "pil": the same, rounded to whole grey levels, as Pillow and torchvision do with files. "bilinear": the four
            nearest pixels, pixel centres at one half. "corners": the four nearest pixels, corner pixels meet (torch up
            to 0.3). "tensorflow": as TensorFlow 1 did inside the Inception graph, shifted by up to a pixel.
    """
    x = images.float()
    if filter == "tensorflow":
        return _resize_like_tensorflow(x, size)
    if x.shape[2] == x.shape[3] == size:
        return x
    if filter == "corners":
        return F.interpolate(x, (size, size), mode="bilinear", align_corners=True)
    x = F.interpolate(x, (size, size), mode="bilinear", antialias=filter != "bilinear")
    return x.round_().clamp_(0, 255) if filter == "pil" else x


def _resize_like_tensorflow(x: Tensor, size: int) -> Tensor:
    """Bilinear without the half-pixel shift: output pixel i lies at i * in / out.

    Aligned corners place pixel i at i * (in - 1) / (out - 1): with the last row and column repeated, and one pixel more
    on either side, that is the same.
    """
    repeated = F.pad(x, (0, 1, 0, 1), mode="replicate")
    larger = F.interpolate(repeated, (size + 1, size + 1), mode="bilinear", align_corners=True)
    return larger[:, :, :size, :size]


class FeatureExtractor(nn.Module):
    """Resizes, brings to the network's range, and runs it: frozen, in eval mode, channels last, batch norms folded in.

    Args:
        name: Name for scores; a precision other than float32 is added to it.
        sha256: SHA-256 of the weights.
        body: Scaled images (float, channels last) to features (batch, features).
        head: Features to logits; None if the network does not classify.
        size: Side, in pixels, that the network is given.
        resize: Filter that brings images to ``size``.
        scale: Per-channel factor and offset of ``x * factor + offset``, x in 0 to 255.
        precision: What the body computes in; the head and what is returned are float32.
        class_names: Names of the head's classes, where known.
        kind: "classifier" for one fine-tuned on a data set's own classes.
        facts: What else is known of it (data set, accuracy ...).
    """

    def __init__(
        self,
        name: str,
        sha256: str,
        body: nn.Module,
        head: nn.Module | None,
        size: int,
        resize: Resize,
        scale: tuple[tuple[float, float, float], tuple[float, float, float]],
        precision: Precision = "float32",
        class_names: tuple[str, ...] | None = None,
        kind: str = "network",
        facts: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.kind = kind
        self.facts = dict(facts or {})
        self.base_name = name
        self.name = name if precision == "float32" else f"{name}-{precision}"
        self.sha256 = sha256
        self.size = size
        self.resize: Resize = resize
        self.precision: Precision = precision
        self.class_names = class_names
        self.dtype = {"float32": torch.float32, "bf16": torch.bfloat16}[precision]
        self.register_buffer("factor", torch.tensor(scale[0]).view(3, 1, 1), persistent=False)
        self.register_buffer("offset", torch.tensor(scale[1]).view(3, 1, 1), persistent=False)
        self.head = head
        self.eval().requires_grad_(False)
        self.body = fold_batch_norms(body.eval()).to(self.dtype).to(memory_format=torch.channels_last)
        self.body.requires_grad_(False)

    factor: Tensor
    offset: Tensor

    def train(self, mode: bool = True) -> "FeatureExtractor":
        """Stays in eval mode: scores must not depend on what else is in the batch."""
        return super().train(False)

    def forward(self, images: UInt8[Tensor, "batch 3 height width"]) -> ExtractedFeatures:
        """Features and logits of images as they are stored in a file."""
        # TensorFloat-32 keeps 10 bits of the mantissa: not what a protocol calls float32.
        with torch.inference_mode(), _FullFloat32(images.device):
            x = resize_images(images, self.size, self.resize).mul_(self.factor).add_(self.offset)
            features = self.body(x.to(self.dtype, memory_format=torch.channels_last)).float()
            return ExtractedFeatures(features, None if self.head is None else self.head(features).float())

    def description(self) -> dict[str, Any]:
        """Everything that decides a score, for the JSON beside it."""
        return {
            "name": self.name,
            "sha256": self.sha256,
            "size": self.size,
            "resize": self.resize,
            "range": [self.factor.flatten().tolist(), self.offset.flatten().tolist()],
            "precision": self.precision,
        } | ({"facts": self.facts} if self.facts else {})


def fold_batch_norms(network: nn.Module) -> nn.Module:
    """Folds each batch norm (in eval mode) into the convolution before it: the same function, fewer passes over memory.

    A batch norm is taken to follow a convolution when it is the next child of the same module, which holds for the
    networks here; others are left as they are.
    """
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    for module in network.modules():
        for (conv_name, conv), (norm_name, norm) in itertools.pairwise(list(module.named_children())):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                assert conv.out_channels == norm.num_features, f"{norm_name} does not follow {conv_name}"
                setattr(module, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(module, norm_name, nn.Identity())
    return network


class _FullFloat32:
    """Full float32 on GPUs for the time of a ``with`` block."""

    def __init__(self, device: torch.device) -> None:
        self.cuda = device.type == "cuda"

    def __enter__(self) -> None:
        if self.cuda:
            self.before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False

    def __exit__(self, *_: object) -> None:
        if self.cuda:
            torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = self.before
