"""The records that travel between data, networks, losses and pictures. Each names its axes once, here.

Axis names used everywhere: ``batch`` items, ``words`` positions of a caption, ``embed`` the joint text-image
embedding (D), ``regions`` places of an image feature map (R), ``noise`` the generator's latent vector,
``condition`` the augmented sentence.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from torch.nn import functional as F

from attngan.global_batch import Rows


@dataclass(frozen=True)
class CaptionedImage:
    """An image file and what is said about it; what every data source yields.

    Args:
        name: The image's name within its data set, unique there (CUB: ``class folder/file stem``).
        path: The image file.
        captions: One or more captions, none of them blank; none at all where data are read without text.
        class_id: The class, where the data set has classes.
        box: Bounding box of the object in pixels, ``(x, y, width, height)``, where the data set has boxes.
    """

    name: str
    path: Path
    captions: tuple[str, ...]
    class_id: int | None = None
    box: tuple[float, float, float, float] | None = None


class CaptionBatch(NamedTuple):
    """Captions as word ids, padded with 0 to a common length; in any order of lengths.

    The lengths stay on the CPU, where what packs the words wants to know them without waiting for a device.
    """

    ids: Int[Tensor, "batch words"]
    lengths: Int[Tensor, "batch"]

    @property
    def padding(self) -> Bool[Tensor, "batch words"]:
        """True where there is no word."""
        lengths = self.lengths.to(self.ids.device, non_blocking=True)
        return torch.arange(self.ids.shape[1], device=self.ids.device) >= lengths[:, None]

    def to(self, device: torch.device | str) -> "CaptionBatch":
        """On a device, but for the lengths; Lightning says nothing of blocking to any but tensors."""
        return CaptionBatch(self.ids.to(device, non_blocking=True), self.lengths)


class TrunkFeatures(NamedTuple):
    """What a pretrained image network says of an image, before the projection into the joint embedding."""

    regions: Float[Tensor, "batch region_channels height width"]
    pooled: Float[Tensor, "batch pooled_channels"]


class ImageBatch(NamedTuple):
    """What the data set's collate function yields: augmented crops, not yet scaled to a pyramid."""

    pixels: UInt8[Tensor, "batch 3 size size"]
    captions: CaptionBatch
    classes: Int[Tensor, "batch"] | None
    indices: Int[Tensor, "batch"]
    mirrored: Bool[Tensor, "batch"]
    embedding: Float[Tensor, "batch text"] | None = None
    rows: Rows | None = None
    trunk: TrunkFeatures | None = None


class TextImageBatch(NamedTuple):
    """What a Lightning module sees: the image pyramid in [-1, 1], smallest first, and one caption an image.

    ``indices`` are positions within the split; ``mirrored`` tells which crops the augmentation flipped; ``classes``
    is None for data without classes. Data without captions have captions of no word. ``embedding`` is the caption's
    precomputed sentence embedding (the char-CNN-RNN of the StackGAN papers), where the data come with such. ``rows``:
    which rows of a batch that several processes train on together these are; None: a batch of one process. ``trunk``:
    what the DAMSM's image network says of the images, in float16, where that is kept.
    """

    images: tuple[Float[Tensor, "batch 3 _ _"], ...]
    captions: CaptionBatch
    classes: Int[Tensor, "batch"] | None
    indices: Int[Tensor, "batch"]
    mirrored: Bool[Tensor, "batch"]
    embedding: Float[Tensor, "batch text"] | None = None
    rows: Rows | None = None
    trunk: TrunkFeatures | None = None


class TextFeatures(NamedTuple):
    """What the text encoder says of a caption. ``words`` is 0 at padded positions, ``padding`` True there."""

    words: Float[Tensor, "batch embed words"]
    sentence: Float[Tensor, "batch embed"]
    padding: Bool[Tensor, "batch words"]

    @classmethod
    def of_sentences(cls, sentence: Float[Tensor, "batch embed"]) -> "TextFeatures":
        """Of precomputed sentence embeddings: there are no words to attend to."""
        batch, embed = sentence.shape
        padding = torch.empty(batch, 0, dtype=torch.bool, device=sentence.device)
        return cls(sentence.new_empty(batch, embed, 0), sentence, padding)

    def with_places(self, places: int) -> "TextFeatures":
        """With so many places for words: padded, or cut."""
        missing = max(0, places - self.padding.shape[1])
        words, padding = F.pad(self.words, (0, missing)), F.pad(self.padding, (0, missing), value=True)
        return TextFeatures(words[:, :, :places], self.sentence, padding[:, :places])

    def gathered(self, rows: Rows, places: int) -> "TextFeatures":
        """Those of the whole batch that several processes hold, differentiably.

        Args:
            rows: Which of the batch these are.
            places: Words that each process pads its captions to, at least as many as any has: a process does not know
                how long the others' are.
        """
        if rows.alone:
            return self
        assert self.padding.shape[1] <= places, "a caption is longer than the data's limit"
        words, sentence, padding = self.with_places(places)
        return TextFeatures(rows.gather(words), rows.gather(sentence), rows.gather(padding))


class FrozenFeatures(NamedTuple):
    """What a discriminator's trained part reads of images.

    ``levels``: feature maps of a frozen network, finest first; or the images alone, where nothing is frozen. ``trunk``:
    what that network's `ImageTrunk.features` gives, from the same pass.
    """

    levels: tuple[Float[Tensor, "batch _ _ _"], ...]
    trunk: TrunkFeatures | None = None

    def detach(self) -> "FrozenFeatures":
        """Without the graph back to the images."""
        return FrozenFeatures(tuple(level.detach() for level in self.levels))


class ImageFeatures(NamedTuple):
    """Image features in the joint embedding: one vector a region, one for the whole image."""

    regions: Float[Tensor, "batch embed regions"]
    pooled: Float[Tensor, "batch embed"]


class GeneratorNoise(NamedTuple):
    """All randomness of one generator pass: the latent vector z and the conditioning augmentation's epsilon."""

    latent: Float[Tensor, "batch noise"]
    condition: Float[Tensor, "batch condition"]


class GeneratedImages(NamedTuple):
    """A generator's output.

    ``images``: one a stage, smallest first, in [-1, 1]. ``attention``: one map a stage that attends to words (weights
    over words sum to 1 at each pixel), empty for generators that do not. ``mean`` and ``log_variance``: of the
    conditioning augmentation, None for generators without one.
    """

    images: tuple[Float[Tensor, "batch 3 _ _"], ...]
    attention: tuple[Float[Tensor, "batch words _ _"], ...]
    mean: Float[Tensor, "batch condition"] | None
    log_variance: Float[Tensor, "batch condition"] | None
