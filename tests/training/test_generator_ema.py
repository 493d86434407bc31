"""The generator's moving average, against the recursion written out."""

import pytest
import torch
from torch import nn

from attngan.training.generator_ema import EMA, GeneratorEMA


def live_network():
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def follow(live, ema, updates, decays):
    """Updates the average, and the average written out, over random weights and statistics."""
    weight, mean = live[0].weight.detach().clone(), live[1].running_mean.clone()
    for _, decay in zip(range(updates), decays, strict=True):
        with torch.no_grad():
            live[0].weight.normal_()
            live[1].running_mean.normal_()
            live[1].num_batches_tracked += 1
        ema.update(live)
        weight = decay * weight + (1 - decay) * live[0].weight.detach()
        mean = decay * mean + (1 - decay) * live[1].running_mean
    return weight, mean


def test_weights_and_statistics_are_averaged():
    live = live_network()
    ema = GeneratorEMA(live, EMA(0.7))
    weight, mean = follow(live, ema, 5, [0.7] * 5)
    assert torch.allclose(ema.generator[0].weight, weight)
    assert torch.allclose(ema.generator[1].running_mean, mean)
    assert ema.generator[1].num_batches_tracked == live[1].num_batches_tracked


def test_published_statistics_are_the_live_ones():
    live = live_network()
    ema = GeneratorEMA(live, EMA(0.7, buffers="published"))
    weight, mean = follow(live, ema, 3, [0.7] * 3)
    assert torch.allclose(ema.generator[0].weight, weight)
    assert torch.equal(ema.generator[1].running_mean, live[1].running_mean)
    assert not torch.allclose(mean, live[1].running_mean)


@pytest.mark.parametrize("reloaded", [False, True])
def test_warm_up_starts_with_a_small_decay(reloaded):
    live = live_network()
    ema = GeneratorEMA(live, EMA(0.3, warmup=True))
    decays = [1 / 10, 2 / 11, 3 / 12, 0.3, 0.3]  # (1 + n) / (10 + n), up to the decay
    follow(live, ema, 2, decays[:2])
    if reloaded:  # the count goes with the checkpoint
        fresh = GeneratorEMA(live_network(), EMA(0.3, warmup=True))
        fresh.load_state_dict(ema.state_dict())
        ema = fresh
    before = ema.generator[0].weight.clone()
    with torch.no_grad():
        live[0].weight.normal_()
    ema.update(live)
    expected = decays[2] * before + (1 - decays[2]) * live[0].weight.detach()
    assert torch.allclose(ema.generator[0].weight, expected)
    assert int(ema.updates) == 3


def test_the_average_never_trains():
    ema = GeneratorEMA(live_network())
    assert not any(part.training for part in ema.train().modules())
    assert not any(p.requires_grad for p in ema.parameters())
