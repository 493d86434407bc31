"""Discriminators that look at images through a frozen, pretrained network (Sauer et al. 2021, "Projected GANs").

Published: the frozen network, its feature maps at strides 4 to 32, mixed across channels by fixed random 1x1
convolutions and across scales by fixed random 3x3 convolutions on the way up from the deepest map, and one small
spectral-normalised discriminator a scale, without batch statistics in its last layers, with logits at places. The
projection of text (here `Text` "projection") is that of Miyato & Koyama 2018, as StyleGAN-T has it at each place.

Ours: the family's joint head (features and sentence side by side) as the other way to read text, the head for the image
alone beside the one for pairs, wrong pairs, no batch norm in the discriminators, fixed weights that are no parameters
and do not lie in checkpoints, and that the DAMSM can share the frozen network's pass.
"""

import copy
import hashlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from attngan.errors import InputError
from attngan.networks.blocks import conv3x3, critic_block, downsample, tile
from attngan.networks.constant import NamedWeights, hold_constant
from attngan.networks.discriminators import Discriminators, DiscriminatorStage
from attngan.networks.image_trunks import ImageTrunk, resize
from attngan.records import FrozenFeatures

#: How a discriminator reads a sentence: "projection" is the inner product of an embedding of it and the features at
#: each place; "joint" puts it beside the features, as the family does.
Text = Literal["projection", "joint"]
#: What the fixed random convolutions mix: channels, or channels and then scales (published), or nothing.
Mixing = Literal["none", "channels", "scales"]


class FrozenTrunk(NamedWeights):
    """A frozen trunk and fixed random convolutions over its pyramid; nothing in it is a parameter.

    All weights are buffers: no optimiser sees them, no ``requires_grad_`` changes them, and always eval mode. Those
    that a package or a file holds, or that a seed gives, are not saved. The state dict has their names and hashes in
    their place, and loading one of other weights is refused.

    Args:
        trunk: The pretrained network; a copy of it is used, with its batch norms folded.
        width: Channels of the finest mixed map; doubled twice on the way to the coarser ones.
        mixing: See `Mixing`.
        seed: Seed of the random convolutions.
    """

    def __init__(self, trunk: ImageTrunk, width: int, mixing: Mixing = "scales", seed: int = 0) -> None:
        super().__init__()
        self.source = trunk.weights_source
        self.trunk_class, self.input_size = type(trunk), trunk.input_size
        self.trunk_sha256 = trunk.weights_sha256()
        folded: Any = copy.deepcopy(trunk).freeze().fold_batch_norm()
        self.trunk = folded.to(memory_format=torch.channels_last)
        if self.source is not None:
            trunk.not_rebuilt = frozenset()  # type: ignore[misc]  # the description names what no checkpoint holds
        self.sides = trunk.pyramid_sides
        channels = trunk.pyramid_channels
        random = torch.Generator().manual_seed(seed)
        self.across_channels, self.across_scales = nn.ModuleList(), nn.ModuleList()
        if mixing != "none":
            mixed = tuple(width * min(2**i, 4) for i in range(len(channels)))
            self.across_channels.extend(nn.Conv2d(a, b, 1, bias=False) for a, b in zip(channels, mixed, strict=True))
            channels = mixed
        if mixing == "scales":
            self.across_scales.extend(conv3x3(below, above) for above, below in pairwise(channels))
        for convolution in (*self.across_channels, *self.across_scales):
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="linear", generator=random)
        self.channels = channels
        self.mixing_sha256 = _sha256([*self.across_channels.parameters(), *self.across_scales.parameters()])
        hold_constant(self, saved=self.source is None)

    def train(self, mode: bool = True) -> "FrozenTrunk":
        return super().train(False)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> FrozenFeatures:
        """Mixed feature maps of images in [-1, 1], finest first, and the trunk's own features."""
        resized = resize(images, self.input_size).contiguous(memory_format=torch.channels_last)
        # in 16 bits most of the gradient at the image would be noise
        with torch.autocast(resized.device.type, enabled=False):
            levels, trunk = self.trunk.pyramid(resized.to(torch.promote_types(resized.dtype, torch.float32)))
        maps = list(levels)
        if self.across_channels:
            maps = [mix(x) for mix, x in zip(self.across_channels, maps, strict=True)]
        if self.across_scales:
            for i in reversed(range(len(maps) - 1)):
                # the 3x3 convolution comes before the upsampling, where it costs a quarter
                maps[i] = maps[i] + F.interpolate(
                    self.across_scales[i](maps[i + 1]), size=maps[i].shape[2:], mode="bilinear"
                )
        return FrozenFeatures(tuple(maps), trunk)

    def is_the_same_as(self, trunk: ImageTrunk) -> bool:
        """Whether ``trunk`` has the same weights and takes images of the same size: then one pass serves both."""
        return (
            self.source is not None  # else its weights are those of a checkpoint, and the hash says nothing of them
            and type(trunk) is self.trunk_class
            and trunk.frozen
            and not trunk.train_mode_batch_norm
            and trunk.input_size == self.input_size
            and trunk.weights_sha256() == self.trunk_sha256
        )

    @property
    def identity(self) -> str:
        """What the weights are: where they come from, and their hashes."""
        weights = "weights of the checkpoint" if self.source is None else f"{self.source} (sha256 {self.trunk_sha256})"
        return (
            f"{self.trunk_class.__name__} at {self.input_size} px, {weights}, random projections "
            f"(sha256 {self.mixing_sha256})"
        )

    def refusal(self, theirs: str) -> str:
        return (
            f"the checkpoint's discriminators look through {theirs}; these ones look through {self.identity}: give "
            "the trunk that they were trained with (model.discriminators.init_args.trunk), its size and seed"
        )


