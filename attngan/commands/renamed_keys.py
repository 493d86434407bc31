"""Keys of recipes that have another name now: an older run's config.yaml gets told which, instead of "unknown key"."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from attngan.bounded import read_recipe
from attngan.errors import InputError

#: Old key of `attngan train`'s recipes to the new one.
RENAMED = {
    "model.learning_rate_generator": "model.rates.generator",
    "model.learning_rate_discriminator": "model.rates.discriminator",
    "model.learning_rate_fall": "model.rates.fall",
    "model.learning_rate_halved_every": "model.rates.halved_every",
    "model.betas": "model.rates.betas",
    "model.ema_decay": "model.ema.decay",
    "model.ema_warmup": "model.ema.warmup",
    "model.ema_buffers": "model.ema.buffers",
    "model.r1": "model.r1.weight",
    "model.r1_every": "model.r1.every",
}


def refuse_renamed_keys(arguments: Sequence[str]) -> None:
    """Reads the command line, and the recipes that it names, for keys of before.

    Args:
        arguments: Command line of `attngan train`.

    Raises:
        InputError: There is one or more; names them all, with their new names.
    """
    found = []
    for at, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        value = value if equals else (arguments[at + 1] if at + 1 < len(arguments) else "")
        if name == "--config" and Path(value).is_file():
            found += [f"{value}: {old}" for old in _old_keys(read_recipe(Path(value)))]
        elif name.startswith("--") and name[2:] in RENAMED:
            found.append(name)
    if found:
        told = [f"{place} (did you mean {RENAMED[place.rpartition(' ')[2].removeprefix('--')]}?)" for place in found]
        raise InputError(f"keys that have another name now: {', '.join(told)}")


def _old_keys(recipe: Any) -> Iterator[str]:
    for old in RENAMED:
        section, _, name = old.partition(".")
        values = recipe.get(section) if isinstance(recipe, dict) else None
        # a group may have the name that a number had: r1
        if isinstance(values, dict) and name in values and not isinstance(values[name], dict):
            yield old
