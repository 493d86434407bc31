"""Files of weights, of this program and of strangers: PyTorch's of any age, and safetensors.

They are read as plain values and tensors: no code of a file runs, and reading one costs no more time and memory than
its length tells. Every such file is read here.
"""

import pickle
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from attngan.bounded import is_packed, require_bounded, require_bounded_pickles
from attngan.errors import InputError, MissingFileError
from attngan.file_kinds import kind_of_file

#: Pickles that begin a file of PyTorch before 1.6: a number, a version, the system, the contents, names of storages.
_OLD_PICKLES = 5


def read_torch_file(path: str | Path, what: str = "a file of weights") -> Any:
    """What ``torch.save`` wrote: plain values and tensors on the CPU, mapped from the file where its format allows.

    Args:
        path: The file.
        what: What it is read as, for messages.

    Raises:
        MissingFileError: There is no such file.
        InputError: It is something else, needs code to be read, or would take more than its length tells.
    """
    path = Path(path)
    _require_file(path, what)
    try:
        new = zipfile.is_zipfile(path)
        _require_bounded_file(path, new)
        contents = torch.load(path, map_location="cpu", weights_only=True, mmap=new)
        _require_bounded_contents(contents, path.stat().st_size)
    except Exception as error:  # a damaged file can make the reader raise anything
        raise _not_readable(path, what, error, "a PyTorch file", "a file of PyTorch before 1.6") from error
    return contents


def read_safetensors(path: str | Path, what: str = "a safetensors file") -> tuple[dict[str, str], dict[str, Tensor]]:
    """The texts in the header of a safetensors file, and its tensors by name, on the CPU.

    Raises:
        MissingFileError: There is no such file.
        InputError: It is something else, or damaged.
    """
    path = Path(path)
    _require_file(path, what)
    try:
        with safe_open(str(path), framework="pt") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # SafetensorError, and whatever torch says of types that it lacks
        raise _not_readable(path, what, error, "a safetensors file") from error


def read_safetensors_header(path: str | Path, what: str = "a safetensors file") -> dict[str, str]:
    """As `read_safetensors`, the texts alone: reads nothing of the tensors."""
    path = Path(path)
    _require_file(path, what)
    try:
        with safe_open(str(path), framework="pt") as file:
            return file.metadata() or {}
    except Exception as error:
        raise _not_readable(path, what, error, "a safetensors file") from error


def is_safetensors(path: str | Path) -> bool:
    """Whether the file is of that kind, by its content."""
    return kind_of_file(path) == "a safetensors file"


def read_weights(path: str | Path, what: str = "a file of weights", entries: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """Tensors by name, of a file of either kind; without what wrappers put into the names.

    Args:
        path: The file.
        what: What it is read as, for messages.
        entries: See `find_state_dict`.

    Raises:
        MissingFileError: There is no such file.
        InputError: It holds something else, or numbers that are not finite.
    """
    if is_safetensors(path) or Path(path).suffix == ".safetensors":
        found: Mapping[str, Tensor] = read_safetensors(path, what)[1]
    else:
        found = find_state_dict(read_torch_file(path, what), str(path), entries)
    if bad := not_finite(found):
        raise InputError(f"{path}: {some(bad, 3)} hold NaN or infinite numbers: the training that wrote them diverged")
    return without_wrappers(found)


# --- state dicts ------------------------------------------------------------------------------------------------------


def find_state_dict(contents: object, path: str, entries: tuple[str, ...] = ()) -> Mapping[str, Tensor]:
    """The tensors by name that lie in a file's contents, at its top or within entries of usual names.

    Args:
        contents: What the file holds.
        path: The file, for messages.
        entries: Names of entries to prefer to "state_dict" and "model", where a file holds several networks.

    Raises:
        InputError: There are none; names the entries that there are.
    """
    within = path
    while isinstance(contents, Mapping) and contents:
        if is_state_dict(contents):
            return contents
        usual = (*entries, "state_dict", "model", "model_state_dict", "params", "weights")
        entry = next((e for e in usual if isinstance(contents.get(e), Mapping)), None)
        if entry is None:
            nested = [
                str(name) for name, value in contents.items() if isinstance(value, Mapping) and is_state_dict(value)
            ]
            lies = f"; weights lie in {some(nested)}: save one of them alone" if nested else ""
            raise InputError(
                f"{within} holds no state dict: expected tensors by name, as torch.save(network.state_dict(), FILE) "
                f"writes them; it has the entries {some(map(str, contents))}{lies}"
            )
        contents, within = contents[entry], f"{within}, entry {entry!r},"
    told = "nothing" if isinstance(contents, Mapping) else f"a {type(contents).__name__}"
    raise InputError(
        f"{within} holds no state dict: expected tensors by name, as torch.save(network.state_dict(), FILE) writes "
        f"them; it holds {told}"
    )


def is_state_dict(value: Mapping[Any, Any]) -> bool:
    """Whether all of it is tensors, by name."""
    return bool(value) and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items())


