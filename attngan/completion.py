"""``attngan completion``: what a shell completes after ``attngan``, as a script that needs no Python.

Commands, options and values are read from the source as ``--help`` is: nothing is imported for them.
"""

import argparse
import re
import shlex
import sys
from typing import Any, Literal

from attngan.cli import COMMANDS, RECIPES
from attngan.errors import MissingPackageError
from attngan.installed import recipes
from attngan.short_help import Option, options, recipe_options
from attngan.signatures import declared_metrics, declared_sources

#: Arguments that take a recipe: its name, or a file.
_RECIPE = {"config", "configs"}


def completion(shell: Literal["bash", "zsh", "fish"]) -> None:
    """Prints a script with which the shell completes commands, options, files and recipe names.

    bash: ``eval "$(attngan completion bash)"`` in ~/.bashrc. zsh: ``attngan completion zsh > FOLDER/_attngan``, of a
    FOLDER in $fpath. fish: ``attngan completion fish > ~/.config/fish/completions/attngan.fish``

    Args:
        shell: Which one: bash, zsh or fish.

    Raises:
        MissingPackageError: The package that writes such scripts is not installed.
    """
    try:
        import shtab
    except ModuleNotFoundError as error:
        raise MissingPackageError("attngan completion needs a package: pip install shtab") from error
    sys.stdout.write(shtab.complete(command_line(), shell) + "\n")  # a script, byte for byte: no line for people


def command_line() -> argparse.ArgumentParser:
    """The whole command line, to be completed and not to be parsed: an option a line of ``--help``."""
    parser = argparse.ArgumentParser(prog="attngan", add_help=False)
    parser.add_argument("--version", action="store_true", help="the version")
    parser.add_argument("--help", action="store_true", help="the commands")
    commands = parser.add_subparsers(dest="command")
    for name, command in COMMANDS.items():
        one = commands.add_parser(name, help=command.summary, description=command.summary, add_help=False)
        one.add_argument("--help", action="store_true", help="the options")
        one.add_argument("--help-all", action="store_true", help="all of the options")
        found = (
            recipe_options(name) if name in RECIPES else options(command.module, command.function, command.positional)
        )
        for option in found:
            _add(one, name, option)
    return parser


def _add(parser: argparse.ArgumentParser, command: str, option: Option) -> None:
    positional = not option.name.startswith("--")
    several = option.value.endswith(" ...")
    if option.value == "true|false":
        action = parser.add_argument(option.name, nargs="?", choices=["true", "false"], help=option.told)
        return
    action = parser.add_argument(option.name, nargs="*" if several else "?" if positional else None, help=option.told)
    name = option.name.removeprefix("--")
    if name in _RECIPE or (command, name) == ("recipes", "name"):
        action.complete = _recipe_or_file()  # type: ignore[attr-defined]
    elif choices := _choices(name.rpartition(".")[2], option.value):
        action.choices = choices
    elif "PATH" in option.value or (positional and name == "checkpoint"):
        action.complete = _FILE  # type: ignore[attr-defined]


def _choices(name: str, value: str) -> list[str]:
    """The values that there are; none where it can be any."""
    listed = {"metrics": declared_metrics, "source": declared_sources}
    if name in listed:
        return listed[name]()
    return [choice for choice in value.removesuffix(" ...").split("|") if re.fullmatch(r"[a-z][\w-]*", choice)]


_FILE: dict[str, str] = {"bash": "_shtab_compgen_files", "zsh": "_files", "fish": "(__fish_complete_path)"}


def _recipe_or_file() -> dict[str, Any]:
    names = shlex.join(recipes())
    return {
        "bash": "_attngan_recipe_files",
        "zsh": "_attngan_recipes",
        "fish": f"(printf '%s\\n' {names}; __fish_complete_path)",
        "preamble": {
            "bash": f'_attngan_recipe_files() {{ compgen -W "{names}" -- "$1"; compgen -f -- "$1"; }}',
            "zsh": f'_attngan_recipes() {{ _alternative "recipes:recipe:({names})" "files:file:_files" }}',
        },
    }
