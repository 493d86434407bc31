"""What is scored and against what: drawn images, images from files, and a split of a data set."""

import hashlib
import itertools
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from attngan import ranks
from attngan.checkpoint import file_sha256
from attngan.data.sources.tables import USUAL, Columns
from attngan.data.splits import class_ids
from attngan.errors import InputError
from attngan.evaluation.image_files import ImageFiles, caption_in_name, drawn_name, write_images
from attngan.files import write_whole
from attngan.pixels import centre_crop, to_uint8
from attngan.records import CaptionedImage
from attngan.sampling import Sampler


@dataclass
class Split:
    """A split of a data set: its captions in order, and its real images as centre crops of one size.

    Args:
        images: As the data set yields them.
        fingerprint: Changes with the image files and their preparation.
        crops: Centre crops of all real images from a position on, in batches.
        description: For the JSON.
        random_crop: Position and seed to a random crop, flipped or not, height x width x 3; None where the images come
            as a stream, of which none can be had by itself.
        cache: Folder for what is computed of the real images.
        embedded: Positions of the captions that have precomputed sentence embeddings.
        embeddings: Those of some positions, one a row; None where there are no such embeddings.
        embeddings_sha256: SHA-256 of the file of all embeddings.
    """

    images: list[CaptionedImage]
    fingerprint: str
    crops: Callable[[int], Iterator[UInt8[Tensor, "batch 3 size size"]]]
    description: dict[str, Any] = field(default_factory=dict)
    random_crop: Callable[[int, tuple[int, ...]], np.ndarray] | None = None
    cache: Path | None = None
    embedded: Sequence[int] = ()
    embeddings: Callable[[Sequence[int]], Float[Tensor, "captions text"]] | None = None
    embeddings_sha256: str | None = None

    def __post_init__(self) -> None:
        flat = [(text, owner) for owner, image in enumerate(self.images) for text in image.captions]
        self.captions = [text for text, _ in flat]
        self.owners = torch.tensor([owner for _, owner in flat], dtype=torch.int64)
        numbers = class_ids(self.images)
        self.classes = None if numbers is None else torch.tensor(numbers)


def read_split(
    root: Path,
    source: str,
    split: str,
    size: int,
    skip_bad: bool = False,
    text: bool = True,
    text_embeddings: str | None = None,
    columns: Columns = USUAL,
) -> Split:
    """A split of a data set on disk.

    Args:
        root: The data set.
        source: Layout of the data set.
        split: "test", "validation" or "train".
        size: Side of the centre crops in pixels.
        skip_bad: Leave out images that cannot be used instead of stopping.
        text: Read the captions too; without, images suffice.
        text_embeddings: File of precomputed sentence embeddings of the captions.
        columns: Which columns of a folder's table hold names and captions.
    """
    from attngan.data.datamodule import TextImageDataModule

    data = TextImageDataModule(
        root=str(root),
        source=source,
        image_size=size,
        stages=1,
        captions_per_image=10 if text else 0,
        skip_bad=skip_bad,
        text_embeddings=text_embeddings,
        image_column=columns.image,
        caption_column=columns.caption,
    )
    # of what validates, and of what is left to train on, the training split decides
    data.read_only(*(("test",) if split == "test" else ("train", "validation")))
    data.setup("test" if split == "test" else "fit")
    return split_of(data, split)


