"""8-bit values and [-1, 1]; the middle of an image."""

import numpy as np
import pytest
import torch

from attngan.pixels import centre_corner, centre_crop, from_uint8, to_uint8


def test_all_8_bit_values_there_and_back():
    values = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 256).expand(3, 1, 256)
    images = from_uint8(values)
    assert images.dtype == torch.float32
    assert torch.equal(images[0, 0], torch.tensor([value / 127.5 for value in range(256)]) - 1)
    assert torch.equal(to_uint8(images), values)


def test_floats_between_0_and_255_are_not_changed_in_place():
    values = torch.full((2, 3, 1, 1), 51.0)
    assert from_uint8(values).flatten().tolist() == pytest.approx([-0.6] * 6)
    assert values.unique().tolist() == [51.0]


@pytest.mark.parametrize(("side", "size", "first"), [(10, 4, 3), (9, 4, 2), (4, 4, 0)])
def test_the_middle(side, size, first):
    image = np.arange(side * (side + 2) * 3, dtype=np.uint8).reshape(side, side + 2, 3)
    assert centre_corner(side, side + 2, size) == (first, first + 1)
    crop = centre_crop(image, size)
    assert np.array_equal(crop, image[first : first + size, first + 1 : first + 1 + size])
    assert np.shares_memory(crop, image)
