"""Bounded work for files of strangers: a small one must not ask for hours or gigabytes.

A pickle or a YAML file names the same list again in a few bytes. Sixty lists, each with the one before twice, are
nothing to read and 2^60 items to look at. What is read through here is as large as it looks, or refused.
"""

import json
import pickle
import zipfile
from collections.abc import Callable, Iterable
from io import BufferedIOBase
from itertools import chain
from pathlib import Path
from typing import IO, Any, ClassVar

import yaml

from attngan.errors import InputError

#: Containers within containers that are read.
MOST_NESTED = 100
#: Values that a recipe, or the description in a file of weights, may hold beside the weights.
MOST_VALUES = 10_000_000
#: Of a recipe: bytes, and values once every alias stands for what it names.
RECIPE_BYTES, RECIPE_VALUES = 1_000_000, 100_000


def require_bounded(value: object, most: int = MOST_VALUES) -> None:
    """Refuses a nest of dicts, lists, tuples and sets that is larger than it looks.

    Args:
        value: What was read.
        most: So many values may be in it, counted at every place where they stand.

    Raises:
        InputError: There are more, they lie too deep, or a container holds itself.
    """
    _require_bounded(value, _inner, most)


#: What a container holds: how many values, and those of them that are containers.
_Parts = tuple[int, list[Any]]


def _require_bounded(root: Any, inner: Callable[[Any], _Parts], most: int) -> None:
    """Each container is looked at twice at most, however often it is named."""
    sizes: dict[int, int] = {}
    around: set[int] = set()
    stack = [root]
    while stack:
        here = id(stack[-1])
        if here in sizes:
            stack.pop()
            continue
        count, containers = inner(stack[-1])
        if waiting := [part for part in containers if id(part) not in sizes]:
            around.add(here)
            if any(id(part) in around for part in waiting):
                raise InputError("something in it holds itself")
            if len(around) > MOST_NESTED:
                raise InputError(f"it is nested more than {MOST_NESTED} deep")
            stack += waiting
            continue
        sizes[here] = 1 + count - len(containers) + sum(sizes[id(part)] for part in containers)
        if sizes[here] > most:
            raise InputError(f"it stands for more than {most:,} values: parts of it are named again and again")
        around.discard(here)
        stack.pop()


def _inner(value: Any) -> _Parts:
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    elif not isinstance(value, _CONTAINERS):
        return 0, []
    return len(value), [part for part in value if isinstance(part, _CONTAINERS)]


_CONTAINERS = (list, tuple, dict, set, frozenset)


# --- JSON -------------------------------------------------------------------------------------------------------------


