"""Checksums of weights: whether a file is, to the bit, what was written.

A checkpoint is a zip archive (torch's format), which may end in a comment: there stands the CRC-32 of all before it. A
safetensors file carries its own in the first entry of its header. CRC-32 finds every single flipped bit and every run
of up to 32, and misses other damage once in four thousand million times; it costs 0.26 s a GB (measured on one core).
Any other program reads these files as before. Files of before have no checksum of their own: a checkpoint is then
checked by those that zip keeps of its members, which leave out some bytes between them.
"""

import json
import os
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any, cast

import torch

from attngan.bounded import is_packed
from attngan.errors import InputError
from attngan.files import replacing

_BLOCK = 1 << 20
_MARK = b"attngan crc32 "
_COMMENT = len(_MARK) + 8
#: A zip archive's last record; its last two bytes tell how long the comment after it is.
_END, _END_LENGTH, _NO_COMMENT = b"PK\x05\x06", 22, b"\0\0"
_HEADER = b'{"__metadata__":{"crc32":"'


class DamagedFileError(InputError):
    """A file is not what was written."""


def _damaged(path: Path, why: str) -> DamagedFileError:
    return DamagedFileError(f"{path} is damaged: {why}. Copy it again, or take another checkpoint")


# --- checkpoints ------------------------------------------------------------------------------------------------------


class _Summed:
    """A file that is written from front to back, and its checksum so far."""

    def __init__(self, file: Any) -> None:
        self.file, self.checksum = file, 0

    def write(self, data: Any) -> int:
        self.checksum = zlib.crc32(data, self.checksum)
        return int(self.file.write(data))

    def flush(self) -> None:
        self.file.flush()


def write_checkpoint(contents: dict[str, Any], path: Path) -> None:
    """Writes a checkpoint with its checksum: beside its place, to the disk, then under its name.

    Args:
        contents: Plain values and tensors.
        path: The file; what is there is replaced when the new one is whole.
    """
    with replacing(path, durable=True) as part, part.open("w+b") as file:
        summed = _Summed(file)
        torch.save(contents, cast(IO[bytes], summed))
        file.seek(-len(_NO_COMMENT), os.SEEK_END)
        assert file.read() == _NO_COMMENT, "torch's archives end without a comment"
        file.seek(-len(_NO_COMMENT), os.SEEK_END)
        file.write(_COMMENT.to_bytes(2, "little") + _MARK + f"{summed.checksum:08x}".encode())


def check_whole(path: Path) -> None:
    """Reads the whole file, and refuses it unless it is what was written. Other kinds of file pass.

    Raises:
        DamagedFileError: It is not.
    """
    if path.suffix == ".safetensors":
        _check_safetensors(path)
        return
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _COMMENT - 2))
        ending = file.read()
        file.seek(0)
        begins = file.read(4)
        if ending[2:].startswith(_MARK):
            checksum = zlib.crc32(_NO_COMMENT, _crc32_of(file, size - _COMMENT - 2))
            if ending[:2] != _COMMENT.to_bytes(2, "little") or ending[2 + len(_MARK) :] != f"{checksum:08x}".encode():
                raise _damaged(path, "its checksum is not that of its content")
        elif begins == b"PK\x03\x04":
            if ending[-_END_LENGTH:][:4] != _END or ending[-2:] != _NO_COMMENT:
                raise _damaged(path, "its end is missing or not what was written")
            _check_members(path)


def _crc32_of(file: Any, length: int, checksum: int = 0) -> int:
    """Of the file's first bytes."""
    file.seek(0)
    block = memoryview(bytearray(_BLOCK))
    while length > 0 and (count := file.readinto(block[: min(_BLOCK, length)])):
        checksum, length = zlib.crc32(block[:count], checksum), length - count
    return checksum


def _check_members(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            if is_packed(archive, path.stat().st_size):
                return  # none of PyTorch's; unpacking it, to see whether it is whole, may take any time
            member = archive.testzip()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, zlib.error, OSError) as error:
        raise _damaged(path, str(error)) from error
    if member is not None:
        raise _damaged(path, f"the checksum of {member} is not that of its content")


# --- safetensors ------------------------------------------------------------------------------------------------------


def with_checksum(content: bytes) -> bytes:
    """A safetensors file with the checksum in its header, where any reader takes it for one more note."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header = {"__metadata__": {"crc32": "0" * 8, **header.pop("__metadata__", {})}, **header}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the weights stay aligned
    assert text.startswith(_HEADER)
    whole = len(text).to_bytes(8, "little") + text + content[8 + length :]
    at = 8 + len(_HEADER)
    return whole[:at] + f"{zlib.crc32(whole):08x}".encode() + whole[at + 8 :]


def _check_safetensors(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(8 + len(_HEADER) + 8)
        if not start[8:].startswith(_HEADER):
            return
        stored, before = start[-8:], start[:-8] + b"0" * 8
        checksum = zlib.crc32(before)
        while block := file.read(_BLOCK):
            checksum = zlib.crc32(block, checksum)
    if stored != f"{checksum:08x}".encode():
        raise _damaged(path, "its checksum is not that of its content")


def check_notes(path: Path, notes: dict[str, str], entry: str) -> None:
    """Refuses a header whose note of the checksum is itself damaged: our files hold one entry besides, and no other.

    Args:
        path: The file.
        notes: What its header holds.
        entry: The entry of ours.

    Raises:
        DamagedFileError: There is another note.
    """
    if entry in notes and notes.keys() - {entry, "crc32"}:
        raise _damaged(path, "its header is not what was written")
