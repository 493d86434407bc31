"""Inception Score: the published numbers, and what it must say of known sets."""

import math

import pytest
import torch

from attngan.metrics.inception_score import inception_score


@pytest.mark.golden
@pytest.mark.parametrize("name", ["inception_score_200", "inception_score_203"])
def test_equals_published_score(name, golden):
    arrays = golden(name)
    predictions = torch.from_numpy(arrays["predictions"])
    ten, one = inception_score(predictions, 10), inception_score(predictions, 1)
    assert ten.mean == pytest.approx(float(arrays["mean10_f64"]), rel=1e-6)
    assert ten.std == pytest.approx(float(arrays["std10_f64"]), rel=1e-5)
    assert one.mean == pytest.approx(float(arrays["mean1"]), rel=1e-5)
    assert one.std == 0


def test_equals_formula_in_plain_loops():
    p = torch.rand(23, 5, dtype=torch.float64).softmax(1)
    scores = []
    for split in range(4):
        rows = p[split * 23 // 4 : (split + 1) * 23 // 4].tolist()
        mean = [sum(row[c] for row in rows) / len(rows) for c in range(5)]
        divergences = [sum(row[c] * math.log(row[c] / mean[c]) for c in range(5)) for row in rows]
        scores.append(math.exp(sum(divergences) / len(rows)))
    average = sum(scores) / 4
    score = inception_score(p, 4)
    assert score.mean == pytest.approx(average, rel=1e-12)
    assert score.std == pytest.approx(math.sqrt(sum((s - average) ** 2 for s in scores) / 4), rel=1e-9)


def test_one_repeated_image_scores_one():
    assert inception_score(torch.rand(1, 7).softmax(1).repeat(50, 1)).mean == pytest.approx(1, abs=1e-6)


def test_sure_and_even_predictions_score_the_number_of_classes():
    # Probabilities of exactly 0: the published code says NaN here.
    assert inception_score(torch.eye(6).repeat(10, 1), splits=5).mean == pytest.approx(6, rel=1e-12)


@pytest.mark.parametrize(
    ("probabilities", "message"),
    [
        (torch.full((5, 4), 0.25), "10 splits"),
        (torch.randn(20, 4), "class probabilities"),
        (torch.full((20, 4), float("nan")), "class probabilities"),
    ],
)
def test_refuses_what_is_no_set_of_probabilities(probabilities, message):
    with pytest.raises(ValueError, match=message):
        inception_score(probabilities)
