import math

import pytest
import torch
from torch import nn

from attngan.losses.regularizers import (
    color_consistency,
    kl_divergence,
    matching_aware_gradient_penalty,
    r1_penalty,
)
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


def test_gradient_penalty_is_the_formula():
    """Of a critic whose gradients are known: the image and twice the sentence."""
    images = torch.randn(3, 3, 2, 2, requires_grad=True)
    sentence = torch.randn(3, 4, requires_grad=True)
    logits = 0.5 * images.square().sum((1, 2, 3)) + sentence.square().sum(1)
    penalty = matching_aware_gradient_penalty(logits, images, sentence)
    norms = []
    for i in range(3):
        squares = [x**2 for x in images[i].flatten().tolist()] + [(2 * x) ** 2 for x in sentence[i].tolist()]
        norms.append(math.sqrt(sum(squares)))
    assert penalty.item() == pytest.approx(sum(norm**6 for norm in norms) / 3, rel=1e-5)


def test_gradient_penalty_and_its_gradient_are_finite_at_zero():
    """The published form takes a root, whose gradient at zero is infinite times zero: not a number."""
    critic = nn.Linear(12 + 4, 1)
    nn.init.zeros_(critic.weight)
    images, sentence = torch.randn(2, 3, 2, 2, requires_grad=True), torch.randn(2, 4, requires_grad=True)
    logits = critic(torch.cat([images.flatten(1), sentence], 1)).flatten()
    penalty = matching_aware_gradient_penalty(logits, images, sentence)
    assert penalty == 0
    penalty.backward()
    assert (critic.weight.grad == 0).all()


def test_gradient_penalty_trains_the_critic():
    critic = nn.Sequential(nn.Linear(12 + 4, 5), nn.Softplus(), nn.Linear(5, 1), nn.Flatten(0))
    images, sentence = torch.randn(2, 3, 2, 2, requires_grad=True), torch.randn(2, 4, requires_grad=True)
    logits = critic(torch.cat([images.flatten(1), sentence], 1))
    matching_aware_gradient_penalty(logits, images, sentence).backward()
    assert critic[0].weight.grad.isfinite().all()
    assert critic[0].weight.grad.abs().max() > 0


@pytest.mark.parametrize(
    ("given", "computed"), [(torch.bfloat16, torch.float32), (torch.float64, torch.float64)], ids=["half", "double"]
)
def test_regularizers_compute_in_float32_at_least(given, computed):
    images = torch.rand(2, 3, 4, 4, dtype=given).requires_grad_()
    sentence = torch.rand(2, 4, dtype=given).requires_grad_()
    logits = 1e-3 * images.square().sum((1, 2, 3)) + sentence.sum(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert matching_aware_gradient_penalty(logits, images, sentence).dtype == computed
        assert color_consistency(images, images).dtype == computed
        assert kl_divergence(sentence, sentence).dtype == computed
        assert r1_penalty(images.sum((1, 2, 3)), images).dtype == computed


def colors(image: torch.Tensor) -> tuple[list[float], list[list[float]]]:
    """Mean colour and covariance of an image, as loops."""
    pixels = [[float(image[c, y, x]) for c in range(3)] for y in range(image.shape[1]) for x in range(image.shape[2])]
    mean = [sum(pixel[c] for pixel in pixels) / len(pixels) for c in range(3)]
    return mean, [
        [sum((p[a] - mean[a]) * (p[b] - mean[b]) for p in pixels) / len(pixels) for b in range(3)] for a in range(3)
    ]


def test_color_consistency_is_the_formula():
    lower, higher = torch.rand(2, 3, 2, 2) * 2 - 1, torch.rand(2, 3, 4, 4) * 2 - 1
    of_means, of_covariances = [], []
    for small, large in zip(lower, higher, strict=True):
        (mean_a, covariance_a), (mean_b, covariance_b) = colors(small), colors(large)
        of_means += [(a - b) ** 2 for a, b in zip(mean_a, mean_b, strict=True)]
        of_covariances += [(covariance_a[i][j] - covariance_b[i][j]) ** 2 for i in range(3) for j in range(3)]
    expected = sum(of_means) / 6 + 5 * sum(of_covariances) / 18  # two images of 3 colours and 9 covariances
    assert color_consistency(lower, higher).item() == pytest.approx(expected, rel=1e-5)


def test_color_consistency_moves_the_higher_stage_alone():
    lower, higher = torch.rand(2, 3, 2, 2, requires_grad=True), torch.rand(2, 3, 4, 4, requires_grad=True)
    color_consistency(lower, higher).backward()
    assert lower.grad is None
    assert higher.grad.abs().min() > 0


def test_color_consistency_sees_colours_and_no_shapes():
    image = torch.rand(1, 3, 4, 4)
    assert color_consistency(image, image.flip(3)).item() == pytest.approx(0, abs=1e-12)
    assert color_consistency(image, nn.functional.interpolate(image, scale_factor=2)).item() < 1e-12
    assert color_consistency(image, image + 0.1).item() == pytest.approx(0.01, rel=1e-4)  # another mean
    assert color_consistency(image, 1 - image) > color_consistency(image, image)
