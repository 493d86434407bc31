"""`attngan evaluate`: images of a checkpoint, a folder or a zip to scores that say how they were computed."""

from attngan.evaluation.command import evaluate

__all__ = ["evaluate"]
