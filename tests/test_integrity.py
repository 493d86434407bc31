"""Checksums: any flipped bit is found, in what is written now and, but for bytes that nothing reads, of before."""

import os
import zipfile

import pytest
import torch

from attngan import described_weights
from attngan.checkpoint import ENTRY, Entry, open_checkpoint, read_checkpoint, write_generator
from attngan.cli import main
from attngan.errors import InputError
from attngan.integrity import DamagedFileError, check_whole, write_checkpoint
from attngan.text.vocabulary import Vocabulary
from tests.tiny import CAPTIONS, gan, write_damsm

CONTENTS = {ENTRY: Entry("damsm").as_dict(), "state_dict": {"weight": torch.arange(6.0)}}


def flipped(content, bit):
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_a_checkpoint_is_read_by_torch_and_by_any_reader_of_zip(tmp_path):
    path = tmp_path / "new folder" / "x.ckpt"
    write_checkpoint(CONTENTS, path)
    check_whole(path)
    for how in ({}, {"mmap": True}):
        read = torch.load(path, weights_only=True, **how)
        assert read[ENTRY] == CONTENTS[ENTRY]
        assert torch.equal(read["state_dict"]["weight"], torch.arange(6.0))
    with zipfile.ZipFile(path) as archive:
        assert archive.comment.startswith(b"attngan crc32 ")
        assert archive.testzip() is None
    assert [file.name for file in path.parent.iterdir()] == ["x.ckpt"]


def test_a_flipped_bit_of_any_byte_of_a_checkpoint_is_found(tmp_path):
    path = tmp_path / "x.ckpt"
    write_checkpoint(CONTENTS, path)
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(flipped(content, 8 * place + place % 8))
        # what makes it another kind of file is found when that is read; opening all is slow
        try:
            check_whole(path)
        except DamagedFileError:
            continue
        with pytest.raises(InputError):
            read_checkpoint(path)


def test_a_flipped_bit_of_any_byte_of_a_safetensors_file_is_found(tmp_path):
    path = tmp_path / "x.safetensors"
    described_weights.write(path, ENTRY, Entry("damsm").as_dict(), CONTENTS["state_dict"])
    assert read_checkpoint(path)[ENTRY] == CONTENTS[ENTRY]
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(flipped(content, 8 * place + place % 8))
        with pytest.raises(InputError):
            read_checkpoint(path)


@pytest.mark.parametrize("name", ["x.ckpt", "x.safetensors"])
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.99])
def test_a_part_of_a_file_is_refused_by_name(tmp_path, name, kept):
    path = tmp_path / name
    write_checkpoint(CONTENTS, path) if name.endswith("ckpt") else described_weights.write(
        path, ENTRY, Entry("damsm").as_dict(), CONTENTS["state_dict"]
    )
    os.truncate(path, int(kept * path.stat().st_size))
    with pytest.raises(InputError, match=name):
        read_checkpoint(path)


def test_of_a_checkpoint_of_before_all_that_is_read_is_checked(tmp_path):
    path = tmp_path / "before.ckpt"
    torch.save(CONTENTS, path)
    check_whole(path)
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        (member,) = (info for info in archive.infolist() if info.filename.endswith("/data/0"))
    start = content.index(torch.arange(6.0).numpy().tobytes())
    assert member.file_size == 24
    for bit in range(8 * start, 8 * (start + 24)):
        path.write_bytes(flipped(content, bit))
        with pytest.raises(DamagedFileError, match=r"before\.ckpt is damaged"):
            read_checkpoint(path)


def test_a_safetensors_file_of_before_is_read(tmp_path):
    import json

    from safetensors.torch import save

    path = tmp_path / "before.safetensors"
    path.write_bytes(save({"weight": torch.arange(6.0)}, {ENTRY: json.dumps(Entry("damsm").as_dict())}))
    assert read_checkpoint(path)[ENTRY] == CONTENTS[ENTRY]


def test_other_kinds_of_file_pass(tmp_path):
    for name, content in (("page.ckpt", b"<html>"), ("empty.ckpt", b""), ("pickle.pth", b"\x80\x02}q\x00.")):
        (tmp_path / name).write_bytes(content)
        check_whole(tmp_path / name)


def test_the_same_weights_make_the_same_bytes():
    state = {f"{n}": torch.full((n + 1,), float(n)) for n in range(20)}
    assert described_weights.to_bytes("x", {"a": 1}, state) == described_weights.to_bytes("x", {"a": 1}, state)


@pytest.mark.parametrize("name", ["generator.ckpt", "generator.safetensors"])
def test_sampling_and_scoring_refuse_a_damaged_generator_by_name(tmp_path, capsys, name):
    module = gan(write_damsm(tmp_path / "damsm.ckpt", Vocabulary.from_captions(CAPTIONS)))
    path = tmp_path / name
    write_generator(path, module.ema.generator, module.damsm, 12)
    assert open_checkpoint(path).generator() is not None
    content = path.read_bytes()
    path.write_bytes(flipped(content, 8 * (len(content) // 2) + 3))  # among the weights
    assert main(["sample", str(path), CAPTIONS[0], "--out", str(tmp_path / "drawn")]) == 1
    assert f"{path} is damaged" in capsys.readouterr().err
    given = ["--data", str(tmp_path), "--out", str(tmp_path / "scores")]
    assert main(["evaluate", "--checkpoint", str(path), *given]) == 1
    assert f"{path} is damaged" in capsys.readouterr().err
