"""Which rows of a global batch a process holds; what processes make of them together is in tests/training."""

import numpy as np
import pytest
import torch

from attngan.global_batch import Rows


@pytest.mark.parametrize(("total", "world"), [(7, 2), (8, 4), (20, 8), (5, 5), (3, 1)])
def test_a_batch_is_dealt_as_evenly_as_it_goes(total, world):
    expected = [part.tolist() for part in np.array_split(np.arange(total), world)]
    for rank in range(world):
        rows = Rows.split(total, world, rank)
        assert [*map(list, rows.of_ranks)] == expected
        assert list(rows.mine) == expected[rank]
        assert (rows.total, rows.first, rows.share) == (total, expected[rank][0], len(expected[rank]) / total)


@pytest.mark.parametrize("world", [1, 2, 4])
@pytest.mark.parametrize("parts", [1, 2, 3])
def test_parts_are_the_same_rows_however_they_are_dealt(world, parts):
    for number in range(parts):
        dealt = Rows.split(13, world).part(number, parts)
        assert [row for own in dealt.of_ranks for row in own] == list(range(number, 13, parts))
        assert dealt.total == len(range(number, 13, parts))


def test_own_rows_within_a_stretch_of_the_batch():
    rows = Rows.split(10, 3, 1)  # 4 to 6
    assert rows.own_within(0, 4) == slice(0, 0)
    assert rows.own_within(3, 3) == slice(0, 2)
    assert rows.own_within(5, 5) == slice(1, 3)
    assert rows.own_within(8, 2).start == rows.own_within(8, 2).stop
    assert torch.arange(10)[torch.tensor([9, 4, 0, 6])][rows.places_of(torch.tensor([9, 4, 0, 6]))].tolist() == [4, 6]


def test_a_process_alone_gathers_what_it_has():
    rows, own = Rows.split(4), torch.rand(4, 2)
    assert rows.gather(own) is own
    assert rows.mean(own) is own
    assert rows.places_of(torch.arange(4)) == slice(None)
