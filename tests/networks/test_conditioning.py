import pytest
import torch

from attngan.networks.conditioning import ConditioningAugmentation
from tests.networks.comparison import assert_close, tensors


@pytest.mark.golden
def test_equals_the_published_one(golden):
    g = tensors(golden("ca_net"))
    conditioning = ConditioningAugmentation(g["text_embedding"].shape[1], g["mu"].shape[1])
    conditioning.linear.load_state_dict({"weight": g["sd.fc.weight"], "bias": g["sd.fc.bias"]})
    condition, mean, log_variance = conditioning(g["text_embedding"], g["eps"])
    assert_close(condition, g["c_code"])
    assert_close(mean, g["mu"])
    assert_close(log_variance, g["logvar"])


def test_is_the_formula():
    conditioning = ConditioningAugmentation(6, 2)
    sentence, noise = torch.randn(3, 6), torch.randn(3, 2)
    condition, mean, log_variance = conditioning(sentence, noise)
    values = sentence @ conditioning.linear.weight.T + conditioning.linear.bias  # mean, log variance, and their gates
    gated = values[:, :4] * values[:, 4:].sigmoid()
    torch.testing.assert_close(mean, gated[:, :2])
    torch.testing.assert_close(log_variance, gated[:, 2:])
    torch.testing.assert_close(condition, mean + (log_variance / 2).exp() * noise)


def test_without_noise_the_condition_is_the_mean_in_train_and_eval_mode():
    conditioning = ConditioningAugmentation(6, 2)
    for module in (conditioning.train(), conditioning.eval()):
        condition, mean, _ = module(torch.randn(3, 6), torch.zeros(3, 2))
        assert torch.equal(condition, mean)


def test_with_relu_as_in_stackgan():
    conditioning = ConditioningAugmentation(6, 2, "relu")
    assert conditioning.linear.out_features == 4
    sentence, noise = torch.randn(3, 6), torch.randn(3, 2)
    condition, mean, log_variance = conditioning(sentence, noise)
    values = (sentence @ conditioning.linear.weight.T + conditioning.linear.bias).relu()
    torch.testing.assert_close(mean, values[:, :2])
    torch.testing.assert_close(log_variance, values[:, 2:])
    torch.testing.assert_close(condition, mean + (log_variance / 2).exp() * noise)
