"""What no single image shows: boxes that reach out of their image, the same image in two splits."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from itertools import combinations

from attngan.data.findings import Findings
from attngan.data.image_cache import ImageCache
from attngan.data.images import UnusableImageError, upright_size
from attngan.data.processes import worker_processes
from attngan.records import CaptionedImage


def note_boxes_outside(images: list[CaptionedImage], findings: Findings, processes: int | None = None) -> None:
    """Notes the images whose box reaches past their edge; the crop is clipped there, as published."""
    with_box = [image for image in images if image.box is not None]
    with worker_processes(processes, len(with_box)) as run:
        for message in sorted(run(_boxes_outside, with_box)):
            findings.add_note("box reaches out of its image", message)


def _boxes_outside(images: Iterable[CaptionedImage]) -> list[str]:
    messages = []
    for image in images:
        assert image.box is not None
        try:
            width, height = upright_size(image.path)
        except UnusableImageError:
            continue  # is found when the cache is built
        x, y, box_width, box_height = image.box
        past = max(-x, -y, x + box_width - width, y + box_height - height)
        if past >= 1:  # less is how the boxes were rounded
            messages.append(f"{image.path}: box {image.box} reaches {past:g} px out of {width} x {height}")
    return messages


def note_duplicates_across_splits(
    splits: dict[str, list[CaptionedImage]], caches: dict[str, ImageCache], findings: Findings
) -> None:
    """Notes images that are in two splits: the same file, or the same pixels once cropped and resized.

    A model that is tested on what it was trained on scores better than it is.
    """
    by_content: dict[tuple[object, ...], list[tuple[str, int]]] = defaultdict(list)
    for split, images in splits.items():
        table = caches[split].table
        for position in range(len(images)):
            if position not in caches[split].bad:
                record = table[position]
                key = ("pixels", int(record["checksum"]), int(record["height"]), int(record["width"]))
                by_content[key].append((split, position))
    for of_file, members in _by_file(splits).items():
        by_content[of_file] += members
    told = set()
    for (kind, *_), members in by_content.items():
        for (split, position), (other_split, other) in combinations(members, 2):
            if split == other_split or (split, position, other_split, other) in told:
                continue
            if kind == "pixels" and (caches[split][position] != caches[other_split][other]).any():
                continue  # a coincidence of checksums
            told.add((split, position, other_split, other))
            findings.add_note(
                "same image in two splits",
                f"{splits[split][position].path} ({split}) and {splits[other_split][other].path} ({other_split})",
            )


def _by_file(splits: dict[str, list[CaptionedImage]]) -> dict[tuple[object, ...], list[tuple[str, int]]]:
    """Images by the hash of their file; only files are read that share their size with one of another split."""
    by_size: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for split, images in splits.items():
        for position, image in enumerate(images):
            by_size[image.path.stat().st_size].append((split, position))
    by_hash: dict[tuple[object, ...], list[tuple[str, int]]] = defaultdict(list)
    for members in by_size.values():
        if len({split for split, _position in members}) > 1:
            for split, position in members:
                digest = hashlib.sha256(splits[split][position].path.read_bytes()).digest()
                by_hash["file", digest].append((split, position))
    return by_hash
