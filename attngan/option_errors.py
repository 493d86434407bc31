"""What jsonargparse says of options and keys that it cannot use, in one line: the cause alone, and what was meant."""

import re
from collections.abc import Collection, Iterable, Sequence
from difflib import get_close_matches
from typing import NamedTuple

#: What a value was expected to be: jsonargparse names Python's types.
KINDS = {
    "<class 'int'>": "a whole number",
    "<class 'float'>": "a number",
    "<class 'bool'>": "true or false",
    "<class 'str'>": "text",
    "<class 'NoneType'>": "null",
}
#: So much of a value is shown.
SHOWN = 60


class Refusal(NamedTuple):
    """A key that cannot be used, as in "data.root", and what is wrong with it; the key is empty where none is meant."""

    key: str
    told: str


def with_underscores(argument: str) -> str:
    """``--samples-per-caption`` as ``--samples_per_caption``: an option is a parameter's name, typed either way."""
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument.partition("=")
    return f"--{name[2:].replace('-', '_')}{equals}{value}"


def refusal_of(message: str, known: Collection[str] = (), arguments: Sequence[str] = ()) -> Refusal:
    """The cause of an error of jsonargparse, which tells it at the end of many lines.

    Args:
        message: What it says.
        known: The options that there are, without their hyphens.
        arguments: The command line.
    """
    if found := re.match(r"unrecognized arguments: (.+)", message):
        return _unknown_arguments(found[1].split(" "), known, arguments)
    if found := re.match(r"Group '([\w.]*)' does not accept option '([\w.]+)'", message):
        key = f"{found[1]}.{found[2]}".lstrip(".")
        return Refusal(key, f"there is no such key{meant(key, known)}")
    if found := re.match(r"the following arguments are required: (.+)", message):
        return Refusal("", f"missing: {found[1]}")
    if found := re.match(r"argument (--?[\w.-]+).*: expected (?:one|at least one) argument", message):
        return Refusal("", f"{found[1]} lacks its value")
    found = re.match(r'Parser key "([\w.]+)": *(.*)', message, re.DOTALL)
    return _of_value(found[1], found[2]) if found else Refusal("", _shortened(message))


def meant(name: str, known: Iterable[str], within: int = 1) -> str:
    """``: did you mean ...?``, or nothing where no name is like it."""
    close = get_close_matches(name, list(known), within, 0.75)
    return f": did you mean {' or '.join(close)}?" if close else ""


def _unknown_arguments(words: Sequence[str], known: Collection[str], arguments: Sequence[str]) -> Refusal:
    options = [word.partition("=")[0] for word in words if word.startswith("-")]
    if not options:
        return Refusal("", f"what is {words[0]!r}? It belongs to no option")
    name = options[0].lstrip("-")
    if name in known:  # of an argument without hyphens
        return Refusal("", f"{options[0]} is not written: its values stand without it, before the options")
    close = meant(name, known).replace("mean ", "mean --")
    return Refusal("", f"there is no option {options[0]}{close}")


def _of_value(key: str, told: str) -> Refusal:
    """A value that cannot be used, perhaps deep within the arguments of a class."""
    while found := re.search(r'Parser key "([\w.]+)":', told):  # of an argument of the class
        key, told = f"{key}.init_args.{found[1]}", told[found.end() :]
    if found := re.search(r"Importing '([\w.]+)' is not allowed", told):
        module = found[1].partition(".")[0]
        return Refusal(key, f"{found[1]} is nothing that a recipe may name: --trust {module} if you trust its author")
    if found := re.search(r"Option '([\w.]+)' is not accepted", told):
        cls = re.search(r"given class_path '([\w.]+)'", told)
        of_class = f" of {cls[1].rpartition('.')[2]}" if cls else ""
        close = meant(found[1], _arguments_of(cls[1])) if cls else ""
        return Refusal(f"{key}.init_args.{found[1]}", f"there is no such argument{of_class}{close}")
    if found := re.search(r"module '([\w.]+)' has no attribute '(\w+)'", told):
        return Refusal(f"{key}.class_path", f"{found[1]} has no {found[2]}{meant(found[2], _names_in(found[1]))}")
    if found := re.search(r"Expected a dot import path string: (.+)", told):
        return Refusal(key, f"{found[1]!r} names no class: its whole path is wanted, as in attngan.networks.dfgan.NAME")
    if found := re.search(r"File does not exist: '(.+)'", told):
        return Refusal("", f"there is no file {found[1]}")
    wanted = [
        KINDS.get(kind, kind) for kind in re.findall(r"Expected an? (<class '[\w.]+'>|typing\.Literal\[.+\])", told)
    ]
    value = re.search(r"(?:Given value|Got value): (.*)", told)
    if not wanted or value is None:
        return Refusal(key, _shortened(told))
    return Refusal(key, f"{_cut(repr(value[1]))} is not {_choice(wanted)}{_close_choice(value[1], wanted)}")


def _choice(wanted: Sequence[str]) -> str:
    """``a whole number or null``; of fixed texts which ones."""
    told = [re.sub(r"typing\.Literal\[(.+)\]", r"one of \1", kind) for kind in dict.fromkeys(wanted)]
    return " or ".join(told)


def _close_choice(value: str, wanted: Sequence[str]) -> str:
    choices = [text for kind in wanted if kind.startswith("typing.Literal") for text in re.findall(r"'([^']*)'", kind)]
    return meant(value, choices)


def _arguments_of(class_path: str) -> list[str]:
    """Those of a class that was imported to look at them."""
    import inspect
    import sys

    module, _, name = class_path.rpartition(".")
    cls = getattr(sys.modules.get(module), name, None)
    return [] if cls is None else list(inspect.signature(cls).parameters)


def _names_in(module: str) -> list[str]:
    import sys

    return [name for name in vars(sys.modules.get(module) or object) if not name.startswith("_")]


def _shortened(message: str) -> str:
    """All of it in one line."""
    return _cut(" ".join(message.split()), 300)


def _cut(text: str, length: int = SHOWN) -> str:
    return text if len(text) <= length else f"{text[:length]}..."
