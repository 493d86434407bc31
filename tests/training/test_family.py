"""Every recipe of the family: trains on toy birds, goes on after a stop, draws. All by the same commands."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from attngan.checkpoint import ENTRY, read_checkpoint
from attngan.cli import main
from tests.conftest import REPOSITORY
from tests.tiny import CAPTIONS, EMBED, write_recipe

CONFIGS = REPOSITORY / "configs"
RECIPES = sorted(path for path in CONFIGS.rglob("*.yaml") if "gan" in path.stem)
TOY = [path for path in RECIPES if path.parent.name == "toy"]
BASE, CONDITION = 8, 4


def shrunk(recipe: Path, root: Path, run: Path, damsm: Path, stage1: Path) -> dict:
    """The recipe as it is, but for sizes, places and the first epoch's first two batches."""
    contents = yaml.safe_load(recipe.read_text())
    model, data = contents["model"], contents["data"]
    generator, discriminators = model["generator"], model["discriminators"]
    kind, init = generator["class_path"].rpartition(".")[2], generator["init_args"]
    init |= {"width": 4, "embed_dim": init.get("embed_dim", EMBED) and EMBED}
    if kind == "DFGANGenerator":
        init |= {"image_size": 4 * BASE, "noise_dim": 4}
        sides = [4 * BASE]
    elif kind == "StackGANStage2Generator":
        init["stage1"]["init_args"]["checkpoint"] = str(stage1)
        init["condition_dim"] = CONDITION
        sides = [4 * BASE]
    else:
        init |= {"base_size": BASE, "noise_dim": 4, "condition_dim": CONDITION}
        sides = [BASE * 2**stage for stage in range(init.get("stages", 1))]
        sides = sides[-1:] if init.get("images") == "last" else sides
    of_discriminators = discriminators["init_args"]
    read = init["embed_dim"] if model.get("condition", "sentence") == "sentence" else CONDITION
    of_discriminators |= {"width": 2, "embed_dim": read}
    of_discriminators |= {"resolution": sides[0]} if "resolution" in of_discriminators else {"resolutions": sides}
    if "trunk" in of_discriminators:
        of_discriminators["trunk"]["init_args"]["input_size"] = 32
    model |= {"damsm": str(damsm)} if "damsm" in model else {}
    model["rates"] = {**model.get("rates", {}), "fall": 0.0}  # which would make one epoch and one epoch differ from two
    data |= {"root": str(root), "source": "cub", "batch_size": 14, "workers": 0, "test_words": 25}
    data |= {"image_size": sides[-1], "stages": len(sides), "validation": "classes"}
    data["captions_per_image"] = 10 if data.get("captions_per_image", 10) else 0  # as the DAMSM of the fixture
    contents["pictures"] |= {"count": 2, "samples": 2}
    contents["trainer"] |= {"max_epochs": 1, "limit_train_batches": 2, "accelerator": "cpu"}
    return contents | {"run_dir": str(run), "logger": "none"}


@pytest.fixture(scope="module")
def stage1(toy_root, tiny_damsm, tmp_path_factory):
    """A trained first stage of StackGAN, for the second one."""
    run = tmp_path_factory.mktemp("stage1") / "run"
    recipe = shrunk(CONFIGS / "toy" / "stackgan_stage1.yaml", toy_root, run, tiny_damsm, Path("none"))
    assert main(["train", "--config", str(write_recipe(run.parent / "stage1.yaml", recipe))]) == 0
    return run / "checkpoints" / "last.ckpt"


@pytest.fixture
def trained(request, toy_root, tiny_damsm, stage1, tmp_path):
    """The folder of a run of the recipe, two steps long."""

    def train(recipe: Path, name: str = "run", **changes) -> Path:
        contents = shrunk(recipe, toy_root, tmp_path / name, tiny_damsm, stage1)
        contents["trainer"] |= changes
        assert main(["train", "--config", str(write_recipe(tmp_path / f"{name}.yaml", contents))]) == 0
        return tmp_path / name

    return train


def name_of(recipe):
    return str(recipe.relative_to(CONFIGS))


@pytest.mark.parametrize("recipe", RECIPES, ids=name_of)
def test_a_recipe_trains(recipe, trained):
    run = trained(recipe)
    assert read_checkpoint(run / "checkpoints" / "last.ckpt")[ENTRY]["steps"] == 2
    assert (run / "pictures" / "samples_0000002.png").is_file()


@pytest.mark.parametrize("recipe", TOY, ids=name_of)
def test_one_and_one_epochs_equal_two(recipe, trained):
    straight = trained(recipe, "straight", max_epochs=2)
    run = trained(recipe)
    assert main(["train", "--resume", str(run), "--trainer.max_epochs", "2"]) == 0
    one, other = (read_checkpoint(folder / "checkpoints" / "last.ckpt")["state_dict"] for folder in (straight, run))
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert torch.equal(value, other[key]), key


def test_a_second_stage_goes_on_without_the_first_ones_file(trained, stage1, tmp_path):
    recipe = CONFIGS / "toy" / "stackgan_stage2.yaml"
    straight, run = trained(recipe, "straight", max_epochs=2), trained(recipe)
    moved = stage1.rename(tmp_path / "elsewhere.ckpt")
    try:
        assert main(["train", "--resume", str(run), "--trainer.max_epochs", "2"]) == 0
    finally:
        moved.rename(stage1)
    one, other = (read_checkpoint(folder / "checkpoints" / "last.ckpt")["state_dict"] for folder in (straight, run))
    assert all(torch.equal(value, other[key]) for key, value in one.items())


@pytest.mark.parametrize("recipe", TOY, ids=name_of)
def test_it_trains_in_bf16(recipe, trained):
    trained(recipe, precision="bf16-mixed")


