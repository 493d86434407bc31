"""`attngan compare`: recipes trained and scored alike; what is done is not done again, what differs is refused."""

import copy
import json
import math
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from attngan.bounded import read_recipe
from attngan.checkpoint import ENTRY, read_checkpoint
from attngan.cli import COMMANDS
from attngan.commands.compare import best_rows, compare, markdown, over_seeds, strengths
from attngan.commands.compare_runs import (
    NOTE,
    Plan,
    Run,
    _arguments,
    compared_recipes,
    default_recipes,
    first_stage_keys,
)
from attngan.text.vocabulary import Vocabulary
from tests.commands.test_evaluate import EXTRACTOR
from tests.tiny import EMBED, SIDES, gan_recipe, write_damsm, write_recipe


@pytest.fixture(scope="module")
def damsm(toy_root, tmp_path_factory):
    from attngan.data.datamodule import TextImageDataModule

    data = TextImageDataModule(str(toy_root), image_size=16, stages=1)
    data.setup()
    assert isinstance(data.vocabulary, Vocabulary)
    return write_damsm(tmp_path_factory.mktemp("damsm") / "damsm.ckpt", data.vocabulary)


def bare(recipe):
    """Without what the command gives: folder, data, DAMSM."""
    recipe = copy.deepcopy(recipe)
    del recipe["run_dir"]
    recipe["data"]["root"] = "nowhere"
    if "damsm" in recipe["model"]:
        recipe["model"]["damsm"] = "nowhere"
    return recipe


@pytest.fixture(scope="module")
def recipes(tmp_path_factory):
    """AttnGAN, StackGAN's two stages, StackGAN++ without text; the smallest there are."""
    folder = tmp_path_factory.mktemp("recipes")
    attngan = bare(gan_recipe(folder, folder, folder))

    def other(generator, resolutions, embed, model=None, data=None):
        recipe = copy.deepcopy(attngan)
        recipe["model"]["generator"] = generator
        recipe["model"]["discriminators"]["init_args"] |= {"resolutions": resolutions, "embed_dim": embed}
        recipe["model"] |= {"matching": 0.0, **(model or {})}
        recipe["data"] |= {"image_size": resolutions[-1], "stages": len(resolutions), **(data or {})}
        return recipe

    stage1 = other(
        {
            "class_path": "attngan.networks.stackgan.StackGANGenerator",
            "init_args": {"base_size": 8, "width": 4, "embed_dim": EMBED, "noise_dim": 4, "condition_dim": 4},
        },
        [8],
        4,
        {"condition": "detached mean"},
    )
    stage2 = other(
        {
            "class_path": "attngan.networks.stackgan.StackGANStage2Generator",
            "init_args": {
                "stage1": {"class_path": "attngan.checkpoint.trained_generator", "init_args": {"checkpoint": "none"}},
                "width": 4,
                "embed_dim": EMBED,
                "condition_dim": 4,
                "residual_blocks": 1,
            },
        },
        [32],
        4,
        {"condition": "detached mean"},
    )
    init = {"stages": 2, "base_size": SIDES[0], "width": 4, "embed_dim": None, "noise_dim": 4, "residual_blocks": 1}
    without = other(
        {"class_path": "attngan.networks.multistage.StackGANPlusPlusGenerator", "init_args": init},
        list(SIDES),
        None,
        {"adversarial": "bce sum"},
        {"captions_per_image": 0},
    )
    del without["model"]["damsm"]
    named = {
        "attngan": attngan,
        "stackgan_stage1": stage1,
        "stackgan_stage2": stage2,
        "unconditional": without,
    }
    return [write_recipe(folder / f"{name}.yaml", recipe) for name, recipe in named.items()]


def run(toy_root, damsm, recipes, out, **changes):
    arguments = {"images": 28, "out": out, "extractor": EXTRACTOR, "count": 40, "columns": 3, "device": "cpu"}
    return compare(toy_root, damsm, recipes, progress=False, **{**arguments, **changes})


