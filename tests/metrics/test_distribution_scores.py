"""FID, KID, precision, recall, density, coverage, diversity: known values, and what they must say of known sets."""

import numpy as np
import pytest
import scipy.linalg
import torch

from attngan.metrics.diversity import diversity
from attngan.metrics.fid import GaussianStatistics, _root, fid, fid_infinity, gaussian_statistics
from attngan.metrics.inception_score import inception_score
from attngan.metrics.kid import kid
from attngan.metrics.manifold import authenticity, manifold_scores


def normal(count, length=8, seed=0, shift=0.0, scale=1.0):
    return torch.randn(count, length, generator=torch.Generator().manual_seed(seed)) * scale + shift


def fid_of(a, b):
    return fid(gaussian_statistics(a), gaussian_statistics(b))


# --- FID --------------------------------------------------------------------------------------------------------------


def test_fid_of_known_gaussians_has_the_analytic_value():
    # commuting covariances: |m1 - m2|^2 + sum (s1 - s2)^2
    deviations = torch.tensor([[1.0, 2.0, 0.5], [3.0, 2.0, 0.0]], dtype=torch.float64)
    means = torch.tensor([[0.0, 1.0, 0.0], [2.0, 1.0, -1.0]], dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64)).Q
    a, b = (
        GaussianStatistics(rotation @ m, rotation @ (s**2).diag() @ rotation.T, 100)
        for m, s in zip(means, deviations, strict=True)
    )
    assert fid(a, b) == pytest.approx(5 + 4 + 0.25, rel=1e-10)


def test_fid_equals_scipys_matrix_square_root():
    a, b = gaussian_statistics(normal(300, 12)), gaussian_statistics(normal(200, 12, seed=1, shift=0.3, scale=1.5))
    A, B = a.covariance.numpy(), b.covariance.numpy()
    expected = (a.mean - b.mean).square().sum() + np.trace(A + B - 2 * scipy.linalg.sqrtm(A @ B).real)
    assert fid(a, b) == pytest.approx(float(expected), rel=1e-8)


def test_statistics_are_numpys_whatever_the_chunk():
    features = normal(500, 6, shift=100.0)
    for chunk in (7, 5000):
        statistics = gaussian_statistics(features, chunk)
        assert np.allclose(statistics.mean, features.double().mean(0), rtol=1e-12)
        assert np.allclose(statistics.covariance, np.cov(features.double().numpy(), rowvar=False), rtol=1e-9)


@pytest.mark.parametrize("count", [20, 600])  # fewer images than features, and more
def test_fid_of_a_set_with_itself_is_zero(count):
    features = normal(count, 100, scale=5)
    assert abs(fid_of(features, features.flip(0))) < 1e-3


def test_fid_of_two_halves_is_small_and_noise_is_far():
    real, noise = normal(4000, 4), normal(2000, 4, seed=2, shift=2.0)
    halves = fid_of(real[:2000], real[2000:])
    assert 0 < halves < 0.02
    assert fid_of(real[2000:], noise) > 100 * halves


def test_bias_of_fid_falls_with_the_number_of_images():
    real = normal(8000, 32)
    few, many = fid_of(real[:200], real[4000:]), fid_of(real[:4000], real[4000:])
    assert few > 5 * many > 0


def test_fid_infinity_takes_the_bias_away():
    reference = gaussian_statistics(normal(20000, 16))
    biased, limits = [], []
    for seed in range(1, 7):
        drawn = normal(600, 16, seed=seed, shift=0.1)  # true FID 16 * 0.01 = 0.16
        biased.append(fid(gaussian_statistics(drawn), reference))
        limits.append(fid_infinity(drawn, reference))
    assert abs(np.mean([limit.value for limit in limits]) - 0.16) < abs(np.mean(biased) - 0.16) / 2
    assert all(0 < limit.error < 0.16 for limit in limits)


