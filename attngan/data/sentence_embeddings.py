"""Precomputed sentence embeddings, one a caption: those of the StackGAN papers, or one's own in a ``.npy`` file.

A file holds the embeddings of one split, in the order of the split's list of images::

    char-CNN-RNN-embeddings.pickle    published: a list of arrays (captions, 1024), in the order of filenames.pickle
    *.npy                             one array (images, captions, dimensions)

A pickle is read once, without running what is in it, and kept as ``.npy`` beside the image caches. Training maps the
file; an item costs one row.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from attngan.array_files import read_array
from attngan.data.findings import Findings
from attngan.data.published_pickles import read_published_pickle
from attngan.data.sources.file_lists import has_file_list, read_file_list
from attngan.errors import InputError, MissingFileError
from attngan.files import replacing
from attngan.records import CaptionedImage


class EmbeddingFile:
    """The embeddings of one split, mapped from its file.

    Args:
        path: The file that the user gave, for messages.
        mapped: A ``.npy`` file of its content: the same one, or what was kept of a pickle.

    Attributes:
        values: One row of dimensions for each caption of each image, (images, captions, dimensions).
    """

    def __init__(self, path: Path, mapped: Path) -> None:
        self.path, self.mapped = path, mapped
        values = read_array(mapped, mapped=True)
        if values.ndim != 3 or values.dtype.kind != "f" or not values.size:
            raise InputError(
                f"{path}: embeddings are one array (images, captions, dimensions) of fractions, not {values.shape} "
                f"{values.dtype}"
            )
        self.values = values

    def first_not_finite(self) -> tuple[int, int] | None:
        """The image and caption of the first embedding that is not all numbers; reads the whole file."""
        for image, own in enumerate(self.values):
            if not np.isfinite(own).all():
                return image, int(np.flatnonzero(~np.isfinite(own).all(axis=1))[0])
        return None

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "mapped": self.mapped}  # worker processes map the file themselves

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"], state["mapped"])  # type: ignore[misc]


@dataclass(frozen=True)
class ImageEmbeddings:
    """The embeddings of the captions of many images.

    Args:
        file: The file of the embeddings.
        images: Each image's place in the file.
        captions: Each used caption's number among its image's own, of all images one after the other.
        first: Where each image's captions start in `captions`.
    """

    file: EmbeddingFile
    images: np.ndarray
    captions: np.ndarray
    first: np.ndarray

    def of(self, places: Sequence[tuple[int, int]]) -> np.ndarray:
        """For the image and the number of its used caption of each place: (places, dimensions), float32."""
        chosen = np.asarray(places, dtype=np.int64).reshape(-1, 2)
        images, numbers = self.images[chosen[:, 0]], self.captions[self.first[chosen[:, 0]] + chosen[:, 1]]
        return np.asarray(self.file.values[images, numbers], dtype=np.float32)


def open_embeddings_of(
    splits: Iterable[str], root: str | Path, pattern: str, scratch: Path
) -> dict[str, EmbeddingFile]:
    """The embeddings of every split.

    Args:
        splits: Names of the splits.
        root: The data set.
        pattern: The files' path within it, or their absolute path; ``{split}`` stands for the split's name.
        scratch: Where the content of pickles is kept.

    Raises:
        MissingFileError: When a file is not there.
        InputError: When one holds something else, or one file is to serve several splits.
    """
    splits = list(splits)
    if len(splits) > 1 and "{split}" not in pattern:
        raise InputError(
            f"text_embeddings {pattern!r} names one file for the splits {', '.join(splits)}: write {{split}} where the "
            "name of the split stands"
        )
    return {split: open_embeddings(Path(root) / pattern.replace("{split}", split), scratch) for split in splits}


def open_embeddings(path: Path, scratch: Path) -> EmbeddingFile:
    """The embeddings in a file.

    Args:
        path: A published pickle, or a ``.npy`` file.
        scratch: Where a pickle's content is kept.

    Raises:
        MissingFileError: When there is no such file.
        InputError: When it holds something else.
    """
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file of sentence embeddings (text_embeddings)")
    if path.suffix.lower() == ".npy":
        return EmbeddingFile(path, path)
    status = path.stat()
    which = hashlib.sha256(str(path.resolve()).encode("utf-8", "surrogatepass")).hexdigest()[:12]
    kept = scratch / f"embeddings-{which}-{status.st_size}-{status.st_mtime_ns}.npy"
    if not kept.is_file():
        _keep(_from_pickle(path), kept)
        for stale in set(scratch.glob(f"embeddings-{which}-*.npy")) - {kept}:
            stale.unlink(missing_ok=True)
    return EmbeddingFile(path, kept)


def _from_pickle(path: Path) -> np.ndarray:
    content = read_published_pickle(path)
    if not isinstance(content, list | tuple | np.ndarray) or not len(content):
        raise InputError(f"{path}: embeddings are a list with an array (captions, dimensions) for each image")
    first = np.shape(content[0])
    for number, own in enumerate(content):
        if not isinstance(own, np.ndarray) or own.ndim != 2 or own.dtype.kind != "f":
            raise InputError(f"{path}: image {number}: not an array (captions, dimensions) of fractions")
        if own.shape != first:
            raise InputError(f"{path}: image {number} has an array of {own.shape}, the first image one of {first}")
    return np.stack(list(content)).astype(np.float32)


def _keep(values: np.ndarray, kept: Path) -> None:
    """Never leaves half a file under this name."""
    with replacing(kept) as part, part.open("wb") as file:
        np.save(file, values, allow_pickle=False)


def places_in_file(
    file: EmbeddingFile, root: str | Path, split: str, images: Sequence[CaptionedImage], used: int, findings: Findings
) -> dict[str, int]:
    """Where in the file each image's embeddings are, by the image's name.

    By the split's list of files where there is one, which the published embeddings follow: an image that was left out
    moves no other. Else by the order of the images.

    Args:
        file: The split's embeddings.
        root: The data set.
        split: Name of the split.
        images: The split's images as the source gives them.
        used: How many captions of an image are used.
        findings: Takes the images whose captions and embeddings are not the same number.

    Raises:
        InputError: When images and embeddings are not the same number.
    """
    list_of_split = Path(root) / split
    if has_file_list(list_of_split):
        names, where = read_file_list(list_of_split), f"the list of images in {list_of_split}"
    else:
        names, where = [image.name for image in images], f"the {split} split of {root}"
    count, captions, _dimensions = file.values.shape
    if count != len(names):
        raise InputError(f"{file.path}: embeddings of {count:,} images, but {where} has {len(names):,}")
    place_of = {name: place for place, name in reversed(list(enumerate(names)))}
    by_stem = {Path(name).name: place for name, place in place_of.items()}  # some lists name folders, some do not
    places = {}
    for image in images:
        place = place_of.get(image.name, by_stem.get(Path(image.name).name))
        if place is None:
            findings.add_bad("no embeddings", f"{image.path}: {image.name} is not in {where}")
        elif captions != len(image.captions) and not used <= captions < len(image.captions):
            own = len(image.captions)
            findings.add_bad(
                "other number of embeddings", f"{image.path}: {captions} embeddings in {file.path}, {own} captions"
            )
        else:
            places[image.name] = place
    return places