def _sha256(tensors: Sequence[Tensor]) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().float().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


class ScaleDiscriminator(nn.Module):
    """One scale's features to logits at places: convolutions down to 8 x 8 or less, then the heads.

    Args:
        side: Side of the feature map.
        channels: Channels of the feature map.
        width: Channels of what the heads read.
        embed_dim: Length of the sentence embedding; None: no head for pairs.
        text: See `Text`.
        unconditional: Whether there is a head for the image alone.
    """

    def __init__(
        self, side: int, channels: int, width: int, embed_dim: int | None, text: Text, unconditional: bool
    ) -> None:
        super().__init__()
        blocks = []
        while side > 8:
            wider = min(2 * channels, width)
            blocks.append(critic_block(downsample(channels, wider, bias=True), "spectral"))
            channels, side = wider, side // 2
        blocks.append(critic_block(conv3x3(channels, width, bias=True), "spectral"))
        self.body = nn.Sequential(*blocks)
        self.side = side
        self.image_head = nn.Conv2d(width, 1, 1) if unconditional else None
        self.pair_head = None if embed_dim is None else nn.Conv2d(width, 1, 1)
        self.joint: nn.Module | None = None
        self.embed: nn.Module | None = None
        if embed_dim is not None and text == "joint":
            # 1x1, the family's is 3x3: a place sees enough already, and this one was the dearest layer of all
            self.joint = critic_block(nn.Conv2d(width + embed_dim, width, 1), "spectral")
        elif embed_dim is not None:
            self.embed = nn.Linear(embed_dim, width, bias=False)

    def forward(self, features: Float[Tensor, "batch _ _ _"]) -> Float[Tensor, "batch width places"]:
        places: Tensor = self.body(features).flatten(2)
        return places

    def judge_pair(
        self, features: Float[Tensor, "batch width places"], sentence: Float[Tensor, "batch embed"]
    ) -> Float[Tensor, "batch places"] | None:
        if self.pair_head is None:
            return None
        maps: Tensor = features.unflatten(2, (self.side, self.side))
        if self.joint is not None:
            maps = self.joint(torch.cat([maps, tile(sentence, maps)], 1))
        logits: Tensor = self.pair_head(maps).flatten(1)
        if self.embed is None:
            return logits
        # scaled as attention is, so that a wide network does not begin with large logits (StyleGAN-T)
        agreement: Tensor = torch.einsum("bcp,bc->bp", features, self.embed(sentence)) * features.shape[1] ** -0.5
        return logits.add(agreement)

    def judge_image(self, features: Float[Tensor, "batch width places"]) -> Float[Tensor, "batch places"] | None:
        if self.image_head is None:
            return None
        logits: Tensor = self.image_head(features.unflatten(2, (self.side, self.side))).flatten(1)
        return logits


