"""Draws by position: against SplitMix64's published numbers, the distributions, and what they may not depend on."""

import pytest
import torch
from torch.nn import functional as F

from attngan.draws import Draws, split_mix

MANY = range(2000)


def test_the_bits_are_split_mix_64s():
    # of the generator's reference implementation, seeded with 1234567
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    states = torch.tensor([(1234567 + n * 0x9E3779B97F4A7C15) % 2**64 for n in range(1, 5)], dtype=torch.uint64)
    assert [bits % 2**64 for bits in split_mix(states.view(torch.int64)).tolist()] == expected


def test_a_samples_numbers_depend_on_its_position_alone():
    whole, part = Draws(5, 7, range(9)), Draws(5, 7, range(1, 9, 3))
    for _ in range(2):
        assert torch.equal(whole.bits(4, 2)[1::3], part.bits(4, 2))


def test_the_first_numbers_do_not_depend_on_how_many_follow():
    assert torch.equal(Draws(0, 0, range(3)).bits(5)[:, :2], Draws(0, 0, range(3)).bits(2))
    short, long = torch.ones(3, 4, 5), torch.ones(3, 6, 5)
    assert torch.equal(Draws(0, 0, range(3)).dropout(long, 0.5)[:, :4], Draws(0, 0, range(3)).dropout(short, 0.5))


def test_seed_step_call_position_and_place_all_count():
    draws = Draws(1, 1, range(2))
    drawn = [draws.bits(2), draws.bits(2), Draws(2, 1, range(2)).bits(2), Draws(1, 2, range(2)).bits(2)]
    assert len(torch.cat(drawn).unique()) == 16


def test_numbers_have_their_distributions():
    draws = Draws(0, 0, MANY)
    uniform, normal = draws.uniform(50).flatten().double(), draws.normal(50).flatten().double()
    standard = torch.distributions.Normal(0.0, 1.0)
    for values in (uniform, standard.cdf(normal)):  # Kolmogorov and Smirnov's distance, far below that at 0.1%
        ordered = values.sort().values
        steps = torch.arange(1, len(values) + 1) / len(values)
        assert (ordered - steps).abs().max() < 1.95 / len(values) ** 0.5
    assert 0 <= uniform.min() < uniform.max() < 1
    counts = draws.integers(7, 50).flatten().bincount()
    assert len(counts) == 7
    expected = len(MANY) * 50 / 7
    assert ((counts - expected) ** 2 / expected).sum() < 22.5  # chi square of 6 degrees at 0.1%


def test_neighbours_are_not_correlated():
    rows = torch.stack([Draws(0, step, range(64)).normal(256) for step in range(4)]).flatten(0, 1)  # steps, positions
    correlations = torch.corrcoef(rows.double()).fill_diagonal_(0.0)
    assert correlations.abs().max() < 5.5 / 256**0.5


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 1.0])
def test_dropout_is_torchs(rate):
    values = torch.rand(500, 3, 7) + 1
    dropped = Draws(0, 0, range(500)).dropout(values, rate)
    kept = dropped != 0
    assert abs(1 - kept.double().mean() - rate) < 0.02
    scale = F.dropout(torch.ones(1000), rate).max()
    torch.testing.assert_close(dropped[kept], values[kept] * scale, rtol=1e-4, atol=0)


def test_numbers_are_of_the_default_type():
    torch.set_default_dtype(torch.float64)
    try:
        wide = Draws(0, 0, range(3)).normal(4)
    finally:
        torch.set_default_dtype(torch.float32)
    assert wide.dtype == torch.float64
    torch.testing.assert_close(Draws(0, 0, range(3)).normal(4), wide.float())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_draws_what_a_cpu_draws():
    on_cpu, on_gpu = Draws(0, 0, range(64)), Draws(0, 0, range(64), "cuda")
    assert torch.equal(on_cpu.bits(100), on_gpu.bits(100).cpu())
    torch.testing.assert_close(on_cpu.normal(100), on_gpu.normal(100).cpu())
