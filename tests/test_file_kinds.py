"""What a file really is, whatever its name says."""

import gzip
import io
import os
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save

from attngan.cli import main
from attngan.file_kinds import kind_of_file
from tests.tiny import CAPTIONS


def torch_bytes(new: bool) -> bytes:
    file = io.BytesIO()
    torch.save({"layer.weight": torch.zeros(2, 2)}, file, _use_new_zipfile_serialization=new)
    return file.getvalue()


def zipped(names: list[str]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return file.getvalue()


def tarred() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("inside.txt"))
    return file.getvalue()


def saved(write) -> bytes:
    file = io.BytesIO()
    write(file)
    return file.getvalue()


FILES = {
    b"": "empty (0 bytes)",
    bytes(5000): "nothing but zeros",
    b"\n <!DOCTYPE HTML><html><body>Too many requests</body></html>": "an HTML page",
    b"<HTML>\n<HEAD><TITLE>403</TITLE>": "an HTML page",
    b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>": "an XML text",
    b'{"message": "Not Found"}': "a JSON text",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 9\n": "a Git LFS pointer",
    gzip.compress(b"weights"): "packed by gzip",
    torch_bytes(True): "a PyTorch file",
    torch_bytes(False): "a file of PyTorch before 1.6",
    torch_bytes(True)[:300]: "cut short or damaged",
    zipped(["netG.pth", "readme.txt"]): "a zip archive of netG.pth, readme.txt",
    zipped([]): "of a kind that is not known here",
    tarred(): "a tar archive",
    save({"a": torch.zeros(1)}): "a safetensors file",
    saved(lambda file: np.save(file, np.zeros(3))): "an array in numpy's format",
    saved(lambda file: np.savez(file, mu=np.zeros(3))): "arrays in numpy's format (.npz): mu.npy",
    saved(lambda file: Image.new("RGB", (2, 2)).save(file, "PNG")): "a PNG picture",
    saved(lambda file: Image.new("RGB", (2, 2)).save(file, "JPEG")): "a JPEG picture",
    b"\x80\x04\x95\x05\x00": "a pickle",
    "Hello, Grüße\nmore".encode(): "a text that begins with 'Hello, Grüße'",
    "words".encode("utf-16"): "a text in UTF-16",
    b"\x00\x01\x02garbage\xff": "of a kind that is not known here (it begins with the bytes 00 01 02",
}


@pytest.mark.parametrize(("content", "kind"), FILES.items(), ids=[kind[:25] for kind in FILES.values()])
def test_it_is_told_by_its_content(tmp_path, content, kind):
    (tmp_path / "name.pth").write_bytes(content)
    assert kind_of_file(tmp_path / "name.pth").startswith(kind)


def test_what_is_no_file_is_told(tmp_path):
    assert kind_of_file(tmp_path) == "a folder"
    assert kind_of_file(tmp_path / "none") == "not there"
    assert kind_of_file(os.devnull) == "no file but a device, pipe or socket"
    os.mkfifo(tmp_path / "pipe")
    assert kind_of_file(tmp_path / "pipe") == "no file but a device, pipe or socket"


def test_text_of_a_file_cannot_speak_to_the_terminal(tmp_path):
    (tmp_path / "x").write_bytes("\x9b31m\u202ered".encode())
    told = kind_of_file(tmp_path / "x")
    assert "\x9b" not in told
    assert "\u202e" not in told


@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
def test_every_reader_of_checkpoints_says_it_in_one_line(tmp_path, capsys, suffix):
    (tmp_path / f"x{suffix}").write_text("<html>quota exceeded</html>")
    commands = (
        ["sample", str(tmp_path / f"x{suffix}"), CAPTIONS[0]],
        ["export", str(tmp_path / f"x{suffix}"), str(tmp_path / "out.safetensors")],
        ["evaluate", "--checkpoint", str(tmp_path / f"x{suffix}"), "--data", str(tmp_path)],
        ["import-published", "--generator", str(tmp_path / f"x{suffix}"), "--out", str(tmp_path / "o.ckpt")],
    )
    for command in commands:
        assert main(command) == 1
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert f"x{suffix} cannot be read as" in line
        assert "it is an HTML page" in line
