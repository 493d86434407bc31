"""The command line, ``attngan COMMAND``: a command is a function or a Lightning recipe, its signature the options."""

import importlib
import inspect
import os
import sys
import typing
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from attngan import __version__
from attngan.allocator import tune_allocator


class Command(NamedTuple):
    """Where a command's function is (imported when it is called for), and which of its parameters are positional."""

    module: str
    function: str
    summary: str
    positional: tuple[str, ...] = ()


COMMANDS = {
    "demo": Command("attngan.commands.demo", "demo", "everything below on generated birds: one HTML page, 15 minutes"),
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
    "sample": Command("attngan.commands.sample", "sample", "draw captions", ("checkpoint", "captions")),
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
    except (FileNotFoundError, FileExistsError, NotADirectoryError, ValueError, ModuleNotFoundError) as error:
        # the user's mistakes: their message says what to do, a traceback would hide it
        print(f"attngan {name}: {error}", file=sys.stderr)
        return 1
    except _stopping_errors() as error:
        print(f"attngan {name}: {error}", file=sys.stderr)
        return 3
    return result if isinstance(result, int) and not isinstance(result, bool) else 0


def _stopping_errors() -> tuple[type[Exception], ...]:
    finite = sys.modules.get("attngan.training.finite")  # only a training run can raise it, and then it is imported
    return (finite.NonFiniteLossError,) if finite else ()


def _overview() -> str:
    lines = [f"  {name:<19}  {command.summary}" for name, command in COMMANDS.items()]
    return (
        "usage: attngan COMMAND [options]\n\nText-to-image GANs: captioned images to a trained generator, scores and "
        "pictures.\n\n" + "\n".join(lines) + "\n\n`attngan COMMAND --help` tells a command's options."
    )


def _call(function: Callable[..., Any], arguments: list[str], name: str, positional: tuple[str, ...]) -> Any:
    """Calls ``function`` with what the command line says; its docstring is the help."""
    from docstring_parser import parse
    from jsonargparse import ActionYesNo, ArgumentParser

    documentation = parse(inspect.getdoc(function) or "")
    described = {p.arg_name: p.description or "" for p in documentation.params}
    parser = ArgumentParser(prog=f"attngan {name}", description=documentation.description)
    hints = typing.get_type_hints(function)
    parameters = inspect.signature(function).parameters
    listed = {n: inner for n in parameters if (inner := _list_of(hints.get(n))) is not None}
    for parameter in parameters.values():
        required = parameter.default is inspect.Parameter.empty
        if parameter.name not in listed and parameter.name not in positional:
            continue
        flags = [parameter.name] if parameter.name in positional else [f"--{parameter.name}"]
        options: dict[str, Any] = {"help": described.get(parameter.name)}
        if parameter.name in listed:
            options |= {"nargs": "*" if not required else "+", "type": listed[parameter.name]}
        else:
            options |= {"type": hints[parameter.name]} | ({} if required else {"nargs": "?"})
        if not required:
            options["default"] = parameter.default
        elif parameter.name not in positional:
            options["required"] = True
        parser.add_argument(*flags, **options)
    switches = {n for n in parameters if hints.get(n) is bool}
    for n in switches:  # --smoke, --no_progress: nobody types "true"
        default = parameters[n].default
        parser.add_argument(f"--{n}", action=ActionYesNo, nargs="?", default=default, help=described.get(n))
    parser.add_function_arguments(function, skip={*listed, *positional, *switches}, as_positional=False, as_group=False)
    parsed = parser.parse_args([_with_underscores(argument) for argument in arguments])
    instantiate = (
        getattr(parser, "instantiate", None) or parser.instantiate_classes
    )  # its name before jsonargparse 4.49
    given = instantiate(parsed).as_dict()
    for n in listed:
        if given.get(n) is not None:
            given[n] = list(given[n])
    return function(**{n: given[n] for n in parameters if n in given})


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
