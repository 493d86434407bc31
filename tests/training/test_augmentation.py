"""What is done to images before a network judges them."""

import pytest
import torch

from attngan.draws import Draws
from attngan.training.augmentation import POLICIES, Augmentation, binomial_blur


def augmented(policies, images: torch.Tensor) -> torch.Tensor:
    return Augmentation(policies)(images, Draws(0, 0, range(len(images))))


def test_a_shift_moves_each_image_and_keeps_its_colours():
    images = torch.zeros(64, 3, 16, 16)
    images[:, 0, 8, 8] = 1.0
    moved = augmented(0.125, images)
    assert torch.equal(moved.amax((2, 3))[:, 0], torch.ones(64))
    places = {int(i) for i in moved[:, 0].flatten(1).argmax(1)}
    assert len(places) > 5
    rows, columns = zip(*((place // 16, place % 16) for place in places), strict=True)
    assert {*rows, *columns} <= set(range(6, 11))  # up to an eighth of the side
    assert augmented(0.0, images) is images


def test_a_translation_leaves_grey_where_nothing_is_and_a_shift_repeats_the_edge():
    images = torch.ones(64, 3, 16, 16)
    assert torch.equal(augmented({"shift": 0.25}, images), images)
    moved = augmented({"translation": 0.25}, images)
    assert set(moved.unique().tolist()) == {0.0, 1.0}
    columns, rows = moved[:, 0].amax(1), moved[:, 0].amax(2)
    assert torch.equal(moved[:, 0], rows[:, :, None] * columns[:, None, :])  # a rectangle of the image
    assert rows.sum(1).min() >= 12  # at most a quarter of the side is gone


def test_a_cutout_takes_one_square_of_the_asked_size():
    kept = augmented({"cutout": 0.5}, torch.ones(256, 3, 16, 16))
    assert torch.equal(kept[:, 0], kept[:, 2])
    gone = (kept[:, 0] == 0).flatten(1).sum(1)
    assert gone.max() == 8 * 8
    assert gone.min() >= 4 * 4  # a corner, where the edge cuts it
    assert len(gone.unique()) > 5


def test_colours_change_and_shapes_stay():
    images = torch.rand(32, 3, 8, 8) * 2 - 1
    changed = augmented({"color": 1.0}, images)
    of_grey = images.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    assert not torch.allclose(changed, images, atol=0.1)
    for before, after in zip(images, changed, strict=True):
        # brightness and contrast keep the order of the grey values
        one, other = before.mean(0).flatten(), after.mean(0).flatten()
        assert torch.equal(one.argsort(), other.argsort())
    still_grey = augmented({"color": 1.0}, of_grey)
    assert torch.allclose(still_grey[:, 0], still_grey[:, 2], atol=1e-6)


@pytest.mark.parametrize("name", POLICIES)
def test_each_policy_is_differentiable_and_of_one_kind_for_real_and_drawn(name):
    images = torch.rand(16, 3, 16, 16, dtype=torch.float64, requires_grad=True)
    drawn = augmented({name: 0.3}, images)
    assert torch.equal(drawn, augmented({name: 0.3}, images.detach()))  # what it does does not hang on a graph
    (gradient,) = torch.autograd.grad(drawn.sum(), images)
    assert (gradient != 0).flatten(1).any(1).all()


def test_policies_are_chosen_by_name():
    for wrong, message in ((dict(colour=1.0), "no policy colour.*color, translation, cutout"), (-0.1, "shift is -0.1")):
        with pytest.raises(ValueError, match=message):
            Augmentation(wrong)


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
