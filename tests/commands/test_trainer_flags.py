"""Lightning's Trainer, argument by argument: what works, what is made to, and what is refused by our own names."""

import inspect
from types import SimpleNamespace

import pytest
from jsonargparse import Namespace
from pytorch_lightning import Trainer

from attngan.commands.trainer_flags import REFUSED, settle_trainer, take_trial, told_of_trainer
from attngan.errors import InputError

#: Arguments that do here what Lightning says, tried one by one.
WORKING = {
    *("accelerator", "strategy", "devices", "num_nodes", "precision", "sync_batchnorm", "use_distributed_sampler"),
    *("max_epochs", "min_epochs", "max_time", "limit_train_batches", "overfit_batches"),
    *("callbacks", "plugins", "profiler", "detect_anomaly", "deterministic", "benchmark", "inference_mode"),
    *("log_every_n_steps", "enable_progress_bar", "enable_model_summary", "enable_autolog_hparams"),
    *("reload_dataloaders_every_n_epochs", "default_root_dir"),
}
#: Made to work in another way than Lightning's.
MADE_TO = {"max_steps", "fast_dev_run"}


def config(**trainer):
    defaults = {n: p.default for n, p in inspect.signature(Trainer).parameters.items()}
    ours = {"num_sanity_val_steps": 0}
    return Namespace(
        trainer=Namespace(**(defaults | ours | trainer)), budget=Namespace(steps=None), logger="tensorboard"
    )


def test_every_argument_of_the_trainer_is_accounted_for():
    named = {refused.name for refused in REFUSED}
    assert set(inspect.signature(Trainer).parameters) == WORKING | MADE_TO | named
    assert not (WORKING | MADE_TO) & named


@pytest.mark.parametrize("command", ["train", "pretrain"])
def test_what_nobody_asked_for_is_refused_by_nobody(command):
    settle_trainer(config(), command)


ASKED = {
    "accumulate_grad_batches": (4, "model.accumulate"),
    "gradient_clip_val": (0.5, "model.clip"),
    "gradient_clip_algorithm": ("norm", "model.clip"),
    "min_steps": (9, "leave it out"),
    "logger": (False, "--logger"),
    "enable_checkpointing": (False, "checkpoints"),
    "barebones": (True, "checkpoints"),
    "limit_predict_batches": (3, "predicted"),
    "model_registry": ("x", "the run's folder"),
    "limit_val_batches": (3, "quick.every_epochs"),
    "val_check_interval": (0.5, "quick.every_epochs"),
    "check_val_every_n_epoch": (2, "quick.every_epochs"),
    "num_sanity_val_steps": (2, "quick.every_epochs"),
    "limit_test_batches": (0.5, "attngan evaluate"),
}


@pytest.mark.parametrize("refused", REFUSED, ids=lambda refused: refused.name)
def test_what_cannot_work_is_refused_with_what_does(refused):
    value, told = ASKED[refused.name]
    with pytest.raises(InputError) as caught:
        settle_trainer(config(**{refused.name: value}), refused.command or "pretrain")
    assert str(caught.value).startswith(f"trainer.{refused.name} {value}: ")
    assert told in str(caught.value)
    if refused.command == "train":  # pretraining validates and tests
        settle_trainer(config(**{refused.name: value}), "pretrain")


@pytest.mark.parametrize("name", ["max_epochs", "limit_train_batches", "max_steps"])
def test_nothing_to_train_is_refused(name):
    with pytest.raises(InputError, match=rf"trainer\.{name} is 0: nothing would be trained"):
        settle_trainer(config(**{name: 0}), "train")


@pytest.mark.parametrize(("asked", "budget", "steps"), [(9, None, 9), (9, 5, 5), (9, 50, 9)])
def test_max_steps_counts_batches(asked, budget, steps):
    given = config(max_steps=asked)
    given.budget.steps = budget
    settle_trainer(given, "train")
    assert (given.budget.steps, given.trainer.max_steps, given.trainer.max_epochs) == (steps, -1, -1)


def test_max_steps_leaves_the_epochs_that_were_asked_for():
    given = config(max_steps=9, max_epochs=2)
    settle_trainer(given, "train")
    assert given.trainer.max_epochs == 2


@pytest.mark.parametrize(("asked", "batches"), [(True, 1), (7, 7), (False, 0)])
def test_a_trial_is_so_many_batches_of_everything(asked, batches):
    given = config(fast_dev_run=asked, max_epochs=50)
    assert take_trial(given, "pretrain") == batches
    assert given.trainer.fast_dev_run is False
    if batches:
        limits = given.trainer.limit_train_batches, given.trainer.limit_val_batches, given.trainer.limit_test_batches
        assert limits == (batches,) * 3
        assert (given.trainer.max_epochs, given.logger) == (1, "none")
    else:
        assert given.trainer.max_epochs == 50
        assert given.logger == "tensorboard"


def test_no_gpu_is_told_with_what_does():
    asked = SimpleNamespace(trainer=SimpleNamespace(accelerator="gpu", devices=2, strategy="auto"))
    told = told_of_trainer(ValueError("No supported gpu backend found!"), asked)
    assert told.startswith("trainer.accelerator gpu (devices 2): this machine has none that torch can use (No supp")
    assert told.endswith("trainer.accelerator=cpu")
    assert told_of_trainer(ValueError("two\n  lines"), asked) == "trainer: two lines"
    lacking = told_of_trainer(ModuleNotFoundError("Requirement 'torch_xla' not met."), asked)
    assert lacking.startswith("trainer.accelerator gpu, strategy auto: a package that it needs is not installed (Req")
