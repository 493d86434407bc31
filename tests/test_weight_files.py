"""Files of weights: of any age and nesting they are read; hostile ones are refused in little time and memory."""

import io
import pickle
import time
import zipfile

import pytest
import torch
from torch import nn

from attngan.checkpoint import ENTRY, Entry, open_checkpoint, read_checkpoint
from attngan.described_weights import build_with
from attngan.networks.description import build
from attngan.networks.generator import Generator
from attngan.weight_files import (
    find_state_dict,
    load_weights,
    read_torch_file,
    read_weights,
    without_wrappers,
)

WEIGHTS = {"layer.weight": torch.arange(6.0).view(2, 3), "layer.bias": torch.ones(2)}


def is_that(read):
    return read.keys() == WEIGHTS.keys() and all(torch.equal(value, WEIGHTS[name]) for name, value in read.items())


@pytest.mark.parametrize("new", [True, False], ids=["new", "before 1.6"])
@pytest.mark.parametrize(
    "prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "module.module."]
)
def test_weights_of_any_age_and_wrapper_are_read(tmp_path, new, prefix):
    torch.save({f"{prefix}{n}": v for n, v in WEIGHTS.items()}, tmp_path / "x.pth", _use_new_zipfile_serialization=new)
    assert is_that(read_weights(tmp_path / "x.pth"))


@pytest.mark.parametrize(
    "nest",
    [
        lambda w: {"state_dict": w, "epoch": 3},
        lambda w: {"model": {"netG": w}, "args": {"lr": 1.0}},
        lambda w: {"netG": w, "netD": {"other": torch.zeros(1)}},
        lambda w: {"model": {"state_dict": w}},
    ],
)
def test_weights_within_entries_are_found(nest):
    assert is_that(find_state_dict(nest(WEIGHTS), "x.pth", ("netG",)))


def test_a_compiled_part_and_a_part_named_module():
    assert is_that(
        without_wrappers({"layer._orig_mod.weight": WEIGHTS["layer.weight"], "layer.bias": WEIGHTS["layer.bias"]})
    )
    both = {"module.weight": torch.zeros(1), "head.weight": torch.zeros(1)}
    assert without_wrappers(both).keys() == both.keys()


def test_entries_that_hold_no_weights_are_named():
    with pytest.raises(ValueError, match=r"x\.pth holds no state dict.*entries encoder, epoch; weights lie in encoder"):
        find_state_dict({"encoder": WEIGHTS, "epoch": 1}, "x.pth")
    with pytest.raises(ValueError, match="it holds a list"):
        find_state_dict([1], "x.pth")


def test_weights_that_are_not_finite_are_refused_by_name(tmp_path):
    spoilt = WEIGHTS | {"layer.bias": torch.tensor([1.0, torch.nan])}
    torch.save(spoilt, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"x\.pth: layer\.bias hold NaN or infinite"):
        read_weights(tmp_path / "x.pth")
    network = nn.Module()
    network.layer = nn.Linear(3, 2)
    with pytest.raises(ValueError, match=r"a\.ckpt: layer\.bias hold NaN"):
        load_weights(network, spoilt, "a.ckpt")
    load_weights(network, WEIGHTS, "a.ckpt")


class Asks:
    def __reduce__(self):
        return (print, ("ran",))


@pytest.mark.parametrize("new", [True, False])
def test_code_in_a_file_is_named_and_not_run(tmp_path, capsys, new):
    torch.save({"weights": WEIGHTS, "config": Asks()}, tmp_path / "x.pth", _use_new_zipfile_serialization=new)
    with pytest.raises(ValueError, match=r"x\.pth cannot be read as .*an object of .*print.*nothing of it"):
        read_torch_file(tmp_path / "x.pth")
    assert "ran" not in capsys.readouterr().out


# --- hostile ones -----------------------------------------------------------------------------------------------------


