"""Checkpoints: what is read, what is refused."""

import hashlib

import pytest
import torch

from attngan.checkpoint import (
    ENTRY,
    CaptionReader,
    Entry,
    file_sha256,
    load_damsm,
    open_checkpoint,
    read_checkpoint,
    trained_generator,
    write_generator,
)
from attngan.cli import main
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
    with pytest.raises(
        ValueError, match=r"netG\.pth is not a checkpoint of attngan.*weights of another program: weight"
    ):
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
    with pytest.raises(ValueError, match=r"half\.ckpt is damaged"):
        read_checkpoint(tmp_path / "half.ckpt")


@pytest.fixture
def damsm_file(tmp_path):
    return write_damsm(tmp_path / "damsm.ckpt", Vocabulary.from_captions(CAPTIONS))


@pytest.fixture
def module(damsm_file):
    module = gan(damsm_file)
    module.steps, module.images_seen, module.word_limit = 7, 70, 12
    return module


@pytest.fixture
def gan_file(module, tmp_path):
    return write_gan(tmp_path / "gan.ckpt", module)


def same_weights(one, other):
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(value, theirs[name]) for name, value in ours.items())


# --- what an open one gives -------------------------------------------------------------------------------------------


def test_a_gan_checkpoint_gives_all_that_went_in(module, gan_file):
    opened = open_checkpoint(gan_file)
    assert (opened.entry.kind, opened.entry.steps, opened.entry.images_seen, opened.word_limit) == ("gan", 7, 70, 12)
    assert same_weights(opened.generator(), module.ema.generator)
    assert same_weights(opened.damsm(), module.damsm)
    assert opened.vocabulary == opened.damsm().vocabulary == module.damsm.vocabulary
    assert opened.damsm().gammas == module.damsm.gammas
    assert opened.damsm().frozen
    reader = opened.caption_reader()
    assert same_weights(reader.text_encoder, module.damsm.text_encoder)
    assert reader.vocabulary == module.damsm.vocabulary
    assert not opened.generator().training
    assert not reader.text_encoder.training
    assert same_weights(trained_generator(gan_file), module.ema.generator)
    assert same_weights(load_damsm(gan_file), module.damsm)


def test_the_hash_is_the_files_and_computed_once(gan_file, monkeypatch):
    assert file_sha256(gan_file) == hashlib.sha256(gan_file.read_bytes()).hexdigest()
    counted = []
    monkeypatch.setattr("attngan.checkpoint.file_sha256", lambda path: (counted.append(path), file_sha256(path))[1])
    opened = open_checkpoint(gan_file)
    assert not counted
    assert opened.sha256 == opened.sha256 == file_sha256(gan_file)
    assert counted == [gan_file]


def test_a_checkpoint_of_before_or_after_can_be_read(gan_file, tmp_path):
    contents = torch.load(gan_file, weights_only=True)
    del contents[ENTRY]["word_limit"], contents[ENTRY]["steps"]
    contents[ENTRY]["of a later version"] = 3
    torch.save(contents, tmp_path / "other.ckpt")
    opened = open_checkpoint(tmp_path / "other.ckpt")
    assert (opened.entry.word_limit, opened.word_limit, opened.entry.steps) == (None, 25, 0)


@pytest.mark.parametrize("name", ["folder/generator.safetensors", "generator.ckpt"])
@pytest.mark.parametrize("text", ["none", "reader", "damsm"])
def test_a_generators_file_gives_what_was_written(module, tmp_path, name, text):
    damsm = module.damsm
    given = {"none": None, "reader": CaptionReader(damsm.text_encoder, damsm.vocabulary), "damsm": damsm}[text]
    write_generator(tmp_path / name, module.ema.generator, given, 12, 7, 70)
    opened = open_checkpoint(tmp_path / name)
    assert (opened.entry.kind, opened.entry.steps, opened.entry.images_seen) == ("generator", 7, 70)
    assert opened.entry.word_limit == 12
    assert same_weights(opened.generator(), module.ema.generator)
    reader = opened.caption_reader()
    if text == "none":
        assert reader is None
        assert opened.vocabulary is None
    else:
        assert same_weights(reader.text_encoder, damsm.text_encoder)
        assert reader.vocabulary == damsm.vocabulary
    if text == "damsm":
        assert same_weights(opened.damsm(), damsm)
    else:
        with pytest.raises(ValueError, match=rf"{opened.path} holds (no DAMSM|a text encoder without)"):
            opened.damsm()
    assert [path.name for path in (tmp_path / name).parent.iterdir() if "generator" in path.name] == [opened.path.name]


def test_an_image_encoder_that_is_described_but_left_out_is_told(module, tmp_path):
    """Files of before: their entry was that of the whole DAMSM."""
    contents = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(contents)
    contents["state_dict"] = {n: v for n, v in contents["state_dict"].items() if "image_encoder" not in n}
    torch.save(contents, tmp_path / "old.ckpt")
    with pytest.raises(ValueError, match=r"old\.ckpt holds a text encoder without its image encoder"):
        open_checkpoint(tmp_path / "old.ckpt").damsm()


def test_what_is_not_there_is_told_with_the_file(damsm_file):
    opened = open_checkpoint(damsm_file)
    with pytest.raises(ValueError, match=r"damsm\.ckpt holds no generator, it is a damsm checkpoint"):
        opened.generator()


def test_weights_that_do_not_fit_are_a_mistake_that_names_the_file(gan_file, tmp_path, capsys):
    contents = torch.load(gan_file, weights_only=True)
    state = contents["state_dict"]
    names = [name for name in state if name.startswith("ema.generator.") and state[name].ndim > 1]
    del state[names[0]]
    state[names[1]] = torch.zeros(1, 2)
    state |= {f"ema.generator.extra{i}": torch.zeros(1) for i in range(5)}
    broken = tmp_path / "broken.ckpt"
    torch.save(contents, broken)
    short = [name.removeprefix("ema.generator.") for name in names]
    with pytest.raises(ValueError, match="do not fit AttnGANGenerator") as refused:
        open_checkpoint(broken).generator()
    message = str(refused.value)
    assert str(broken) in message
    assert f"{short[0]} missing" in message
    assert "extra0, extra1, extra2 and 2 more unexpected" in message
    assert f"{short[1]} (1, 2) instead of" in message
    assert main(["sample", str(broken), CAPTIONS[0], "--out", str(tmp_path / "drawn")]) == 1
    assert str(broken) in capsys.readouterr().err


def test_an_entry_that_names_another_kind_of_network_is_refused(gan_file, tmp_path):
    contents = torch.load(gan_file, weights_only=True)
    contents[ENTRY]["generator"] = contents[ENTRY]["discriminators"]
    torch.save(contents, tmp_path / "odd.ckpt")
    with pytest.raises(ValueError, match="not a Generator of attngan"):
        open_checkpoint(tmp_path / "odd.ckpt").generator()


def test_an_entry_is_plain_values():
    entry = Entry("damsm", images_seen=3)
    assert entry.as_dict()["images_seen"] == 3
    assert Entry.of({ENTRY: entry.as_dict()}) == entry
    assert entry.vocabulary is None