def test_fid_refuses_what_it_cannot_compare():
    with pytest.raises(ValueError, match="length 8 and of length 4"):
        fid_of(normal(10), normal(10, 4))
    with pytest.raises(ValueError, match="at least two"):
        gaussian_statistics(normal(1))
    with pytest.raises(ValueError, match="not finite"):
        gaussian_statistics(torch.full((4, 2), float("nan")))
    with pytest.raises(ValueError, match="at least 100"):
        fid_infinity(normal(50), gaussian_statistics(normal(50)))


# --- KID --------------------------------------------------------------------------------------------------------------


def test_kid_equals_plain_loops():
    x, y = normal(12, 3).double(), normal(10, 3, seed=1, shift=0.5).double()

    def kernel(a, b):
        return (float(a @ b) / 3 + 1) ** 3

    n = 5
    rng = np.random.RandomState(4)
    x_rows, y_rows = rng.choice(12, n, replace=False), rng.choice(10, n, replace=False)
    x_part, y_part = x[torch.from_numpy(x_rows)], y[torch.from_numpy(y_rows)]
    pairs = [(i, j) for i in range(n) for j in range(n)]
    within = sum(kernel(x_part[i], x_part[j]) + kernel(y_part[i], y_part[j]) for i, j in pairs if i != j)
    across = sum(kernel(x_part[i], y_part[j]) for i, j in pairs)
    expected = within / (n * (n - 1)) - 2 * across / n**2
    result = kid(x, y, subsets=1, subset_size=1000, seed=4)
    assert result.mean == pytest.approx(expected, rel=1e-10)
    assert result.subset_size == 5  # half of the smaller side: ten are fewer than a thousand


def test_kid_is_unbiased_and_sees_differences():
    same = kid(normal(2000), normal(2000, seed=1), subsets=20, subset_size=200)
    assert abs(same.mean) < 3 * same.std / np.sqrt(10)
    assert kid(normal(2000), normal(2000, seed=1, shift=0.5), subsets=10, subset_size=200).mean > 10 * abs(same.mean)
    # few images: every subset of all of them would be the same one, and the error nothing
    few = kid(normal(40), normal(40, seed=1))
    assert few.std > 0.1 * abs(few.mean)
    assert (few.subset_size, kid(normal(40), normal(40, seed=1), subset_size=39).subset_size) == (20, 39)


# --- precision, recall, density, coverage -----------------------------------------------------------------------------


def test_two_halves_have_precision_recall_and_coverage_near_one():
    real = normal(3000, 4)
    scores = manifold_scores(real[:1500], real[1500:])
    assert min(scores.precision, scores.recall, scores.coverage) > 0.9
    assert scores.density == pytest.approx(1, abs=0.1)


def test_the_same_set_is_all_precise_and_recalled():
    real = normal(200)
    scores = manifold_scores(real, real.flip(0))
    assert scores.precision == scores.recall == scores.coverage == 1
    assert torch.equal(scores.nearest[:, 0], torch.arange(200).flip(0))


def test_one_repeated_image_has_high_precision_low_recall_and_inception_score_one():
    real = normal(500)
    repeated = real[:1].repeat(300, 1)
    scores = manifold_scores(repeated, real)
    assert scores.precision == 1
    assert scores.recall < 0.01
    assert scores.coverage < 0.05
    assert inception_score(repeated.softmax(1)).mean == pytest.approx(1, abs=1e-9)


def test_noise_far_away_has_none_of_it():
    scores = manifold_scores(normal(300, seed=3, shift=50), normal(300))
    assert (scores.precision, scores.recall, scores.density, scores.coverage) == (0, 0, 0, 0)


def test_half_of_the_modes_is_precise_but_recalls_half():
    modes = torch.cat([normal(500, 3), normal(500, 3, seed=1, shift=100)])
    scores = manifold_scores(normal(500, 3, seed=2), modes)
    assert scores.precision > 0.9
    assert scores.recall == pytest.approx(0.5, abs=0.05)


