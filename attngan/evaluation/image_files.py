"""Images to be scored from a folder or a zip, anybody's; and the names under which drawn images are written."""

import hashlib
import itertools
import re
import stat
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from attngan.data.findings import Findings
from attngan.data.folders import choose_images, is_hidden, walk
from attngan.data.images import IMAGE_SUFFIXES, check_size, is_marked_overview, load_image, load_named_image
from attngan.data.sources.neighbours import how_to_convert, neighbouring_formats
from attngan.errors import InputError, MissingFileError
from attngan.pictures import save_sample

#: Of how pictures are read; part of the fingerprint, so that what was computed of other pixels is not used again.
_READER = 2


class ImageFiles:
    """The images in a folder (and its sub-folders) or a zip; their order does not depend on the file system's.

    Which of the files are images, and what their pixels are, is decided as in training.

    Args:
        path: Folder or zip.
        shuffle: Names are sorted, then shuffled with this seed (splits of an Inception Score should not be classes);
            None leaves them sorted.

    Attributes:
        passed_over: How many files of each kind were left out, which a warning says too.

    Raises:
        MissingFileError: Nothing at ``path``.
        InputError: No image in it, or a folder that may not be read.
    """

    def __init__(self, path: Path | str, shuffle: int | None = None) -> None:
        self.path, self.shuffle = Path(path).expanduser(), shuffle
        findings = Findings()
        if self.path.is_dir():
            found = self._in_folder(findings)
        elif self._is_zip():
            found = self._in_zip(findings)
        else:
            raise self._nothing()
        if not found:
            advice = neighbouring_formats(self.path) if self.path.is_dir() else []
            left_out = [f"passed over: {_told(findings)}"] if findings.notes else []
            looked_for = f"no images in {self.path.resolve()} (looked for {', '.join(IMAGE_SUFFIXES)})"
            raise InputError("; ".join([looked_for, *left_out, *advice]))
        names = sorted(found)
        #: Changes when an image is added, removed, renamed or written anew.
        self.fingerprint = hashlib.sha256(
            repr([_READER, *((name, found[name]) for name in names)]).encode()
        ).hexdigest()
        if shuffle is not None:
            names = [names[i] for i in np.random.default_rng(shuffle).permutation(len(names))]
        self.names = names
        self.passed_over = {kind: len(messages) for kind, messages in findings.notes.items()}
        if findings.notes:
            warnings.warn(f"{self.path}: {len(names):,} images; {_told(findings)}", stacklevel=2)

    def _in_folder(self, findings: Findings) -> dict[str, tuple[int, int]]:
        """Each image's name with the size and the time of its file."""
        images = choose_images(walk(self.path, findings), findings, is_marked_overview)
        for kind, messages in findings.bad.items():
            raise InputError(f"{kind}: {messages[0]}")
        states = {image.relative_to(self.path).as_posix(): image.stat() for image in images}
        return {name: (state.st_size, state.st_mtime_ns) for name, state in states.items()}

    def _in_zip(self, findings: Findings) -> dict[str, tuple[int, int]]:
        """Each image's name with its size and checksum."""
        with zipfile.ZipFile(self.path) as archive:
            members = {PurePosixPath(info.filename): info for info in archive.infolist() if not info.is_dir()}
        hidden = [name for name in members if any(map(is_hidden, name.as_posix().replace("\\", "/").split("/")))]
        for name in choose_images(hidden, Findings(), lambda _name: False):
            findings.add_note("hidden, passed over", str(name))

        def marked(name: PurePosixPath) -> bool:
            with zipfile.ZipFile(self.path) as archive, archive.open(members[name]) as file:
                return is_marked_overview(file)

        images = choose_images([name for name in members if name not in hidden], findings, marked)
        return {members[name].filename: (members[name].file_size, members[name].CRC) for name in images}

    def _is_zip(self) -> bool:
        """Whether it is one; a FIFO, of which reading would wait, is none."""
        return self.path.is_file() and zipfile.is_zipfile(self.path)

    def _nothing(self) -> InputError | MissingFileError:
        if not self.path.exists():
            return MissingFileError(f"no folder or zip of images at {self.path.resolve()}")
        if not stat.S_ISREG(self.path.stat().st_mode):
            return InputError(f"{self.path} is no folder or zip of images but a FIFO, socket or device")
        way = how_to_convert(self.path) or "name the folder that the images lie in"
        return InputError(f"{self.path} is a file, but no zip of images: {way}")

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
        where = f"image {name} in {self.path} cannot be read"
        if self.path.is_dir():
            return np.array(load_named_image(self.path / name, where))
        try:
            # one handle a read: zip files cannot be read from several threads through one
            with zipfile.ZipFile(self.path) as archive, archive.open(name) as file:
                check_size(archive.getinfo(name).file_size)
                return np.array(load_image(file))  # a stream: of a bomb the header is all that is looked at
        except Exception as error:  # encrypted, compressed in a way that Python does not know, damaged
            raise InputError(f"{where}: {error}") from error


def _hash(facts: list[object]) -> str:
    return hashlib.sha256(repr(facts).encode("utf-8", "surrogatepass")).hexdigest()


def _told(findings: Findings) -> str:
    return ", ".join(f"{kind}: {len(messages):,}" for kind, messages in findings.notes.items())


def drawn_name(index: int, caption: int | None, seed: int) -> str:
    """Name of a drawn image: its number, its caption's position among the split's captions if it has one, the seed."""
    of_caption = "" if caption is None else f"_caption{caption:06d}"
    return f"{index:06d}{of_caption}_seed{seed}.png"


def caption_in_name(name: str) -> int | None:
    """The caption's position that ``drawn_name`` put into a name; None for other names."""
    found = re.search(r"_caption(\d{1,18})_seed\d+\.png$", name, re.IGNORECASE)
    return int(found[1]) if found else None


def write_images(
    images: UInt8[Tensor, "batch 3 height width"], paths: list[Path], origins: Sequence[Mapping[str, object]] = ()
) -> None:
    """Writes PNGs; whole or not at all, so that an interrupted run leaves no broken file.

    Args:
        images: Pixels.
        paths: A file for each.
        origins: What each tells of itself in its text entries: caption, seed ...
    """
    told = origins or [{}] * len(paths)
    for image, path, origin in zip(images.permute(0, 2, 3, 1).cpu().numpy(), paths, told, strict=True):
        save_sample(Image.fromarray(image), path, **origin)
