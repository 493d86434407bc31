"""Iterations: their steps by formula, what they reach, and going on exactly."""

from itertools import pairwise

import pytest
import torch

from attngan.errors import InputError
from attngan.style_transfer.objective import Objective, Weights
from attngan.style_transfer.optimisation import DivergedError, StyleTransfer, start_image
from tests.style_transfer.networks import TwoLayers, picture


def objective(style: float = 10.0) -> Objective:
    weights = Weights(1.0, style, 0.01, [1.0], {"fine": 1.0, "coarse": 1.0})
    return Objective(TwoLayers(), picture(0), [picture(1)], weights)


def gradient(image: torch.Tensor) -> torch.Tensor:
    image = image.clone().requires_grad_(True)
    return torch.autograd.grad(objective()(image).total, image)[0]


def test_adams_first_steps_are_those_of_its_formula():
    start = picture(2)
    transfer = StyleTransfer(objective(), start, "adam", learning_rate=0.1)
    first = gradient(start)
    transfer.step()
    after_one = start - 0.1 * first / (first.abs() + 1e-8)  # both moments corrected: m = g, v = g^2
    torch.testing.assert_close(transfer.image.detach(), after_one, rtol=0, atol=1e-12)
    second = gradient(after_one)
    transfer.step()
    m = (0.9 * 0.1 * first + 0.1 * second) / (1 - 0.9**2)
    v = (0.999 * 0.001 * first**2 + 0.001 * second**2) / (1 - 0.999**2)
    torch.testing.assert_close(transfer.image.detach(), after_one - 0.1 * m / (v.sqrt() + 1e-8), rtol=0, atol=1e-10)


def test_lbfgs_begins_along_the_gradient_and_its_line_search_never_climbs():
    start = picture(2)
    transfer = StyleTransfer(objective(), start, "lbfgs")
    transfer.step()
    moved = (transfer.image.detach() - start).flatten()
    along = -gradient(start).flatten()
    assert torch.nn.functional.cosine_similarity(moved, along, dim=0).item() == pytest.approx(1, abs=1e-12)
    totals = [done.total for done in transfer.run(30)]
    assert all(later <= earlier for earlier, later in pairwise(totals))
    assert transfer.final_losses().total.item() < 0.2 * transfer.history[0].total


def test_lbfgs_needs_a_tenth_of_adams_iterations():
    adam, lbfgs = StyleTransfer(objective(), picture(2), "adam", 0.02), StyleTransfer(objective(), picture(2), "lbfgs")
    list(adam.run(500))
    list(lbfgs.run(50))
    assert lbfgs.final_losses().total <= adam.final_losses().total


def test_history_tells_of_the_picture_before_each_step_and_counts_every_evaluation():
    transfer = StyleTransfer(objective(), picture(2), "lbfgs")
    before = transfer.final_losses()
    first = transfer.step()
    assert first.total == pytest.approx(before.total.item(), rel=1e-12)
    assert first.evaluations >= 2  # the line search looks at least once more
    assert transfer.step().number == 2


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_a_run_goes_on_exactly(tmp_path, optimizer):
    whole = StyleTransfer(objective(), picture(2), optimizer)
    list(whole.run(9))
    half = StyleTransfer(objective(), picture(2), optimizer)
    list(half.run(4))
    half.save(tmp_path / "state.pt", {"size": 8})
    rest = StyleTransfer(objective(), picture(5), optimizer)
    rest.load(tmp_path / "state.pt", {"size": 8})
    assert [done.number for done in rest.run(9)] == [5, 6, 7, 8, 9]
    assert torch.equal(rest.image, whole.image)
    assert rest.history == whole.history


def test_other_settings_and_other_files_are_refused(tmp_path):
    transfer = StyleTransfer(objective(), picture(2))
    transfer.step()
    transfer.save(tmp_path / "state.pt", {"size": 8, "seed": 0})
    with pytest.raises(InputError, match=r"other settings \(size 8, now 16\): name another --out"):
        transfer.load(tmp_path / "state.pt", {"size": 16, "seed": 0})
    (tmp_path / "state.pt").write_bytes(b"no state")
    with pytest.raises(InputError, match="cannot be gone on with"):
        transfer.load(tmp_path / "state.pt", {"size": 8, "seed": 0})


def test_a_loss_that_is_no_number_stops_with_the_last_good_picture():
    transfer = StyleTransfer(objective(style=1e300), picture(2), "adam", learning_rate=1e200)
    with pytest.raises(DivergedError, match="no number any more"):
        list(transfer.run(20))
    assert transfer.image.isfinite().all()


def test_the_start_is_content_noise_or_between():
    content = picture(0)
    assert torch.equal(start_image(content, 0.0, 0), content)
    noise = start_image(content, 1.0, 3)
    assert torch.equal(noise, start_image(picture(1), 1.0, 3))
    torch.testing.assert_close(start_image(content, 0.25, 3), 0.75 * content + 0.25 * noise)
    with pytest.raises(InputError, match="--start_noise is 2"):
        start_image(content, 2.0, 0)
