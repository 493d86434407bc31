"""Weights and what is known of them in one safetensors file: it holds no code, and nothing else is needed to read it.

The description is one JSON text in the file's header, under a name that tells what kind of file it is.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from attngan.errors import InputError
from attngan.files import write_whole
from attngan.integrity import check_notes, check_whole, with_checksum

#: So many names of weights that do not fit are told.
TOLD = 3


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
        FileNotFoundError: There is no such file.
        InputError: It is no whole safetensors file, or damaged: the whole of it is read.
    """
    check_whole(Path(path))
    try:
        with safe_open(str(path), framework="pt") as file:
            header = file.metadata() or {}
        check_notes(Path(path), header, entry)
        description = json.loads(header[entry]) if entry in header else None
    except (SafetensorError, json.JSONDecodeError) as error:
        raise InputError(f"{path} is not a whole safetensors file ({error})") from error
    return description if isinstance(description, dict) else None


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The weights by name, on the CPU."""
    return load_file(str(path))


def load_weights(network: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Puts weights into a network; every one must be there and fit.

    Args:
        network: Gets them.
        weights: By the names of its state dict.
        source: Where they come from, for the message.

    Raises:
        InputError: Some are missing, have no place in the network, or another shape; names the first few of each.
    """
    own = network.state_dict()
    shapes = {name: (tuple(weights[name].shape), tuple(own[name].shape)) for name in own if name in weights}
    problems = {
        "missing": [name for name in own if name not in weights],
        "unexpected": [name for name in weights if name not in own],
        "of another shape": [
            f"{name} {of_file} instead of {of_own}" for name, (of_file, of_own) in shapes.items() if of_file != of_own
        ],
    }
    told = [f"{_few(names)} {problem}" for problem, names in problems.items() if names]
    if told:
        raise InputError(f"{source}: the weights do not fit {type(network).__name__}: {'; '.join(told)}")
    network.load_state_dict(weights)


def _few(names: list[str]) -> str:
    more = f" and {len(names) - TOLD} more" if len(names) > TOLD else ""
    return ", ".join(names[:TOLD]) + more
