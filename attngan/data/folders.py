"""What lies in a folder: the one walk over it, and the choice of the images among what lies there.

Training, `attngan prepare` and evaluation all read folders through these, so that they agree on what is in one. What
is passed over goes to the findings, which count it.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path, PurePath
from typing import TypeVar

from attngan.data.findings import Findings
from attngan.data.images import IMAGE_SUFFIXES, OTHER_PICTURES
from attngan.pictures import is_overview

#: Hidden folders of our own and of version control, which nobody takes for images.
_UNMENTIONED = (".attngan_cache", ".git", ".cache")

_Name = TypeVar("_Name", bound=PurePath)


def walk(root: Path, findings: Findings) -> list[Path]:
    """All files in a folder and the folders in it, sorted by path.

    Symbolic links are followed, also to folders elsewhere; each folder is read once, by its own path where it has one
    in ``root``, so that links in a circle end. Left out, and noted, are hidden folders and files
    (``.ipynb_checkpoints``) and what macOS adds to archives; links that lead nowhere; FIFOs, sockets and devices.

    Args:
        root: The folder; may itself be hidden, or a link.
        findings: Takes what is passed over; a folder that may not be read counts as an image that cannot be used.
    """
    files: list[Path] = []
    seen: set[str] = set()
    folders, links = [root], list[Path]()
    while folders or links:
        folder = folders.pop() if folders else _first(links)
        real = os.path.realpath(folder)
        if real in seen:
            findings.add_note("linked folder passed over", f"{folder}: {real} is read already")
            continue
        seen.add(real)
        for entry in _entries(folder, findings):
            path = folder / entry.name
            if is_hidden(entry.name):
                if entry.name not in _UNMENTIONED and (_is(entry.is_dir) or is_picture(path)):
                    findings.add_note("hidden, passed over", str(path))
            elif _is(entry.is_dir):
                if entry.is_symlink() and _leads_upward(path):
                    findings.add_note("linked folder passed over", f"{path}: leads in a circle")
                else:
                    (links if entry.is_symlink() else folders).append(path)
            elif _is(entry.is_file):
                files.append(path)
            else:
                kind = (
                    "link that leads nowhere" if entry.is_symlink() and not os.path.exists(path) else "no regular file"
                )
                findings.add_note(f"{kind}, passed over", str(path))
    return sorted(files)


def is_hidden(name: str) -> bool:
    """Whether a file or folder is one that people do not see, or that macOS adds to archives."""
    return name.startswith(".") or name == "__MACOSX"


def is_picture(path: PurePath) -> bool:
    """Whether a file is a picture of a kind that is read, by its suffix in any case."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def choose_images(files: Iterable[_Name], findings: Findings, marked: Callable[[_Name], bool]) -> list[_Name]:
    """The images among files, in their order.

    Pictures that show samples but are none (grids and attention maps that `attngan sample` wrote) are passed over, and
    pictures of kinds that are not read; both are noted.

    Args:
        files: Paths, or names in an archive.
        findings: Takes what is passed over.
        marked: Whether a picture is marked as one that is no sample; asked of those alone whose name looks like it.
    """
    files = list(files)
    there, chosen = set(files), []
    for file in files:
        if file.suffix.lower() in OTHER_PICTURES:
            findings.add_note("pictures of a kind that is not read", f"{file}: save it as .png or .jpg")
        elif is_picture(file):
            if is_overview(file, there, partial(marked, file)):
                findings.add_note("no sample (grid, attention), passed over", str(file))
            else:
                chosen.append(file)
    return chosen


class FileFinder:
    """Finds files by their name without suffix and some suffixes in any case; lists each folder at most once."""

    def __init__(self) -> None:
        self._listed: dict[Path, dict[tuple[str, str], str]] = {}

    def find(self, stem: Path, suffixes: Sequence[str]) -> Path | None:
        """The file of that name; of several suffixes the first one that is there.

        Args:
            stem: Path without suffix; dots in it are part of the name.
            suffixes: In lower case, with their dots.
        """
        usual = stem.with_name(stem.name + suffixes[0])
        if os.path.isfile(usual):
            return usual
        names = self._names(stem.parent)
        found = (names.get((stem.name, suffix)) for suffix in suffixes)
        return next((stem.with_name(name) for name in found if name is not None), None)

    def exact(self, path: Path) -> Path | None:
        """The file at a path, whose suffix may be in another case."""
        if os.path.isfile(path):
            return path
        stem, suffix = os.path.splitext(path.name)
        if not stem:
            return None
        return self.find(path.with_name(stem), [suffix.lower()])

    def _names(self, folder: Path) -> dict[tuple[str, str], str]:
        if folder not in self._listed:
            entries = sorted(_entries(folder, Findings()), key=lambda entry: entry.name, reverse=True)
            split = ((*os.path.splitext(entry.name), entry.name) for entry in entries if _is(entry.is_file))
            self._listed[folder] = {(stem, suffix.lower()): name for stem, suffix, name in split}
        return self._listed[folder]


def why_no_file(path: Path) -> str:
    """What to say of a path that is no file."""
    # os.path: a name may be longer than a file can have, which pathlib answers with an OSError
    return f"{path} is no regular file" if os.path.exists(path) else f"no file {path}"


def folder_with_most(names: Sequence[str], folders: Sequence[Path]) -> Path:
    """Which folder holds most of the named files; the first one where several do. Fifty names decide."""
    return max(folders, key=lambda folder: how_many_in(folder, names))


def how_many_in(folder: Path, names: Sequence[str]) -> int:
    """How many of the named files a folder holds, of fifty that are spread over the names."""
    finder = FileFinder()
    return sum(finder.exact(folder / name) is not None for name in names[:: max(1, len(names) // 50)])


def folders_in(root: Path) -> list[Path]:
    """The folders directly in a folder, sorted; hidden ones are none."""
    return sorted(path for path in root.iterdir() if not is_hidden(path.name) and path.is_dir())


def _first(links: list[Path]) -> Path:
    links.sort()
    return links.pop(0)


def _entries(folder: Path, findings: Findings) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        findings.add_bad("unreadable folder", f"{folder}: {error.strerror}")
        return []


def _is(ask: Callable[[], bool]) -> bool:
    try:
        return ask()
    except OSError:  # a link to itself
        return False


def _leads_upward(link: Path) -> bool:
    """Whether a link leads to a folder that it lies in itself."""
    target, place = os.path.realpath(link), os.path.realpath(link.parent)
    return os.path.commonpath([target, place]) == target
