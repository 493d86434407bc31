"""Weights and their description in one safetensors file."""

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
