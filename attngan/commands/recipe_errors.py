"""What is wrong with a recipe or with the options beside it, in one line: file, line and key, and what was meant."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from attngan.commands.run_folder import CONFIG
from attngan.option_errors import refusal_of


def told_of_recipe(message: str, parser: Any, arguments: Sequence[str]) -> str:
    """An error of the parser, with the place where the key stands.

    Args:
        message: What jsonargparse says.
        parser: Knows the keys that there are.
        arguments: The command line, which names recipes.
    """
    refusal = refusal_of(message, known_keys(parser), arguments)
    place = place_of(refusal.key, arguments) if refusal.key else ""
    return f"{place}{refusal.told} ({parser.prog} --help)"


def known_keys(parser: Any) -> list[str]:
    """Every key that a recipe may have, as ``model.kl``."""
    return [action.dest for action in parser._actions if action.dest not in ("help", "config")]


def place_of(key: str, arguments: Sequence[str]) -> str:
    """``FILE, line 7: model.kl: `` of the recipe where a key stands, ``--model.kl: `` of the command line.

    Args:
        key: With dots between its parts; what is deeper than the file goes is left out.
        arguments: The command line; what stands later counts.
    """
    if any(word.partition("=")[0] == f"--{key}" for word in arguments):
        return f"--{key}: "
    for path in reversed(recipes_in(arguments)):
        if (line := line_of(path, key)) is not None:
            return f"{path}, line {line}: {key}: "
    return f"{key}: "


def recipes_in(arguments: Sequence[str]) -> list[Path]:
    """The files that ``--config`` names."""
    return [Path(value) for word, value in pairwise(arguments) if word == CONFIG]


def line_of(path: Path, key: str) -> int | None:
    """The line of a YAML file where a key stands, counted from 1; None where it does not."""
    node: Any = None
    with suppress(OSError, ValueError, yaml.YAMLError):
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    return next(_lines_of(node, key.split(".")), None)


def _lines_of(node: Any, names: Sequence[str]) -> Iterator[int]:
    """Of the key, or of the last of its parts that are there; a list stands for each of its items."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _lines_of(item, names)
    if not isinstance(node, yaml.MappingNode) or not names:
        return
    for name, value in node.value:
        if name.value == names[0]:
            yield from _lines_of(value, names[1:])
            yield int(name.start_mark.line) + 1