def split_of(data: Any, split: str) -> Split:
    """A split of a data module that is set up, at its own image size."""
    from attngan.data.image_cache import cache_folder

    dataset, size = data.split(split), data.image_size

    def crops(start: int) -> Iterator[Tensor]:
        pixels = dataset.all_pixels(start)
        while batch := [centre_crop(image, size) for image in itertools.islice(pixels, 64)]:
            yield torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2)

    def random_crop(index: int, seed: tuple[int, ...]) -> np.ndarray:
        rng = np.random.default_rng(seed)
        pixels = dataset.pixels(index)
        top, left = (int(rng.integers(side - size + 1)) for side in pixels.shape[:2])
        crop: np.ndarray = pixels[top : top + size, left : left + size]
        return crop[:, ::-1] if rng.integers(2) else crop

    places = _embedded_captions(dataset)

    def embeddings(positions: Sequence[int]) -> Tensor:
        return torch.from_numpy(dataset.embeddings.of([places[position] for position in positions]))

    return Split(
        list(dataset.images),
        _fingerprint(dataset, size),
        crops,
        {"root": str(data.root), "source": data.source, "split": split, "image_size": size},
        random_crop if dataset.stream is None else None,
        cache_folder(data.root, data.cache_dir),
        sorted(places),
        embeddings if places else None,
        file_sha256(dataset.embeddings.file.mapped) if places else None,
    )


def _fingerprint(dataset: Any, size: int) -> str:
    """Of the images, and where they are streamed of the shards they come from."""
    from attngan.data.image_cache import fingerprint
    from attngan.data.images import shorter_side

    known_by = fingerprint(dataset.images, shorter_side(size))
    if (stream := dataset.stream) is None:
        return known_by
    shards = [(name, *_size_and_time(Path(stream.root) / name)) for name in stream.files]
    told = repr((known_by, stream.root, shards, stream.starts, dataset.rows.tolist()))
    return hashlib.sha256(told.encode()).hexdigest()


def _size_and_time(file: Path) -> tuple[int, int]:
    """Nothing of a file that lies behind an address: its name has to do."""
    return (file.stat().st_size, file.stat().st_mtime_ns) if file.is_file() else (-1, -1)


def _embedded_captions(dataset: Any) -> dict[int, tuple[int, int]]:
    """Position of a caption in the split to (image, number of its used caption), for those with embeddings."""
    if dataset.embeddings is None:
        return {}
    places = {}
    start = 0
    for index, image in enumerate(dataset.images):
        for number in range(dataset.captions.count(index)):
            own = int(dataset.embeddings.captions[dataset.embeddings.first[index] + number])
            places[start + own] = index, number
        start += len(image.captions)
    return places


@runtime_checkable
class ScoredImages(Protocol):
    """Images to be scored, each of which may have a caption of the split (its position there).

    ``batches`` gives those from a position on; of several processes each gets its own, every so many-th.
    """

    captions: list[int] | None
    description: dict[str, Any]

    def __len__(self) -> int: ...

    def batches(self, start: int, batch_size: int) -> Iterator[UInt8[Tensor, "batch 3 _ _"]]: ...


