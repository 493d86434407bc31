"""Decoded, cropped and resized images in one memory-mapped file a split, so that no epoch decodes a JPEG.

The file: a line of JSON (version, fingerprint of the source, shorter side, count) padded to a page, a table of one
record an image (offset, height, width, checksum, state), the pixels as uint8 height x width x 3, and at the end why an
image could not be decoded, with a checksum of all this but the pixels. It grows under another name and is renamed when
whole, so what bears the final name is complete; an interrupted one goes on from the images that its table and their
checksums prove to be there. Damaged pixels are decoded again in the same way.

Roughly 0.2 MB an image at 256 x 256 from near-square crops (CUB: 2.7 GB) and 0.37 MB from 640 x 480 photographs (COCO:
45 GB); a sixteenth of it at 64 x 64.
"""

import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning_utilities.core.rank_zero import rank_zero_warn

from attngan.data.images import UnusableImageError, kept_shape, load_pixels, shorter_side
from attngan.data.processes import worker_processes
from attngan.errors import InputError, NoRoomError
from attngan.files import locked, reserve
from attngan.records import CaptionedImage

VERSION = 1
_FORMAT = "attngan image cache"
_PAGE = 4096
_RECORD = np.dtype(
    [("offset", "<u8"), ("height", "<u4"), ("width", "<u4"), ("checksum", "<u4"), ("state", "<u4")], align=False
)
_TODO, _DONE, _BAD = 0, 1, 2
#: So many images, spread over the file, are compared with their checksums whenever a cache is opened to train from.
SAMPLED = 64
_CHECKSUM = "checksum of header, table and reasons"


def _unseen(done: int) -> None:
    """Progress that nobody watches."""


