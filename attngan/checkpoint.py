"""What attngan's checkpoints hold, how they are written and how they are read: no code in them, no other file needed.

A Lightning checkpoint of either module carries, beside Lightning's own entries, one entry ``attngan``: plain strings
and numbers that describe the networks and the vocabulary. A generator for sampling alone travels as one safetensors
file with the same description.
"""

import hashlib
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from attngan import described_weights
from attngan.errors import InputError, MissingFileError
from attngan.integrity import check_whole, write_checkpoint
from attngan.networks.damsm import DAMSM
from attngan.networks.description import Description, build, describe
from attngan.networks.generator import Generator
from attngan.networks.published import published_network
from attngan.networks.text_encoder import CaptionEncoder
from attngan.text.vocabulary import Vocabulary
from attngan.weight_files import (
    find_state_dict,
    in_file,
    is_safetensors,
    is_state_dict,
    read_torch_file,
    some,
    without_wrappers,
)

#: Name of our entry among Lightning's.
ENTRY = "attngan"
#: Words of a caption that are read where a checkpoint does not say how many (CUB's number).
WORD_LIMIT = 25
#: Where the weights' names begin: of the averaged generator, and of the DAMSM or its text encoder alone.
GENERATOR, TEXT = "ema.generator", "damsm"
#: What weights can be stored as: float16 has the finer steps, bfloat16 the larger range.
WeightType = Literal["float32", "float16", "bfloat16"]


@dataclass(frozen=True)
class Entry:
    """What a checkpoint says of itself beside the weights: plain values, which a checkpoint of before may lack.

    Args:
        kind: "gan" (`attngan train`), "damsm" (`attngan pretrain`) or "generator" (alone, for sampling).
        generator: The generator's description; None: it holds none.
        discriminators: Theirs, where they are stored.
        damsm: What `DAMSM.describe` gives, or of its text encoder alone ``text_encoder`` and ``vocabulary``; None for a
            generator that reads no captions.
        word_limit: Words of a caption that are read.
        steps: Steps that the generator was trained for.
        images_seen: Images that it was trained on, counted over epochs.
        trained_on: Data that it was trained on, in words for people; "": not said.
        draws_seed: Seed of the random numbers that its training steps draw; None: not said.
    """

    kind: str = "unknown"
    generator: Description | None = None
    discriminators: Description | None = None
    damsm: dict[str, Any] | None = None
    word_limit: int | None = None
    steps: int = 0
    images_seen: int = 0
    trained_on: str = ""
    draws_seed: int | None = None

    @classmethod
    def of(cls, contents: Mapping[str, Any]) -> "Entry":
        """The entry of a checkpoint's contents. What a later version may have added is left out.

        Raises:
            InputError: Something in it is of another kind than was written.
        """
        entry = contents[ENTRY]
        if not isinstance(entry, dict):
            raise InputError(f"its entry {ENTRY!r} is a {type(entry).__name__}: the file is damaged")
        known = {name: value for name, value in entry.items() if name in _ENTRY_TYPES}
        for name, value in known.items():
            if not isinstance(value, _ENTRY_TYPES[name]) or isinstance(value, bool):
                raise InputError(f"its entry {ENTRY!r} says that {name} is {str(value)[:40]!r}: the file is damaged")
        return cls(**known)

    def as_dict(self) -> dict[str, Any]:
        """What goes into the checkpoint under `ENTRY`."""
        return asdict(self)

    @property
    def vocabulary(self) -> Vocabulary | None:
        """That of the text encoder; None without one."""
        return None if self.damsm is None else Vocabulary.from_dict(self.damsm["vocabulary"])


#: What each part of an entry may be.
_ENTRY_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("kind", "trained_on"), (str,)),
    **dict.fromkeys(("generator", "discriminators", "damsm"), (dict, type(None))),
    **dict.fromkeys(("steps", "images_seen"), (int,)),
    **dict.fromkeys(("word_limit", "draws_seed"), (int, type(None))),
}


