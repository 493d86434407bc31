"""Reads the published pickles (filenames, class_info, captions) without running anything that is written in them.

A pickle is a program. This reader admits exactly the names that the published files use and gives even those harmless
meanings: numpy's own ``dtype`` and ``_reconstruct`` would let a crafted file build an array of invalid pointers
(``dtype.__setstate__`` takes any flags), so plain stand-ins rebuild numbers and text only.
"""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from attngan.bounded import MOST_VALUES, BoundedUnpickler, require_bounded
from attngan.errors import InputError
from attngan.file_kinds import kind_of_file
from attngan.text.tokenizer import Tokenizer
from attngan.text.vocabulary import Vocabulary


def read_published_pickle(path: str | Path) -> Any:
    """What the pickle holds, with its numpy scalars and arrays as Python numbers and numpy arrays.

    Args:
        path: A pickle written by Python 2 or 3 that holds lists, dicts, text, numbers and plain numpy arrays.

    Raises:
        InputError: When it needs any other name, or is not a pickle; names the file.
    """
    data = Path(path).read_bytes()
    try:
        content = _PlainUnpickler(io.BytesIO(data), encoding="latin1").load()
        require_bounded(content, MOST_VALUES + len(data))
        return _plain(content)
    except Exception as error:  # a hostile file can make the unpickler raise anything
        kind = kind_of_file(path)
        told = (
            f"{error or type(error).__name__}"
            if kind.startswith(("a pickle", "a text", "of a kind"))
            else f"it is {kind}"
        )
        raise InputError(f"{path}: cannot be read as a published pickle: {told}") from error


class _Dtype:
    """Stands in for ``numpy.dtype``: numbers, text of a fixed width, objects (which come as a list); no fields."""

    def __init__(self, spec: str, *_flags: Any) -> None:
        dtype = np.dtype(spec)
        if dtype.kind not in "biufSUO" or dtype.fields is not None or dtype.subdtype is not None:
            raise pickle.UnpicklingError(f"an array of {spec!r} is not admitted, only numbers and text")
        self.value = dtype

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.value = self.value.newbyteorder(state[1])  # the rest of the state is what would be dangerous


class _Array:
    """Stands in for an array under reconstruction; `value` is there once its state has arrived."""

    def __init__(self, *_reconstruct_arguments: Any) -> None:
        self.value: np.ndarray | list[Any] = np.zeros(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, shape, dtype, is_fortran, raw = state
        if dtype.value.kind == "O":
            if not isinstance(raw, list) or shape != (len(raw),):
                raise pickle.UnpicklingError("an array of objects that is no list: only numbers and text are admitted")
            self.value = _plain(raw)
            return
        flat = np.frombuffer(_bytes(raw), dtype.value)
        self.value = flat.reshape(shape, order="F" if is_fortran else "C").copy()


class _ArrayType:
    """Stands in for ``numpy.ndarray``, which the files only name as the type to reconstruct."""


def _scalar(dtype: _Dtype, raw: bytes | str) -> Any:
    if dtype.value.kind == "O":
        raise pickle.UnpicklingError("a scalar of an object is not admitted")
    return np.frombuffer(_bytes(raw), dtype.value, count=1)[0].item()


def _encode(text: str, encoding: str) -> bytes:
    if encoding.lower().replace("-", "") != "latin1":
        raise pickle.UnpicklingError(f"encoding {encoding!r} is not admitted, only latin1")
    return text.encode("latin1")


def _bytes(raw: bytes | str) -> bytes:
    return raw.encode("latin1") if isinstance(raw, str) else raw  # Python 2 wrote bytes as str


_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _ArrayType,
    ("_codecs", "encode"): _encode,
    **{
        (module, name): stand_in
        for module in ("numpy.core.multiarray", "numpy._core.multiarray")
        for name, stand_in in (("_reconstruct", _Array), ("scalar", _scalar))
    },
}


class _PlainUnpickler(BoundedUnpickler):
    stateful = (_Dtype, _Array)

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}, which no published file does; nothing was run"
            ) from None


def _plain(value: Any) -> Any:
    if isinstance(value, _Array):
        return value.value
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_plain(item) for item in value)
    return value


def published_vocabulary(path: str | Path) -> Vocabulary:
    """The vocabulary of a published ``captions.pickle`` (training captions, test captions, id to word, word to id).

    Raises:
        InputError: When the file is something else or tries to run code.
    """
    content = read_published_pickle(path)
    try:
        _train, _test, by_id, by_word = content
        words, numbers = tuple(str(by_id[position]) for position in range(len(by_id))), dict(by_word)
    except (TypeError, ValueError, KeyError) as error:
        raise InputError(
            f"{path}: not a published captions.pickle (training captions, test captions, id to word, word to id)"
        ) from error
    if {word: position for position, word in enumerate(words)} != numbers:
        raise InputError(f"{path}: its two tables, id to word and word to id, contradict each other")
    return Vocabulary(words, Tokenizer("published"))
