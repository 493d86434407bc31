"""What a recipe may name: classes of attngan and of the libraries beneath it; any other after ``--trust MODULE``.

A recipe makes objects of the classes that it names, and to find a class its module is imported, which runs it. Without
a bound, a stranger's YAML would be as dangerous as a stranger's script. The bound is set where names become objects
(in jsonargparse), so that it holds for each way of naming a class; a look into the recipe before tells in one line what
it would refuse.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import get_loader, set_loader, set_parsing_settings

from attngan.bounded import read_recipe, require_bounded_yaml
from attngan.errors import InputError

TRUST = "--trust"
#: Modules whose classes a recipe may name.
ADMITTED = (
    "attngan",
    "torch.optim",
    "torchvision",
    "pytorch_lightning.callbacks",
    "pytorch_lightning.loggers",
)
#: Of those: it calls whatever function it is given the name of.
REFUSED = ("pytorch_lightning.callbacks.LambdaCallback", "pytorch_lightning.callbacks.lambda_function")
#: Shorter texts unfold to nothing that takes long.
_SHORT = 100
_trusted_before: set[str] = set()


def take_trusted(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """A command line without its ``--trust MODULE``, and those modules: no file can say whom the user trusts.

    Raises:
        InputError: The option has no module's name.
    """
    rest, trusted = [], []
    words = iter(arguments)
    for word in words:
        name, equals, value = word.partition("=")
        if name != TRUST:
            rest.append(word)
            continue
        module = value if equals else next(words, "")
        if not all(part.isidentifier() for part in module.split(".")):
            raise InputError(f"{TRUST} {module}: it takes the name of a module, as my_package or my_package.networks")
        trusted.append(module)
    return rest, trusted


def admit(trusted: Sequence[str]) -> None:
    """From here on, classes of `ADMITTED` modules and of trusted ones may be named to the parser, and no others."""
    set_parsing_settings(
        import_path_denylist=["*", *REFUSED, *_trusted_before.difference(trusted, ADMITTED)],
        import_path_allowlist=[*ADMITTED, *trusted],
        instantiate_subclass_spec_in_any=False,
    )
    _trusted_before.update(trusted)
    load = get_loader("yaml")
    if not isinstance(load, _Bounded):
        set_loader("yaml", _Bounded(load), (yaml.YAMLError, InputError))


class _Bounded:
    """A reader of YAML values that refuses those whose aliases unfold without end."""

    def __init__(self, load: Callable[[str], Any]) -> None:
        self.load = load

    def __call__(self, text: str) -> Any:
        if len(text) > _SHORT:
            require_bounded_yaml(text)
        return self.load(text)


def refuse_untrusted(arguments: Sequence[str], trusted: Sequence[str]) -> None:
    """Looks for what the recipes of a command line, and its options, name outside of what may be named.

    Args:
        arguments: Command line of a recipe's command, without ``--trust``.
        trusted: Modules that the user trusts.

    Raises:
        InputError: There is something; names the file, the key, the class and what to do. Or a recipe is no YAML, or
            unfolds without end.
    """
    for at, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        value = value if equals else (arguments[at + 1] if at + 1 < len(arguments) else "")
        if name in ("--config", "-c") and Path(value).is_file():
            for key, named in _named(read_recipe(Path(value))):
                _refuse(f"{value}: {key}", named, trusted)
        elif name.endswith(".class_path"):
            _refuse(name, value, trusted)


def _refuse(where: str, named: str, trusted: Sequence[str]) -> None:
    if "." not in named or _may_be_named(named, trusted):
        return
    if any(_lies_in(named, module) for module in REFUSED):
        why, module = "it calls any function that the recipe names", named
    else:
        why, module = "importing and making it can run anything", named.partition(".")[0]
    raise InputError(
        f"{where} is {named}: {why}, as a script can. If you trust whoever wrote it, add {TRUST} {module} (without it: "
        f"classes of {', '.join(ADMITTED)})"
    )


def _may_be_named(path: str, trusted: Sequence[str]) -> bool:
    """By the longest of the modules that it lies in, as the parser decides."""
    verdicts = {**dict.fromkeys(REFUSED, False), **dict.fromkeys((*ADMITTED, *trusted), True)}
    around = [module for module in verdicts if _lies_in(path, module)]
    return verdicts[max(around, key=len)] if around else False


def _lies_in(path: str, module: str) -> bool:
    return f"{path}.".startswith(f"{module}.")


def _named(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every class path in what a recipe says, with its key."""
    if isinstance(value, dict):
        for name, inner in value.items():
            place = f"{key}.{name}" if key else str(name)
            if name == "class_path" and isinstance(inner, str):
                yield place, inner
            yield from _named(inner, place)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _named(inner, f"{key}[{number}]")
    elif isinstance(value, str) and len(value) > _SHORT:
        with suppress(yaml.YAMLError):  # a text may be read as YAML in its turn
            require_bounded_yaml(value)