class CaptionReader(NamedTuple):
    """A text encoder and the vocabulary that it was made for: what a generator needs to read captions."""

    text_encoder: CaptionEncoder
    vocabulary: Vocabulary


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A checkpoint that was read: `open_checkpoint` gives one. Networks are made anew at each call.

    Args:
        path: The file.
        entry: What it says of itself.
        weights: All its weights, by name.
        hashing: Computes the file's SHA-256 beside other work; None: nobody has asked for it.
    """

    path: Path
    entry: Entry
    weights: Mapping[str, Tensor] = field(repr=False)
    hashing: "Future[str] | None" = field(default=None, repr=False)

    @cached_property
    def sha256(self) -> str:
        """Of the file; computed when it is first asked for, unless that has begun when the file was opened."""
        return file_sha256(self.path) if self.hashing is None else self.hashing.result()

    @property
    def vocabulary(self) -> Vocabulary | None:
        """That of its text encoder; None without one."""
        return self.entry.vocabulary

    @property
    def word_limit(self) -> int:
        """Words of a caption that its networks read."""
        return self.entry.word_limit or WORD_LIMIT

    def generator(self) -> Generator:
        """The averaged generator, in eval mode.

        Raises:
            InputError: There is none, or its weights do not fit.
        """
        description = self.entry.generator
        if not description:
            raise InputError(
                f"{self.path} holds no generator, it is a {self.entry.kind} checkpoint: name one of `attngan train`"
            )
        weights = without_wrappers(self.part(GENERATOR))
        return described_weights.build_with(lambda: build(description, Generator), weights, str(self.path)).eval()

    def caption_reader(self) -> CaptionReader | None:
        """What the generator reads captions with, in eval mode; None where it reads none.

        Raises:
            InputError: The weights do not fit.
        """
        described = self.entry.damsm
        if described is None:
            return None
        with described_weights.following_the_description(str(self.path)):
            vocabulary = Vocabulary.from_dict(described["vocabulary"])
        weights = without_wrappers(self.part(f"{TEXT}.text_encoder"))
        text_encoder = described_weights.build_with(
            lambda: build(described["text_encoder"], CaptionEncoder), weights, str(self.path)
        )
        if text_encoder.vocabulary_size != len(vocabulary):
            raise InputError(
                f"{self.path}: its text encoder reads {text_encoder.vocabulary_size:,} words, its vocabulary "
                f"has {len(vocabulary):,}: it is damaged"
            )
        return CaptionReader(text_encoder.eval(), vocabulary)

    @property
    def holds_damsm(self) -> bool:
        """Whether it has a whole DAMSM; a generator's own file has at most the text encoder."""
        return self.entry.damsm is not None and "image_encoder" in self.entry.damsm

    def damsm(self) -> DAMSM:
        """The whole DAMSM, frozen.

        Raises:
            InputError: There is none, or its text encoder alone, or the weights do not fit.
        """
        described = self.entry.damsm
        if described is None:
            raise InputError(
                f"{self.path} holds no DAMSM, it is a {self.entry.kind} checkpoint: give one of `attngan pretrain`"
            )
        if "image_encoder" not in described or not self.part(f"{TEXT}.image_encoder"):
            raise InputError(
                f"{self.path} holds a text encoder without its image encoder, as a generator's own file does: give the "
                "checkpoint of `attngan pretrain` or `attngan train` that it came from"
            )
        weights = without_wrappers(self.part(TEXT))
        return described_weights.build_with(lambda: DAMSM.build(described), weights, str(self.path)).freeze()

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The weights whose names begin with ``prefix.``, without it."""
        start = f"{prefix}."
        return {name[len(start) :]: value for name, value in self.weights.items() if name.startswith(start)}


# --- reading ----------------------------------------------------------------------------------------------------------


def open_checkpoint(path: str | Path, hash_ahead: bool = False) -> Checkpoint:
    """Reads a checkpoint of `attngan pretrain` or `attngan train`, or a generator's own file.

    Args:
        path: The file.
        hash_ahead: Computes its SHA-256 beside what follows: of a large file that takes longer than to draw a picture.

    Raises:
        MissingFileError: There is no such file.
        InputError: The file is no checkpoint of attngan.
    """
    hashing = _hashing(Path(path)) if hash_ahead and Path(path).is_file() else None
    contents = read_checkpoint(path)
    with in_file(path):
        return Checkpoint(Path(path), Entry.of(contents), contents["state_dict"], hashing)


def _hashing(path: Path) -> "Future[str]":
    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(file_sha256, path)
    finally:
        pool.shutdown(wait=False)


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """All that a checkpoint holds, as ``{"attngan": entry, "state_dict": weights, ...}`` with Lightning's own entries.

    Every checkpoint is read here, and checked to the bit.

    Raises:
        MissingFileError: There is no such file.
        DamagedFileError: It is not what was written.
        InputError: The file is no checkpoint of attngan.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"no checkpoint at {path.resolve()}")
    if path.suffix == ".safetensors" or is_safetensors(path):
        entry, weights = described_weights.read_description(path, ENTRY), described_weights.read_weights(path)
        contents: Any = weights if entry is None else {ENTRY: entry, "state_dict": weights}
    else:
        check_whole(path)
        contents = read_torch_file(path, "a checkpoint")
    if not isinstance(contents, dict) or ENTRY not in contents:
        raise InputError(f"{path} is not a checkpoint of attngan (no entry {ENTRY!r}): {_what_instead(contents, path)}")
    state = contents.get("state_dict")
    if not isinstance(state, Mapping) or (state and not is_state_dict(state)):
        raise InputError(f"{path}: its entry 'state_dict' holds other things than weights by name: it is damaged")
    return contents


