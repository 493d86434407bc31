"""The trainer's data by their type, which Lightning leaves open."""

from typing import cast

from pytorch_lightning import Trainer

from attngan.data.datamodule import TextImageDataModule


def data_of(trainer: Trainer) -> TextImageDataModule:
    """What ``trainer`` was given as its datamodule."""
    return cast(TextImageDataModule, trainer.datamodule)  # type: ignore[attr-defined]  # set when it starts
