"""Images to be scored from a folder or a zip, anybody's; and the names under which drawn images are written."""

import hashlib
import io
import itertools
import re
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from attngan.errors import InputError, MissingFileError
from attngan.files import replacing

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".ppm"})


class ImageFiles:
    """The images in a folder (and its sub-folders) or a zip; their order does not depend on the file system's.

    Args:
        path: Folder or zip.
        shuffle: Names are sorted, then shuffled with this seed (splits of an Inception Score should not be classes);
            None leaves them sorted.

    Raises:
        MissingFileError: Nothing at ``path``.
        InputError: No image in it.
    """

    def __init__(self, path: Path | str, shuffle: int | None = None) -> None:
        self.path, self.shuffle = Path(path), shuffle
        if self.path.is_dir():
            found = {
                file.relative_to(self.path).as_posix(): (file.stat().st_size, file.stat().st_mtime_ns)
                for file in self.path.rglob("*")
                if _is_image(file.relative_to(self.path).as_posix())
            }
        elif zipfile.is_zipfile(self.path):
            with zipfile.ZipFile(self.path) as archive:
                found = {
                    info.filename: (info.file_size, info.CRC) for info in archive.infolist() if _is_image(info.filename)
                }
        else:
            raise MissingFileError(f"no folder or zip of images at {self.path.resolve()}")
        if not found:
            raise InputError(f"no images in {self.path.resolve()} (looked for {', '.join(sorted(SUFFIXES))})")
        names = sorted(found)
        #: Changes when an image is added, removed, renamed or written anew.
        self.fingerprint = hashlib.sha256(repr([(name, found[name]) for name in names]).encode()).hexdigest()
        if shuffle is not None:
            names = [names[i] for i in np.random.default_rng(shuffle).permutation(len(names))]
        self.names = names

    def __len__(self) -> int:
        return len(self.names)

    def batches(self, start: int = 0, batch_size: int = 64) -> Iterator[UInt8[Tensor, "batch 3 _ _"]]:
        """Batches of images of one size each, from position ``start`` on; decoded ahead in threads.

        Raises:
            InputError: An image that cannot be read; names it.
        """
        with ThreadPoolExecutor(4) as threads:
            waiting = [
                [threads.submit(self._read, name) for name in self.names[position : position + batch_size]]
                for position in range(start, min(start + 2 * batch_size, len(self)), batch_size)
            ]
            for position in range(start, len(self), batch_size):
                ahead = position + 2 * batch_size
                images = [future.result() for future in waiting.pop(0)]
                waiting.append([threads.submit(self._read, name) for name in self.names[ahead : ahead + batch_size]])
                for _, same in itertools.groupby(images, key=lambda image: image.shape):
                    yield torch.from_numpy(np.stack(list(same))).permute(0, 3, 1, 2)

    def _read(self, name: str) -> np.ndarray:
        try:
            if self.path.is_dir():
                with Image.open(self.path / name) as image:
                    return np.array(image.convert("RGB"))
            # one handle a read: zip files cannot be read from several threads through one
            with zipfile.ZipFile(self.path) as archive, Image.open(io.BytesIO(archive.read(name))) as image:
                return np.array(image.convert("RGB"))
        except (OSError, zipfile.BadZipFile, SyntaxError, ValueError) as error:
            raise InputError(f"image {name} in {self.path} cannot be read ({error})") from error


def _is_image(name: str) -> bool:
    """By its suffix; what macOS puts beside the files of a zip bears their names too."""
    path = PurePosixPath(name)
    return path.suffix.lower() in SUFFIXES and not path.name.startswith("._") and "__MACOSX" not in path.parts


def drawn_name(index: int, caption: int | None, seed: int) -> str:
    """Name of a drawn image: its number, its caption's position among the split's captions if it has one, the seed."""
    of_caption = "" if caption is None else f"_caption{caption:06d}"
    return f"{index:06d}{of_caption}_seed{seed}.png"


def caption_in_name(name: str) -> int | None:
    """The caption's position that ``drawn_name`` put into a name; None for other names."""
    found = re.search(r"_caption(\d+)_seed\d+\.png$", name)
    return int(found[1]) if found else None


def write_images(images: UInt8[Tensor, "batch 3 height width"], paths: list[Path]) -> None:
    """Writes PNGs; whole or not at all, so that an interrupted run leaves no broken file."""
    for image, path in zip(images.permute(0, 2, 3, 1).cpu().numpy(), paths, strict=True):
        with replacing(path) as part:
            Image.fromarray(image).save(part, "PNG")
