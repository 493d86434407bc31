"""What is scored and against what: drawn images, images from files, and a split of a data set."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from attngan.metrics.image_files import ImageFiles, caption_in_name, drawn_name, write_images
from attngan.pictures import to_uint8
from attngan.records import CaptionedImage


@dataclass
class Split:
    """A split of a data set: its captions in order, and its real images as centre crops of one size.

    Args:
        images: As the data set yields them.
        fingerprint: Of the image files and their preparation.
        crops: Centre crops of all real images from a position on, in batches.
        description: For the JSON.
        random_crop: Position and seed to a random crop, flipped or not, height x width x 3.
        cache: Folder for what is computed of the real images.
    """

    images: list[CaptionedImage]
    fingerprint: str
    crops: Callable[[int], Iterator[UInt8[Tensor, "batch 3 size size"]]]
    description: dict[str, Any] = field(default_factory=dict)
    random_crop: Callable[[int, tuple[int, ...]], np.ndarray] | None = None
    cache: Path | None = None

    def __post_init__(self) -> None:
        flat = [(text, owner) for owner, image in enumerate(self.images) for text in image.captions]
        self.captions = [text for text, _ in flat]
        self.owners = torch.tensor([owner for _, owner in flat])
        known = all(image.class_id is not None for image in self.images)
        self.classes = torch.tensor([image.class_id for image in self.images]) if known else None


def read_split(root: Path, source: str, split: str, size: int, skip_bad: bool = False) -> Split:
    """A split of a data set on disk.

    Args:
        root: The data set.
        source: Its layout.
        split: "test", "validation" or "train".
        size: Side of the centre crops in pixels.
        skip_bad: Leave out images that cannot be used instead of stopping.
    """
    from attngan.data.datamodule import TextImageDataModule

    data = TextImageDataModule(root=str(root), source=source, image_size=size, stages=1, skip_bad=skip_bad)
    data.setup("test" if split == "test" else "fit")
    return split_of(data, split)


def split_of(data: Any, split: str) -> Split:
    """A split of a data module that is set up, at its own image size."""
    from attngan.data.image_cache import cache_folder, fingerprint
    from attngan.data.images import shorter_side

    dataset, size = data.split(split), data.image_size

    def centre(index: int) -> np.ndarray:
        pixels = dataset.cache[int(dataset.rows[index])]
        top, left = ((side - size) // 2 for side in pixels.shape[:2])
        return pixels[top : top + size, left : left + size]

    def crops(start: int) -> Iterator[Tensor]:
        for position in range(start, len(dataset), 64):
            batch = [centre(i) for i in range(position, min(position + 64, len(dataset)))]
            yield torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2)

    def random_crop(index: int, seed: tuple[int, ...]) -> np.ndarray:
        rng = np.random.default_rng(seed)
        pixels = dataset.cache[int(dataset.rows[index])]
        top, left = (int(rng.integers(side - size + 1)) for side in pixels.shape[:2])
        crop = pixels[top : top + size, left : left + size]
        return crop[:, ::-1] if rng.integers(2) else crop

    description = {"root": str(data.root), "source": data.source, "split": split, "image_size": size}
    images = list(dataset.images)
    known_by = fingerprint(images, shorter_side(size))
    return Split(images, known_by, crops, description, random_crop, cache_folder(data.root, data.cache_dir))


@runtime_checkable
class Subject(Protocol):
    """Images to be scored, each of which may have a caption of the split (its position there)."""

    captions: list[int] | None
    description: dict[str, Any]

    def __len__(self) -> int: ...

    def batches(self, start: int, batch_size: int) -> Iterator[UInt8[Tensor, "batch 3 _ _"]]: ...


class DrawnImages:
    """Images drawn by a generator: image i has caption ``captions[i]`` and noise number i, whatever the batch.

    Args:
        sampler: Draws (`attngan.sampling.Sampler`).
        split: Its captions are used equally often, to within one, in an order that the seed decides.
        count: How many are drawn.
        seed: Of noise and order.
        truncation: Bound of the noise.
        folder: Where to write them as PNG; None to keep none.
    """

    def __init__(
        self,
        sampler: Any,
        split: Split,
        count: int,
        seed: int = 0,
        truncation: float | None = None,
        folder: Path | None = None,
    ) -> None:
        self.sampler, self.split, self.seed, self.truncation, self.folder = sampler, split, seed, truncation, folder
        known = [i for i, text in enumerate(split.captions) if sampler.vocabulary.knows_any(text)]
        if not known:
            raise ValueError("the generator's vocabulary knows no word of any caption of the data set")
        self.captions: list[int] | None = caption_order(known, count, seed)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        self.description = {
            "drawn": count,
            "checkpoint_sha256": sampler.sha256,
            "seed": seed,
            "truncation": truncation,
            "captions": len(split.captions),
            "captions_left_out": len(split.captions) - len(known),
            "split": split.description,
            "images_fingerprint": split.fingerprint,
        }

    def __len__(self) -> int:
        return len(self.captions or ())

    def batches(self, start: int, batch_size: int) -> Iterator[UInt8[Tensor, "batch 3 size size"]]:
        captions = self.captions or []
        for position in range(start, len(self), batch_size):
            numbers = list(range(position, min(position + batch_size, len(self))))
            texts = [self.split.captions[captions[i]] for i in numbers]
            drawn = self.sampler.draw(texts, numbers, self.seed, self.truncation)
            images = to_uint8(drawn.images[-1])
            if self.folder is not None:
                names = [drawn_name(i, captions[i], self.seed) for i in numbers]
                write_images(images, [self.folder / name for name in names])
            yield images


class GivenImages:
    """Images from a folder or zip, shuffled with the seed; their captions where the names tell them.

    Args:
        files: The images.
        split: The split that the captions' positions in the names refer to, where there is one.
    """

    def __init__(self, files: ImageFiles, split: Split | None = None) -> None:
        self.files = files
        self.captions: list[int] | None = None
        positions = [caption_in_name(name) for name in files.names]
        if split is not None and all(p is not None and p < len(split.captions) for p in positions):
            self.captions = [p for p in positions if p is not None]
        self.description = {"path": str(files.path), "images": len(files), "fingerprint": files.fingerprint}

    def __len__(self) -> int:
        return len(self.files)

    def batches(self, start: int, batch_size: int) -> Iterator[UInt8[Tensor, "batch 3 _ _"]]:
        return self.files.batches(start, batch_size)


def caption_order(captions: Sequence[int], count: int, seed: int) -> list[int]:
    """``count`` of ``captions``, each equally often to within one: one permutation after another."""
    rounds = math.ceil(count / len(captions))
    orders = [np.random.default_rng((seed, number)).permutation(len(captions)) for number in range(rounds)]
    return [captions[i] for i in itertools.chain(*orders)][:count]
