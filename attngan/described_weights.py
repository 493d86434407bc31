"""Weights and what is known of them in one safetensors file: it holds no code, and nothing else is needed to read it.

The description is one JSON text in the file's header, under a name that tells what kind of file it is.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.modules import module as modules
from torch.overrides import TorchFunctionMode

from attngan.bounded import read_json
from attngan.errors import AttnganError, InputError
from attngan.files import write_whole
from attngan.integrity import check_notes, check_whole, with_checksum
from attngan.weight_files import load_weights, read_safetensors, read_safetensors_header


def to_bytes(entry: str, description: Mapping[str, Any], state: Mapping[str, Tensor]) -> bytes:
    """The file's content: the same for the same description and weights.

    Args:
        entry: The description's name in the header.
        description: Plain values.
        state: Weights by name, on any device.
    """
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
    # one entry alone: safetensors writes several in an order that changes from run to run, and with it the SHA-256
    return with_checksum(save(tensors, {entry: json.dumps(description)}))


def write(path: str | Path, entry: str, description: Mapping[str, Any], state: Mapping[str, Tensor]) -> None:
    """Writes such a file, whole or not at all. See `to_bytes`."""
    write_whole(Path(path), to_bytes(entry, description, state))


def read_description(path: str | Path, entry: str) -> dict[str, Any] | None:
    """The description of this name; None where the file has none.

    Raises:
        MissingFileError: There is no such file.
        InputError: It is no whole safetensors file, or damaged: the whole of it is read.
    """
    header = read_safetensors_header(path)
    check_whole(Path(path))
    check_notes(Path(path), header, entry)
    try:
        description = read_json(header[entry]) if entry in header else None
    except InputError as error:
        raise InputError(f"{path}: what its header says under {entry!r} is {error}") from error
    return description if isinstance(description, dict) else None


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The weights by name, on the CPU.

    Raises:
        MissingFileError: There is no such file.
        InputError: It is no whole safetensors file.
    """
    return read_safetensors(path)[1]


Network = TypeVar("Network", bound=nn.Module)


def build_with(make: Callable[[], Network], weights: Mapping[str, Tensor], source: str) -> Network:
    """The network that a file describes, with the file's weights.

    It is made in outline, without memory: a description cannot ask for a larger network than its weights fill, and no
    weight is drawn that the file's are going to replace. What else a network computes when it is made needs memory: it
    is then made once more.

    Args:
        make: Makes the network of the description.
        weights: By the names of its state dict.
        source: The file, for messages.

    Raises:
        InputError: The description cannot be followed, or the weights do not fit; names the file.
    """
    with following_the_description(source):
        with _no_larger_than(weights), torch.device("meta"), _Undrawn():
            network = make()
        if not _is_its_state(network):
            network = make()
    load_weights(network, weights, source)
    return network


class _Undrawn(TorchFunctionMode):
    """Leaves tensors alone that would be initialised: without memory nothing is, but torch's compiler imported."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", "") == nn.init.__name__:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def _is_its_state(network: nn.Module) -> bool:
    """Whether a network has no tensors but those of its state dict, all of which are loaded."""
    named = {name for tensors in (network.named_parameters(), network.named_buffers()) for name, _ in tensors}
    others = any(isinstance(value, Tensor) for module in network.modules() for value in vars(module).values())
    return named <= network.state_dict().keys() and not others


@contextmanager
def following_the_description(source: str) -> Iterator[None]:
    """Whatever goes wrong while a file's description is followed is the file's fault, and named so."""
    try:
        yield
    except AttnganError as error:
        raise error if source in str(error) else type(error)(f"{source}: {error}") from error
    except Exception as error:
        told = f"{type(error).__name__}: {str(error)[:200]}"
        raise InputError(
            f"{source}: what the file says of its network cannot be followed ({told}): it is damaged, or written by "
            "another version of attngan"
        ) from error


@contextmanager
def _no_larger_than(weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Making a network stops when it has many times the parts, or twice the numbers, that the weights have."""
    parts, numbers = 1000 + 30 * len(weights), 1_000_000 + 2 * sum(value.numel() for value in weights.values())

    def count_part(*_: Any) -> None:
        nonlocal parts
        parts -= 1
        if parts < 0:
            raise InputError("the network that it describes has more parts than its weights could fill")

    def count_numbers(_module: nn.Module, _name: str, value: Tensor | None) -> None:
        nonlocal numbers
        numbers -= 0 if value is None else value.numel()
        if numbers < 0:
            raise InputError("the network that it describes has more weights than the file")

    hooks = [
        modules.register_module_module_registration_hook(count_part),
        modules.register_module_parameter_registration_hook(count_numbers),
        modules.register_module_buffer_registration_hook(count_numbers),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