def as_torch_file(path, data_pkl: bytes, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("x/data.pkl", data_pkl)
        archive.writestr("x/byteorder", "little")
        archive.writestr("x/version", "3\n")
    return path


def doubled(levels: int) -> bytes:
    """A pickle of lists, each with the one before twice."""
    value = []
    for _ in range(levels):
        value = [value, value]
    return pickle.dumps({"attngan": value, "state_dict": {}}, 2)


HOSTILE = {
    "lists named twice": doubled(60),
    "lists nested deep": b"\x80\x02" + b"]" * 5000 + b"a" * 4999 + b".",
    "a tuple of tuples as a key": b"\x80\x02})" + b"2\x86" * 40 + b"K\x01s.",
    "a far place in the memo": b"\x80\x02Nr\xff\xff\xff\x7f.",
    "a list that holds itself": b"\x80\x02]q\x00h\x00a.",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_small_files_that_ask_for_much_are_refused_at_once(tmp_path, content):
    began = time.process_time()
    with pytest.raises(ValueError, match=r"x\.ckpt"):
        read_checkpoint(as_torch_file(tmp_path / "x.ckpt", content))
    assert time.process_time() - began < 5


def test_packed_members_are_refused_unseen(tmp_path):
    bomb = as_torch_file(tmp_path / "x.ckpt", b"\x80\x02" + b"N0" * 50_000_000 + b"N.", zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 1_000_000
    began = time.process_time()
    with pytest.raises(ValueError, match="packed"):
        read_torch_file(bomb)
    assert time.process_time() - began < 1


def test_a_tensor_of_more_numbers_than_the_file_is_refused(tmp_path):
    torch.save({"w": torch.zeros(1).expand(10**12)}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match="stands for more numbers"):
        read_torch_file(tmp_path / "x.pth")


ENORMOUS = {
    "wide": {"width": 10**6},
    "of many parts": {"residual_blocks": 10**7},
    "of many stages": {"stages": 10**9},
    "of a wrong kind": {"width": "wide"},
    "of a word unknown": {"no_such_argument": 1},
}


@pytest.mark.parametrize("arguments", ENORMOUS.values(), ids=ENORMOUS.keys())
def test_a_description_cannot_ask_for_more_than_its_weights_fill(tmp_path, arguments):
    path = "attngan.networks.multistage.AttnGANGenerator"
    whole = {"class_path": path, "init_args": {"stages": 2, "width": 2, "embed_dim": 8, "noise_dim": 4, "base_size": 8}}
    weights = {f"ema.generator.{n}": v for n, v in build(whole, Generator).state_dict().items()}
    described = {"class_path": path, "init_args": whole["init_args"] | arguments}
    torch.save({ENTRY: Entry("gan", described).as_dict(), "state_dict": weights}, tmp_path / "x.ckpt")
    began = time.process_time()
    with pytest.raises(ValueError, match=r"x\.ckpt"):
        open_checkpoint(tmp_path / "x.ckpt").generator()
    assert time.process_time() - began < 20


def test_what_a_maker_raises_is_the_files_fault():
    def fails():
        raise KeyError("gammas")

    with pytest.raises(
        ValueError, match=r"x\.ckpt: what the file says of its network cannot be followed \(KeyError: 'gammas'"
    ):
        build_with(fails, {}, "x.ckpt")


@pytest.mark.parametrize(
    "entry", ["a text", {"steps": "many"}, {"generator": [1]}, {"damsm": 3}, {"word_limit": 2.5}, {"kind": None}]
)
def test_a_damaged_entry_is_told(tmp_path, entry):
    torch.save({ENTRY: entry, "state_dict": {}}, tmp_path / "x.ckpt")
    with pytest.raises(ValueError, match=r"x\.ckpt: its entry 'attngan'"):
        open_checkpoint(tmp_path / "x.ckpt")


def test_a_file_of_before_16_within_other_bytes(tmp_path):
    file = io.BytesIO()
    torch.save(WEIGHTS, file, _use_new_zipfile_serialization=False)
    (tmp_path / "x.pth").write_bytes(file.getvalue()[:-20])
    with pytest.raises(ValueError, match=r"PyTorch before 1\.6, damaged or cut short"):
        read_weights(tmp_path / "x.pth")