def without_wrappers(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without what wrappers put into names: ``module.`` (DataParallel) and ``_orig_mod.`` (torch.compile).

    ``_orig_mod.`` goes wherever it stands, since a part of a network may have been compiled; ``module.`` only where
    every name begins with it, since it may be a part's own name.
    """
    bare = {re.sub(r"(?:^|(?<=\.))_orig_mod\.", "", name): value for name, value in weights.items()}
    while bare and all(name.startswith("module.") for name in bare):
        bare = {name.removeprefix("module."): value for name, value in bare.items()}
    return bare


def not_finite(weights: Mapping[str, Tensor]) -> list[str]:
    """Names of the weights that hold NaN or infinite numbers."""
    return [name for name, value in weights.items() if value.is_floating_point() and not value.isfinite().all()]


def some(names: Any, most: int = 5) -> str:
    """The first few of some names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(repr(name)[1:-1][:80] for name in names[:most]) + more


@contextmanager
def in_file(path: Path | str) -> Iterator[None]:
    """Puts the file's name before the message of an InputError."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def load_weights(network: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Puts weights into a network; every one must be there and fit.

    Args:
        network: Gets them; of one that was made without memory (on torch's meta device) they become the weights.
        weights: By the names of its state dict.
        source: Where they come from, for the message.

    Raises:
        InputError: Some are missing, have no place in the network, another shape, or are not finite; names the first
            few of each.
    """
    own = network.state_dict()
    # not in files of PyTorch 0.3
    counted = [name for name in own if name.endswith("num_batches_tracked")]
    counts = {name: torch.zeros(own[name].shape, dtype=own[name].dtype) for name in counted}
    weights = counts | dict(weights)
    shapes = {
        name: (tuple(weights[name].shape), tuple(own[name].shape))
        for name in own
        if name in weights and not name.endswith("_extra_state")  # a text, which the network itself compares
    }
    problems = {
        "missing": [name for name in own if name not in weights],
        "unexpected": [name for name in weights if name not in own],
        "of another shape": [
            f"{name} {of_file} instead of {of_own}" for name, (of_file, of_own) in shapes.items() if of_file != of_own
        ],
    }
    told = [f"{some(names, 3)} {problem}" for problem, names in problems.items() if names]
    if told:
        raise InputError(f"{source}: the weights do not fit {type(network).__name__}: {'; '.join(told)}")
    if bad := not_finite(weights):
        raise InputError(
            f"{source}: {some(bad, 3)} hold NaN or infinite numbers: the training that wrote them diverged; take an "
            "earlier checkpoint of the run"
        )
    if any(value.is_meta for value in own.values()):  # copies: the file's own may be mapped, or of 16 bits
        weights = {name: weights[name].to(value.dtype, copy=True) for name, value in own.items()}
        network.load_state_dict(weights, assign=True)
    else:
        network.load_state_dict(weights)


# --- bounds -----------------------------------------------------------------------------------------------------------


def _require_file(path: Path, what: str) -> None:
    if not path.is_file():
        kind = kind_of_file(path)
        if kind == "not there":
            raise MissingFileError(f"no file at {path.resolve()}, which is read as {what}")
        raise InputError(f"{path} cannot be read as {what}: it is {kind}")


def _require_bounded_file(path: Path, new: bool) -> None:
    """A file of PyTorch whose pickles are as large as they look, and whose members are not packed."""
    if not new:
        with path.open("rb") as file:
            require_bounded_pickles(file, _OLD_PICKLES)
        return
    with zipfile.ZipFile(path) as archive:
        if is_packed(archive, path.stat().st_size):
            raise InputError("its members are packed, which PyTorch never does: unpacked they may be of any size")
        pickles = [member for member in archive.infolist() if re.fullmatch(r"[^/]*/?data\.pkl", member.filename)]
        if len(pickles) != 1:
            raise InputError(f"it has {len(pickles)} members data.pkl instead of one")
        with archive.open(pickles[0]) as file:
            require_bounded_pickles(file)


def _require_bounded_contents(contents: Any, size: int) -> None:
    require_bounded(contents)
    stack, seen = [contents], set[int]()
    while stack:
        value = stack.pop()
        if isinstance(value, Tensor):
            if value.layout is not torch.strided or value.numel() * value.element_size() > size:
                raise InputError("it has a tensor that stands for more numbers than the file holds")
        elif isinstance(value, dict | list | tuple | set) and id(value) not in seen:
            seen.add(id(value))
            stack += value.values() if isinstance(value, dict) else value


def _not_readable(path: Path, what: str, error: Exception, *right_kinds: str) -> InputError:
    """What the file is in place of what was expected; where it is of the right kind, what is wrong with it."""
    kind = kind_of_file(path)
    if kind not in right_kinds and not (kind == "a pickle" and "a PyTorch file" in right_kinds):
        return InputError(f"{path} cannot be read as {what}: it is {kind}")
    if asked := re.search(r"(?:GLOBAL|Unsupported class|it asks for) (\S+)", str(error)):
        name = asked[1].rstrip(",:")
        return InputError(
            f"{path} cannot be read as {what}: it holds an object of {name}, which only its own code can make; nothing "
            "of it was run. Weights alone are read: torch.save(network.state_dict(), FILE)"
        )
    if isinstance(error, InputError):
        return InputError(f"{path} cannot be read as {what}: {error}")
    first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    kind = (
        kind
        if kind != "a pickle" or isinstance(error, pickle.UnpicklingError)
        else "a pickle that is no file of weights"
    )
    return InputError(f"{path} cannot be read as {what}: it is {kind}, damaged or cut short ({first})")
