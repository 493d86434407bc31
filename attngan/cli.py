"""The command line, ``attngan COMMAND``: a command is a function or a Lightning recipe, its signature the options."""

import importlib
import inspect
import os
import sys
import typing
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from attngan import __version__, ranks, stopping
from attngan.allocator import tune_allocator
from attngan.errors import AttnganError, UsageError, told_in_one_line
from attngan.launching import SeveralDevices, run_in_processes
from attngan.option_errors import meant, refusal_of, with_underscores
from attngan.short_help import short_help, short_help_of_recipe
from attngan.terminal import never_unprintable, say, warnings_in_one_line

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser


class Command(NamedTuple):
    """Where a command's function is (imported when it is called for), and which of its parameters are positional."""

    module: str
    function: str
    summary: str
    positional: tuple[str, ...] = ()


COMMANDS = {
    "demo": Command("attngan.commands.demo", "demo", "birds from captions, then all of this in small: one page"),
    "toy-birds": Command(
        "attngan.toy_birds.dataset", "draw_toy_birds", "draw captioned birds to try things on", ("root",)
    ),
    "prepare": Command(
        "attngan.commands.prepare", "prepare", "check a data set and build its cache, before training", ("root",)
    ),
    "recipes": Command("attngan.commands.recipes", "recipes", "list the recipes for pretrain and train", ("name",)),
    "pretrain": Command("attngan.runs", "pretrain", "train the DAMSM: text and image encoder"),
    "train": Command("attngan.runs", "train", "train a generator"),
    "finetune-classifier": Command(
        "attngan.commands.finetune_classifier",
        "finetune_classifier",
        "a classifier of a data set's classes, to score with",
    ),
    "evaluate": Command("attngan.commands.evaluate", "evaluate", "scores of a generator or of a folder of images"),
    "report": Command("attngan.commands.report", "report", "one page of a run, while it runs or after", ("run",)),
    "sample": Command("attngan.commands.sample", "sample", "draw captions", ("checkpoint", "captions")),
    "serve": Command("attngan.commands.serve", "serve", "a page to try captions on, in the browser", ("checkpoints",)),
    "stylize": Command("attngan.commands.stylize", "stylize", "an image in the style of others", ("content", "styles")),
    "retrieve": Command(
        "attngan.commands.retrieve", "retrieve", "images by captions, captions by images", ("checkpoint", "captions")
    ),
    "embed": Command("attngan.commands.embed", "embed", "captions and images as vectors", ("checkpoint",)),
    "export": Command(
        "attngan.commands.export", "export", "a generator alone, as one small file", ("checkpoint", "out")
    ),
    "push": Command("attngan.commands.hub", "push", "an exported generator to the Hugging Face hub", ("file", "name")),
    "pull": Command("attngan.commands.hub", "pull", "an exported generator from the Hugging Face hub", ("name",)),
    "compare": Command(
        "attngan.commands.compare", "compare", "recipes trained and scored alike: one table, one picture", ("configs",)
    ),
    "import-published": Command(
        "attngan.commands.import_published", "import_published", "files of the published code as one checkpoint"
    ),
    "completion": Command(
        "attngan.completion", "completion", "a script with which a shell completes all of this", ("shell",)
    ),
}
#: Commands that read their own arguments: recipes with a YAML file.
RECIPES = ("pretrain", "train")
#: Commands that several processes can work on together, one a device.
TOGETHER = ("pretrain", "train", "evaluate")
#: Commands that, stopped and called again, go on where they were.
GOES_ON = ("toy-birds", "prepare", "evaluate", "compare")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    never_unprintable()
    if not arguments or arguments[0] in ("-h", "--help", "--help-all"):
        print(_overview())
        return 0
    if arguments[0] in ("-V", "--version"):
        print(f"attngan {__version__}")
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        say(f"attngan: there is no command {name!r}{meant(name, COMMANDS)}\n\n{_overview()}", error=True)
        return 2
    try:
        if {"-h", "--help"} & set(rest):
            print(_help(name))
            return 0
        with warnings_in_one_line(f"attngan {name}"), _together(name, rest):
            return _run(name, ["--help" if word == "--help-all" else word for word in rest])
    except KeyboardInterrupt:
        say(f"attngan {name}: interrupted", error=True)
        return 128 + 2
    except BrokenPipeError:
        if not _reader_is_gone():
            raise
        return 128 + 13
    except Exception as error:  # a fault of ours keeps its traceback; of the user's it would hide what to do
        code = error.exit_code if isinstance(error, AttnganError) else 1
        if not ranks.is_told_here(error):
            return code
        if (told := told_in_one_line(error)) is None:
            raise
        say(f"attngan {name}: {ranks.mark(told)}", error=True)
        return code


