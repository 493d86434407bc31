"""The nearest vectors, block by block."""

import numpy as np
import pytest

from attngan.errors import InputError
from attngan.retrieval.ranking import nearest


def test_equals_sorting_all_cosines_whatever_the_blocks():
    rng = np.random.default_rng(0)
    queries, gallery = rng.standard_normal((7, 5), np.float32), rng.standard_normal((23, 5), np.float32)
    units = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (queries, gallery)]
    cosines = units[0] @ units[1].T
    for block in ((512, 16384), (2, 4), (3, 23)):
        found = nearest(queries, gallery, 6, block)
        np.testing.assert_array_equal(found.rows, np.argsort(-cosines, axis=1)[:, :6])
        np.testing.assert_allclose(found.cosines, -np.sort(-cosines, axis=1)[:, :6], atol=1e-6)


def test_of_equal_ones_the_first_comes_first_and_all_are_found_where_there_are_few():
    gallery = np.array([[0, 1], [1, 0], [2, 0], [1, 0]], np.float32)
    for block in ((1, 1), (1, 4)):
        assert nearest(np.array([[3, 0]], np.float32), gallery, 9, block).rows.tolist() == [[1, 2, 3, 0]]


def test_a_vector_without_a_direction_is_refused():
    with pytest.raises(InputError, match="query embeddings are 0"):
        nearest(np.zeros((1, 2), np.float32), np.ones((3, 2), np.float32), 1)
