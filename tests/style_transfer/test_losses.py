"""Gram matrices and losses against the paper's formulas, written out as sums."""

import numpy as np
import pytest
import torch

from attngan.errors import InputError
from attngan.style_transfer.losses import content_loss, gram_matrix, style_loss, total_variation
from attngan.style_transfer.objective import Objective, Weights
from tests.style_transfer.networks import TwoLayers, picture


@pytest.fixture
def maps() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(3, 4, 5)), rng.normal(size=(3, 4, 5))


def as_map(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values)[None]


def paper_gram(values: np.ndarray) -> np.ndarray:
    """Equation 3: the sum over places of the products of two channels."""
    channels, height, width = values.shape
    gram = np.zeros((channels, channels))
    for i in range(channels):
        for j in range(channels):
            for y in range(height):
                for x in range(width):
                    gram[i, j] += values[i, y, x] * values[j, y, x]
    return gram


def test_gram_matrix_is_the_papers_per_value(maps):
    np.testing.assert_allclose(gram_matrix(as_map(maps[0])).numpy(), paper_gram(maps[0]) / (3 * 4 * 5), rtol=1e-12)


def test_content_loss_is_the_papers_per_value(maps):
    paper = 0.5 * ((maps[0] - maps[1]) ** 2).sum()  # equation 1
    assert float(content_loss(as_map(maps[0]), as_map(maps[1]))) == pytest.approx(2 * paper / 60, rel=1e-12)


def test_style_loss_is_the_papers_but_for_a_factor(maps):
    channels, places = 3, 20
    difference = paper_gram(maps[0]) - paper_gram(maps[1])
    paper = (difference**2).sum() / (4 * channels**2 * places**2)  # equation 4
    ours = float(style_loss(as_map(maps[0]), gram_matrix(as_map(maps[1]))))
    assert ours == pytest.approx(4 * paper / channels**2, rel=1e-12)


def test_styles_know_no_place(maps):
    turned = np.ascontiguousarray(maps[0][:, ::-1, ::-1])
    assert float(style_loss(as_map(maps[0]), gram_matrix(as_map(turned)))) == pytest.approx(0, abs=1e-20)
    assert float(content_loss(as_map(maps[0]), as_map(turned))) > 0.1


def test_total_variation_of_a_ramp():
    ramp = torch.arange(5.0).expand(1, 3, 4, 5)
    assert float(total_variation(ramp)) == 1  # one a pixel across, nothing down
    assert float(total_variation(torch.ones(1, 3, 4, 5))) == 0


def test_the_objective_is_the_weighted_sum():
    network, content, styles = TwoLayers(), picture(0), [picture(1), picture(2, 10)]
    weights = Weights(2.0, 30.0, 0.5, [3.0, 1.0], {"fine": 1.0, "coarse": 4.0}, content_blend=0.25)
    image = picture(3)
    losses = Objective(network, content, styles, weights)(image)

    now, then, first, second = (network(x, ()) for x in (image, content, *styles))
    fine, coarse = (((now[name] - then[name]) ** 2).mean() for name in ("fine", "coarse"))
    assert losses.content.item() == pytest.approx(2 * (0.25 * fine + 0.75 * coarse).item(), rel=1e-12)

    def style(name: str) -> torch.Tensor:
        of = [((gram_matrix(now[name]) - gram_matrix(image_of[name])) ** 2).mean() for image_of in (first, second)]
        return 0.75 * of[0] + 0.25 * of[1]

    assert losses.style.item() == pytest.approx(30 * (style("fine") + 4 * style("coarse")).item() / 5, rel=1e-12)
    assert losses.total_variation.item() == pytest.approx(0.5 * total_variation(image).item(), rel=1e-12)
    assert losses.total.item() == pytest.approx(sum(term.item() for term in losses), rel=1e-12)


def test_what_weighs_nothing_costs_nothing():
    objective = Objective(TwoLayers(), picture(0), [picture(1)], Weights(1.0, 0.0, 0.0, [1.0], {"fine": 1.0}))
    assert objective.layers == ["fine"]  # the deeper content layer has no share
    assert objective(picture(0)).total.item() == 0


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"content": -1.0}, "--content_weight is -1"),
        ({"style": float("nan")}, "--style_weight is nan"),
        ({"styles": [0.0, 0.0]}, "--style_weights"),
        ({"layers": {"fine": -2.0}}, "--style_layers"),
        ({"content_blend": 1.5}, "--content_blend is 1.5"),
    ],
)
def test_weights_that_make_no_sense_are_refused(wrong, told):
    given = {"content": 1.0, "style": 1.0, "total_variation": 0.0, "styles": [1.0, 1.0], "layers": {"fine": 1.0}}
    with pytest.raises(InputError, match=told):
        Weights(**given | wrong)


def test_unknown_layers_and_small_images_are_refused_by_name():
    network = TwoLayers()
    with pytest.raises(InputError, match=r"no layer relu9_9: there are fine, coarse"):
        Objective(network, picture(0), [picture(1)], Weights(1.0, 1.0, 0.0, [1.0], {"relu9_9": 1.0}))
    with pytest.raises(InputError, match=r"style image 1 is 3 x 3 px: its layers need 4 px"):
        Objective(network, picture(0), [picture(1, 3)], Weights(1.0, 1.0, 0.0, [1.0], {"coarse": 1.0}))