def test_one_table_and_one_picture(toy_root, damsm, recipes, tmp_path, monkeypatch):
    result = run(toy_root, damsm, recipes, tmp_path / "out")
    rows = {row["name"]: row for row in result["rows"]}
    assert list(rows) == ["stackgan", "attngan", "unconditional"]  # the family's order, then the others
    assert rows["attngan"]["images"] == 28
    assert rows["attngan"]["steps"] == 2
    assert rows["stackgan"]["images"] == 28  # 14 for each stage
    stage2 = read_checkpoint(tmp_path / "out" / "stackgan_stage2" / "checkpoints" / "last.ckpt")
    stage1 = read_checkpoint(tmp_path / "out" / "stackgan_stage1" / "checkpoints" / "last.ckpt")
    assert stage2[ENTRY]["images_seen"] == stage1[ENTRY]["images_seen"] == 14
    # the second stage holds the first one's averaged generator
    name = "stem.linear.weight"
    in_second = stage2["state_dict"][f"ema.generator.stage1.{name}"]
    assert torch.equal(in_second, stage1["state_dict"][f"ema.generator.{name}"])
    r_precision = next(name for name in rows["attngan"]["scores"] if name.startswith("r_precision"))
    assert r_precision not in rows["unconditional"]["scores"]
    assert "_of_untrained_generator" in rows["stackgan"]["scores"]["fid_40_tiny"]
    table = (tmp_path / "out" / "compare.md").read_text()
    assert "no text" in next(line for line in table.splitlines() if "unconditional" in line)
    assert "| untrained stackgan |" in table
    assert "| real images |" in table
    assert json.loads((tmp_path / "out" / "compare.json").read_text()) == json.loads(json.dumps(result))
    picture = Image.open(tmp_path / "out" / "compare.png")
    assert picture.height > 4 * 64  # captions, real images, three recipes
    assert len(set(picture.resize((64, 64)).tobytes())) > 50

    # again: nothing is trained; a larger budget goes on
    from attngan.commands import train as training

    given, train = [], training.train
    monkeypatch.setattr(training, "train", lambda arguments: given.append(arguments) or train(arguments))
    again = run(toy_root, damsm, recipes, tmp_path / "out")
    assert given == []
    assert again["rows"] == result["rows"]
    more = run(toy_root, damsm, recipes[:1], tmp_path / "out", images=56)
    assert len(given) == 1
    assert "--resume" in given[0]
    assert more["rows"][0]["steps"] == 4
    assert more["rows"][0]["seconds"] > again["rows"][1]["seconds"]
    with pytest.raises(ValueError, match="other seed"):
        run(toy_root, damsm, recipes[:1], tmp_path / "out", seed=1)
    (tmp_path / "out" / "attngan" / NOTE).unlink()
    with pytest.raises(ValueError, match="another command"):
        run(toy_root, damsm, recipes[:1], tmp_path / "out")


def test_an_interrupted_training_goes_on(toy_root, damsm, recipes, tmp_path, monkeypatch):
    from attngan.training.gan_module import GANModule

    step, calls = GANModule.training_step, []

    def failing(self, batch, index):
        calls.append(index)
        if len(calls) == 2:
            import os
            import signal

            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, batch, index)

    monkeypatch.setattr(GANModule, "training_step", failing)
    with pytest.raises(SystemExit):
        run(toy_root, damsm, recipes[:1], tmp_path / "out", images=56)
    assert read_checkpoint(tmp_path / "out" / "attngan" / "checkpoints" / "last.ckpt")[ENTRY]["steps"] == 2
    monkeypatch.setattr(GANModule, "training_step", step)
    stopped = run(toy_root, damsm, recipes[:1], tmp_path / "out", images=56)
    whole = run(toy_root, damsm, recipes[:1], tmp_path / "whole", images=56, precision="32-true")
    assert (
        yaml.safe_load((tmp_path / "whole" / "attngan" / "config.yaml").read_text())["trainer"]["precision"]
        == "32-true"
    )
    assert stopped["rows"][0]["steps"] == whole["rows"][0]["steps"] == 4
    assert stopped["rows"][0]["scores"] == whole["rows"][0]["scores"]


def test_a_training_that_diverges_does_not_stop_the_others(toy_root, damsm, recipes, tmp_path, monkeypatch):
    from attngan.training.finite import NonFiniteLossError
    from attngan.training.gan_module import GANModule

    step = GANModule.training_step

    def diverging(self, batch, index):
        if self.damsm is None:
            raise NonFiniteLossError("training stopped in epoch 0: loss = nan")
        return step(self, batch, index)

    monkeypatch.setattr(GANModule, "training_step", diverging)
    result = run(toy_root, damsm, [recipes[0], recipes[3]], tmp_path / "out", images=14)
    assert [row["name"] for row in result["rows"]] == ["attngan", "unconditional"]
    assert "scores" in result["rows"][0]
    table = (tmp_path / "out" / "compare.md").read_text()
    assert "| unconditional | stopped: training stopped in epoch 0: loss = nan |" in table
    assert (tmp_path / "out" / "compare.png").is_file()


