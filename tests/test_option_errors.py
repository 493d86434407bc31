"""Errors of jsonargparse in one line: the cause, and what was meant."""

import sys

import pytest
from jsonargparse import ArgumentParser

from attngan.errors import UsageError
from attngan.option_errors import Refusal, meant, refusal_of, with_underscores

KNOWN = ["model.kl", "model.matching", "data.root", "seed", "samples_per_caption"]


@pytest.mark.parametrize(
    ("message", "key", "told"),
    [
        ("unrecognized arguments: --sed 3", "", "there is no option --sed: did you mean --seed?"),
        ("unrecognized arguments: --samples=3", "", "there is no option --samples"),
        ("unrecognized arguments: --seed 3", "", "--seed is not written: its values stand without it"),
        ("unrecognized arguments: birds", "", "what is 'birds'? It belongs to no option"),
        (
            "Group 'model' does not accept option 'matchng'",
            "model.matchng",
            "there is no such key: did you mean model.mat",
        ),
        ("the following arguments are required: data.root, x", "", "missing: data.root, x"),
        ("argument --seed: expected one argument", "", "--seed lacks its value"),
        ("Parser key \"count\":\n  Expected a <class 'int'>. Got value: many", "count", "'many' is not a whole number"),
        (
            "Parser key \"model.adversarial\":\n  Expected a typing.Literal['bce', 'hinge']. Got value: hing",
            "model.adversarial",
            "'hing' is not one of 'bce', 'hinge': did you mean hinge?",
        ),
        (
            'Parser key "a.b":\n  Does not validate against any of the Union subtypes\n  Subtypes: [...]\n  Errors:\n'
            "    - Expected a <class 'int'>\n    - Expected a <class 'NoneType'>\n  Given value type: <class 'str'>\n"
            "  Given value: ten",
            "a.b",
            "'ten' is not a whole number or null",
        ),
        (
            "Parser key \"model.generator\":\n  Problem with given class_path 'attngan.networks.dfgan.DFGenerator':\n"
            "    Parser key \"width\":\n      Expected a <class 'int'>. Got value: x",
            "model.generator.init_args.width",
            "'x' is not a whole number",
        ),
        ("Parser key \"config\": File does not exist: '/x/y.yaml'", "", "there is no file /x/y.yaml"),
        ("something\n  quite   else", "", "something quite else"),
    ],
)
def test_causes(message, key, told):
    found = refusal_of(message, KNOWN)
    assert found.key == key
    assert found.told.startswith(told)
    assert "\n" not in found.told


def test_a_misspelt_argument_of_a_class():
    import attngan.networks.dfgan  # noqa: F401 - jsonargparse has imported the class that it looked at

    name = "attngan.networks.dfgan"
    cls = next(n for n in dir(sys.modules[name]) if n.endswith("Generator") and n != "Generator")
    message = (
        f"Parser key \"model.generator\":\n  Problem with given class_path '{name}.{cls}':\n    Option 'widht' is not"
    )
    assert refusal_of(f"{message} accepted") == Refusal(
        "model.generator.init_args.widht", f"there is no such argument of {cls}: did you mean width?"
    )
    missing = (
        f"Parser key \"model.generator\":\n  Problem with given class_path 'x':\n    module '{name}' has no attribute"
    )
    assert refusal_of(f"{missing} '{cls[:-1]}'").told == f"{name} has no {cls[:-1]}: did you mean {cls}?"


def test_a_long_value_is_cut():
    told = refusal_of(f"Parser key \"x\":\n  Expected a <class 'int'>. Got value: {'y' * 500}").told
    assert len(told) < 120


def test_nothing_alike_is_not_meant():
    assert meant("zebra", KNOWN) == ""


def test_either_spelling():
    assert with_underscores("--samples-per-caption=a-b") == "--samples_per_caption=a-b"
    assert with_underscores("a-b") == "a-b"
    assert with_underscores("-c") == "-c"


def test_the_messages_are_still_those_of_jsonargparse():
    """They are read by their words: a version that says it otherwise is noticed here, not by a user."""
    from argparse import ArgumentError

    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--group.count", type=int | None)
    for arguments, key in ((["--group.count", "x"], "group.count"), (["--group.cuont", "3"], "")):
        with pytest.raises(ArgumentError) as caught:
            parser.parse_args(arguments)
        found = refusal_of(caught.value.message, ["group.count"], arguments)
        assert found.key == key
        assert ("whole number or null" if key else "did you mean --group.count?") in found.told


def test_a_usage_error_ends_as_argparse_does():
    assert UsageError("x").exit_code == 2
