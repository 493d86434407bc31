"""Networks that a checkpoint can rebuild: each remembers the arguments that it was made with.

A checkpoint holds the description (plain strings and numbers) beside the weights, so that sampling needs no config
file, and reading one runs no code but the constructors of classes that are already part of the program.
"""

import importlib
import inspect
import sys
from contextvars import ContextVar
from typing import Any, ClassVar, TypedDict, TypeVar, cast, overload

from torch import nn

from attngan.errors import InputError

_rebuilding: ContextVar[bool] = ContextVar("rebuilding", default=False)


def rebuilding() -> bool:
    """Whether a network is being made of a description: what a file names is then looked for on this machine alone."""
    return _rebuilding.get()


class Description(TypedDict):
    """A network in plain values: its class's path, and its constructor's arguments."""

    class_path: str
    init_args: dict[str, Any]


class Described(nn.Module):
    """A module whose constructor's arguments are kept in ``init_args``."""

    #: Arguments that a rebuilt network gets as None, since its weights come from the checkpoint.
    not_rebuilt: ClassVar[frozenset[str]] = frozenset()
    init_args: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> "Described":
        self = super().__new__(cls)
        # partial: deepcopy and pickle call __new__ without arguments, and restore init_args themselves
        bound = inspect.signature(cls.__init__).bind_partial(self, *args, **kwargs)
        bound.apply_defaults()
        object.__setattr__(self, "init_args", {k: v for k, v in list(bound.arguments.items())[1:]})
        return self


Network = TypeVar("Network", bound=Described)


def describe(module: Described) -> Description:
    """A plain, nested description of ``module``: its class's path and its constructor's arguments.

    Raises:
        InputError: An argument is neither a plain value nor a described network, so no checkpoint could hold it.
    """
    path = f"{type(module).__module__}.{type(module).__qualname__}"
    arguments = {
        name: None if name in module.not_rebuilt else _plain(value, f"{path}'s {name}")
        for name, value in module.init_args.items()
    }
    return {"class_path": path, "init_args": arguments}


def _plain(value: Any, what: str) -> Any:
    if isinstance(value, Described):
        return describe(value)
    if isinstance(value, list | tuple):
        return [_plain(item, what) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item, what) for name, item in value.items()}
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise InputError(
        f"{what} is a {type(value).__name__}, which a checkpoint cannot hold: make it a plain value, derive its class "
        "from attngan.networks.description.Described, or write a class that makes it in its constructor from plain "
        "values (as AttnGANGenerator makes its parts)"
    )


def _built(value: Any) -> Any:
    if isinstance(value, dict):
        if "class_path" in value:
            return build(cast(Description, value))
        return {name: _built(item) for name, item in value.items()}
    return [_built(item) for item in value] if isinstance(value, list) else value


@overload
def build(description: Description) -> Described: ...
@overload
def build(description: Description, kind: type[Network]) -> Network: ...
def build(description: Description, kind: type[Described] = Described) -> Described:
    """Makes the network that ``describe`` described, with fresh weights.

    Args:
        description: Description in a checkpoint.
        kind: What it must be.

    Raises:
        InputError: The class is not one of attngan's, nor of a module that the program has imported; or is no network
            of this kind.
    """
    module_name, _, class_name = description["class_path"].rpartition(".")
    if module_name.partition(".")[0] != "attngan" and module_name not in sys.modules:
        raise InputError(
            f"the checkpoint wants the class {description['class_path']}: import its module before loading the "
            "checkpoint, if you trust it"
        )
    try:
        found = getattr(importlib.import_module(module_name), class_name, None)
    except ModuleNotFoundError:  # of a later version of attngan, or damaged
        found = None
    if not (isinstance(found, type) and issubclass(found, kind)):
        what = "network" if kind is Described else kind.__name__
        raise InputError(f"the checkpoint names {description['class_path']}, which is not a {what} of attngan")
    outer = _rebuilding.set(True)
    try:
        return found(**{name: _built(value) for name, value in description["init_args"].items()})
    finally:
        _rebuilding.reset(outer)
