"""``attngan recipes``: the recipes that came with attngan, and what each of them is."""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from attngan import installed
from attngan.errors import FileInTheWayError
from attngan.files import write_whole
from attngan.terminal import say

WIDTH = 80


class Recipe(NamedTuple):
    """What a recipe's file says of itself: the comment at its head, and a few of its values.

    ``about`` is the comment without what the other two hold: ``needs`` what has to be installed, ``reached`` figures.
    """

    name: str
    path: Path
    trains: str
    data: str
    about: str
    needs: str
    reached: str

    @classmethod
    def read(cls, name: str, path: Path) -> "Recipe":
        """Reads one of attngan's own files."""
        text = path.read_text(encoding="utf-8")
        values: dict[str, Any] = yaml.safe_load(text)
        data, trunk = values["data"], "image_trunk" in values["model"]
        comment = " ".join(line.lstrip("# ") for line in re.match(r"(#.*\n)*", text).group().splitlines())  # type: ignore[union-attr]
        about, needs, reached = _parted(comment)
        size = f"{data['source']} at {data['image_size']} px, batch {data['batch_size']}"
        return cls(name, path, "pretrain" if trunk else "train", size, about, needs, reached)

    def lines(self) -> Iterator[str]:
        """For a terminal of 80 columns."""
        yield f"{self.name}  ({self.trains}: {self.data})"
        for label, text in (("", self.about), ("needs ", self.needs), ("reached ", self.reached)):
            if text:
                yield from textwrap.wrap(label + text, WIDTH, initial_indent="    ", subsequent_indent="    ")


def recipes(name: str | None = None, copy: Path | None = None) -> int:
    """Lists the recipes that came with attngan: what each is, its data, what it needs, what it reached.

    A recipe is used by its name, in any folder: attngan train --config attngan_cub

    Args:
        name: Print this recipe's file instead of the list.
        copy: Write that file to this place, to be changed; a folder takes it under its own name.

    Returns:
        The exit code.

    Raises:
        MissingFileError: There is no recipe of that name.
        FileInTheWayError: There is a file already where it would be copied to.
    """
    if name is None:
        found = [Recipe.read(*item) for item in installed.recipes().items()]
        for recipe in found:
            say("\n".join(recipe.lines()))
        say(f"\n{len(found)} recipes. `attngan recipes NAME` prints one; with --copy FILE you have it, to change it.")
        return 0
    text = installed.recipe(name).read_text(encoding="utf-8")
    if copy is None:
        say(text.rstrip("\n"))
        return 0
    place = copy / installed.recipe(name).name if copy.is_dir() else copy
    if place.exists():
        raise FileInTheWayError(f"{place} is there already: name another place with --copy, or remove it")
    write_whole(place, text)
    say(place)
    return 0


def _parted(comment: str) -> tuple[str, str, str]:
    """A recipe's comment: what it is, what it needs, what it reached."""
    parts = re.split(r"\s*\b(Needs|Reached):\s*", comment)
    named = dict(zip(parts[1::2], parts[2::2], strict=True))
    return parts[0], named.get("Needs", ""), named.get("Reached", "")
