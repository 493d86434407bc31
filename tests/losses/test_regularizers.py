import math

import pytest
import torch
from torch import nn

from attngan.losses.regularizers import kl_divergence, r1_penalty
from tests.networks.comparison import assert_close, tensors


@pytest.mark.golden
def test_kl_equals_the_published_one(golden):
    g = tensors(golden("kl_loss"))
    mean, log_variance = g["mu"].requires_grad_(), g["logvar"].requires_grad_()
    kl = kl_divergence(mean, log_variance)
    kl.backward()
    assert_close(kl, g["kl"])
    assert_close(mean.grad, g["grad_mu"])
    assert_close(log_variance.grad, g["grad_logvar"])


def test_kl_is_the_formula():
    mean, log_variance = torch.randn(2, 3), torch.randn(2, 3)
    terms = [
        -0.5 * (1 + v - m**2 - math.exp(v))
        for m, v in zip(mean.flatten().tolist(), log_variance.flatten().tolist(), strict=True)
    ]
    assert kl_divergence(mean, log_variance).item() == pytest.approx(sum(terms) / 6, rel=1e-5)


def test_kl_is_that_of_torchs_distributions():
    mean, log_variance = torch.randn(4, 3), torch.randn(4, 3)
    ours = torch.distributions.Normal(mean, (log_variance / 2).exp())
    standard = torch.distributions.Normal(0.0, 1.0)
    expected = torch.distributions.kl_divergence(ours, standard).mean()
    torch.testing.assert_close(kl_divergence(mean, log_variance), expected)


def test_kl_is_zero_for_a_standard_normal_alone():
    assert kl_divergence(torch.zeros(2, 3), torch.zeros(2, 3)) == 0
    assert kl_divergence(torch.full((2, 3), 0.1), torch.zeros(2, 3)) > 0
    assert kl_divergence(torch.zeros(2, 3), torch.full((2, 3), -0.1)) > 0


def test_r1_of_a_linear_critic_is_its_squared_weight():
    weight = torch.randn(3, 4, 4)
    images = torch.randn(5, 3, 4, 4, requires_grad=True)
    penalty = r1_penalty((images * weight).sum((1, 2, 3)), images)
    torch.testing.assert_close(penalty, weight.square().sum())


def test_r1_is_the_mean_over_images_of_each_ones_own_gradient():
    images = torch.randn(3, 3, 2, 2, requires_grad=True)
    penalty = r1_penalty(0.5 * images.square().sum((1, 2, 3)), images)  # the gradient is the image
    expected = sum(float((image**2).sum()) for image in images.detach()) / 3
    assert penalty.item() == pytest.approx(expected, rel=1e-5)


def test_r1_trains_the_critic():
    critic = nn.Sequential(nn.Conv2d(3, 1, 2), nn.Softplus(), nn.Flatten(0))
    images = torch.randn(2, 3, 2, 2, requires_grad=True)
    r1_penalty(critic(images), images).backward()
    assert critic[0].weight.grad.abs().max() > 0
