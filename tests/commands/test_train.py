"""What the command line of a recipe makes of its options."""

from typing import Optional, Union

from pytorch_lightning import Trainer
from pytorch_lightning.cli import LightningArgumentParser

from attngan.commands.train import read_batches_as_whole_numbers


def test_a_limit_of_one_batch_is_one_whatever_was_imported_before():
    parser = LightningArgumentParser()
    parser.add_lightning_class_args(Trainer, "trainer")
    names = ("trainer.limit_train_batches", "trainer.val_check_interval")
    for action in parser._actions:
        if action.dest in names:  # as it is where another package wrote the union in this order first
            action._typehint = Optional[Union[float, int]]  # noqa: UP007, UP045
    assert isinstance(parser.parse_args(["--trainer.limit_train_batches", "1"]).trainer.limit_train_batches, float)
    read_batches_as_whole_numbers(parser)
    limits = ["--trainer.limit_train_batches", "1", "--trainer.limit_val_batches", "0.5"]
    read = parser.parse_args([*limits, "--trainer.val_check_interval", "3"]).trainer
    assert isinstance(read.limit_train_batches, int)
    assert isinstance(read.val_check_interval, int)
    assert read.limit_val_batches == 0.5
