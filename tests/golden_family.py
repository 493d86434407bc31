"""The golden runs of the family as networks, inputs and batches, read from the files alone: another seed is no matter.

Their names are translated by the maps that `attngan import-published` reads files with.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attngan.networks.damsm import DAMSM
from attngan.networks.dfgan import DFGANDiscriminator
from attngan.networks.discriminators import DiscriminatorPyramid, Discriminators
from attngan.networks.image_encoder import ImageEncoder
from attngan.networks.image_trunks import ImageTrunk
from attngan.networks.published import (
    PublishedNetwork,
    discriminator_kind,
    discriminator_state,
    generator_kind,
    image_encoder_sizes,
    image_encoder_state,
    published_generator,
)
from attngan.networks.published_names import published_names
from attngan.networks.text_encoder import TextEncoder
from attngan.records import CaptionBatch, GeneratorNoise, TextFeatures, TextImageBatch, TrunkFeatures
from attngan.text.vocabulary import Vocabulary
from tests.networks.comparison import tensors

Arrays = dict[str, np.ndarray]

#: The golden runs, and the recipe that is the published objective of each.
RECIPES = {
    "stackgan_stage1": "stackgan_stage1_cub",
    "stackgan_stage2": "stackgan_stage2_cub",
    "stackganpp": "stackgan_plusplus_cub",
    "stackganpp_uncond": "stackgan_plusplus_unconditional_cub",
    "dmgan": "dmgan_cub",
    "attndcgan": "attndcgan_cub",
    "dfgan": "dfgan_cub",
}


@dataclass(frozen=True)
class Translated:
    """A network of ours with published weights, and how its names and channels become the published ones again."""

    network: nn.Module
    kind: PublishedNetwork
    sizes: dict[str, Any]
    prefix: str  # of its names in golden files

    def published(self, ours: Mapping[str, Tensor], known: Collection[str]) -> dict[str, Tensor]:
        """Tensors by our names (weights, gradients) by the golden files' names, ``known`` among them."""
        result = {}
        for name, tensor in ours.items():
            theirs = next(n for n in published_names(name, self.kind.names) if self.prefix + n in known)
            if tensor.ndim > 1 and (first := self.kind.channels_first(theirs, self.sizes)):
                tensor = tensor.roll(first, 1)
            result[self.prefix + theirs] = tensor
        return result


class Colours(ImageTrunk):
    """The golden runs' image network: the colours of 17 x 17 places, and of the whole image."""

    region_channels = pooled_channels = 3

    def __init__(self, input_size: int = 256) -> None:
        super().__init__()
        self.input_size = input_size

    def features(self, images: Tensor) -> TrunkFeatures:
        return TrunkFeatures(F.adaptive_avg_pool2d(images, 17), images.mean((2, 3)))


