"""WebDataset shards: tar files that training reads one after the other, for data that does not fit one machine.

``attngan prepare --shards FOLDER`` writes::

    index.json            which shards there are, and how many images are in each
    train.jsonl           captions, class and box of every image, in the order of the shards; validation.jsonl ...
    train-000000.tar      000000000.jpg, 000000000.json, 000000001.jpg ...: image files as they were, and their captions

Any WebDataset reader understands the tar files. The folder may lie anywhere that fsspec reaches: here, or behind
``https://``, ``s3://`` (each kind of address may need a package of its own). The captions of all splits are read at the
start; the images of the training split are streamed, those of the others fetched once.

They are read by a few lines of our own instead of that package: training must give the same batches to any number of
workers and go on in the middle of an epoch, neither of which it promises. Nothing is unpacked by the names in a tar
file: members that ``attngan prepare`` would not write are refused.
"""

import errno
import io
import json
import re
import tarfile
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from attngan.bounded import read_json
from attngan.errors import FileInTheWayError, InputError, MissingFileError
from attngan.files import locked, write_whole
from attngan.records import CaptionedImage

VERSION = 1
_FORMAT = "attngan shards"
_MEMBER = re.compile(r"(\d{9})\.([a-z0-9]{2,5})")
_ATTEMPTS = 3  # of reading a shard over a network


@dataclass(frozen=True)
class ShardStream:
    """The shards of one split.

    Args:
        root: Folder or address that they lie in.
        files: Names of the shards, in order.
        starts: Position in the split of each shard's first image, and the number of images.
    """

    root: str
    files: tuple[str, ...]
    starts: tuple[int, ...]

    def images(self, shard: int) -> Iterator[tuple[int, bytes]]:
        """Position in the split and file content of each image of a shard, in order.

        Raises:
            InputError: When the shard holds something that does not belong there, or not the images that it should.
        """
        expected, address = self.starts[shard], _join(self.root, self.files[shard])
        for attempt in range(_ATTEMPTS):
            try:
                for position, content in _members(self.root, self.files[shard]):
                    if position < expected:
                        continue  # given out before the connection broke
                    if position != expected:
                        break
                    yield position, content
                    expected += 1
                if expected != self.starts[shard + 1]:
                    raise InputError(f"{address}: image {expected} of the split is missing or out of order")
                return
            except InputError:
                raise
            except Exception as error:  # every kind of connection has errors of its own
                if attempt == _ATTEMPTS - 1:
                    raise InputError(f"{address}: cannot be read: {error}") from error

    def in_order(self, start: int = 0) -> Iterator[tuple[int, bytes]]:
        """All images of the split from a position on."""
        for shard in range(self.shard_of(start), len(self.files)):
            yield from (item for item in self.images(shard) if item[0] >= start)

    def shard_of(self, position: int) -> int:
        """Which shard an image of the split is in."""
        return bisect_right(self.starts, position) - 1

    def image(self, position: int) -> bytes:
        """The file content of one image; its shard is read up to it."""
        return next(content for place, content in self.images(self.shard_of(position)) if place == position)


