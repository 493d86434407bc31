"""From a captioned image to what a training step sees: random crop and flip, one caption, the image pyramid.

All chance comes from a generator seeded with (seed, epoch, index of the image): the order of loading, the number of
workers and the place in the epoch where a run was resumed change nothing.
"""

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from attngan.data.image_cache import ImageCache
from attngan.data.images import UnusableImageError, load_pixels, shorter_side
from attngan.data.sentence_embeddings import ImageEmbeddings
from attngan.data.sources.shards import ShardStream
from attngan.data.splits import class_ids
from attngan.errors import InputError
from attngan.pixels import centre_corner, from_uint8
from attngan.records import CaptionedImage, ImageBatch, TrunkFeatures
from attngan.text.vocabulary import limit_words, no_captions, pad_captions


@dataclass(frozen=True)
class EncodedCaptions:
    """The captions of many images as word ids, in three flat arrays (worker processes share these without copying).

    Args:
        ids: All words of all captions.
        starts: Where each caption starts in `ids`, and the end.
        first: Which caption is an image's first, and the number of captions.
    """

    ids: np.ndarray
    starts: np.ndarray
    first: np.ndarray

    @classmethod
    def of(cls, captions: Sequence[Sequence[Sequence[int]]]) -> "EncodedCaptions":
        """From the word ids of each caption of each image."""
        flat = [caption for own in captions for caption in own]
        ids = np.fromiter((word for caption in flat for word in caption), dtype=np.int32)
        starts = np.cumsum([0, *map(len, flat)], dtype=np.int64)
        return cls(ids, starts, np.cumsum([0, *map(len, captions)], dtype=np.int64))

    def count(self, image: int) -> int:
        """How many captions the image has."""
        return int(self.first[image + 1] - self.first[image])

    def caption(self, image: int, number: int) -> list[int]:
        """The word ids of one of the image's captions."""
        caption = self.first[image] + number
        ids: list[int] = self.ids[self.starts[caption] : self.starts[caption + 1]].tolist()
        return ids