@contextmanager
def _together(name: str, arguments: Sequence[str]) -> Iterator[None]:
    """Of several processes that were started for a command they can work on together, this one takes its part."""
    if name not in TOGETHER:
        yield
        return
    ranks.take_up_slurm()  # who is rank 0, before anything is said
    with ranks.first_alone_speaks():
        ranks.join(arguments)
        yield
        ranks.leave()


def _run(name: str, arguments: list[str]) -> int:
    tune_allocator()
    # pytorch-lightning calls jsonargparse by names that it has given up: nothing for the user to mend
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    command = COMMANDS[name]
    function = getattr(importlib.import_module(command.module), command.function)
    try:
        with stopping.listening():
            result = (
                function(arguments=arguments).exit_code
                if name in RECIPES
                else _call(function, arguments, name, command.positional)
            )
    except SeveralDevices as wanted:
        return run_in_processes(wanted.count, [name, *arguments])
    except stopping.Stopped as stopped:
        goes_on = ". The same command goes on where this one was" if name in GOES_ON else ""
        say(f"attngan {name}: stopped by {stopped}{goes_on}", error=True)
        return stopped.exit_code
    return result if isinstance(result, int) and not isinstance(result, bool) else 0


def _reader_is_gone() -> bool:
    """Whether nobody reads standard output any more (``attngan evaluate | head``), which is no fault."""
    import select

    if not hasattr(select, "poll"):
        return False
    try:
        asked = select.poll()
        asked.register(sys.stdout.fileno(), 0)
        gone = any(event & select.POLLERR for _, event in asked.poll(0))
    except (OSError, ValueError):
        return False
    if gone:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at the end
    return gone


def _help(name: str) -> str:
    command = COMMANDS[name]
    if name in RECIPES:
        return short_help_of_recipe(name, command.summary)
    return short_help(name, command.module, command.function, command.positional)


def _overview() -> str:
    lines = [f"  {name:<19}  {command.summary}" for name, command in COMMANDS.items()]
    return (
        "usage: attngan COMMAND [options]\n\nText-to-image GANs: captioned images to a trained generator, scores and "
        "pictures.\n\n"
        + "\n".join(lines)
        + "\n\n`attngan COMMAND --help` tells a command's options, --help-all more of each."
    )


def _call(function: Callable[..., object], arguments: list[str], name: str, positional: tuple[str, ...]) -> object:
    """Calls ``function`` with what the command line says; its docstring is the help."""
    parser = _parser(function, name, positional)
    parsed = _parsed(parser, arguments)
    # instantiate: its name from jsonargparse 4.49 on
    given = (getattr(parser, "instantiate", None) or parser.instantiate_classes)(parsed).as_dict()
    parameters = inspect.signature(function).parameters
    lists = {n: list(value) for n, value in given.items() if isinstance(value, list | tuple)}
    return function(**{n: lists.get(n, given[n]) for n in parameters if n in given})


def _parsed(parser: "ArgumentParser", arguments: Sequence[str]) -> Any:
    """What the options say.

    Raises:
        UsageError: They cannot be read; says in one line what is wrong.
    """
    from argparse import ArgumentError

    typed = [with_underscores(argument) for argument in arguments]
    try:
        return parser.parse_args(typed)
    except ArgumentError as error:
        known = [action.dest for action in parser._actions]
        refusal = refusal_of(error.message, known, typed)
        place = f"--{refusal.key}: " if refusal.key else ""
        raise UsageError(f"{place}{refusal.told} ({parser.prog} --help)") from error


def _parser(function: Callable[..., object], name: str, positional: tuple[str, ...]) -> "ArgumentParser":
    """An option a parameter, in the order of the signature."""
    from docstring_parser import parse
    from jsonargparse import ActionYesNo, ArgumentParser

    documentation = parse(inspect.getdoc(function) or "")
    described = {p.arg_name: p.description or "" for p in documentation.params}
    parser = ArgumentParser(prog=f"attngan {name}", description=documentation.description, exit_on_error=False)
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


def _list_of(hint: Any) -> Any:
    """Str for ``list[str]``, ``Sequence[str]`` or either with None; None for anything else."""
    for candidate in (hint, *typing.get_args(hint)):
        origin = typing.get_origin(candidate)
        if isinstance(origin, type) and issubclass(origin, Sequence) and not issubclass(origin, tuple):
            return typing.get_args(candidate)[0]
    return None


if __name__ == "__main__":
    sys.exit(main())
