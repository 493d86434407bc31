"""The gradient at the weights of a deep convolution, in both of its forms, and which of them is chosen."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from attngan.networks import deep_convolution
from attngan.networks.deep_convolution import (
    DeepConvolution,
    WeightGradient,
    choose_weight_gradients,
    weight_gradients,
)
from attngan.networks.discriminators import StageDiscriminator


@pytest.fixture(autouse=True)
def every_convolution_is_deep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deep_convolution, "LEAST_WEIGHTS", 1)


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Seconds that each form is said to take."""
    told = {"convolution": 1.0, "product": 2.0}
    monkeypatch.setattr(deep_convolution, "_seconds", lambda module, form, *_: told[form])
    return told


def _gradients(network: nn.Module, images: torch.Tensor) -> list[torch.Tensor]:
    images = images.clone().requires_grad_()
    output = network(images)
    weights = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output)
    return list(torch.autograd.grad((output * weights).sum(), [images, *network.parameters()]))


@pytest.mark.parametrize("form", ["convolution", "product"])
@pytest.mark.parametrize(
    ("filter_side", "stride", "padding", "side", "bias"),
    [(4, 2, 1, 8, False), (4, 2, 1, 8, True), (3, 1, 1, 4, True), (3, 2, 0, 7, False), (1, 1, 0, 5, True)],
)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_either_form_gives_the_plain_convolutions_gradients(
    form: WeightGradient,
    filter_side: int,
    stride: int,
    padding: int,
    side: int,
    bias: bool,
    dtype: torch.dtype,
    tolerance: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    if form == "convolution":  # which else is torch's own node
        monkeypatch.setattr(DeepConvolution, "_has_a_choice", lambda *_: True)
    deep = DeepConvolution(6, 5, filter_side, stride, padding, bias=bias).to(dtype)
    plain = nn.Conv2d(6, 5, filter_side, stride, padding, bias=bias).to(dtype)
    plain.load_state_dict(deep.state_dict())
    choose_weight_gradients(deep, form)
    images = torch.randn(3, 6, side, side, dtype=dtype)
    torch.testing.assert_close(deep(images), plain(images), rtol=tolerance, atol=tolerance)
    for ours, theirs in zip(_gradients(deep, images), _gradients(plain, images), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


def test_a_gradients_gradient_is_right_too() -> None:
    torch.manual_seed(0)
    deep = DeepConvolution(2, 3, 4, 2, 1, bias=False).double()
    choose_weight_gradients(deep, {"": "product"})
    images = torch.randn(2, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(
        lambda x, w: deep_convolution._Convolution.apply(x, w, deep), (images, deep.weight)
    )


def test_the_faster_form_is_chosen_once_and_remembered(seconds: dict[str, float]) -> None:
    deep = nn.Sequential(DeepConvolution(2, 3, 4, 2, 1))
    assert weight_gradients(deep) == {}
    seconds["product"] = 0.5
    _gradients(deep, torch.randn(2, 2, 4, 4))
    assert weight_gradients(deep) == {"0": "product"}
    seconds["product"] = 5.0  # a later time changes nothing: a training computes in one form from end to end
    _gradients(deep, torch.randn(2, 2, 4, 4))
    assert weight_gradients(deep) == {"0": "product"}
    other = copy.deepcopy(deep)
    choose_weight_gradients(other, {"0": "convolution"})
    assert weight_gradients(other) == {"0": "convolution"}
    choose_weight_gradients(other, {})
    _gradients(other, torch.randn(2, 2, 4, 4))
    assert weight_gradients(other) == {"0": "convolution"}, "measured anew where nothing is said"


def test_what_needs_no_choice_makes_none(monkeypatch: pytest.MonkeyPatch) -> None:
    deep = DeepConvolution(2, 3, 4, 2, 1)
    images = torch.randn(2, 2, 4, 4)
    with torch.no_grad():
        deep(images)
    with torch.autocast("cpu", torch.bfloat16):
        deep(images).float().sum().backward()
    deep.requires_grad_(False)
    deep(images.requires_grad_()).sum().backward()
    deep.requires_grad_(True)
    monkeypatch.setattr(deep_convolution, "LEAST_WEIGHTS", deep.weight.numel() + 1)
    deep(images).sum().backward()
    monkeypatch.setattr(deep_convolution, "LEAST_WEIGHTS", 1)
    torch.use_deterministic_algorithms(True)
    try:
        deep(images).sum().backward()
    finally:
        torch.use_deterministic_algorithms(False)
    monkeypatch.setattr(deep_convolution, "world_size", lambda: 2)
    deep(images).sum().backward()
    assert weight_gradients(deep) == {}


@pytest.mark.parametrize("norm", ["batch", "spectral"])
def test_a_discriminators_gradients_are_those_of_plain_convolutions(norm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    ours = StageDiscriminator(128, width=2, embed_dim=None, norm=norm).double()  # type: ignore[arg-type]
    choose_weight_gradients(
        ours, {name: "product" for name, part in ours.named_modules() if isinstance(part, DeepConvolution)}
    )
    theirs = copy.deepcopy(ours)
    monkeypatch.setattr(DeepConvolution, "forward", lambda self, x: F.conv2d(x, self.weight, self.bias, self.stride, 1))
    images = torch.randn(2, 3, 128, 128, dtype=torch.float64)
    of_theirs = _gradients(nn.Sequential(theirs.encoder), images)
    monkeypatch.undo()
    monkeypatch.setattr(deep_convolution, "LEAST_WEIGHTS", 1)
    of_ours = _gradients(nn.Sequential(ours.encoder), images)
    for own, plain in zip(of_ours, of_theirs, strict=True):
        torch.testing.assert_close(own, plain, rtol=1e-10, atol=1e-12)
