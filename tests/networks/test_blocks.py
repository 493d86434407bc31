import copy
import weakref
from functools import partial

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from attngan.networks import blocks
from attngan.networks.blocks import (
    GLU,
    Chain,
    ResidualBlock,
    critic_block,
    doublings,
    downsample,
    image_head,
    init_weights,
)
from attngan.networks.blocks import upsample_block as upsample


def test_glu_gates_the_first_half_of_the_channels_by_the_second():
    x = torch.randn(2, 6, 3, 3)
    torch.testing.assert_close(GLU()(x), x[:, :3] * x[:, 3:].sigmoid())


def test_upsample_block_doubles_the_side_by_repeating():
    block = upsample(2, 3).eval()
    x = torch.randn(1, 2, 4, 5)
    assert block(x).shape == (1, 3, 8, 10)
    assert torch.equal(block[0](x), x.repeat_interleave(2, 2).repeat_interleave(2, 3))


def test_residual_block_adds_to_its_input_and_has_no_activation_after():
    block = ResidualBlock(2).eval()
    x = torch.randn(1, 2, 4, 4)
    last = block.block[-1]
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, -0.5)
    torch.testing.assert_close(block(x), x - 0.5)


def test_residual_block_of_stackgan_has_relu_inside_and_after_the_sum():
    block = ResidualBlock(2, "relu").eval()
    x = torch.randn(1, 2, 4, 4)
    first, norm, _, second, last = block.block
    expected = (x + last(second(norm(first(x)).relu()))).relu()
    torch.testing.assert_close(block(x), expected)
    assert (first.out_channels, second.out_channels) == (2, 2)


def test_upsample_block_with_relu():
    block = upsample(2, 3, "relu").eval()
    x = torch.randn(1, 2, 4, 4)
    assert block[1].out_channels == 3
    torch.testing.assert_close(block(x), block[2](block[1](block[0](x))).relu())


@pytest.mark.parametrize("side", [-8, 0, 3, 4, 6, 100])
def test_a_side_that_no_doubling_of_four_reaches_is_refused(side):
    with pytest.raises(ValueError, match=f"the side must be 8, 16, 32, 64 ... pixels, not {side}"):
        doublings(side, "the side")


def test_doublings_of_four():
    assert [doublings(side, "") for side in (8, 16, 64, 256)] == [1, 2, 4, 6]


def test_image_head_stays_within_its_range():
    image = image_head(2)(100 * torch.randn(2, 2, 8, 8))
    assert image.shape == (2, 3, 8, 8)
    assert image.abs().max() <= 1


@pytest.mark.parametrize(("norm", "batch_norms"), [(None, 0), ("batch", 1), ("spectral", 0)])
def test_critic_block(norm, batch_norms):
    block = critic_block(downsample(3, 4), norm)
    assert sum(isinstance(m, nn.BatchNorm2d) for m in block) == batch_norms
    assert block(torch.randn(2, 3, 8, 8)).shape == (2, 4, 4, 4)
    if norm == "spectral":
        block.train()
        for _ in range(30):  # the power iteration goes one step a forward pass
            block(torch.randn(1, 3, 8, 8))
        assert torch.linalg.matrix_norm(block[0].weight.flatten(1), 2).item() == pytest.approx(1, abs=0.02)


def test_weights_start_as_published():
    network = nn.Sequential(nn.Linear(8, 4), nn.Conv2d(3, 5, 3), nn.BatchNorm2d(2000), nn.BatchNorm1d(2000))
    of_conv = network[1].bias.clone()
    network.apply(init_weights)
    linear, conv, *norms = network
    assert torch.equal(conv.bias, of_conv)  # as torch made it: the published code does not touch it
    assert of_conv.abs().min() > 0
    torch.testing.assert_close(linear.weight @ linear.weight.T, torch.eye(4), atol=1e-5, rtol=0)
    rows = conv.weight.flatten(1)
    torch.testing.assert_close(rows @ rows.T, torch.eye(5), atol=1e-5, rtol=0)
    assert (linear.bias == 0).all()
    for norm in norms:
        assert norm.weight.mean().item() == pytest.approx(1, abs=0.005)
        assert norm.weight.std().item() == pytest.approx(0.02, abs=0.003)
        assert (norm.bias == 0).all()


