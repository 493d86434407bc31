"""The counter of operators, against their formulas."""

import torch
from benchmarks.turns import OperatorCounter
from torch import nn
from torch.nn import functional as F


def test_a_convolution_forward_and_backward():
    conv, images = nn.Conv2d(3, 5, 3, padding=1, bias=False), torch.rand(2, 3, 8, 8, requires_grad=True)
    with OperatorCounter() as counter:
        conv(images).sum().backward()
    forward = 2 * 2 * 5 * 8 * 8 * 3 * 3 * 3
    assert counter.flops == 3 * forward


def test_a_gradient_of_a_gradient():
    weight, x = torch.rand(4, 4, requires_grad=True), torch.rand(6, 4, requires_grad=True)
    with OperatorCounter() as counter:
        (gradient,) = torch.autograd.grad(F.linear(x, weight).square().sum(), x, create_graph=True)
        gradient.square().sum().backward()
    assert counter.flops >= 4 * 2 * 6 * 4 * 4


def test_products_in_inference():
    with torch.inference_mode(), OperatorCounter() as counter:
        torch.einsum("bik,bkj->bij", torch.rand(2, 3, 4), torch.rand(2, 4, 5))
        torch.rand(3, 4) @ torch.rand(4, 5)
    assert counter.flops == 2 * (2 * 3 * 4 * 5) + 2 * 3 * 4 * 5


def test_what_a_device_is_waited_for():
    values = torch.arange(5.0)
    with OperatorCounter() as counter:
        doubled = values * 2
        assert counter.waits == 0
        doubled.sum().item()
        values.nonzero()
        if (values > 7).any():
            raise AssertionError
    assert counter.waits == 3
    assert counter.operators >= 6