class GoldenRun:
    """One variant's golden files.

    Args:
        variant: A key of `RECIPES`.
        golden: The fixture that reads a file's arrays.
        notes: The fixture that reads its JSON.
    """

    def __init__(self, variant: str, golden: Callable[[str], Arrays], notes: Callable[[str], dict[str, Any]]) -> None:
        self.variant, self._golden, self._notes = variant, golden, notes
        try:
            self.state = tensors(golden(f"{variant}_state"))
        except pytest.skip.Exception:  # the larger ones lie in two files
            self.state = tensors(golden(f"{variant}_state_g")) | tensors(golden(f"{variant}_state_d"))

    def arrays(self, part: str) -> dict[str, Tensor]:
        """Of "forward", "steps" ...; what was computed, in float64 where it was."""
        return tensors(self._golden(f"{self.variant}_{part}"))

    def config(self, part: str) -> dict[str, Any]:
        return self._notes(f"{self.variant}_{part}")["config"]

    # --- networks -------------------------------------------------------------------------------------------------

    def generator(self) -> Translated:
        published = {n.removeprefix("G."): t for n, t in self.state.items() if n.startswith("G.")}
        kind, network = published_generator(published, "published" if self._attends(published) else "own")
        return Translated(network, kind, kind.sizes(published), "G.")

    @staticmethod
    def _attends(published: Mapping[str, Tensor]) -> bool:
        return generator_kind(published).title in ("AttnGAN", "AttnDCGAN", "DM-GAN")

    def discriminators(self) -> tuple[Discriminators, list[Translated]]:
        """The module, and its stages with their names."""
        prefixes = sorted({n.partition(".")[0] for n in self.state if n.startswith("D")})
        if "C" in {n.partition(".")[0] for n in self.state}:  # DF-GAN: two networks, with their letters
            given = {"": {n: t for n, t in self.state.items() if n.startswith(("C.", "D."))}}
        else:
            given = {
                f"{p}.": {n[len(p) + 1 :]: t for n, t in self.state.items() if n.startswith(f"{p}.")} for p in prefixes
            }
        kinds = [discriminator_kind(published) for published in given.values()]
        sizes = [kind.sizes(published) for kind, published in zip(kinds, given.values(), strict=True)]
        if kinds[0].title == "DF-GAN":
            module: Discriminators = DFGANDiscriminator(**sizes[0])
        else:
            common = {name: value for name, value in sizes[0].items() if name != "resolution"}
            module = DiscriminatorPyramid([size["resolution"] for size in sizes], **common)
        stages = []
        for stage, (prefix, published), kind, size in zip(module.stages, given.items(), kinds, sizes, strict=True):
            stage.load_state_dict(discriminator_state(published))
            stages.append(Translated(stage, kind, size, prefix))
        return module, stages

    def damsm(self, gammas: tuple[float, float, float]) -> DAMSM | None:
        """The stand-in image encoder and a text encoder that is never asked; None where nothing is matched."""
        published = {n.removeprefix("E."): t for n, t in self.state.items() if n.startswith("E.")}
        if not published:
            return None
        encoder = ImageEncoder(Colours(), **image_encoder_sizes(published))
        encoder.load_state_dict(image_encoder_state(published, encoder.trunk))
        return DAMSM(TextEncoder(3, encoder.embed_dim, 4), encoder, Vocabulary.from_captions(["bird"]), gammas)


# --- inputs -----------------------------------------------------------------------------------------------------------


def double(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor


def text_of(io: Mapping[str, Tensor]) -> TextFeatures | None:
    if "words_embs" in io:
        return TextFeatures(io["words_embs"].double(), io["sent_emb"].double(), io["mask"])
    return TextFeatures.of_sentences(io["sentence"].double()) if "sentence" in io else None


def noise_of(io: Mapping[str, Tensor], step: int | None = None) -> GeneratorNoise:
    """Stage II of StackGAN reads noise for its own conditioning augmentation first, then for stage I's."""
    z, *drawn = (
        (io[name] if step is None else io[name][step]).double() for name in ("z", "eps", "eps_stage1") if name in io
    )
    return GeneratorNoise(z, torch.cat(drawn, 1) if drawn else z.new_empty(len(z), 0))


def noises_of(io: Mapping[str, Tensor]) -> Iterator[GeneratorNoise]:
    return (noise_of(io, step) for step in range(len(io["z"])))


def real_images(io: Mapping[str, Tensor], sides: Collection[int]) -> tuple[Tensor, ...]:
    largest = max(sides)
    times = largest // io["real16_u8"].shape[-1]
    images = io["real16_u8"].double().repeat_interleave(times, 2).repeat_interleave(times, 3) / 127.5 - 1
    return tuple(images if side == largest else F.avg_pool2d(images, largest // side) for side in sides)


def batch_of(io: Mapping[str, Tensor], sides: Collection[int]) -> TextImageBatch:
    """What the data module would give; captions are told by their lengths alone, since the text features are given."""
    images = real_images(io, sides)
    size = len(images[0])
    ids = (~io["mask"]).long() if "mask" in io else torch.ones(size, 1, dtype=torch.long)
    lengths = io.get("cap_lens", torch.ones(size, dtype=torch.long))
    embedding = None if "sentence" not in io else io["sentence"].double()
    unmirrored = torch.zeros(size, dtype=torch.bool)
    captions = CaptionBatch(ids, lengths)
    return TextImageBatch(images, captions, io.get("class_ids"), torch.arange(size), unmirrored, embedding)
