"""Training from Python: the functions that `attngan pretrain` and `attngan train` call."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attngan import stopping
from attngan.bounded import read_recipe
from attngan.commands import train as recipes
from attngan.commands.run_folder import (
    CHECKPOINTS,
    CONFIG,
    LAST,
    RESUME,
    RUN_DIR,
    default_run_dir,
    folder_of,
    spelled_out,
)
from attngan.errors import InputError
from attngan.option_errors import with_underscores

if TYPE_CHECKING:
    from pytorch_lightning import Callback


@dataclass(frozen=True)
class Run:
    """A run that was trained.

    Args:
        folder: Where it lies: config.yaml, checkpoints, pictures, logs.
        exit_code: What the command line ends with; not 0 where one of several processes failed, which said why.
    """

    folder: Path
    exit_code: int = 0

    @property
    def last(self) -> Path:
        """The checkpoint of its end, to go on with; `attngan.sample` and `attngan.evaluate` take it too."""
        return self.folder / CHECKPOINTS / LAST

    @property
    def best(self) -> Path:
        """The best checkpoint by validation; where none was chosen the last one."""
        best = self.folder / CHECKPOINTS / "best.ckpt"
        return best if best.is_file() else self.last

    @property
    def test_scores(self) -> dict[str, float]:
        """Scores on the test split, of a pretraining; empty where there are none."""
        path = self.folder / "test_scores.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def pretrain(
    config: str | Path | None = None,
    *,
    arguments: Sequence[str] = (),
    callbacks: Sequence["Callback"] = (),
    **keys: Any,
) -> Run:
    """Trains the DAMSM from a recipe, then scores it on the test split.

    ``attngan.pretrain("toy/damsm", run_dir="runs/damsm", data={"root": "birds"}, trainer={"max_epochs": 5})``

    Args:
        config: The recipe: a name that `attngan recipes` lists, or a YAML file. None where ``resume`` names a run.
        arguments: What else the command line would say; it overrides the recipe and ``keys``.
        callbacks: Lightning's, which are told of the training; it then has one device.
        keys: Keys of the recipe, which override it, groups as dicts; also ``run_dir``, ``resume``, ``init_from``,
            ``logger`` and ``trust``.

    Returns:
        The run.

    Raises:
        AttnganError: Something in the recipe, the keys or the data cannot be used; says which and what to do.
        SystemExit: It was asked to stop (Ctrl-C), and wrote a checkpoint to go on with.
    """
    return _run("pretrain", recipes.pretrain, config, keys, arguments, callbacks)


def train(
    config: str | Path | None = None,
    *,
    arguments: Sequence[str] = (),
    callbacks: Sequence["Callback"] = (),
    **keys: Any,
) -> Run:
    """Trains a generator from a recipe; otherwise as `pretrain`.

    ``attngan.train("toy/attngan", model={"damsm": "runs/damsm/checkpoints/best.ckpt"}, budget={"minutes": 10})``
    """
    return _run("train", recipes.train, config, keys, arguments, callbacks)


def _run(
    command: str,
    trainer: Callable[[list[str], Sequence["Callback"]], Any],
    config: str | Path | None,
    keys: Mapping[str, Any],
    arguments: Sequence[str],
    callbacks: Sequence["Callback"],
) -> Run:
    # pytorch-lightning calls jsonargparse by names that it has given up: nothing for the user to mend
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    words = [*([] if config is None else [CONFIG, str(config)]), *as_arguments(keys), *arguments]
    with stopping.listening():
        exit_code = trainer(words, callbacks)
    return Run(run_dir_of(words, command), exit_code or 0)


def as_arguments(keys: Mapping[str, Any], within: str = "") -> Iterator[str]:
    """Keys of a recipe as the command line has them: ``{"data": {"root": "x"}}`` becomes ``--data.root=x``.

    Args:
        keys: Dicts in dicts; a tuple or list, null, true and numbers are written as YAML has them.
        within: The group that they are of, with a dot behind.

    Raises:
        InputError: A value of a kind that no recipe has.
    """
    for name, value in keys.items():
        if isinstance(value, Mapping) and value:
            yield from as_arguments(value, f"{within}{name}.")
        else:
            yield f"--{within}{name}={_as_yaml(f'{within}{name}', value)}"


def _as_yaml(key: str, value: Any) -> str:
    if isinstance(value, str | Path):
        return str(value)
    try:
        return json.dumps(value, default=lambda other: str(other) if isinstance(other, Path) else _refuse(key, other))
    except ValueError as error:  # it holds itself
        raise InputError(f"{key}: {error}") from error


def _refuse(key: str, value: object) -> None:
    raise InputError(
        f"{key} is a {type(value).__name__}: a recipe has text, numbers, lists and dicts (a class by its class_path)"
    )


def run_dir_of(arguments: Sequence[str], command: str) -> Path:
    """Where the run of a command line lies.

    Args:
        arguments: Those of a recipe's command.
        command: "train" or "pretrain".
    """
    words = spelled_out([with_underscores(argument) for argument in arguments])
    given, folder = [Path(value) for word, value in pairwise(words) if word == CONFIG], None
    for word, value in pairwise(words):
        if word == CONFIG and Path(value).is_file():
            folder = (read_recipe(Path(value)) or {}).get("run_dir") or folder
        elif word == RUN_DIR:
            folder = value
        elif word == RESUME and folder is None:
            folder = folder_of(Path(value)) or value
    return Path(folder) if folder else default_run_dir(given, command)
