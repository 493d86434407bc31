"""``--help`` in a blink: read from the source, the same as the signatures, and no torch."""

import importlib
import inspect
import re
import subprocess
import sys

import pytest

from attngan.cli import COMMANDS, RECIPES, main
from attngan.data.datamodule import TextImageDataModule
from attngan.evaluation.metric_table import in_order
from attngan.short_help import EXAMPLES, GROUPS, LOGGERS, RUN, TRAINER, short_help
from attngan.signatures import PACKAGE, declared_metrics, documented
from attngan.training.callbacks import Budget, KeepLast, RunCheckpoints
from attngan.training.damsm_module import DAMSMModule
from attngan.training.gan_module import GANModule
from attngan.training.pictures import TrainingPictures
from attngan.training.quick_evaluation import QuickEvaluation

CLASSES = [
    DAMSMModule,
    GANModule,
    TextImageDataModule,
    Budget,
    KeepLast,
    RunCheckpoints,
    TrainingPictures,
    QuickEvaluation,
]


@pytest.fixture(params=list(COMMANDS))
def shown(request, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main([request.param, "--help"]) == 0
    return request.param, capsys.readouterr().out


def test_help_fits_80_columns_and_begins_with_an_example(shown):
    name, printed = shown
    lines = printed.splitlines()
    assert lines[0].startswith(f"usage: attngan {name}")
    wide = [line for line in lines if len(line) > 80 and EXAMPLES[name] not in line]
    assert not wide
    assert f"  {EXAMPLES[name]}" in lines[:15]
    assert f"attngan {name} --help-all" in lines[-1]


def test_every_example_has_a_command():
    assert set(EXAMPLES) == set(COMMANDS)


def test_the_source_says_what_the_signature_says(shown):
    name, printed = shown
    if name in RECIPES:
        return
    command = COMMANDS[name]
    found = documented(command.module, command.function)
    parameters = inspect.signature(getattr(importlib.import_module(command.module), command.function)).parameters
    assert [argument.name for argument in found.arguments] == list(parameters)
    for argument in found.arguments:
        assert (argument.default is None) == (parameters[argument.name].default is inspect.Parameter.empty)
        assert argument.help
        assert argument.value
    options = re.findall(r"^  --(\w+)", printed, flags=re.MULTILINE)
    assert options == [n for n in parameters if n not in command.positional]


@pytest.mark.parametrize("cls", CLASSES)
def test_the_source_says_what_a_class_takes(cls):
    found = documented(cls.__module__, cls.__name__)
    assert [argument.name for argument in found.arguments] == [n for n in inspect.signature(cls).parameters]
    assert all(argument.help for argument in found.arguments)


def test_the_groups_are_those_of_the_recipes():
    places = [place for of in GROUPS.values() for place in (of.values() if isinstance(of, dict) else [of])]
    assert {name for _, name in places} == {cls.__name__ for cls in CLASSES}
    assert all(module == cls.__module__ for module, name in places for cls in CLASSES if cls.__name__ == name)


def test_nested_groups_and_choices_are_resolved(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["train", "--help"]) == 0
    printed = capsys.readouterr().out
    for option in ("--model.rates.generator X", "--model.r1.weight X", "--model.ema.buffers averaged|published"):
        assert f"  {option}" in printed
    assert "--model.adversarial bce|bce sum|hinge" in printed
    for name in (*RUN, *(f"trainer.{argument}" for argument in TRAINER), "quick.every_epochs", "budget.steps"):
        assert f"  --{name} " in printed
    assert "--pictures" not in short_help_of("pretrain", capsys)


def short_help_of(name, capsys):
    assert main([name, "--help"]) == 0
    return capsys.readouterr().out


def test_the_metrics_are_those_that_are_declared():
    own = {declared.name for declared in in_order() if declared.function.__module__.startswith("attngan.metrics.")}
    assert set(declared_metrics()) == own
    told = short_help("evaluate", "attngan.commands.evaluate", "evaluate", ())
    assert all(name in told for name in own)
    assert "METRICS" not in told


def test_every_module_of_the_help_is_there():
    for of in GROUPS.values():
        for module, _ in of.values() if isinstance(of, dict) else [of]:
            assert (PACKAGE / "/".join(module.split(".")[1:])).with_suffix(".py").is_file()


def test_no_help_imports_torch():
    code = (
        "import sys; from attngan.cli import COMMANDS, main\n"
        "for name in COMMANDS: assert main([name, '--help']) == 0\n"
        "print(sorted({'torch', 'pytorch_lightning', 'jsonargparse', 'numpy', 'rich'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert ran.stdout.splitlines()[-1] == "[]"


def test_loggers():
    assert LOGGERS == ("tensorboard", "csv", "wandb", "none")
