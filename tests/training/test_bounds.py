"""Numbers that no training can use are refused by the name of their key."""

import pytest

from attngan.cli import main
from tests.conftest import REPOSITORY
from tests.tiny import write_damsm


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--seed_everything", "-5", "seed_everything is -5: it must be between 0 and"),
        ("--model.rates.generator", "-1", "model.rates.generator is -1: it must be at least 0"),
        (
            "--model.rates.betas",
            "[0.5,1.0]",
            "model.rates.betas is [0.5, 1.0]: each must be at least 0 and less than 1",
        ),
        ("--model.ema.decay", "1.5", "model.ema.decay is 1.5: it must be between 0 and 1"),
        ("--model.r1.every", "0", "model.r1.every is 0: it must be at least 1"),
        ("--model.matching", "-2", "model.matching is -2: it must be at least 0"),
    ],
)
def test_a_number_out_of_bounds_in_a_recipe_is_one_line(
    option, value, told, toy_root, toy_vocabulary, tmp_path, capsys
):
    damsm = write_damsm(tmp_path / "damsm.ckpt", toy_vocabulary)
    recipe = str(REPOSITORY / "configs" / "toy" / "attngan.yaml")
    asked = ["train", "--config", recipe, "--data.root", str(toy_root), "--model.damsm", str(damsm)]
    # jsonargparse ends the program for a group's argument; any other exception is a traceback, and fails here
    try:
        code = main([*asked, "--run_dir", str(tmp_path / "run"), option, value])
    except SystemExit as ended:
        code = ended.code
    assert code in (1, 2)
    assert told in " ".join(capsys.readouterr().err.split())