def read_json(text: str | bytes) -> Any:
    """What a JSON text says.

    Raises:
        InputError: It is none, or nested too deeply.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise InputError(f"it is nested more than {MOST_NESTED} deep") from None
    except ValueError as error:  # not JSON, not Unicode, a whole number of thousands of digits
        raise InputError(f"not JSON: {error}") from error
    require_bounded(value, max(len(text), MOST_VALUES))
    return value


# --- YAML -------------------------------------------------------------------------------------------------------------


def read_recipe(path: Path) -> Any:
    """What a YAML file says; None where it is empty.

    Raises:
        InputError: It is no YAML, or larger than a recipe can be; names the file, and the line where there is one.
    """
    with path.open("rb") as file:
        content = file.read(RECIPE_BYTES + 1)
    try:
        text = content.decode("utf-8-sig")
        require_bounded_yaml(text)
        return yaml.safe_load(text)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InputError(f"{path}, line {line}: not UTF-8; save the file as UTF-8") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{path}, line {mark.line + 1}" if mark is not None else str(path)
        raise InputError(f"{place}: not YAML: {error.problem or error}") from error
    except (ValueError, yaml.YAMLError) as error:  # also what a value stands for: a date that is none
        raise InputError(f"{path}: {error}") from error


def require_bounded_yaml(text: str) -> None:
    """Refuses a YAML text whose aliases stand for more than a recipe can hold, before anything is made of it.

    Raises:
        InputError: It is refused.
        yaml.YAMLError: It is no YAML.
    """
    if len(text) > RECIPE_BYTES:
        raise InputError(f"it is longer than a recipe: more than {RECIPE_BYTES:,} characters")
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except RecursionError:
        raise InputError(f"it is nested more than {MOST_NESTED} deep") from None
    _require_bounded(node, _inner_nodes, RECIPE_VALUES)


def _inner_nodes(node: Any) -> _Parts:
    if isinstance(node, yaml.MappingNode):
        parts = list(chain.from_iterable(node.value))
    elif isinstance(node, yaml.SequenceNode):
        parts = node.value
    else:
        return 0, []
    return len(parts), [part for part in parts if isinstance(part, yaml.CollectionNode)]


# --- archives ---------------------------------------------------------------------------------------------------------


def is_packed(archive: zipfile.ZipFile, size: int) -> bool:
    """Whether the members of a zip archive are larger unpacked than the archive, whose bytes are so many."""
    members = archive.infolist()
    packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
    return packed or sum(member.file_size for member in members) > size


# --- pickles ----------------------------------------------------------------------------------------------------------

_PLAIN_KEYS = (str, bytes, int, float, bool, type(None))
#: Python's own implementation, which is part of the standard library's source, and can be built upon.
_PythonUnpickler: Any = pickle._Unpickler


class BoundedUnpickler(_PythonUnpickler):  # type: ignore[misc]
    """Reads a pickle in time and memory that its length bounds; a subclass says which names it may ask for.

    By Python's implementation, not the one in C, whose memo takes 64 GB for five bytes. Keys are plain, since a tuple
    of tuples named twice is hashed in exponential time; no name that the pickle asks for can be changed by it.
    """

    dispatch: ClassVar[dict[int, Any]] = dict(_PythonUnpickler.dispatch)
    #: Classes whose instances a pickle may give a state.
    stateful: ClassVar[tuple[type, ...]] = ()

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not admitted; nothing was run")

    def _set_item(self) -> None:
        self._check_keys([self.stack[-2]])
        super().load_setitem()

    def _set_items(self) -> None:
        self._check_keys(self.stack[::2])
        super().load_setitems()

    def _dict(self) -> None:
        self._check_keys(self.stack[::2])
        super().load_dict()

    def _build(self) -> None:
        if not isinstance(self.stack[-2], self.stateful):
            raise pickle.UnpicklingError(f"it gives a state to a {type(self.stack[-2]).__name__}")
        super().load_build()

    def _refuse(self) -> None:
        raise pickle.UnpicklingError("it holds a set or a bytearray, of which no file that is read here has any")

    def _check_keys(self, keys: list[Any]) -> None:
        for key in keys:
            for part in key if isinstance(key, tuple) else (key,):
                if not isinstance(part, (*_PLAIN_KEYS, _Nothing)):
                    raise pickle.UnpicklingError(f"a {type(part).__name__} within a key of a dict")

    dispatch |= {
        pickle.SETITEM[0]: _set_item,
        pickle.SETITEMS[0]: _set_items,
        pickle.DICT[0]: _dict,
        pickle.BUILD[0]: _build,
        pickle.ADDITEMS[0]: _refuse,
        pickle.FROZENSET[0]: _refuse,
        pickle.BYTEARRAY8[0]: _refuse,
    }


class _Outline(BoundedUnpickler):
    """Every name that the pickle asks for is a stand-in that does nothing; tensors are counted, not read."""

    def __init__(self, file: BufferedIOBase | IO[bytes]) -> None:
        super().__init__(file, encoding="latin1")

    def find_class(self, module: str, name: str) -> Any:
        return _Nothing

    def persistent_load(self, pid: Any) -> Any:
        return _Nothing()

    def _build(self) -> None:
        self.stack.pop()  # the state of a stand-in: of an ordered dict's attributes, say

    dispatch: ClassVar[dict[int, Any]] = BoundedUnpickler.dispatch | {pickle.BUILD[0]: _build}


class _Nothing(dict[Any, Any]):
    """Stands for whatever a pickle makes by calling a name: an ordered dict, which then gets items, a tensor ..."""

    __hash__ = object.__hash__  # type: ignore[assignment]

    def __init__(self, *_arguments: Any, **_named: Any) -> None:
        super().__init__()

    def append(self, item: Any) -> None:
        self[len(self)] = item

    def extend(self, items: Iterable[Any]) -> None:
        for item in items:
            self.append(item)


def require_bounded_pickles(file: BufferedIOBase | IO[bytes], count: int = 1) -> None:
    """Reads pickles in outline, to see that reading them is no more work than their length tells.

    Args:
        file: Stands where they begin.
        count: How many follow each other.

    Raises:
        InputError: What they hold is larger than it looks.
        Exception: Whatever a damaged pickle makes the reader raise.
    """
    for _ in range(count):
        require_bounded(_Outline(file).load())