def write_shards(
    splits: dict[str, list[CaptionedImage]], folder: str | Path, images_a_shard: int = 1000, held_out: bool = False
) -> None:
    """Writes usable images into shards; the training split shuffled, since its shards are read in sequence.

    Args:
        splits: Train, validation and test.
        folder: Where they are written; must not hold shards already.
        images_a_shard: How many images are in each; there should be several shards for every device and worker.
        held_out: The validation images were taken from the training split, whose captions make the vocabulary.

    Raises:
        FileInTheWayError: When there are shards in the folder.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "index.json").exists():
        raise FileInTheWayError(f"{folder} holds shards already: choose another folder, or delete them")
    index: dict[str, Any] = {"format": _FORMAT, "version": VERSION, "held_out": held_out, "splits": {}}
    for split, images in splits.items():
        order = np.random.default_rng(0).permutation(len(images)) if split == "train" else np.arange(len(images))
        ordered = [images[position] for position in order]
        with (folder / f"{split}.jsonl").open("w", encoding="utf-8") as lines:
            for image in ordered:
                lines.write(json.dumps(_description(image), ensure_ascii=False) + "\n")
        index["splits"][split] = []
        for start in range(0, len(ordered), images_a_shard):
            name = f"{split}-{start // images_a_shard:06}.tar"
            members = ordered[start : start + images_a_shard]
            _write_shard(folder / name, members, start)
            index["splits"][split].append({"file": name, "images": len(members)})
    # last, so that half-written shards are never taken for whole ones
    write_whole(folder / "index.json", json.dumps(index, indent=1))


def _description(image: CaptionedImage) -> dict[str, Any]:
    return {"name": image.name, "texts": image.captions, "class": image.class_id, "bbox": image.box}


def _write_shard(path: Path, images: Sequence[CaptionedImage], start: int) -> None:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for position, image in enumerate(images, start):
            suffix = re.sub(r"[^a-z0-9]", "", image.path.suffix.lower()) or "jpg"
            description = json.dumps(_description(image), ensure_ascii=False).encode()
            for kind, content in ((suffix, image.path.read_bytes()), ("json", description)):
                member = tarfile.TarInfo(f"{position:09}.{kind}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def read_shards(
    root: str | Path, scratch: Path, captions: bool = True
) -> tuple[dict[str, list[CaptionedImage]], ShardStream, bool]:
    """The captioned images of shards by split, the stream of the training images, and whether validation is held out.

    Args:
        root: Folder or address of the shards.
        scratch: Where the images of the other splits are put.
        captions: Give the captions, which every image must have; else the images alone.

    Raises:
        MissingFileError: When there is no index.
        InputError: When index or captions are not what `write_shards` writes.
    """
    root = str(root)
    index = _read_index(root)
    splits, streams = {}, {}
    for split, shards in index["splits"].items():
        counts = [shard["images"] for shard in shards]
        streams[split] = ShardStream(
            root, tuple(shard["file"] for shard in shards), tuple(np.cumsum([0, *counts]).tolist())
        )
        splits[split] = _read_captions(root, split, sum(counts), captions)
    if "train" not in streams:
        raise InputError(f"{root}: no shards of a training split")
    for split in splits.keys() - {"train"}:
        splits[split] = _fetched(splits[split], streams[split], scratch / f"images of {split} shards")
    return splits, streams["train"], bool(index["held_out"])


def _read_index(root: str) -> dict[str, Any]:
    address = _join(root, "index.json")
    try:
        with _open(address) as file:
            index: dict[str, Any] = read_json(file.read())
    except FileNotFoundError as error:
        raise MissingFileError(f"{address}: no index; attngan prepare --shards writes shards with one") from error
    except ValueError as error:
        raise InputError(f"{address}: {error}") from error
    try:
        if index["format"] != _FORMAT or index["version"] != VERSION:
            raise ValueError("another format or version")
        for split, shards in index["splits"].items():
            for shard in shards:
                whole = isinstance(shard["images"], int) and shard["images"] > 0
                if not whole or not re.fullmatch(r"[\w-]+\.tar", shard["file"]) or not re.fullmatch(r"\w+", split):
                    raise ValueError(f"malformed entry {shard}")
        index["held_out"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{address}: not an index of version {VERSION}: {error}") from error
    return index


def _read_captions(root: str, split: str, count: int, wanted: bool) -> list[CaptionedImage]:
    """The images of a split; their paths say which member of the shards they are and lead to no file."""
    address = _join(root, f"{split}.jsonl")
    images = []
    try:
        opened = _open(address)
    except FileNotFoundError as error:
        raise MissingFileError(f"{address}: not there, and the index names a split {split}") from error
    with opened as file:
        for number, line in enumerate(file, start=1):
            try:
                entry = read_json(line)
                box = None if entry["bbox"] is None else tuple(map(float, entry["bbox"]))
                captions = tuple(map(str, entry["texts"])) if wanted else ()
                label = None if entry["class"] is None else int(entry["class"])
                name = str(entry["name"])
                if wanted and not captions:
                    raise ValueError("no captions (images alone are read with captions_per_image 0)")
                if box is not None and len(box) != 4:
                    raise ValueError(f"the box {box} is none")
            except (ValueError, KeyError, TypeError, OverflowError) as error:
                raise InputError(f"{address}, line {number}: {error}") from error
            images.append(CaptionedImage(name, Path(f"{number - 1:09}"), captions, label, box))
    if len(images) != count:
        raise InputError(f"{address}: {len(images):,} images, but its shards hold {count:,}")
    return images


def _fetched(images: list[CaptionedImage], stream: ShardStream, folder: Path) -> list[CaptionedImage]:
    """The images as files of their own in a folder, where they are put unless they are there."""
    complete = folder / "complete.json"
    state = json.dumps([stream.root, stream.files, stream.starts, [image.name for image in images]])

    def there() -> bool:
        return complete.is_file() and complete.read_text() == state

    if not there():
        with locked(folder / "lock"):
            if not there():  # nor has another process put them there while this one waited
                complete.unlink(missing_ok=True)
                for position, content in stream.in_order():
                    (folder / f"{position:09}").write_bytes(content)
                write_whole(complete, state)
    return [
        CaptionedImage(image.name, folder / f"{position:09}", image.captions, image.class_id, image.box)
        for position, image in enumerate(images)
    ]


def _members(root: str, name: str) -> Iterator[tuple[int, bytes]]:
    """The images of a tar file with the numbers in their names, read from front to back."""
    address = _join(root, name)
    with _open(address) as file, tarfile.open(fileobj=file, mode="r|") as tar:
        for member in tar:
            parts = _MEMBER.fullmatch(member.name)
            if not member.isfile() or parts is None:
                raise InputError(f"{address}: {member.name!r} is not what attngan prepare writes; nothing was unpacked")
            content = tar.extractfile(member)
            if parts[2] != "json" and content is not None:
                yield int(parts[1]), content.read()


def _join(root: str, name: str) -> str:
    return f"{root.rstrip('/')}/{name}"


def _open(address: str) -> Any:
    if "://" not in address:
        try:
            return Path(address).open("rb")
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            raise InputError(f"{address[:100]}...: no file can have so long a name, see index.json there") from error
    import fsspec

    try:
        return fsspec.open(address, "rb").open()
    except ImportError as error:
        raise InputError(
            f"{address}: {error}. For http and https: pip install 'attngan[webdataset]'; other kinds of address need "
            "the package that this message names"
        ) from error
