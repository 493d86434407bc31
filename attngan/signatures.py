"""Signatures and docstrings read from the source, without running it: help in a blink, where torch takes seconds."""

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent
#: How a value of a type is written on the command line.
PLACEHOLDERS = {"int": "N", "float": "X", "str": "TEXT", "Path": "PATH", "bool": "true|false"}


@dataclass(frozen=True)
class Argument:
    """One argument: its name, how its value is written, its default as in the source (None: it must be given), help."""

    name: str
    value: str
    default: str | None
    help: str
    arguments: tuple["Argument", ...] = ()


@dataclass(frozen=True)
class Documented:
    """A function or a class: what it does, and its arguments in order."""

    summary: str
    text: str
    arguments: tuple[Argument, ...]


def documented(module: str, name: str) -> Documented:
    """What the source says of a function, or of a class and its constructor (or its fields, of a dataclass).

    Args:
        module: A module of attngan, e.g. "attngan.commands.sample".
        name: The function or class in it.
    """
    node = _definition(module, name)
    docstring = inspect.cleandoc(ast.get_docstring(node) or "")
    text = re.split(r"\n(?:Args|Returns|Raises|Attributes):\n", f"{docstring}\n", maxsplit=1)[0].strip()
    told = _told_of_arguments(docstring)
    arguments = tuple(_arguments(node, module, told))
    return Documented(text.partition("\n")[0], text, arguments)


@cache
def _tree(module: str) -> ast.Module:
    path = PACKAGE.joinpath(*module.split(".")[1:])
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(file.read_text(encoding="utf-8"))


def _definition(module: str, name: str) -> ast.FunctionDef | ast.ClassDef:
    for node in _tree(module).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return node
    raise LookupError(f"{module} defines no {name}")


def _told_of_arguments(docstring: str) -> dict[str, str]:
    """The section ``Args`` of a docstring: name to text, in one line."""
    section = re.search(r"^Args:\n((?:[ ]+.*\n|\n)+)", f"{docstring}\n", re.MULTILINE)
    told: dict[str, str] = {}
    name = ""
    for line in section[1].splitlines() if section else ():
        if found := re.match(r"    (\w+): (.*)", line):
            name, told[found[1]] = found[1], found[2]
        elif name and line.strip():
            told[name] += f" {line.strip()}"
    return told


def _arguments(node: ast.FunctionDef | ast.ClassDef, module: str, told: dict[str, str]) -> Iterator[Argument]:
    for name, annotation, default in _parameters(node):
        value, of_class = "", None
        if annotation is not None:
            value, of_class = _placeholder(annotation, module), _dataclass_of(annotation, module)
        within = () if of_class is None else documented(*of_class).arguments
        yield Argument(name, value, None if default is None else ast.unparse(default), told.get(name, ""), within)


def _parameters(node: ast.FunctionDef | ast.ClassDef) -> Iterator[tuple[str, ast.expr | None, ast.expr | None]]:
    """Name, annotation and default of each parameter; of a class those of its constructor, or its fields."""
    if isinstance(node, ast.ClassDef):
        own = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
        if not own:
            for field in node.body:
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                    yield field.target.id, field.annotation, field.value
            return
        node = own[0]
    given = [argument for argument in node.args.args if argument.arg != "self"]
    defaults = [None] * (len(given) - len(node.args.defaults)) + list(node.args.defaults)
    for argument, default in zip(given, defaults, strict=True):
        yield argument.arg, argument.annotation, default


def _placeholder(annotation: ast.expr, module: str) -> str:
    """``N`` for a whole number, ``a|b`` for a choice of texts; a class's name in capitals for anything else."""
    if isinstance(annotation, ast.BinOp):
        sides = [_placeholder(side, module) for side in (annotation.left, annotation.right)]
        if "PATH" in sides:  # Python code may give text where a path is meant
            return "PATH"
        return "|".join(dict.fromkeys(side for side in sides if side))
    if isinstance(annotation, ast.Constant):  # None, or a choice
        return "" if annotation.value is None else str(annotation.value)
    if isinstance(annotation, ast.Subscript):
        of, inside = ast.unparse(annotation.value), annotation.slice
        within = list(inside.elts) if isinstance(inside, ast.Tuple) else [inside]
        if of == "Literal":
            return "|".join(_placeholder(choice, module) for choice in within)
        if of == "dict":
            return "{NAME: X}"
        return " ".join(_placeholder(part, module) for part in within) + ("" if of == "tuple" else " ...")
    name = ast.unparse(annotation)
    if name in PLACEHOLDERS:
        return PLACEHOLDERS[name]
    found = _meaning(name, module)
    if found is not None and isinstance(found[0], ast.expr):
        return _placeholder(found[0], found[1])
    return name.upper()


def _meaning(name: str, module: str) -> tuple[ast.expr | ast.ClassDef, str] | None:
    """What a name stands for in a module of attngan, an alias or a class, and where; followed through imports."""
    for node in _tree(module).body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            return node.value, module
        if isinstance(node, ast.ClassDef) and node.name == name:
            return node, module
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("attngan."):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _meaning(alias.name, node.module or "")
    return None


def _dataclass_of(annotation: ast.expr, module: str) -> tuple[str, str] | None:
    """Module and name of the dataclass that an argument is, a group of options of their own."""
    found = _meaning(ast.unparse(annotation), module) if isinstance(annotation, ast.Name) else None
    if found is None or not isinstance(found[0], ast.ClassDef):
        return None
    decorators = [ast.unparse(decorator) for decorator in found[0].decorator_list]
    return (found[1], found[0].name) if any(text.startswith("dataclass") for text in decorators) else None


def declared_metrics() -> list[str]:
    """Names of the metrics that `attngan.metrics` declares, in alphabetical order."""
    names = []
    for file in sorted((PACKAGE / "metrics").glob("*.py")):
        for node in ast.walk(_tree(f"attngan.metrics.{file.stem}")):
            if (
                isinstance(node, ast.Call)
                and ast.unparse(node.func) == "metric"
                and isinstance(node.args[0], ast.Constant)
            ):
                names.append(str(node.args[0].value))
    return sorted(names)


def declared_sources() -> list[str]:
    """Names of the data sources, in the order of their registry."""
    for node in _tree("attngan.data.sources.registry").body:
        if (
            isinstance(node, ast.AnnAssign)
            and ast.unparse(node.target) == "SOURCES"
            and isinstance(node.value, ast.Dict)
        ):
            return [str(key.value) for key in node.value.keys if isinstance(key, ast.Constant)]
    raise LookupError("attngan.data.sources.registry declares no SOURCES")
