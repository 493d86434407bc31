"""Weights and their description in one safetensors file."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from attngan import described_weights


def test_it_gives_what_was_written(tmp_path):
    weights = torch.randn(3, 4)
    description = {"kind": "toy", "words": ["a", "é"], "numbers": [1, 2.5, None]}
    path = tmp_path / "deep" / "a.safetensors"
    # a transposed view: its memory is not in order
    described_weights.write(path, "entry", description, {"net.weight": weights.T, "again": weights.T})
    assert described_weights.read_description(path, "entry") == description
    assert described_weights.read_description(path, "other") is None
    assert torch.equal(described_weights.read_weights(path)["net.weight"], weights.T)
    assert [file.name for file in path.parent.iterdir()] == ["a.safetensors"]


def test_the_same_content_is_the_same_file():
    state = {name: torch.arange(3.0) for name in "cab"}
    assert described_weights.to_bytes("e", {"a": 1}, state) == described_weights.to_bytes("e", {"a": 1}, state)


@pytest.mark.parametrize("content", [b"", b"no weights", b"\xff" * 100])
def test_what_is_no_safetensors_file_is_named(tmp_path, content):
    (tmp_path / "odd.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"odd\.safetensors cannot be read as a safetensors file: it is "):
        described_weights.read_description(tmp_path / "odd.safetensors", "entry")


def test_weights_must_all_be_there_and_fit():
    network, whole = nn.Linear(3, 2), {"weight": torch.ones(2, 3), "bias": torch.ones(2)}
    described_weights.load_weights(network, whole, "a.ckpt")
    assert bool((network.weight == 1).all())
    for weights, message in (
        ({"weight": whole["weight"]}, "bias missing"),
        (whole | {"more": torch.ones(1)}, "more unexpected"),
        (whole | {"bias": torch.ones(3)}, r"bias \(3,\) instead of \(2,\) of another shape"),
    ):
        with pytest.raises(ValueError, match=f"a.ckpt: the weights do not fit Linear: {message}"):
            described_weights.load_weights(network, weights, "a.ckpt")
    assert bool((network.bias == 1).all())


class Computing(nn.Module):
    """Has more than its state dict tells: a buffer and a plain tensor that are computed when it is made."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.register_buffer("table", torch.arange(3.0), persistent=False)
        self.ones = torch.ones(2)


def test_what_a_network_computes_when_it_is_made_is_there():
    network = Computing()
    again = described_weights.build_with(Computing, network.state_dict(), "a file")
    assert torch.equal(again.layer.weight, network.layer.weight)
    assert again.table.tolist() == [0, 1, 2]
    assert again.ones.tolist() == [1, 1]


def test_a_network_from_a_file_needs_no_compiler():
    code = (
        "import sys, torch; from attngan import described_weights; from attngan.networks.multistage import *; "
        "make = lambda: AttnGANGenerator(stages=1, width=1, base_size=8); weights = make().state_dict(); "
        "described_weights.build_with(make, weights, 'a file'); print('torch._dynamo' in sys.modules)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "False"