def _what_instead(contents: object, path: Path) -> str:
    """What a file of weights is that is no checkpoint of ours, and what can be done with it."""
    try:
        weights = without_wrappers(find_state_dict(contents, "it", ("netG", "netD")))
    except InputError as error:
        return str(error)
    if (network := published_network(weights)) is None:
        return f"it holds the weights of another program: {some(weights, 3)}"
    if network.option is None:
        return f"it is {network.title} of the published code; generators and encoders are imported, discriminators not"
    option = f"--{network.option} {path.name}"
    return (
        f"it is {network.title} of the published code: `attngan import-published {option} --out NAME.ckpt` makes a "
        "checkpoint of it (attngan import-published --help tells what else it needs)"
    )


def trained_generator(checkpoint: Path) -> Generator:
    """The averaged generator of a checkpoint, to build on: StackGAN's second stage draws over its first one's images.

    Args:
        checkpoint: Checkpoint of `attngan train`, or file of `attngan export`.
    """
    return open_checkpoint(checkpoint).generator()


def load_damsm(path: str | Path) -> DAMSM:
    """The frozen DAMSM of a pretraining checkpoint, or of a GAN checkpoint, which holds one too.

    Raises:
        MissingFileError: There is no such file.
        InputError: It holds no whole DAMSM.
    """
    return open_checkpoint(path).damsm()


# --- writing ----------------------------------------------------------------------------------------------------------


def write_generator(
    path: Path,
    generator: Generator,
    text: DAMSM | CaptionReader | None = None,
    word_limit: int | None = None,
    steps: int = 0,
    images_seen: int = 0,
    dtype: WeightType = "float32",
    trained_on: str = "",
) -> None:
    """Writes a generator alone, with what it reads captions with: a file to sample, evaluate and build on.

    Args:
        path: File to write, whole or not at all: .safetensors, or .ckpt.
        generator: With its averaged weights.
        text: The text encoder and vocabulary. A whole DAMSM goes in whole: the file then also judges R-precision, and
            trains other generators. None for a generator that reads no captions.
        word_limit: Words of a caption that it reads; None: it is not known, or it reads none.
        steps: Steps that it was trained for; 0: not known.
        images_seen: Images that it was trained on, counted over epochs; 0: not known.
        dtype: Type that the weights are stored in; they are read back as float32. Those of 16 bits halve the file.
        trained_on: Data that it was trained on, in words for people; "": not said.

    Raises:
        InputError: A weight is too large for this type.
    """
    weights = {f"{GENERATOR}.{name}": value for name, value in generator.state_dict().items()}
    of_text: dict[str, Any] | None = None
    if isinstance(text, DAMSM):
        of_text = text.describe()
        weights |= {f"{TEXT}.{name}": value for name, value in text.state_dict().items()}
    elif text is not None:
        of_text = {"text_encoder": describe(text.text_encoder), "vocabulary": text.vocabulary.to_dict()}
        weights |= {f"{TEXT}.text_encoder.{name}": value for name, value in text.text_encoder.state_dict().items()}
    weights = {name: _stored(name, value, dtype) for name, value in weights.items()}
    entry = Entry("generator", describe(generator), None, of_text, word_limit, steps, images_seen, trained_on).as_dict()
    if path.suffix == ".safetensors":
        described_weights.write(path, ENTRY, entry, weights)
    else:
        write_checkpoint({ENTRY: entry, "state_dict": weights}, path)


def _stored(name: str, value: Tensor, dtype: WeightType) -> Tensor:
    """A weight as it is stored: integers, which count batches, stay what they are."""
    if not value.is_floating_point():
        return value
    stored = value.to({"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}[dtype])
    if not torch.equal(stored.isfinite(), value.isfinite()):
        raise InputError(f"{name} reaches {float(value.abs().max()):.3g}, too much for {dtype}: export as bfloat16")
    return stored


def file_sha256(path: str | Path) -> str:
    """The file's SHA-256, which every score names."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
