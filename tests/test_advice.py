"""What a message advises exists: options, commands, keys of recipes, extras."""

import ast
import importlib
import inspect
import re
from collections.abc import Iterator

import pytest
import tomllib
from pytorch_lightning import Trainer

from attngan.cli import COMMANDS, RECIPES
from attngan.data.datamodule import TextImageDataModule
from attngan.training.callbacks import Budget, KeepLast, RunCheckpoints
from attngan.training.damsm_module import DAMSMModule
from attngan.training.gan_module import GANModule
from attngan.training.pictures import TrainingPictures
from attngan.training.quick_evaluation import QuickEvaluation
from tests.conftest import REPOSITORY

SOURCES = sorted((REPOSITORY / "attngan").rglob("*.py"))
#: What stands before the dot of a recipe's key.
GROUPS = {
    "model": (GANModule, DAMSMModule),
    "data": (TextImageDataModule,),
    "trainer": (Trainer,),
    "quick": (QuickEvaluation,),
    "pictures": (TrainingPictures,),
    "budget": (Budget,),
    "checkpoints": (RunCheckpoints,),
    "last": (KeepLast,),
}
#: Options of other programs, and of `attngan` itself.
OTHERS = {"--help", "--version", "--print_config"}


def spoken(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every text in a call, docstrings and comments aside, with its line; what a message puts in stands as ``{}``."""
    for call in ast.walk(tree):
        if isinstance(call, ast.Call):
            for argument in (*call.args, *(keyword.value for keyword in call.keywords)):
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield call.lineno, argument.value
                elif isinstance(argument, ast.JoinedStr):
                    parts = (part.value if isinstance(part, ast.Constant) else "{}" for part in argument.values)
                    yield call.lineno, "".join(map(str, parts))


def arguments(kinds) -> set[str]:
    return {name for kind in kinds for name in inspect.signature(kind.__init__).parameters}


def known_options() -> set[str]:
    options = {"config", "resume", "run_dir", "logger", "trust", "init_from", "keep", "seed_everything", "help_all"}
    for name, command in COMMANDS.items():
        if name not in RECIPES:
            function = getattr(importlib.import_module(command.module), command.function)
            options |= set(inspect.signature(function).parameters)
    return options


def wrong_advice(text: str, options: set[str]) -> list[str]:
    """What a text names and is not there."""
    wrong = []
    for option in re.findall(r"(?<![\w-])--[a-zA-Z][\w.-]*", text):
        name = option[2:].rstrip(".-").replace("-", "_")
        group, _, rest = name.partition(".")
        if option.endswith(".") and group in GROUPS:  # all options of a group
            continue
        if rest:
            if group not in GROUPS or rest.partition(".")[0] not in arguments(GROUPS[group]):
                wrong.append(option)
        elif option not in OTHERS and name not in options and f"--{name}" not in OTHERS:
            wrong.append(option)
    for group, key in re.findall(rf"(?<![\w./-])({'|'.join(GROUPS)})\.([a-z_]+)\b(?!\()", text):
        if key.endswith("_"):  # a name that goes on in what the message puts in
            continue
        if key not in {"ckpt", "yaml", "jsonl", "csv", "json", "py", "md", "pth", "pkl"} and key not in arguments(
            GROUPS[group]
        ):
            wrong.append(f"{group}.{key}")
    for command in re.findall(r"(?:`|: |with |of )attngan ([a-z][\w-]*)", text):
        if command not in COMMANDS:
            wrong.append(f"attngan {command}")
    return wrong


@pytest.fixture(scope="module")
def options():
    return known_options()


def test_what_messages_name_is_there(options):
    found = [
        f"{file.relative_to(REPOSITORY)}:{line}: {wrong}"
        for file in SOURCES
        for line, text in spoken(ast.parse(file.read_text()))
        for wrong in wrong_advice(text, options)
    ]
    assert not found


def test_extras_named_in_messages_are_extras():
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {
        extra for file in SOURCES for extra in re.findall(r"attngan\[(\w+)\]", file.read_text()) if extra != "extra"
    }
    assert named
    assert named <= extras.keys()


def test_advice_that_does_not_exist_is_found(options):
    for text, wrong in (
        ("raise it with --no-such-option N", ["--no-such-option"]),
        ("set data.bach_size=2", ["data.bach_size"]),
        ("make one with `attngan make-classifier`", ["attngan make-classifier"]),
        ("--model.generators.x", ["--model.generators.x"]),
        ("give --samples-per-caption 3, data.batch_size, --trainer.max_epochs 2: attngan train", []),
    ):
        assert wrong_advice(text, options) == wrong, text
    (told,) = spoken(ast.parse("raise InputError(f'{path}: use --x')"))
    assert told == (1, "{}: use --x")