def test_weights_start_as_those_of_stackgan():
    network = nn.Sequential(nn.Linear(100, 90), nn.Conv2d(30, 40, 3), nn.BatchNorm2d(2000))
    network.apply(partial(init_weights, init="normal"))
    linear, conv, norm = network
    for weight in (linear.weight, conv.weight):
        assert weight.mean().item() == pytest.approx(0, abs=0.001)
        assert weight.std().item() == pytest.approx(0.02, abs=0.001)
    assert (linear.bias == 0).all()
    assert norm.weight.mean().item() == pytest.approx(1, abs=0.005)
    assert norm.weight.std().item() == pytest.approx(0.02, abs=0.003)


def test_weights_may_stay_as_torch_made_them():
    network = nn.Sequential(nn.Linear(4, 4), nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5))
    before = [p.clone() for p in network.parameters()]
    network.apply(partial(init_weights, init="torch"))
    assert all(torch.equal(p, old) for p, old in zip(network.parameters(), before, strict=True))


# --- what is kept for the backward pass -----------------------------------------------------------------------------


def pass_through(network: nn.Module, x: torch.Tensor) -> tuple[list[torch.Tensor], int]:
    """Output, gradients and statistics of a pass; and the bytes that were kept in between, besides weights."""
    kept: dict[int, int] = {}

    class Alive(TorchDispatchMode):
        def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
            result = operator(*args, **(kwargs or {}))
            for made in result if isinstance(result, tuple) else (result,):
                if isinstance(made, torch.Tensor):
                    storage = made.untyped_storage()
                    kept[storage._cdata] = storage.nbytes()
                    weakref.finalize(storage, kept.pop, storage._cdata, None)
            return result

    x = x.clone().requires_grad_()
    with Alive():
        y = network(x)
    size = sum(kept.values())
    y.square().sum().backward()
    state = [value.clone() for value in network.state_dict().values()]
    return [y.detach(), x.grad, *(p.grad for p in network.parameters()), *state], size


@pytest.mark.parametrize("upsampling", ["nearest", "bilinear"])
@pytest.mark.parametrize("activation", ["glu", "relu"])
def test_what_is_made_again_is_the_same_to_the_bit(upsampling, activation):
    chain = nn.Sequential(ResidualBlock(4, activation), upsample(4, 6, activation, upsampling))
    plain = copy.deepcopy(chain)
    for parent in list(plain.modules()):
        for name, child in parent.named_children():
            if isinstance(child, Chain):
                setattr(parent, name, nn.Sequential(*child))
    assert not [part for part in plain.modules() if isinstance(part, Chain)]
    assert chain.state_dict().keys() == plain.state_dict().keys()
    x = torch.randn(3, 4, 16, 16)
    (found, less), (expected, more) = pass_through(chain, x), pass_through(plain, x)
    for mine, right in zip(found, expected, strict=True):
        assert torch.equal(mine, right)
    assert less < (0.8 if activation == "glu" else 0.95) * more
    for network in (chain, plain):
        network.eval()
    assert torch.equal(chain(x), plain(x))


@pytest.mark.parametrize("upsampling", ["nearest", "bilinear"])
def test_large_features_are_enlarged_some_images_at_a_time(upsampling, monkeypatch):
    whole = upsample(4, 6, "glu", upsampling).double()
    in_turn = copy.deepcopy(whole)
    x = torch.randn(5, 4, 16, 16, dtype=torch.float64)
    expected, _ = pass_through(whole, x)
    sizes = []
    convolution = in_turn[1]
    convolution.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    monkeypatch.setattr(blocks, "ENLARGED_AT_ONCE", 2 * 4 * 32 * 32)
    found, _ = pass_through(in_turn, x)
    assert sizes == [2, 2, 1]
    for mine, right in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-12, atol=1e-12)
    sizes.clear()
    monkeypatch.setattr(blocks, "ENLARGED_AT_ONCE", 1)  # an image at a time at least
    in_turn(x)
    assert sizes == [1] * 5


def test_features_that_were_changed_in_place_are_noticed():
    """Else what is made of them again would be of other features than the forward pass had."""
    block, x = upsample(4, 6, "glu", "nearest"), torch.randn(2, 4, 8, 8, requires_grad=True)
    features = x * 1.0
    y = block(features)
    features.zero_()
    with pytest.raises(RuntimeError, match="changed in place"):
        y.sum().backward()
