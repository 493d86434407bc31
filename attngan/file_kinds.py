"""What a file really is, in words: for the message of whoever expected something else in it."""

import re
import zipfile
from pathlib import Path

#: Read of a file's beginning.
_HEAD = 4096
#: What files of other kinds begin with.
_BEGINNINGS = (
    (b"\x89PNG\r\n", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"\x1f\x8b", "packed by gzip: unpack it (gunzip, or tar xzf where it is a .tar.gz)"),
    (b"\xfd7zXZ\x00", "packed by xz: unpack it (unxz, or tar xJf where it is a .tar.xz)"),
    (b"BZh", "packed by bzip2: unpack it (bunzip2)"),
    (b"(\xb5/\xfd", "packed by zstd: unpack it (unzstd)"),
    (b"7z\xbc\xaf", "a 7z archive: unpack it"),
    (b"Rar!", "a RAR archive: unpack it"),
    (b"\x93NUMPY", "an array in numpy's format (.npy)"),
    (b"PAR1", "a table in the Parquet format"),
    (b"\x89HDF\r\n", "an HDF5 file (of Keras or MATLAB)"),
    (b"MATLAB 5.0", "a MATLAB file"),
    (b"%PDF", "a PDF document"),
    (b"\x7fELF", "a program"),
    (b"GGUF", "weights in the GGUF format of language models"),
    (b"SQLite format 3", "an SQLite data base"),
)


def kind_of_file(path: str | Path) -> str:
    """What the file at a path is, by its content, as a part of a sentence: "an HTML page ...".

    Reads its first 4 KB, of a zip archive its list of members, and nothing else. Never raises: of what cannot be read
    it says that.
    """
    path = Path(path)
    try:
        if path.is_dir():
            return "a folder"
        if not path.exists():
            return "not there"
        if not path.is_file():
            return "no file but a device, pipe or socket"
        with path.open("rb") as file:
            head = file.read(_HEAD)
        return _by_content(path, head)
    except OSError as error:
        return f"not readable ({error.strerror or error})"


def _by_content(path: Path, head: bytes) -> str:
    if not head:
        return "empty (0 bytes): its download or its writing was cut off"
    if not head.strip(b"\0"):
        return "nothing but zeros at its beginning: its download or its writing was cut off"
    for beginning, kind in _BEGINNINGS:
        if head.startswith(beginning):
            return kind
    if head[257:262] == b"ustar":
        return "a tar archive: unpack it (tar xf)"
    if head.startswith(b"PK\x03\x04"):
        return _kind_of_zip(path)
    if head.startswith(b"version https://git-lfs.github.com/spec/"):
        return "a Git LFS pointer in place of the file, which was not fetched: git lfs pull"
    if _is_safetensors(head):
        return "a safetensors file"
    if head[:1] == b"\x80" and len(head) > 1 and head[1] <= 5:
        return "a pickle" if b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19" not in head[:20] else "a file of PyTorch before 1.6"
    return _kind_of_text(head)


def _kind_of_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, UnicodeDecodeError):
        return "cut short or damaged: it begins as a zip archive or a PyTorch file and has no end"
    if any(re.fullmatch(r"[^/]*/?data\.pkl", name) for name in names):
        return "a PyTorch file"
    if names and all(name.endswith(".npy") for name in names):
        return f"arrays in numpy's format (.npz): {_few(names)}"
    return f"a zip archive of {_few(names)}" if names else "an empty zip archive"


def _is_safetensors(head: bytes) -> bool:
    """Eight bytes of length, then a JSON object."""
    return len(head) > 9 and head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") < 100_000_000


def _kind_of_text(head: bytes) -> str:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "a text in UTF-16"
    # a character may be cut at the end of what was read
    text = head[: len(head) - 3 if len(head) == _HEAD else None].decode("utf-8-sig", "replace")
    control = sum(ord(letter) < 32 and letter not in "\t\r\n\f" for letter in text)
    if control or text.count("\ufffd") * 20 > len(text):
        return f"of a kind that is not known here (it begins with the bytes {head[:8].hex(' ')})"
    start = text.lstrip().lower()
    if start.startswith(("<!doctype html", "<html")) or "<head" in start[:500]:
        return "an HTML page, as a server sends in place of a file (a limit of downloads, a login): download it again"
    if start.startswith("<"):
        return "an XML text"
    if start.startswith(("{", "[")):
        return "a JSON text"
    first = text.strip().splitlines()[0] if text.strip() else ""
    return f"a text that begins with {first[:40]!r}"


def _few(names: list[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(repr(name)[1:-1] for name in names[:most]) + more
