"""The learning rates as a function of the place in the run, against the formula."""

import pytest

from attngan.training.rates import Rates


def test_they_are_halved_after_so_many_epochs():
    rates = Rates(halved_every=3)
    for epoch in range(10):
        assert rates.factor(epoch, 0.7) == 2.0 ** -(epoch // 3)


@pytest.mark.parametrize("fall", [0.25, 1.0])
def test_they_fall_over_the_last_part_to_a_fiftieth(fall):
    rates = Rates(fall=fall)
    for done in (0.0, 0.3, 0.75, 0.8, 0.97, 0.999, 1.0, 1.2):
        left = (1 - done) / fall
        expected = 1.0 if left > 1 else 0.02 if left < 0.02 else left
        assert rates.factor(5, done) == pytest.approx(expected)


def test_both_multiply():
    assert Rates(fall=0.5, halved_every=2).factor(5, 0.9) == pytest.approx(0.25 * 0.2)


def test_without_either_they_stay():
    assert Rates().factor(1000, 1.0) == 1.0