class DrawnImages:
    """Images drawn by a generator: image i has caption ``captions[i]`` and noise number i, whatever the batch.

    Args:
        sampler: Draws.
        split: Split whose captions are used equally often, to within one, in an order that the seed decides; a
            generator that reads no text uses none.
        count: How many are drawn.
        seed: Seed of noise and order.
        truncation: Factor of noise that is cut off at plus or minus 2; None for plain normal noise.
        folder: Where to write them as PNG; None to keep none.
        images_per_caption: So many images of each caption, one after the other; ``count`` counts captions then.

    Raises:
        InputError: The generator can read none of the captions, or ``folder`` holds other images.
    """

    def __init__(
        self,
        sampler: Sampler,
        split: Split,
        count: int,
        seed: int = 0,
        truncation: float | None = None,
        folder: Path | None = None,
        images_per_caption: int = 1,
    ) -> None:
        self.sampler, self.split, self.seed, self.truncation, self.folder = sampler, split, seed, truncation, folder
        self.count = count * images_per_caption
        self.captions: list[int] | None = None
        readable = _readable(sampler, split)
        if sampler.reads != "nothing":
            order = caption_order(readable, count, seed)
            self.captions = [caption for caption in order for _ in range(images_per_caption)]
        self.description = {
            "drawn": self.count,
            "checkpoint_sha256": sampler.sha256,
            "seed": seed,
            "truncation": truncation,
            "reads": sampler.reads,
            "word_limit": sampler.word_limit if sampler.reads == "captions" else None,
            "embeddings_sha256": split.embeddings_sha256 if sampler.reads == "embeddings" else None,
            "captions": len(split.captions),
            "captions_left_out": len(split.captions) - len(readable),
            "split": split.description,
            "images_fingerprint": split.fingerprint,
        }
        if folder is not None:
            _claim(folder, self.description)

    def __len__(self) -> int:
        return self.count

    def batches(self, start: int, batch_size: int) -> Iterator[UInt8[Tensor, "batch 3 size size"]]:
        for position in ranks.own(range(start, self.count, batch_size)):
            yield self._draw(range(position, min(position + batch_size, self.count)))

    def write_missing(self, count: int, batch_size: int) -> None:
        """Draws those of the first images that are not in the folder: a kept pass looks at nothing again."""
        missing = ranks.broadcast([i for i in range(count) if not self._path(i).is_file()])
        for start in ranks.own(range(0, len(missing), batch_size)):
            self._draw(missing[start : start + batch_size])
        ranks.wait_for_all()

    def _draw(self, numbers: Sequence[int]) -> Tensor:
        texts: list[str] | Tensor | None = None
        if self.captions is not None:
            positions = [self.captions[i] for i in numbers]
            if self.sampler.reads == "embeddings":
                assert self.split.embeddings is not None
                texts = self.split.embeddings(positions)
            else:
                texts = [self.split.captions[position] for position in positions]
        images = to_uint8(self.sampler.draw(texts, list(numbers), self.seed, self.truncation).images[-1])
        if self.folder is not None:
            write_images(images, [self._path(i) for i in numbers], [self._origin(i) for i in numbers])
        return images

    def _origin(self, number: int) -> dict[str, object]:
        caption = None if self.captions is None else self.split.captions[self.captions[number]]
        return {"caption": caption, "seed": self.seed, "number": number, "checkpoint": self.sampler.sha256}

    def _path(self, number: int) -> Path:
        assert self.folder is not None
        caption = None if self.captions is None else self.captions[number]
        return self.folder / drawn_name(number, caption, self.seed)


def _readable(sampler: Sampler, split: Split) -> list[int]:
    """Positions of the captions that the generator can read."""
    if sampler.reads == "nothing":
        return []
    if sampler.reads == "embeddings":
        if split.embeddings is None:
            raise InputError(
                "this generator reads precomputed sentence embeddings: give their file with --text_embeddings, as in "
                "training (data.text_embeddings)"
            )
        return list(split.embedded)
    known = [i for i, text in enumerate(split.captions) if sampler.knows(text)]
    if not known:
        raise InputError("the generator's vocabulary knows no word of any caption of the data set")
    return known


def _claim(folder: Path, description: dict[str, Any]) -> None:
    """Makes a folder for these images alone."""
    folder.mkdir(parents=True, exist_ok=True)
    note, told = folder / "drawn.json", json.dumps(description, indent=1)
    if note.is_file() and note.read_text(encoding="utf-8") != told:
        raise InputError(f"{folder} holds images of another drawing (see {note}): name another --out, or remove them")
    write_whole(note, told)


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
        self.description = {
            "path": str(files.path),
            "images": len(files),
            "fingerprint": files.fingerprint,
            "order_by_seed": files.shuffle,
            "passed_over": files.passed_over,
        }

    def __len__(self) -> int:
        return len(self.files)

    def batches(self, start: int, batch_size: int) -> Iterator[UInt8[Tensor, "batch 3 _ _"]]:
        return ranks.own(self.files.batches(start, batch_size))


def caption_order(captions: Sequence[int], count: int, seed: int) -> list[int]:
    """``count`` of ``captions``, each equally often to within one: one permutation after another."""
    rounds = math.ceil(count / len(captions))
    orders = [np.random.default_rng((seed, number)).permutation(len(captions)) for number in range(rounds)]
    return [captions[i] for i in itertools.chain(*orders)][:count]