def test_manifold_equals_plain_loops_whatever_the_chunk():
    x, y = normal(30, 3), normal(40, 3, seed=1, shift=0.7)
    distance = torch.cdist(x.double(), y.double())

    def radius(points, k):
        return torch.cdist(points.double(), points.double()).sort(1).values[:, k]

    real3, real5, drawn3 = radius(y, 3), radius(y, 5), radius(x, 3)
    precision = sum(any(distance[i, j] <= real3[j] for j in range(40)) for i in range(30)) / 30
    recall = sum(any(distance[i, j] <= drawn3[i] for i in range(30)) for j in range(40)) / 40
    density = sum(bool(distance[i, j] < real5[j]) for i in range(30) for j in range(40)) / (5 * 30)
    coverage = sum(any(distance[i, j] < real5[j] for i in range(30)) for j in range(40)) / 40
    for chunk in (7, 1000):
        scores = manifold_scores(x, y, chunk=chunk)
        assert scores[:4] == pytest.approx((precision, recall, density, coverage))
        assert torch.equal(scores.nearest, distance.topk(5, largest=False).indices)


def test_too_few_images_for_their_neighbours():
    with pytest.raises(ValueError, match="neighbour 5"):
        manifold_scores(normal(5), normal(100))


# --- diversity --------------------------------------------------------------------------------------------------------


def test_diversity_is_zero_when_the_noise_changes_nothing():
    captions = torch.arange(10).repeat_interleave(4)
    score = diversity(normal(10)[captions], captions)
    assert score.within == 0
    assert score.between > 1
    assert score.captions == 10


def test_captions_that_decide_nothing_show():
    captions = torch.arange(20).repeat_interleave(10)
    score = diversity(normal(200), captions)
    assert score.within == pytest.approx(score.between, rel=0.05)
    with pytest.raises(ValueError, match="two images of one caption"):
        diversity(normal(5), torch.arange(5))


def test_diversity_of_many_images_takes_some_of_them_for_different_captions():
    captions = torch.arange(60).repeat_interleave(3)
    features = normal(180)
    some, every = diversity(features, captions, most=60), diversity(features, captions)
    assert some.within == every.within
    assert some.between == pytest.approx(every.between, rel=0.1)
    lone = diversity(torch.cat([features, normal(7, seed=1)]), torch.cat([captions, torch.arange(100, 107)]))
    assert (lone.captions, lone.images) == (60, 180)  # captions of one image say nothing of it


def test_the_root_of_a_covariance_has_its_rank_and_no_more():
    """Rounding's eigenvalues are dropped, and none that the data have: neither an epsilon of 1e-6 nor none at all."""
    images, features = 20, 64
    few = torch.randn(images, features, dtype=torch.float64)
    assert _root(gaussian_statistics(few).covariance).shape == (features, images - 1)
    small = torch.diag(torch.tensor([1.0, 1e-8, 1e-10], dtype=torch.float64))
    assert _root(small).shape == (3, 3)
    one, other = (GaussianStatistics(torch.zeros(3, dtype=torch.float64), c, 9) for c in (small, 4 * small))
    assert fid(one, other) == pytest.approx(float(small.trace()), rel=1e-12)  # (2 - 1)^2 of each variance


def test_copies_are_not_authentic_and_new_draws_are_so_by_half_and_more():
    generator = torch.Generator().manual_seed(0)
    real, new = torch.randn(2, 1500, 8, generator=generator)
    assert authenticity(real + 1e-4, real) == 0
    of_new = authenticity(new, real)
    assert 50 < of_new < 65
    assert authenticity(new + 20, real) == 100  # far from everything: nothing was copied
    half_copied = torch.cat([new[:750], real[:750] + 1e-4])
    assert authenticity(half_copied, real) == pytest.approx(of_new / 2, abs=4)


def test_authenticity_is_that_of_the_definition():
    # 0 and 1 are each other's nearest, 4 has 1: balls of radius 1, 1, 3
    real = torch.tensor([[0.0], [1.0], [4.0]])
    drawn = torch.tensor([[-0.5], [-1.5], [2.9], [8.0]])  # within that of 0, outside, within that of 4, outside
    assert authenticity(drawn, real) == 50


def test_authenticity_needs_two_real_images():
    with pytest.raises(ValueError, match="two real images"):
        authenticity(torch.zeros(3, 2), torch.zeros(1, 2))
