"""The command line, ``attngan COMMAND``: a command is a function or a Lightning recipe, its signature the options."""

import errno
import importlib
import inspect
import os
import sys
import typing
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from attngan import __version__
from attngan.allocator import tune_allocator
from attngan.errors import AttnganError

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser


class Command(NamedTuple):
    """Where a command's function is (imported when it is called for), and which of its parameters are positional."""

    module: str
    function: str
    summary: str
    positional: tuple[str, ...] = ()


COMMANDS = {
    "demo": Command(
        "attngan.commands.demo", "demo", "birds from captions at once, then everything below, small: one HTML page"
    ),
    "toy-birds": Command(
        "attngan.toy_birds.dataset", "draw_toy_birds", "draw captioned birds to try things on", ("root",)
    ),
    "prepare": Command(
        "attngan.commands.prepare", "prepare", "check a data set and build its cache, before training", ("root",)
    ),
    "pretrain": Command("attngan.commands.train", "pretrain", "train the DAMSM: text and image encoder"),
    "train": Command("attngan.commands.train", "train", "train a generator"),
    "finetune-classifier": Command(
        "attngan.commands.finetune_classifier",
        "finetune_classifier",
        "a classifier of a data set's classes, to score with",
    ),
    "evaluate": Command("attngan.commands.evaluate", "evaluate", "scores of a generator or of a folder of images"),
    "report": Command("attngan.commands.report", "report", "one page of a run, while it runs or after", ("run",)),
    "sample": Command("attngan.commands.sample", "sample", "draw captions", ("checkpoint", "captions")),
    "stylize": Command("attngan.commands.stylize", "stylize", "an image in the style of others", ("content", "styles")),
    "export": Command(
        "attngan.commands.export", "export", "a generator alone, as one small file", ("checkpoint", "out")
    ),
    "compare": Command(
        "attngan.commands.compare", "compare", "recipes trained and scored alike: one table, one picture", ("configs",)
    ),
    "import-published": Command(
        "attngan.commands.import_published", "import_published", "files of the published code as one checkpoint"
    ),
}
#: Commands that read their own arguments: recipes with a YAML file.
RECIPES = ("pretrain", "train")
#: What the system refuses for reasons of the user's: rights, room, and a file where a folder is meant or the reverse.
REFUSALS = (
    *(errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
    *(errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_overview())
        return 0
    if arguments[0] in ("-V", "--version"):
        print(f"attngan {__version__}")
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        print(f"attngan: there is no command {name!r}.\n\n{_overview()}", file=sys.stderr)
        return 2
    tune_allocator()
    # pytorch-lightning calls jsonargparse by names that it has given up: nothing for the user to mend
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    command = COMMANDS[name]
    function = getattr(importlib.import_module(command.module), command.function)
    try:
        result = function(rest) if name in RECIPES else _call(function, rest, name, command.positional)
    except AttnganError as error:  # its message says what to do; a traceback would hide it
        print(f"attngan {name}: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        place = f"{error.filename}: " if error.filename is not None else ""
        print(f"attngan {name}: {place}{error.strerror}", file=sys.stderr)
        return 1
    return result if isinstance(result, int) and not isinstance(result, bool) else 0


def _overview() -> str:
    lines = [f"  {name:<19}  {command.summary}" for name, command in COMMANDS.items()]
    return (
        "usage: attngan COMMAND [options]\n\nText-to-image GANs: captioned images to a trained generator, scores and "
        "pictures.\n\n" + "\n".join(lines) + "\n\n`attngan COMMAND --help` tells a command's options."
    )


def _call(function: Callable[..., object], arguments: list[str], name: str, positional: tuple[str, ...]) -> object:
    """Calls ``function`` with what the command line says; its docstring is the help."""
    parser = _parser(function, name, positional)
    parsed = parser.parse_args([_with_underscores(argument) for argument in arguments])
    # instantiate: its name from jsonargparse 4.49 on
    given = (getattr(parser, "instantiate", None) or parser.instantiate_classes)(parsed).as_dict()
    parameters = inspect.signature(function).parameters
    lists = {n: list(value) for n, value in given.items() if isinstance(value, list | tuple)}
    return function(**{n: lists.get(n, given[n]) for n in parameters if n in given})


def _parser(function: Callable[..., object], name: str, positional: tuple[str, ...]) -> "ArgumentParser":
    """An option a parameter, in the order of the signature."""
    from docstring_parser import parse
    from jsonargparse import ActionYesNo, ArgumentParser

    documentation = parse(inspect.getdoc(function) or "")
    described = {p.arg_name: p.description or "" for p in documentation.params}
    parser = ArgumentParser(prog=f"attngan {name}", description=documentation.description)
    hints = typing.get_type_hints(function)
    for n, parameter in inspect.signature(function).parameters.items():
        required, of_list = parameter.default is inspect.Parameter.empty, _list_of(hints[n])
        options: dict[str, Any] = {"help": described.get(n)}
        if not required:
            options["default"] = parameter.default
        elif n not in positional:
            options["required"] = True
        if hints[n] is bool:  # --smoke, --no_progress: nobody types "true"
            options |= {"action": ActionYesNo, "nargs": "?"}
        elif of_list is not None:
            options |= {"nargs": "+" if required else "*", "type": of_list}
        else:
            options |= {"type": hints[n]} | ({"nargs": "?"} if n in positional and not required else {})
        parser.add_argument(n if n in positional else f"--{n}", **options)
    return parser


def _with_underscores(argument: str) -> str:
    """``--samples-per-caption`` as ``--samples_per_caption``: an option is a parameter's name, typed either way."""
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument.partition("=")
    return f"--{name[2:].replace('-', '_')}{equals}{value}"


def _list_of(hint: Any) -> Any:
    """Str for ``list[str]``, ``Sequence[str]`` or either with None; None for anything else."""
    for candidate in (hint, *typing.get_args(hint)):
        origin = typing.get_origin(candidate)
        if isinstance(origin, type) and issubclass(origin, Sequence) and not issubclass(origin, tuple):
            return typing.get_args(candidate)[0]
    return None


if __name__ == "__main__":
    sys.exit(main())
