"""What the commands' tests share with those of the evaluation that they run."""

from tests.evaluation.conftest import sampler, scorer_file, vocabulary

__all__ = ["sampler", "scorer_file", "vocabulary"]
