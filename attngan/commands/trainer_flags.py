"""Arguments of Lightning's Trainer one by one: those that cannot work here are made to, or refused by our own names."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from attngan.errors import InputError


class Refused(NamedTuple):
    """An argument that is refused unless it has one of the values that mean nothing was asked for.

    ``told`` says why and what to use instead; ``command`` is the only one that it is refused of, if not both.
    """

    name: str
    nothing: Sequence[object]
    told: str
    command: str | None = None


NO_VALIDATION = "attngan train validates by scores, and by epochs: quick.every_epochs=N"
#: None of these may be passed over in silence: what they ask for would not happen.
REFUSED = (
    Refused("accumulate_grad_batches", (1, None), "gradients are accumulated by model.accumulate=N"),
    Refused("gradient_clip_val", (None, 0), "gradients are clipped by model.clip=X"),
    Refused("gradient_clip_algorithm", (None,), "gradients are clipped by their norm: model.clip=X"),
    Refused("min_steps", (None,), "nothing ends a run before a step that is asked for: leave it out"),
    Refused("logger", (None, True), "the logger is chosen by --logger tensorboard, csv, wandb or none"),
    Refused("enable_checkpointing", (None, True), "a run without checkpoints leaves nothing: leave it out"),
    Refused("barebones", (False, None), "it leaves out checkpoints and logs, without which a run leaves nothing"),
    Refused("limit_predict_batches", (None, 1.0), "nothing is predicted here: leave it out"),
    Refused("model_registry", (None,), "checkpoints go into the run's folder: leave it out"),
    Refused("limit_val_batches", (None, 1.0), NO_VALIDATION, "train"),
    Refused("val_check_interval", (None, 1.0), NO_VALIDATION, "train"),
    Refused("check_val_every_n_epoch", (1, None), NO_VALIDATION, "train"),
    Refused("num_sanity_val_steps", (0, None), NO_VALIDATION, "train"),
    Refused("limit_test_batches", (None, 1.0), "attngan train tests nothing: attngan evaluate does", "train"),
)
#: Arguments of which 0 leaves nothing to train.
VOID_AT_ZERO = ("max_epochs", "limit_train_batches", "max_steps")


def settle_trainer(config: Any, command: str) -> None:
    """Refuses what cannot work, and takes ``max_steps`` as the budget's, which counts batches and not optimisers.

    Args:
        config: The parsed recipe, with groups ``trainer`` and ``budget``; changed in place.
        command: "train" or "pretrain".

    Raises:
        InputError: An argument cannot work; one line says which, and what does.
    """
    trainer = config.trainer
    for name in VOID_AT_ZERO:
        value = trainer.get(name)
        if value == 0 and not isinstance(value, bool):
            raise InputError(f"trainer.{name} is 0: nothing would be trained")
    for refused in REFUSED:
        value = trainer.get(refused.name)
        if refused.command in (None, command) and not any(value is n or value == n for n in refused.nothing):
            raise InputError(f"trainer.{refused.name} {value}: {refused.told}")
    if trainer.deterministic:
        trainer.benchmark = None  # kernels chosen by timing are not always the same ones
    if trainer.max_steps not in (-1, None):
        # Lightning counts a step of each optimiser: 9 would be 3 batches of a GAN with two discriminators
        config.budget.steps = min(trainer.max_steps, config.budget.steps or trainer.max_steps)
        trainer.max_steps = -1
        if trainer.max_epochs is None:
            trainer.max_epochs = -1


def take_trial(config: Any, command: str) -> int:
    """``trainer.fast_dev_run``: so many batches of everything, of which nothing is kept.

    Lightning's own counts the steps of each optimiser, and leaves a run without the checkpoint that is tested.

    Args:
        config: The parsed recipe; changed in place.
        command: "train" or "pretrain".

    Returns:
        How many batches; 0 where no trial is asked for.
    """
    trainer = config.trainer
    batches = int(trainer.fast_dev_run)
    if batches:
        trainer.fast_dev_run = False
        trainer.max_epochs, trainer.limit_train_batches = 1, batches
        if command == "pretrain":
            trainer.limit_val_batches = trainer.limit_test_batches = batches
        config.logger = "none"
    return batches


def told_of_trainer(error: Exception, config: Any) -> str:
    """What Lightning refuses, in a line that names the key of the recipe.

    Args:
        error: Lightning's.
        config: The parsed recipe.
    """
    text = " ".join(str(error).split())
    accelerator = config.trainer.accelerator
    if "accelerator" in text.lower() or "gpu backend" in text or "CUDA" in text or "MPS" in text:
        return (
            f"trainer.accelerator {accelerator} (devices {config.trainer.devices}): this machine has none that torch "
            f"can use ({text.rstrip('.!')}): leave it out, or trainer.accelerator=cpu"
        )
    if isinstance(error, ImportError):
        asked = f"accelerator {accelerator}, strategy {config.trainer.strategy}"
        lacks = text.rstrip(".")
        return f"trainer.{asked}: a package that it needs is not installed ({lacks}): install it, or leave it out"
    return f"trainer: {text}"
