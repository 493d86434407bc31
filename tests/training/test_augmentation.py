"""What is done to images before a network judges them."""

import torch

from attngan.training.augmentation import binomial_blur, same_augmentation


def test_a_shift_moves_each_image_and_keeps_its_colours():
    images = torch.zeros(64, 3, 16, 16)
    images[:, 0, 8, 8] = 1.0
    moved = same_augmentation(images, 0.125)
    assert torch.equal(moved.amax((2, 3))[:, 0], torch.ones(64))
    places = {int(i) for i in moved[:, 0].flatten(1).argmax(1)}
    assert len(places) > 5
    rows, columns = zip(*((place // 16, place % 16) for place in places), strict=True)
    assert {*rows, *columns} <= set(range(6, 11))  # up to an eighth of the side
    assert same_augmentation(images, 0.0) is images


def test_a_blur_takes_patterns_of_single_pixels_away_and_leaves_areas():
    checks = (torch.arange(8)[:, None] + torch.arange(8)) % 2 * 2.0 - 1
    stripes = (torch.arange(8) % 2 * 2.0 - 1).expand(8, 8)
    for pattern in (checks, stripes, stripes.T):
        inner = binomial_blur(pattern.expand(1, 3, 8, 8))[:, :, 1:-1, 1:-1]
        assert inner.abs().max() < 1e-6
    grey = torch.full((1, 3, 8, 8), 0.3)
    assert torch.allclose(binomial_blur(grey), grey)
    ramp = torch.arange(8.0).expand(1, 3, 8, 8)
    assert torch.allclose(binomial_blur(ramp)[..., 1:-1], ramp[..., 1:-1])