# --- who takes part ---------------------------------------------------------------------------------------------------


def test_the_default_is_every_toy_generator():
    names = [entry.name for entry in compared_recipes(default_recipes())]
    assert "damsm" not in names
    assert {"stackgan", "attngan", "dfgan", "stackgan_plusplus_unconditional"} <= set(names)
    assert not any("stage" in name for name in names)
    assert names.index("stackgan") < names.index("attngan") < names.index("dfgan")


def test_the_key_of_the_first_stage_is_found_in_the_recipe():
    (path,) = (path for path in default_recipes() if path.stem == "stackgan_stage2")
    keys = list(first_stage_keys(yaml.safe_load(path.read_text())))
    assert keys == ["model.generator.init_args.stage1.init_args.checkpoint"]


def test_recipes_that_do_not_fit_together_are_refused(recipes, tmp_path, toy_root, damsm):
    with pytest.raises(ValueError, match=r"give stackgan_stage1\.yaml as well"):
        compared_recipes([recipes[2]])
    other = tmp_path / recipes[0].name
    other.write_bytes(recipes[0].read_bytes())
    with pytest.raises(ValueError, match="same name"):
        compared_recipes([recipes[0], other])
    with pytest.raises(FileNotFoundError, match=r"none\.yaml"):
        compared_recipes([tmp_path / "none.yaml"])
    assert [row.name for row in compared_recipes([Path("toy/dfgan"), Path("toy/attngan")])] == ["attngan", "dfgan"]
    with pytest.raises(FileNotFoundError, match=r"no DAMSM checkpoint at .*nowhere"):
        run(toy_root, tmp_path / "nowhere.ckpt", recipes, tmp_path / "out")
    lone = yaml.safe_load(recipes[2].read_text())
    renamed = write_recipe(tmp_path / "renamed.yaml", lone)
    with pytest.raises(ValueError, match="builds on a first stage"):
        run(toy_root, damsm, [renamed], tmp_path / "out")


# --- the table --------------------------------------------------------------------------------------------------------


def row(name, **scores):
    real = {"_of_real_images": {"value": 7.0}}
    return {
        "name": name,
        "parameters": {"generator": 1_500_000, "discriminators": 2_000_000},
        "steps": 1000,
        "images": 32_000,
        "seconds": 90.0,
        "images_per_second": 355.5,
        "scores": {f"{metric}_9_x": {"": {"value": value}} | real for metric, value in scores.items()},
    }


def test_the_best_of_each_column_is_bold():
    rows = [row("a", fid=20.0, **{"is": 2.0}), row("b", fid=10.0, **{"is": 2.0}), row("c", fid=float("nan"))]
    assert best_rows(rows, "fid_9_x") == ["b"]
    assert best_rows(rows, "is_9_x") == []  # nothing sets one of them off
    assert best_rows([*rows, row("d", **{"is": 1.0})], "is_9_x") == ["a", "b"]
    assert best_rows(rows[:1], "is_9_x") == ["a"]
    result = {"rows": rows, "images": 1, "seed": 0, "data": "d", "damsm": {"sha256": "0" * 64}, "machine": "m"}
    lines = markdown(result).splitlines()
    assert lines[2] == "| a | 1.50 M | 2.00 M | 1,000 | 32,000 | 1.5 | 355.5 | 20.000 | 2.000 |"
    assert "**10.000** | 2.000" in lines[3]
    assert lines[4].endswith("| nan | no text |")
    assert lines[6].startswith("| real images |")
    assert lines[6].endswith("| 7.000 | 7.000 |")


def test_it_is_a_command():
    assert COMMANDS["compare"].function == "compare"


@pytest.mark.parametrize(
    ("device", "accelerator", "devices"),
    [("cpu", "cpu", "1"), ("cuda", "cuda", "1"), ("cuda:1", "cuda", "[1]"), (None, None, None)],
)
@pytest.mark.parametrize("resume", [False, True])
def test_the_device_is_where_recipes_train_as_well(device, accelerator, devices, resume, recipes, tmp_path):
    plan = Plan(tmp_path, tmp_path, 8, tmp_path, None, 0, device)
    arguments = _arguments(Run(recipes[0], tmp_path / "run", 8, None), plan, resume)
    told = dict(word[2:].split("=", 1) for word in arguments if word.startswith("--trainer.") and "=" in word)
    assert told.get("trainer.accelerator") == accelerator
    assert told.get("trainer.devices") == devices