class ProjectedStage(DiscriminatorStage):
    """Judges one stage's images by their frozen features: a small discriminator a scale, logits at all places.

    Args:
        frozen: Shared by all stages.
        width: Channels of what the heads read.
        embed_dim: Length of the sentence embedding; None: no heads for pairs.
        text: See `Text`.
        unconditional: Whether there are heads for the image alone.
    """

    def __init__(self, frozen: FrozenTrunk, width: int, embed_dim: int | None, text: Text, unconditional: bool) -> None:
        super().__init__()
        self.frozen = frozen
        scales = [
            ScaleDiscriminator(side, channels, width, embed_dim, text, unconditional)
            for side, channels in zip(frozen.sides, frozen.channels, strict=True)
        ]
        self.scales = nn.ModuleList(scales)
        self.places = [scale.side**2 for scale in scales]

    def extract(self, images: Float[Tensor, "batch 3 height width"]) -> FrozenFeatures:
        features: FrozenFeatures = self.frozen(images)
        return features

    def sees_through(self, trunk: ImageTrunk) -> bool:
        return self.frozen.is_the_same_as(trunk)

    def forward(self, *levels: Float[Tensor, "batch _ _ _"]) -> Float[Tensor, "batch width places"]:
        """Features of all scales, their places side by side, for the heads."""
        return torch.cat([scale(level) for scale, level in zip(self.scales, levels, strict=True)], 2)

    def judge_pair(
        self, features: Float[Tensor, "batch width places"], sentence: Float[Tensor, "batch embed"]
    ) -> Float[Tensor, "batch places"] | None:
        """Logits at places: does the image show what the sentence says? None without such heads."""
        return _side_by_side([scale.judge_pair(part, sentence) for scale, part in self._by_scale(features)])

    def judge_image(self, features: Float[Tensor, "batch width places"]) -> Float[Tensor, "batch places"] | None:
        """Logits at places: is the image a real one? None without such heads."""
        return _side_by_side([scale.judge_image(part) for scale, part in self._by_scale(features)])

    def _by_scale(self, features: Tensor) -> Iterator[tuple[Any, Tensor]]:
        return zip(self.scales, features.split(self.places, 2), strict=True)


def _side_by_side(logits: list[Tensor | None]) -> Tensor | None:
    given = [part for part in logits if part is not None]
    return torch.cat(given, 1) if given else None


class ProjectedDiscriminators(Discriminators):
    """One projected discriminator for each image that the generator draws; they share the frozen network.

    Args:
        trunk: The frozen, pretrained network: `EfficientNetLiteTrunk` (lite0 is the published one), `InceptionTrunk`,
            or any other trunk with a pyramid of features. Images are resized to its input_size.
        resolutions: Sides of the images in pixels, as the generator draws them.
        width: Channels of the finest mixed features; the heads read four times as many (64 as published).
        embed_dim: Length of what the discriminators read of a caption: the sentence embedding, or the mean of the
            generator's conditioning augmentation; null for discriminators that read no text.
        text: "projection": the inner product of features and an embedding of the sentence at each place (published for
            classes and, in StyleGAN-T, for text), or "joint": the family's head, features and sentence side by side.
        unconditional: Whether each scale has a head that judges the image alone.
        mixing: What the fixed random convolutions mix: "scales" (published: channels, then scales), "channels", "none".
        seed: Seed of the fixed random convolutions.
    """

    def __init__(
        self,
        trunk: ImageTrunk,
        resolutions: Sequence[int] = (64,),
        width: int = 64,
        embed_dim: int | None = 256,
        text: Text = "joint",
        unconditional: bool = True,
        mixing: Mixing = "scales",
        seed: int = 0,
    ) -> None:
        super().__init__()
        if embed_dim is None and not unconditional:
            raise InputError("discriminators without heads for pairs (embed_dim null) need unconditional=true")
        self.embed_dim = embed_dim
        self.resolutions = tuple(resolutions)
        frozen = FrozenTrunk(trunk, width, mixing, seed)
        self.stages = nn.ModuleList(
            ProjectedStage(frozen, 4 * width, embed_dim, text, unconditional) for _ in resolutions
        )
