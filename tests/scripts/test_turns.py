"""The counter of floating point operations, against their formulas."""

import torch
from benchmarks.turns import FlopCounter
from torch import nn
from torch.nn import functional as F


def test_a_convolution_forward_and_backward():
    conv, images = nn.Conv2d(3, 5, 3, padding=1, bias=False), torch.rand(2, 3, 8, 8, requires_grad=True)
    with FlopCounter() as counter:
        conv(images).sum().backward()
    forward = 2 * 2 * 5 * 8 * 8 * 3 * 3 * 3
    assert counter.total == 3 * forward


def test_a_gradient_of_a_gradient():
    weight, x = torch.rand(4, 4, requires_grad=True), torch.rand(6, 4, requires_grad=True)
    with FlopCounter() as counter:
        (gradient,) = torch.autograd.grad(F.linear(x, weight).square().sum(), x, create_graph=True)
        gradient.square().sum().backward()
    assert counter.total >= 4 * 2 * 6 * 4 * 4


def test_products_in_inference():
    with torch.inference_mode(), FlopCounter() as counter:
        torch.einsum("bik,bkj->bij", torch.rand(2, 3, 4), torch.rand(2, 4, 5))
        torch.rand(3, 4) @ torch.rand(4, 5)
    assert counter.total == 2 * (2 * 3 * 4 * 5) + 2 * 3 * 4 * 5