def test_a_device_that_there_is_not_is_told_before_anything_is_trained(recipes, damsm, tmp_path):
    with pytest.raises(ValueError, match="'cuda:99' cannot be used"):
        compare(tmp_path, damsm, [recipes[0]], out=tmp_path / "out", device="cuda:99")
    assert not (tmp_path / "out").exists()


def test_several_seeds_are_their_mean_and_spread():
    own = [{"fid_9_x": {"": {"value": value}, "_real": {"value": 7.0 + value}}} for value in (10.0, 20.0, 60.0)]
    merged = over_seeds(own)["fid_9_x"]
    assert merged[""]["value"] == pytest.approx(30.0)
    assert merged[""]["std"] == pytest.approx((700.0) ** 0.5)  # (400 + 100 + 900) / 2
    assert merged[""]["std_over"] == "3 seeds"
    assert merged[""]["seeds"] == [10.0, 20.0, 60.0]
    assert merged["_real"]["value"] == 17.0  # of the first
    assert over_seeds(own[:1]) is own[0]
    assert own[0]["fid_9_x"][""] == {"value": 10.0}, "the scores themselves are left as they were"


@pytest.mark.parametrize(("other", "best"), [([31.0, 40.0], ["a"]), ([29.0, 90.0], [])])
def test_a_recipe_is_best_only_beyond_the_spread_of_the_seeds(other, best):
    rows = [row("a"), row("b")]
    for one, values in zip(rows, ([10.0, 30.0], other), strict=True):
        one["scores"] = over_seeds([{"fid_9_x": {"": {"value": value}}} for value in values])
    assert best_rows(rows, "fid_9_x") == best


def test_what_each_is_best_at_is_told():
    rows = [row("a", fid=20.0, **{"is": 3.0}), row("b", fid=10.0, **{"is": 2.0}), row("c", fid=30.0, **{"is": 1.0})]
    rows[2]["images_per_second"] = 900.0
    rows[1]["parameters"]["generator"] = 10
    assert strengths(rows) == [
        "a: best at Inception Score ↑.",
        "b: best at FID ↓, the smallest generator.",
        "c: best at images a second.",
    ]
    assert strengths(rows[:1]) == []
    assert strengths([rows[0], {"name": "d", "failed": "no number"}]) == []
    assert strengths([rows[0], row("e", fid=20.0)]) == []  # nobody's rival, and as fast and as large as each other


def test_a_seed_without_a_number_leaves_the_others_standing():
    own = [{"fid_9_x": {"": {"value": value}}} for value in (10.0, float("nan"))]
    merged = over_seeds(own)["fid_9_x"][""]
    assert math.isnan(merged["value"])
    assert math.isnan(merged["std"])
    rows = [row("a"), row("b", fid=50.0)]
    rows[0]["scores"] = over_seeds(own)
    assert best_rows(rows, "fid_9_x") == ["b"]


def test_runs_that_would_share_a_folder_are_refused(recipes, tmp_path, toy_root, damsm):
    named = [tmp_path / "mine.yaml", tmp_path / "mine_seed1.yaml"]
    for path in named:
        path.write_bytes(recipes[1].read_bytes())
    with pytest.raises(ValueError, match=r"would share .*mine_seed1: rename one"):
        run(toy_root, damsm, named, tmp_path / "out", seeds=2)
    assert not (tmp_path / "out").exists()


def test_further_seeds_have_runs_of_their_own(toy_root, damsm, recipes, tmp_path):
    one = [recipes[1]]
    result = run(toy_root, damsm, one, tmp_path / "out", seeds=2, precision_recall=False, count=20)
    (attngan,) = result["rows"]
    kid = next(score for name, score in attngan["scores"].items() if name.startswith("kid"))
    assert len(kid[""]["seeds"]) == 2
    assert kid[""]["seeds"][0] != kid[""]["seeds"][1]
    assert attngan["images"] == 28
    name = attngan["name"]
    seeds = [
        read_recipe(tmp_path / "out" / folder / "config.yaml")["seed_everything"] for folder in (name, f"{name}_seed1")
    ]
    assert seeds == [0, 1]
    table = (tmp_path / "out" / "compare.md").read_text()
    assert "seeds 0 to 1 (mean ± standard deviation)" in table
    assert " ± " in table
