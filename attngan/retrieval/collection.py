"""What is searched: images with their names, captions, and which caption is whose where that is known."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from attngan.data.findings import Findings
from attngan.data.images import UnusableImageError, load_pixels, shorter_side
from attngan.data.sources.registry import open_source
from attngan.data.sources.shards import ShardStream
from attngan.data.sources.tables import USUAL, Columns
from attngan.errors import InputError
from attngan.pixels import centre_crop
from attngan.records import CaptionedImage
from attngan.terminal import say


class Decoded(NamedTuple):
    """Images that could be decoded: their positions and pixels."""

    positions: list[int]
    pixels: UInt8[Tensor, "batch 3 side side"]


@dataclass(frozen=True, eq=False)
class Collection:
    """Images of a folder or of a split of a data set.

    Args:
        root: Where they are, for messages.
        images: In order; with their captions, where those are read.
        stream: The shards that their files come from; None: they are files on this machine.
    """

    root: str | Path
    images: Sequence[CaptionedImage]
    stream: ShardStream | None = None

    @property
    def names(self) -> list[str]:
        return [image.name for image in self.images]

    def captions(self) -> tuple[list[str], list[int]]:
        """All captions, image by image, and the position of each one's image."""
        pairs = [(text, owner) for owner, image in enumerate(self.images) for text in image.captions]
        return [text for text, _ in pairs], [owner for _, owner in pairs]

    def batches(self, side: int, batch_size: int, skip_bad: bool = False) -> Iterator[Decoded]:
        """Centre crops of all images, prepared as for the test of a training; a batch at a time is in memory.

        Raises:
            InputError: An image cannot be decoded, unless those are left out; names it.
        """
        short = shorter_side(side)

        def crop(item: tuple[int, Path | bytes]) -> np.ndarray | UnusableImageError:
            position, file = item
            try:
                return centre_crop(load_pixels(file, self.images[position].box, short), side)
            except UnusableImageError as error:
                return error

        files = self._files()
        with ThreadPoolExecutor(4) as pool:  # Pillow lets go of Python's lock while it decodes and resizes
            while items := list(islice(files, batch_size)):
                crops = list(zip(items, pool.map(crop, items), strict=True))
                usable = [(position, pixels) for (position, _), pixels in crops if isinstance(pixels, np.ndarray)]
                bad = [(position, error) for (position, _), error in crops if isinstance(error, UnusableImageError)]
                for position, error in bad:
                    self._left_out(position, error, skip_bad)
                if usable:
                    pixels = torch.from_numpy(np.stack([pixels for _, pixels in usable])).permute(0, 3, 1, 2)
                    yield Decoded([position for position, _ in usable], pixels)

    def _left_out(self, position: int, error: UnusableImageError, skip_bad: bool) -> None:
        told = f"{self.root}: image {self.images[position].name}: {error}"
        if not skip_bad:
            raise InputError(f"{told}; --skip_bad leaves such images out") from error
        say(f"{told}; left out", error=True)

    def _files(self) -> Iterator[tuple[int, Path | bytes]]:
        if self.stream is None:
            yield from ((position, image.path) for position, image in enumerate(self.images))
        else:
            yield from self.stream.in_order()

    def thumbnails(self, positions: Sequence[int], side: int) -> dict[int, Image.Image]:
        """Some of the images as they were looked at, at the size of a page."""
        wanted = set(positions)
        files = self._files() if self.stream else ((place, self.images[place].path) for place in sorted(wanted))
        pictures = {}
        for position, file in files:
            if position in wanted:
                pixels = centre_crop(load_pixels(file, self.images[position].box, shorter_side(side)), side)
                pictures[position] = Image.fromarray(np.ascontiguousarray(pixels))
        return pictures


def read_collection(
    root: str | Path,
    source: str | None = None,
    split: str = "test",
    captions: bool = True,
    columns: Columns = USUAL,
    skip_bad: bool = False,
) -> Collection:
    """A split of a data set, or all images of a folder.

    Args:
        root: The data set, or the folder.
        source: Layout of the data set; None: any folder of images, of which all are taken, without captions.
        split: Which images of a data set.
        captions: Read the captions; else images suffice.
        columns: Which columns of a table hold names and captions.
        skip_bad: Leave out images that cannot be used, and say so.

    Raises:
        MissingFileError: There is no such folder.
        InputError: No image in it, or one that cannot be used.
    """
    findings = Findings()
    if source is None:
        splits = open_source("folder", root, findings, captions=False).splits
        opened, images = None, sorted((i for own in splits.values() for i in own), key=lambda image: image.name)
    else:
        opened = open_source(source, root, findings, captions=captions, columns=columns, only=(split,))
        images = opened.splits.get(split, [])
    if not skip_bad:
        findings.stop_if_bad()
    for kind, messages in [*findings.bad.items(), *findings.notes.items()]:
        say(f"{root}: {kind}: {len(messages):,}, first: {messages[0]}", error=True)
    if not images:
        what = "no images" if source is None else f"source {source} finds no images in the {split} split"
        raise InputError("; ".join([f"{root}: {what}", *findings.advice]))
    return Collection(root, images, opened.streams.get(split) if opened else None)