class ImageCache:
    """The pixels of one split, read-only; cheap to open, nothing is loaded until it is looked at.

    Args:
        path: A finished cache file.

    Attributes:
        bad: Position to the reason, for images that could not be decoded; they have no pixels.

    Raises:
        InputError: When the file is no cache, of another version, or not whole.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self._open()
        except InputError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise InputError(f"{self.path}: not whole: {error}") from None

    def _open(self) -> None:
        self.header, start = _read_header(self.path)
        self._map = np.memmap(self.path, dtype=np.uint8, mode="r")
        end, count = self.header["end"], self.header["count"]
        end_of_table = start + count * _RECORD.itemsize
        if not 0 <= start <= end_of_table <= end or len(self._map) < end + 8:
            raise ValueError(f"{len(self._map):,} bytes, its pixels end at {end:,}")
        length = int.from_bytes(self._map[end : end + 8].tobytes(), "little")
        if len(self._map) != end + 8 + length:
            raise ValueError(f"{len(self._map):,} bytes instead of {end + 8 + length:,}")
        self.table = np.frombuffer(self._map[start:end_of_table].tobytes(), _RECORD)
        reasons = json.loads(self._map[end + 8 :].tobytes())
        checksum = reasons.pop(_CHECKSUM, None)  # caches of before have none
        if checksum is not None and checksum != _checksum_beside_pixels(self._map[:end_of_table], reasons):
            raise ValueError("header, table and their checksum do not belong together")
        if (self.table["state"] == _TODO).any() or not _laid_out(self.table, end_of_table, end):
            raise ValueError("its table does not describe its pixels")
        self.bad: dict[int, str] = {int(position): str(reason) for position, reason in reasons.items()}

    @property
    def fingerprint(self) -> str:
        """What the cache was made of."""
        return str(self.header["fingerprint"])

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, position: int) -> np.ndarray:
        """The pixels, height x width x 3, without copying them.

        Raises:
            KeyError: When the image could not be decoded.
        """
        record = self.table[position]
        if record["state"] != _DONE:
            raise KeyError(f"image {position} of {self.path} could not be decoded: {self.bad.get(position)}")
        offset, height, width = int(record["offset"]), int(record["height"]), int(record["width"])
        return self._map[offset : offset + height * width * 3].reshape(height, width, 3)

    def damaged(self, positions: Iterable[int] | None = None, progress: Callable[[int], None] = _unseen) -> list[int]:
        """Positions whose pixels no longer have their checksum.

        Args:
            positions: Where to look; None: everywhere, which reads the whole file.
            progress: Called with the number of images looked at.
        """
        found = []
        for number, position in enumerate(range(len(self)) if positions is None else positions, start=1):
            record = self.table[position]
            if record["state"] == _DONE and _checksum(self[position]) != record["checksum"]:
                found.append(position)
            progress(number)
        return found

    def spread(self, count: int = SAMPLED) -> list[int]:
        """So many positions from the first to the last; all of a smaller cache."""
        return sorted({int(position) for position in np.linspace(0, len(self) - 1, min(count, len(self)))})

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}  # worker processes map the file themselves

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"])  # type: ignore[misc]


def fingerprint(images: Sequence[CaptionedImage], short: int) -> str:
    """Changes when an image, its file, its box or the size does; so that a stale cache is recognised.

    Captions are not in it: they can be corrected without decoding anything again.
    """
    digest = hashlib.sha256(f"{_FORMAT} {VERSION} {short}".encode())
    for image in images:
        try:
            status = image.path.stat()
            file = (status.st_size, status.st_mtime_ns)
        except OSError:
            file = (-1, -1)
        digest.update(repr((image.name, image.box, file)).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def cache_folder(root: str | Path, cache_dir: str | Path | None = None) -> Path:
    """Where a data set's caches lie: the folder asked for, else in the data set, else in the user's cache folder."""
    if cache_dir is not None:
        return Path(cache_dir)
    if "://" in str(root):
        return _users_cache(str(root))
    root = Path(root).resolve()
    inside = root / ".attngan_cache"
    if os.access(inside if inside.is_dir() else root, os.W_OK):
        return inside
    return _users_cache(str(root))


def _users_cache(root: str) -> Path:
    return Path.home() / ".cache" / "attngan" / hashlib.sha256(root.encode()).hexdigest()[:16]


def cache_path(root: str | Path, source: str, split: str, image_size: int, cache_dir: str | Path | None = None) -> Path:
    """The cache file of a split of a data set, for images of a size."""
    return cache_folder(root, cache_dir) / f"{source}-{split}-{shorter_side(image_size)}px.cache"


def open_or_build(
    path: str | Path,
    images: Sequence[CaptionedImage],
    short: int,
    processes: int | None = None,
    progress: Callable[[int], None] = _unseen,
    verify: bool = False,
    compared: Callable[[int], None] = _unseen,
) -> ImageCache:
    """The cache of these images: the file at `path` if it was made of exactly them, else made anew.

    Several programs may ask for the same cache at once: one builds, the others wait for it. Images of a cache that is
    there are compared with their checksums, a few of them or all; where some differ, all are compared, and the damaged
    ones are decoded again.

    Args:
        path: The cache file; what is stale there is replaced.
        images: The images, in the order of the cache's positions.
        short: Shorter side of what is kept, in pixels.
        processes: How many decode; None: one a core.
        progress: Called with the number of images done while it is built.
        verify: Compare every image with its checksum, which reads the whole file; else `SAMPLED` of them.
        compared: Called with the number of images compared, where all are.

    Raises:
        NoRoomError: When the disk has no room for it.
    """
    path = Path(path)
    expected = fingerprint(images, short)
    cache = _valid(path, expected)
    if cache is not None and _intact(cache, verify, compared):
        return cache
    with locked(path.with_name(path.name + ".lock")):
        cache = _valid(path, expected)
        if cache is not None and _intact(
            cache, verify, compared
        ):  # another program made or mended it while this one waited
            return cache
        if cache is not None:
            _take_apart(cache, compared)
        _build(path, images, short, expected, processes, progress)
    return ImageCache(path)


def _valid(path: Path, expected: str) -> ImageCache | None:
    if not path.is_file():
        return None
    try:
        cache = ImageCache(path)
    except InputError as error:
        rank_zero_warn(f"{error}. It is made anew")
        return None
    return cache if cache.fingerprint == expected else None


def _intact(cache: ImageCache, wholly: bool, compared: Callable[[int], None]) -> bool:
    return not (cache.damaged(progress=compared) if wholly else cache.damaged(cache.spread()))


def _take_apart(cache: ImageCache, compared: Callable[[int], None]) -> None:
    """Makes a damaged cache an unfinished one, which is gone on with where its pixels are not what was written."""
    damaged = cache.damaged(progress=compared)
    rank_zero_warn(
        f"{cache.path}: {len(damaged):,} of {len(cache):,} images are not what was written there, and are decoded "
        "again (a failing disk?)"
    )
    cache.path.replace(_partial(cache.path))


def _partial(path: Path) -> Path:
    return path.with_name(path.name + ".partial")


def _read_header(path: Path) -> tuple[dict[str, Any], int]:
    """The header and where the table starts."""
    with path.open("rb") as file:
        line = file.readline(_PAGE)
    try:
        header = json.loads(line)
        if header["format"] != _FORMAT or header["version"] != VERSION:
            raise ValueError("another format or version")
        if not all(type(header[key]) is int and header[key] >= 0 for key in ("short", "count", "end")):
            raise ValueError("no sizes")
        return {key: header[key] for key in ("fingerprint", "short", "count", "end")}, _PAGE
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: no image cache of version {VERSION}: {error}") from None


def _build(
    path: Path,
    images: Sequence[CaptionedImage],
    short: int,
    expected: str,
    processes: int | None,
    progress: Callable[[int], None],
) -> None:
    partial = _partial(path)
    reasons: dict[int, str] = {}
    with worker_processes(processes, len(images)) as run:
        if not _can_go_on(partial, expected):
            shapes = [(0, 0)] * len(images)
            for position, result in run(_shape_of, list(enumerate(images)), short):
                if isinstance(result, str):
                    reasons[position] = result
                else:
                    shapes[position] = result
            _lay_out(partial, shapes, short, expected)
        table, pixels = _map_partial(partial)
        for position in np.flatnonzero(table["state"] == _DONE).tolist():
            if _checksum(_slot(pixels, table[position])) != table[position]["checksum"]:
                table["state"][position] = _TODO  # its record reached the disk before its pixels did
        todo = [(i, images[i]) for i in np.flatnonzero(table["state"] != _DONE).tolist() if i not in reasons]
        done = len(images) - len(todo)
        progress(done)
        for position, reason in run(_decode_into, todo, short, partial):
            if reason is not None:
                reasons[position] = reason
            done += 1
            progress(done)
    table["state"][sorted(reasons)] = _BAD
    if isinstance(table, np.memmap):
        table.flush()
    told = {str(position): reason for position, reason in reasons.items()}
    checksum = _checksum_beside_pixels(np.fromfile(partial, np.uint8, _PAGE + table.nbytes), told)
    del table, pixels
    trailer = json.dumps({**told, _CHECKSUM: checksum}).encode()
    with partial.open("r+b") as file:
        file.seek(0, os.SEEK_END)
        file.write(len(trailer).to_bytes(8, "little") + trailer)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)  # not `files.replacing`: an interrupted one must stay, to be gone on with


def _can_go_on(partial: Path, expected: str) -> bool:
    try:
        header, _start = _read_header(partial)
        if header["fingerprint"] != expected or partial.stat().st_size < header["end"]:
            return False
        os.truncate(partial, header["end"])  # it was interrupted while the last lines were written
        return True
    except (OSError, ValueError):
        return False


def _lay_out(partial: Path, shapes: list[tuple[int, int]], short: int, expected: str) -> None:
    """Writes header and table and reserves the pixels' places."""
    table = np.zeros(len(shapes), _RECORD)
    table["width"], table["height"] = np.array(shapes, dtype=np.uint32).reshape(-1, 2).T
    sizes = table["width"].astype(np.uint64) * table["height"].astype(np.uint64) * np.uint64(3)
    start = -(-(_PAGE + table.nbytes) // _PAGE) * _PAGE
    table["offset"] = start + np.cumsum(sizes) - sizes
    end = start + int(sizes.sum())
    free = shutil.disk_usage(partial.parent).free
    if end > free:
        raise NoRoomError(
            f"{partial.parent}: the image cache needs {end / 1e6:,.0f} MB, {free / 1e6:,.0f} MB are free; give another "
            "folder (cache_dir) or a smaller image_size"
        )
    header = {"format": _FORMAT, "version": VERSION, "fingerprint": expected, "short": short}
    line = json.dumps({**header, "count": len(shapes), "end": end}).encode() + b"\n"
    assert len(line) <= _PAGE
    with partial.open("wb") as file:
        file.write(line.ljust(_PAGE, b" "))
        file.write(table.tobytes())
    reserve(partial, end)


def _map_partial(partial: Path) -> tuple[np.ndarray, np.ndarray]:
    header, start = _read_header(partial)
    count = header["count"]
    if count == 0:
        return np.zeros(0, _RECORD), np.zeros(0, np.uint8)  # there is nothing to map
    table = np.memmap(partial, dtype=_RECORD, mode="r+", offset=start, shape=(count,))
    return table, np.memmap(partial, dtype=np.uint8, mode="r+")


def _laid_out(table: np.ndarray, end_of_table: int, end: int) -> bool:
    """Whether the images follow one another from the table to the end, as `_lay_out` placed them."""
    sizes = table["width"].astype(np.uint64) * table["height"].astype(np.uint64) * np.uint64(3)
    start = -(-end_of_table // _PAGE) * _PAGE
    ends = start + np.cumsum(sizes)
    return bool((table["offset"] == ends - sizes).all()) and end == (int(ends[-1]) if len(table) else start)


def _checksum_beside_pixels(header_and_table: np.ndarray, reasons: dict[str, str]) -> int:
    return zlib.crc32(json.dumps(reasons).encode(), zlib.crc32(header_and_table.data))


def _slot(pixels: np.ndarray, record: np.void) -> np.ndarray:
    offset, height, width = int(record["offset"]), int(record["height"]), int(record["width"])
    return pixels[offset : offset + height * width * 3].reshape(height, width, 3)


def _checksum(pixels: np.ndarray) -> int:
    return zlib.crc32(pixels.data)


_Numbered = Sequence[tuple[int, CaptionedImage]]


def _shape_of(chunk: _Numbered, short: int) -> list[tuple[int, tuple[int, int] | str]]:
    """Each image's width and height in the cache, or why it has none."""
    results: list[tuple[int, tuple[int, int] | str]] = []
    for position, image in chunk:
        try:
            results.append((position, kept_shape(image.path, image.box, short)))
        except UnusableImageError as error:
            results.append((position, str(error)))
    return results


def _decode_into(chunk: _Numbered, short: int, partial: Path) -> list[tuple[int, str | None]]:
    """Writes each image into its place; None, or why it could not be decoded."""
    table, pixels = _map_partial(partial)
    results: list[tuple[int, str | None]] = []
    for position, image in chunk:
        slot = _slot(pixels, table[position])
        try:
            slot[:] = load_pixels(image.path, image.box, short)
        except UnusableImageError as error:
            results.append((position, str(error)))
            continue
        except ValueError:  # the file changed between looking at its header and decoding it
            results.append((position, "its size is not what its header says"))
            continue
        table["checksum"][position] = _checksum(slot)
        table["state"][position] = _DONE
        results.append((position, None))
    return results
