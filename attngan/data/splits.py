"""How images are assigned to splits and classes to numbers where a data set does not say it in numbers itself."""

import hashlib
from collections.abc import Hashable, Iterable

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


def _whole_number(label: Hashable) -> int | None:
    try:
        return int(str(label))
    except ValueError:
        return None
