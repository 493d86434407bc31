"""What the command line of a recipe makes of its options."""

import csv
from typing import Optional, Union

import pytest
import yaml
from pytorch_lightning import Trainer
from pytorch_lightning.cli import LightningArgumentParser
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import attngan
from attngan.checkpoint import ENTRY, read_checkpoint
from attngan.cli import main
from attngan.commands.train import read_batches_as_whole_numbers
from attngan.data.datamodule import TextImageDataModule
from tests.tiny import gan_recipe, write_damsm, write_recipe


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


@pytest.fixture
def recipe(toy_root, tmp_path):
    data = TextImageDataModule(str(toy_root), image_size=16, stages=1, workers=0)
    data.setup()
    damsm = write_damsm(tmp_path / "damsm.ckpt", data.vocabulary)
    return write_recipe(tmp_path / "mine.yaml", gan_recipe(toy_root, tmp_path / "run", damsm))


def test_max_steps_are_batches_and_the_log_tells_rates_norms_and_the_recipe(recipe, capsys):
    run = recipe.parent / "run"
    options = ["--trainer.max_steps", "3", "--logger", "tensorboard", "--trainer.log_every_n_steps", "1"]
    assert main(["train", f"--config={recipe}", *options]) == 0
    assert read_checkpoint(run / "checkpoints" / "last.ckpt")[ENTRY]["steps"] == 3
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "Seed set" not in printed.out
    assert "weights_only" not in printed.out
    events = EventAccumulator(str(run)).Reload()
    tags = set(events.Tags()["scalars"])
    rates = {"learning_rate/generator", "learning_rate/discriminator"}
    assert rates | {"generator/gradient_norm", "discriminator_16/gradient_norm"} <= tags
    assert [event.step for event in events.Scalars("generator/gradient_norm")] == [0, 1, 2]
    written = yaml.safe_load((run / "hparams.yaml").read_text())
    assert written["model"]["kl"] == 1.0
    assert written["data"]["source"] == "cub"


def test_a_table_of_what_is_logged_goes_on_with_the_run(recipe):
    run = recipe.parent / "run"
    options = ["--logger", "csv", "--trainer.log_every_n_steps", "1"]
    assert main(["train", "-c", str(recipe), "--budget.steps", "2", *options]) == 0
    assert main(["train", "--resume", str(run), "--budget.steps", "4", "--trainer.max_epochs", "5"]) == 0
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["0", "1", "2", "3"]
    assert all(float(row["generator/loss"]) for row in rows)
    assert [float(row["share_done"]) for row in rows] == [0.5, 1.0, 0.75, 1.0]
    assert (run / "config.yaml").read_text().startswith(f"# attngan {attngan.__version__}, Python ")


def test_a_run_that_is_gone_on_with_takes_new_learning_rates(recipe):
    run = recipe.parent / "run"
    options = ["--logger", "csv", "--trainer.log_every_n_steps", "1", "--trainer.max_epochs", "9"]
    assert main(["train", "-c", str(recipe), "--budget.steps", "1", *options]) == 0
    assert main(["train", "--resume", str(run), "--budget.steps", "2", "--model.rates.discriminator", "3e-5"]) == 0
    with (run / "metrics.csv").open(newline="") as file:
        rates = [float(row["learning_rate/discriminator"]) for row in csv.DictReader(file)]
    assert rates == pytest.approx([2e-4, 3e-5])


def test_a_trial_keeps_nothing(recipe, capsys):
    assert main(["train", "--config", str(recipe), "--trainer.fast_dev_run", "2"]) == 0
    assert "the trial of 2 batches ran through" in capsys.readouterr().out
    assert {path.name for path in recipe.parent.iterdir()} == {"damsm.ckpt", "mine.yaml"}


def test_what_lightning_cannot_do_is_one_line(recipe, capsys):
    for options, told in (
        (["--trainer.accumulate_grad_batches", "2"], "model.accumulate=N"),
        (["--trainer.accelerator", "tpu"], "trainer.accelerator tpu"),
        (["--data.batch_size", "55", "--data.drop_last", "false"], "data.drop_last=true"),
    ):
        assert main(["train", "--config", str(recipe), *options]) == 1
        printed = capsys.readouterr().err
        assert told in printed
        assert printed.count("\n") == 1