class CaptionedImageDataset(Dataset[ImageBatch]):
    """The images of one split as batches of augmented uint8 crops with one caption each.

    Args:
        images: The split's images; a position in this list is an ``index`` everywhere else.
        pixels: Where their pixels are: the image cache, or shards that they are streamed from.
        rows: Position of each image in ``pixels``.
        captions: Encoded captions of the images; none of any image where there is no text.
        image_size: Side of the square crops, in pixels.
        words: How many words of a caption are kept.
        seed: Seed of augmentation and caption choice.
        augment: Random crop and flip; else the centre crop.
        random_words: Longer captions keep a random ordered subset of their words; else the first ones.
        random_caption: Another caption each time; else the first. None: as `augment` says.
        embeddings: Precomputed sentence embeddings of the captions.
    """

    def __init__(
        self,
        images: list[CaptionedImage],
        pixels: ImageCache | ShardStream,
        rows: np.ndarray,
        captions: EncodedCaptions,
        image_size: int,
        words: int,
        seed: int = 0,
        augment: bool = False,
        random_words: bool = False,
        random_caption: bool | None = None,
        embeddings: ImageEmbeddings | None = None,
    ) -> None:
        self.images = images
        self.cache = pixels if isinstance(pixels, ImageCache) else None
        self.stream = pixels if isinstance(pixels, ShardStream) else None
        self.rows = rows
        self.captions = captions
        self.image_size = image_size
        self.words = words
        self.seed = seed
        self.augment = augment
        self.random_words = random_words
        self.random_caption = augment if random_caption is None else random_caption
        self.embeddings = embeddings
        #: What an image network says of images at these positions, mirrored or not, where that is kept; in float16.
        self.trunk_features: Callable[[np.ndarray, np.ndarray], TrunkFeatures] | None = None
        numbers = class_ids(images)
        self.class_ids = None if numbers is None else np.array(numbers, dtype=np.int64)

    @property
    def fingerprint(self) -> str:
        """Changes with the image files, their preparation, and which of them are in the split."""
        if self.cache is None:
            raise InputError("images that are streamed from shards have no fingerprint: their features cannot be kept")
        return f"{self.cache.fingerprint}-{zlib.crc32(self.rows.tobytes()):08x}"

    def __len__(self) -> int:
        return len(self.images)

    def pixels(self, index: int) -> np.ndarray:
        """An image as the cache keeps it, before any crop: uint8, height x width x 3.

        Of a streamed split the image's shard is read up to it: right for a few images, slow for all of them, which
        `all_pixels` gives.
        """
        if self.cache is not None:
            return self.cache[int(self.rows[index])]
        assert self.stream is not None
        return self.decoded(index, self.stream.image(int(self.rows[index])))

    def all_pixels(self, start: int = 0) -> Iterator[np.ndarray]:
        """What `pixels` gives for every image from one on, in order, each shard read once."""
        for index, content in self.files(start):
            yield self.pixels(index) if content is None else self.decoded(index, content)

    def files(self, start: int = 0) -> Iterator[tuple[int, bytes | None]]:
        """The index of every image from one on, in order; with the file's content where it is streamed."""
        if self.stream is None:
            yield from ((index, None) for index in range(start, len(self)))
            return
        index_of = {int(row): index for index, row in enumerate(self.rows) if index >= start}
        for position, content in self.stream.in_order(min(index_of, default=self.stream.starts[-1])):
            if position in index_of:
                yield index_of[position], content

    def decoded(self, index: int, content: bytes) -> np.ndarray:
        """The pixels of an image of the stream, from its file's content.

        Raises:
            InputError: When it is damaged; names image and shards.
        """
        image = self.images[index]
        try:
            return load_pixels(content, image.box, shorter_side(self.image_size))
        except UnusableImageError as error:
            root = self.stream.root if self.stream is not None else image.path
            raise InputError(f"{root}: image {image.name}: {error}; the shards are damaged") from error

    def __getitem__(self, place: tuple[int, int]) -> ImageBatch:
        return self.__getitems__([place])

    def __getitems__(self, places: list[tuple[int, int]]) -> ImageBatch:
        """A batch, for the (epoch, index) of each of its images."""
        return self.make(places)

    def make(self, places: list[tuple[int, int]], into: UInt8[np.ndarray, "_ size size 3"] | None = None) -> ImageBatch:
        """As `__getitems__`; the pixels are written ``into`` the beginning of an array where there is one."""
        if self.cache is None:
            raise RuntimeError("the images of this split are streamed: they are there in the order of the stream only")
        return self.batch(places, [self.cache[int(self.rows[index])] for _epoch, index in places], into)

    def batch(
        self,
        places: list[tuple[int, int]],
        images: list[np.ndarray],
        into: UInt8[np.ndarray, "_ size size 3"] | None = None,
    ) -> ImageBatch:
        """A batch of these images (as the cache has them), for the (epoch, index) of each; ``into`` as of `make`."""
        size = self.image_size
        pixels = np.empty((len(places), size, size, 3), dtype=np.uint8) if into is None else into[: len(places)]
        mirrored = np.zeros(len(places), dtype=bool)
        captions, said = [], []
        for row, ((epoch, index), image) in enumerate(zip(places, images, strict=True)):
            rng = np.random.default_rng((self.seed, epoch, index))
            top, left, mirrored[row] = self._crop_and_flip(image, rng)
            pixels[row] = image[top : top + size, left : left + size]
            if count := self.captions.count(index):
                number = int(rng.integers(count)) if self.random_caption else 0
                ids = self.captions.caption(index, number)
                captions.append(limit_words(ids, self.words, rng if self.random_words else None))
                said.append((index, number))
        indices = [index for _epoch, index in places]
        crops = torch.from_numpy(pixels)
        for row in mirrored.nonzero()[0].tolist():
            crops[row].copy_(crops[row].flip(1))  # seven times as fast as by numpy
        return ImageBatch(
            pixels=crops.permute(0, 3, 1, 2),  # stays channels-last in memory
            captions=pad_captions(captions) if captions else no_captions(len(places)),
            classes=None if self.class_ids is None else torch.from_numpy(self.class_ids[indices]),
            indices=torch.tensor(indices),
            mirrored=torch.from_numpy(mirrored),
            embedding=None if self.embeddings is None else torch.from_numpy(self.embeddings.of(said)),
            trunk=None if self.trunk_features is None else self.trunk_features(np.array(indices), mirrored),
        )

    def _crop_and_flip(self, image: np.ndarray, rng: np.random.Generator) -> tuple[int, int, bool]:
        height, width, size = *image.shape[:2], self.image_size
        if not self.augment:
            return *centre_corner(height, width, size), False
        return int(rng.integers(height - size + 1)), int(rng.integers(width - size + 1)), bool(rng.integers(2))


def image_pyramid(pixels: UInt8[Tensor, "batch 3 size size"], stages: int) -> tuple[Float[Tensor, "batch 3 _ _"], ...]:
    """The images at every stage's size, smallest first, in [-1, 1]; each half as large as the next.

    Smaller ones are made of the largest with the antialiased bilinear filter, as published (there by Pillow, an image
    at a time): equal to it within one grey level. On a CPU the resizing is done on uint8, which is nine times as fast
    there and equal to Pillow's almost everywhere; on other devices in float32.
    """
    size = pixels.shape[-1]
    source = pixels if pixels.device.type == "cpu" else pixels.float()
    levels = [
        source if stage == 0 else F.interpolate(source, size=size >> stage, mode="bilinear", antialias=True)
        for stage in reversed(range(stages))
    ]
    return tuple(map(from_uint8, levels))
