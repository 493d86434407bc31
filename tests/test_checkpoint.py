"""Checkpoints: what is read, what is refused."""

import hashlib
import io

import pytest
import torch
from torch import nn

from attngan import checkpoint
from attngan.checkpoint import ENTRY, file_sha256, load_damsm, load_part, part, read_checkpoint, write_safetensors
from attngan.text.vocabulary import Vocabulary
from tests.tiny import CAPTIONS, gan, write_damsm, write_gan


class Trap:
    """Would run code when unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("code of a checkpoint was run",))


def test_a_checkpoint_runs_no_code(tmp_path):
    torch.save({ENTRY: {}, "state_dict": {}, "trap": Trap()}, tmp_path / "trap.ckpt")
    with pytest.raises(ValueError, match=r"trap\.ckpt cannot be read"):
        read_checkpoint(tmp_path / "trap.ckpt")


def test_what_is_no_checkpoint_is_refused_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=str(tmp_path / "absent.ckpt")):
        read_checkpoint(tmp_path / "absent.ckpt")
    torch.save({"weight": torch.zeros(1)}, tmp_path / "netG.pth")
    with pytest.raises(ValueError, match=r"netG\.pth is not a checkpoint of attngan.*published"):
        read_checkpoint(tmp_path / "netG.pth")
    for name in ("text.ckpt", "text.safetensors"):
        (tmp_path / name).write_text("no weights")
        with pytest.raises(ValueError, match=f"{name} cannot be read"):
            read_checkpoint(tmp_path / name)
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(1)}, str(tmp_path / "plain.safetensors"))
    with pytest.raises(ValueError, match=r"plain\.safetensors is not a checkpoint"):
        read_checkpoint(tmp_path / "plain.safetensors")


def test_a_half_written_checkpoint_is_refused(tmp_path):
    whole = write_damsm(tmp_path / "whole.ckpt", Vocabulary.from_captions(CAPTIONS)).read_bytes()
    (tmp_path / "half.ckpt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"half\.ckpt cannot be read"):
        read_checkpoint(tmp_path / "half.ckpt")


def test_safetensors_hold_description_and_weights(tmp_path):
    weights = torch.randn(3, 4)
    description = {"kind": "generator", "words": ["a", "é"], "numbers": [1, 2.5, None]}
    # a transposed view: its memory is not in order
    write_safetensors(tmp_path / "deep" / "a.safetensors", description, {"net.weight": weights.T})
    contents = read_checkpoint(tmp_path / "deep" / "a.safetensors")
    assert contents[ENTRY] == description
    assert torch.equal(contents["state_dict"]["net.weight"], weights.T)


def test_parts_are_told_by_their_whole_name():
    state = {"net.a": torch.zeros(1), "net.b.c": torch.ones(1), "network.a": torch.ones(2)}
    assert set(part(state, "net")) == {"a", "b.c"}


def test_parts_must_be_there_and_fit():
    contents = {ENTRY: {"kind": "damsm"}, "state_dict": {"net.weight": torch.ones(2, 3), "net.bias": torch.ones(2)}}
    network = nn.Linear(3, 2)
    load_part(network, contents, "net")
    assert bool((network.weight == 1).all())
    with pytest.raises(ValueError, match="no 'generator': it holds damsm"):
        load_part(network, contents, "generator")
    with pytest.raises(RuntimeError, match="weight"):
        load_part(nn.Linear(4, 2), contents, "net")
    del contents["state_dict"]["net.bias"]
    with pytest.raises(RuntimeError, match="bias"):
        load_part(network, contents, "net")


def test_a_gan_checkpoint_holds_its_damsm(tmp_path):
    damsm = write_damsm(tmp_path / "damsm.ckpt", Vocabulary.from_captions(CAPTIONS))
    own, carried = load_damsm(damsm), load_damsm(write_gan(tmp_path / "gan.ckpt", gan(damsm)))
    assert own.vocabulary == carried.vocabulary
    assert own.gammas == carried.gammas
    for name, value in own.state_dict().items():
        assert torch.equal(value, carried.state_dict()[name]), name
    write_safetensors(tmp_path / "g.safetensors", {"kind": "generator"}, {"a": torch.zeros(1)})
    with pytest.raises(ValueError, match="holds no DAMSM"):
        load_damsm(tmp_path / "g.safetensors")


def test_the_hash_is_the_files(tmp_path):
    contents = bytes(range(256)) * 10_000  # more than one block
    (tmp_path / "file").write_bytes(contents)
    expected = hashlib.sha256(contents).hexdigest()
    assert file_sha256(tmp_path / "file") == expected
    assert checkpoint._sha256(io.BytesIO(contents)) == expected