COMPILED = """
import sys, torch
from attngan.cli import main
compiled, compile = [], torch.compile
def traced(function, mode):
    compiled.append(function)
    return compile(function, backend="aot_eager")  # all of torch.compile but the making of machine code
torch.compile = traced
failed = main(sys.argv[1:])
sys.exit(failed or not compiled)
"""


@pytest.mark.slow
@pytest.mark.parametrize("recipe", TOY, ids=name_of)
def test_compiled_it_gets_the_same_gradients(recipe, trained, tmp_path):
    eager = trained(recipe, "eager", limit_train_batches=1)
    arguments = ["train", "--config", str(tmp_path / "eager.yaml"), "--run_dir", str(tmp_path / "compiled")]
    # in a process of its own: the tests' checks of shapes would be compiled too, for minutes
    command = [sys.executable, "-c", COMPILED, *arguments, "--model.compile", "true"]
    subprocess.run(command, check=True, cwd=REPOSITORY)
    states = [
        read_checkpoint(folder / "checkpoints" / "last.ckpt")["optimizer_states"]
        for folder in (eager, tmp_path / "compiled")
    ]
    for one, other in zip(*states, strict=True):
        # Adam's first moment after one step: the gradient, but for a factor
        first, second = (torch.cat([s["exp_avg"].flatten() for s in of["state"].values()]) for of in (one, other))
        assert torch.linalg.vector_norm(first) > 0
        assert torch.linalg.vector_norm(first - second) < 1e-3 * torch.linalg.vector_norm(first)


@pytest.mark.parametrize("recipe", TOY, ids=name_of)
def test_it_draws_and_exports(recipe, trained, tmp_path):
    run = trained(recipe)
    asked = ["--count", "2"] if "unconditional" in recipe.stem else list(CAPTIONS[:2])
    small = tmp_path / "generator.safetensors"
    assert main(["export", str(run / "checkpoints" / "last.ckpt"), str(small)]) == 0
    for checkpoint, out in ((run / "checkpoints" / "last.ckpt", tmp_path / "full"), (small, tmp_path / "small")):
        assert main(["sample", str(checkpoint), *asked, "--attention", "--out", str(out)]) == 0
    pictures = sorted(path.name for path in (tmp_path / "full").iterdir())
    assert len([name for name in pictures if name.startswith("0")]) >= 2
    for name in pictures:
        # the files differ in the checkpoint's hash that each picture tells
        full, of_export = (Image.open(tmp_path / folder / name) for folder in ("full", "small"))
        assert full.tobytes() == of_export.tobytes(), name


def test_stackgan_on_precomputed_embeddings_trains_goes_on_and_draws(toy_root, tiny_damsm, stage1, tmp_path):
    for split, images in (("train", 64), ("test", 24)):
        np.save(tmp_path / f"{split}.npy", np.random.default_rng(0).standard_normal((images, 10, 6), dtype=np.float32))
    recipe = shrunk(CONFIGS / "toy" / "stackgan_stage1.yaml", toy_root, tmp_path / "run", tiny_damsm, stage1)
    recipe["data"]["text_embeddings"] = str(tmp_path / "{split}.npy")
    recipe["model"]["damsm"] = None
    recipe["model"]["generator"]["init_args"]["embed_dim"] = 6
    assert main(["train", "--config", str(write_recipe(tmp_path / "recipe.yaml", recipe))]) == 0
    assert main(["train", "--resume", str(tmp_path / "run"), "--trainer.max_epochs", "2"]) == 0
    checkpoint = tmp_path / "run" / "checkpoints" / "last.ckpt"
    assert read_checkpoint(checkpoint)[ENTRY]["steps"] == 4
    np.save(tmp_path / "two.npy", np.zeros((2, 6), dtype=np.float32))
    arguments = ["--embeddings", str(tmp_path / "two.npy"), "--out", str(tmp_path / "drawn")]
    assert main(["sample", str(checkpoint), *arguments]) == 0
    assert len(list((tmp_path / "drawn").glob("0*.png"))) == 2
    assert main(["sample", str(checkpoint), "a red bird", "--out", str(tmp_path / "refused")]) == 1


@pytest.mark.parametrize(
    ("recipe", "rule", "words", "epochs"),
    [
        ("attngan_cub", "attngan", (18, 25), 600),
        ("attngan_coco", "attngan", (12, 20), 120),
        ("attndcgan_cub", "attngan", (18, 25), 400),
        ("dmgan_cub", "attngan", (18, 25), 800),
        ("dmgan_coco", "attngan", (12, 20), 200),
        ("dfgan_cub", "dfgan", (18, 18), 1300),
        ("dfgan_coco", "dfgan", (18, 18), 300),
        ("stackgan_stage1_cub", "stackgan", (18, 25), 600),
        ("stackgan_stage2_cub", "stackgan", (18, 25), 600),  # of its own: the original counts on from stage I's
        ("stackgan_stage1_coco", "stackgan", (12, 20), 120),
        ("stackgan_plusplus_cub", "stackgan++", (18, 25), 600),
    ],
)
def test_a_published_recipe_pairs_cuts_and_ends_as_published(recipe, rule, words, epochs):
    contents = yaml.safe_load((CONFIGS / f"{recipe}.yaml").read_text())
    assert contents["model"]["wrong_pairs"] == rule
    assert (contents["data"]["train_words"], contents["data"]["test_words"]) == words
    assert contents["trainer"]["max_epochs"] == epochs
    if recipe == "stackgan_stage2_cub":
        assert (epochs - 1) // contents["model"]["rates"]["halved_every"] == 5  # halvings


def test_there_are_recipes():
    assert len(TOY) == 10
    assert len(RECIPES) >= 28
