"""How images are assigned to splits and classes to numbers where a data set does not say it in numbers itself."""

import hashlib
from collections.abc import Hashable, Iterable, Sequence

from attngan.records import CaptionedImage

#: What people call the splits.
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}


def stable_hash(text: str) -> int:
    """A number that is the same in every process and version, other than Python's ``hash``."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big")


def split_by_hash(name: str) -> str:
    """Of a hundred names about 80 train, 10 validate and 10 test; a name's split never depends on other names."""
    place = stable_hash(name) % 100
    return "train" if place < 80 else "validation" if place < 90 else "test"


def class_numbers(labels: Iterable[Hashable]) -> dict[Hashable, int]:
    """A number for each class label: the label itself where all are whole numbers, else its place in the alphabet."""
    distinct = set(labels)
    numbers = {label: _whole_number(label) for label in distinct}
    whole = {label: number for label, number in numbers.items() if number is not None}
    if len(whole) == len(distinct):
        return whole
    return {label: position for position, label in enumerate(sorted(distinct, key=str))}


def class_number(label: Hashable) -> int:
    """A class as the number that it is written as.

    Raises:
        ValueError: When it is no whole number, or one that no tensor holds (beyond 64 bits).
    """
    number = int(str(label))
    if abs(number) >= 2**63:
        raise ValueError(f"class {label} does not fit into 64 bits")
    return number


def _whole_number(label: Hashable) -> int | None:
    try:
        return class_number(label)
    except ValueError:
        return None


def held_out_for_validation(images: list[CaptionedImage]) -> set[str]:
    """Names of the training images that validate: a tenth of the classes, or of the images where there are none.

    Chosen by a hash of class number or name, so that it is the same with every seed: the DAMSM and the GAN that trains
    with it must leave out the same ones.
    """
    classes = {image.class_id for image in images}
    by_class = None not in classes and len(classes) > 1
    group_of = {image.name: str(image.class_id) if by_class else image.name for image in images}
    groups = sorted(set(group_of.values()), key=stable_hash)
    chosen = set(groups[: max(1, round(len(groups) / 10))]) if len(groups) > 1 else set()
    return {name for name, group in group_of.items() if group in chosen}


def class_ids(images: Sequence[CaptionedImage]) -> list[int] | None:
    """The class of each image, which losses and scores keep apart; None where there is nothing to keep apart.

    That is where an image has no class, and where all are of one: every pair of captions would be left out as true of
    both images, and nothing would be left to learn from or to score.
    """
    numbers = [image.class_id for image in images if image.class_id is not None]
    return numbers if len(numbers) == len(images) and len(set(numbers)) > 1 else None


def only_class(images: Sequence[CaptionedImage]) -> int | None:
    """The class that all of several images are of; None where there are several, or none."""
    classes = {image.class_id for image in images}
    return classes.pop() if len(classes) == 1 and len(images) > 1 else None
