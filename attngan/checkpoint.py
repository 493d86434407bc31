"""What attngan's checkpoints hold, and how they are read: no code in them, nothing else needed to use them.

A Lightning checkpoint of either module carries, beside Lightning's own entries, one entry ``attngan``: plain strings
and numbers that describe the networks and the vocabulary. A generator for sampling alone travels as one safetensors
file with the same description (`attngan export`).
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from attngan.networks.damsm import DAMSM
from attngan.networks.description import build
from attngan.networks.generator import Generator

ENTRY = "attngan"


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """A Lightning checkpoint or an exported generator, as ``{"attngan": description, "state_dict": weights, ...}``.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no checkpoint of attngan.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path.resolve()}")
    try:
        if path.suffix == ".safetensors":
            contents = _read_safetensors(path)
        else:
            contents = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:
        raise ValueError(f"{path} cannot be read as a checkpoint: {error}") from error
    if not isinstance(contents, dict) or ENTRY not in contents:
        raise ValueError(
            f"{path} is not a checkpoint of attngan (no entry {ENTRY!r}); files of the published code are made into "
            "one with `attngan import-published`"
        )
    return contents


def part(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The weights of one sub-network: those whose names begin with ``prefix.``, without it."""
    return {name[len(prefix) + 1 :]: value for name, value in state.items() if name.startswith(prefix + ".")}


def load_part(network: nn.Module, contents: dict[str, Any], prefix: str) -> None:
    """Puts the weights under ``prefix`` of a checkpoint into ``network``; every one must be there and fit."""
    weights = part(contents["state_dict"], prefix)
    if not weights:
        raise ValueError(
            f"the checkpoint holds no {prefix!r}: it holds {contents[ENTRY].get('kind', 'something else')}"
        )
    network.load_state_dict(weights)


def trained_generator(checkpoint: Path) -> Generator:
    """The averaged generator of a checkpoint, to build on: StackGAN's second stage draws over its first one's images.

    Args:
        checkpoint: Checkpoint of `attngan train`, or file of `attngan export`.
    """
    contents = read_checkpoint(checkpoint)
    if not contents[ENTRY].get("generator"):
        raise ValueError(f"{checkpoint} holds no generator, it is a {contents[ENTRY].get('kind')} checkpoint")
    generator: Generator = build(contents[ENTRY]["generator"])
    load_part(generator, contents, "ema.generator")
    return generator


def load_damsm(path: str | Path) -> DAMSM:
    """The frozen DAMSM of a pretraining checkpoint, or of a GAN checkpoint, which holds one too.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It holds no DAMSM.
    """
    contents = read_checkpoint(path)
    if not contents[ENTRY].get("damsm"):
        raise ValueError(
            f"{path} holds no DAMSM (it is a {contents[ENTRY].get('kind')}): give the checkpoint of `attngan pretrain`"
        )
    damsm = DAMSM.build(contents[ENTRY]["damsm"])
    load_part(damsm, contents, "damsm")
    return damsm.freeze()


def write_safetensors(path: str | Path, description: dict[str, Any], state: dict[str, Tensor]) -> None:
    """Weights and description in one file that holds no code."""
    from safetensors.torch import save_file

    Path(path).parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
    save_file(tensors, str(path), metadata={ENTRY: json.dumps(description)})


def _read_safetensors(path: Path) -> dict[str, Any]:
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as file:
        metadata = file.metadata() or {}
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    return {ENTRY: json.loads(metadata[ENTRY]), "state_dict": state} if ENTRY in metadata else {}


def file_sha256(path: str | Path) -> str:
    """The file's SHA-256, which every score names."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _sha256(file)


def _sha256(file: Any) -> str:  # Python 3.10 has no file_digest
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()
