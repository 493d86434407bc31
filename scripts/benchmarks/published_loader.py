"""The published way of reading images: one at a time, from the JPEG, each of its sizes resized by Pillow."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor
from torchvision import transforms

WORDS = 18


def crop_to_box(image: Image.Image, box: Sequence[float] | None) -> Image.Image:
    """To a square about the box's middle, one and a half times as large as the box; what lies outside is left out."""
    if box is None:
        return image
    x, y, width, height = (int(number) for number in box)
    reach = int(max(width, height) * 0.75)
    middle_x, middle_y = int((2 * x + width) / 2), int((2 * y + height) / 2)
    left, top = max(0, middle_x - reach), max(0, middle_y - reach)
    return image.crop((left, top, min(image.width, middle_x + reach), min(image.height, middle_y + reach)))


class PublishedDataset:
    """Captioned images as lists of normalised tensors, smallest first, with a padded caption and its length.

    Args:
        images: What a data source gives.
        sides: Sides of the images in pixels, smallest first.
    """

    def __init__(self, images: Sequence[Any], sides: Sequence[int]) -> None:
        self.images = images
        largest = sides[-1]
        crop, mirror = transforms.RandomCrop(largest), transforms.RandomHorizontalFlip()
        self.augment = transforms.Compose([transforms.Resize(int(largest * 76 / 64)), crop, mirror])
        self.smaller = [transforms.Resize(side) for side in sides[:-1]]
        normalise = transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
        self.to_tensor = transforms.Compose([transforms.ToTensor(), normalise])

    def __len__(self) -> int:
        return len(self.images)

    def levels(self, image: Image.Image) -> list[Tensor]:
        """The sizes of an image that is cropped already."""
        return [self.to_tensor(resize(image)) for resize in self.smaller] + [self.to_tensor(image)]

    def __getitem__(self, index: int) -> tuple[list[Tensor], np.ndarray, int]:
        item = self.images[index]
        image = self.augment(crop_to_box(Image.open(item.path).convert("RGB"), item.box))
        words = np.arange(1, 1 + min(WORDS, len(item.captions[0].split())))
        caption = np.zeros((WORDS, 1), dtype=np.int64)
        caption[: len(words), 0] = words
        return self.levels(image), caption, len(words)
