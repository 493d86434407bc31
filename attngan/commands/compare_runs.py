"""The recipes that `attngan compare` compares, and their trainings: each once, on the same images, resumable."""

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from attngan.bounded import read_recipe
from attngan.checkpoint import Entry, file_sha256, open_checkpoint
from attngan.commands.run_folder import recipe_file
from attngan.errors import InputError, MissingFileError
from attngan.files import write_whole
from attngan.installed import recipe as installed_recipe
from attngan.networks.description import build

#: The family in the order of its papers; other recipes come after these.
FAMILY = (
    "stackgan",
    "stackgan_plusplus_unconditional",
    "stackgan_plusplus",
    "attndcgan",
    "attngan",
    "attngan_sn",
    "dmgan",
    "dfgan",
)
FIRST, SECOND = "_stage1", "_stage2"
NOTE = "compared.json"


@dataclass(frozen=True)
class ComparedRecipe:
    """One row: a recipe, or the two stages of one, and the folder names of their runs."""

    name: str
    recipes: tuple[Path, ...]

    def runs(self, plan: "Plan") -> Iterator["Run"]:
        """What is trained, one after the other; each knows the checkpoint that the one before it wrote."""
        before = None
        for recipe in self.recipes:
            run = Run(recipe, plan.folder(recipe), plan.images // len(self.recipes), before)
            yield run
            before = run.checkpoint

    def checkpoint(self, plan: "Plan") -> Path:
        """What is scored."""
        return list(self.runs(plan))[-1].checkpoint


@dataclass(frozen=True)
class Plan:
    """What is the same for all recipes; ``first_seed`` is that of the first plan of several with seeds of their own."""

    data: Path
    damsm: Path
    images: int
    out: Path
    source: str | None
    seed: int
    device: str | None
    precision: str | None = None
    first_seed: int | None = None

    def of_seeds(self, seeds: int) -> list["Plan"]:
        """The same for this seed and those after it."""
        return [replace(self, seed=self.seed + number, first_seed=self.seed) for number in range(seeds)]

    def folder(self, recipe: Path) -> Path:
        """Of a recipe's run."""
        suffix = "" if self.first_seed in (None, self.seed) else f"_seed{self.seed}"
        return self.out / f"{recipe.stem}{suffix}"


@dataclass(frozen=True)
class Run:
    """One training: its recipe, its folder, how many images it sees, and the first stage's checkpoint."""

    recipe: Path
    folder: Path
    images: int
    first_stage: Path | None

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoints" / "last.ckpt"


def default_recipes() -> list[Path]:
    """The generators' recipes of configs/toy."""
    folder = installed_recipe("toy/damsm.yaml").parent
    return sorted(path for path in folder.glob("*.yaml") if path.stem != "damsm")


def compared_recipes(recipes: Sequence[Path]) -> list[ComparedRecipe]:
    """Recipes as rows, the two stages of one together, in the order of the family's papers.

    Args:
        recipes: Files, or names of those that came with attngan.

    Raises:
        MissingFileError: There is no such recipe.
        InputError: Two of the same name, or a second stage without its first.
    """
    by_name: dict[str, Path] = {}
    for path in (Path(recipe_file(str(given))) for given in recipes):
        if not path.is_file():
            raise MissingFileError(f"no recipe at {path.resolve()}")
        if path.stem in by_name:
            raise InputError(f"{by_name[path.stem]} and {path} have the same name: their runs would share a folder")
        by_name[path.stem] = path
    rows = []
    for name, path in by_name.items():
        if name.endswith(FIRST) and name.removesuffix(FIRST) + SECOND in by_name:
            continue  # stands in its second stage's row
        if name.endswith(SECOND):
            short = name.removesuffix(SECOND)
            if short + FIRST not in by_name:
                raise InputError(f"{path} builds on a first stage: give {short}{FIRST}.yaml as well")
            rows.append(ComparedRecipe(short, (by_name[short + FIRST], path)))
        else:
            rows.append(ComparedRecipe(name, (path,)))
    order = {name: position for position, name in enumerate(FAMILY)}
    return sorted(rows, key=lambda row: (order.get(row.name, len(order)), row.name))


def require_own_folders(entries: Sequence[ComparedRecipe], plans: Sequence[Plan]) -> None:
    """Refuses recipes whose runs would share a folder: NAME_seed1 beside the second seed of NAME.

    Raises:
        InputError: Says which.
    """
    taken: dict[Path, Path] = {}
    for recipe in (recipe for entry in entries for recipe in entry.recipes):
        for folder in (plan.folder(recipe) for plan in plans):
            if taken.setdefault(folder, recipe) != recipe:
                raise InputError(f"runs of {taken[folder]} and {recipe} would share {folder}: rename one of them")


# --- training ---------------------------------------------------------------------------------------------------------


@dataclass
class Trained:
    """What a training came to."""

    steps: int
    images: int
    seconds: float
    counts: dict[str, int] = field(default_factory=dict)


def trained(run: Run, plan: Plan) -> Trained:
    """Trains, or goes on with it, or finds it done."""
    from attngan.commands.train import train

    note = run.folder / NOTE
    kept = _note(run, plan)
    seen = _images_seen(run.checkpoint)
    if seen < run.images:
        arguments = _arguments(run, plan, resume=run.checkpoint.is_file())
        write_whole(note, json.dumps(kept, indent=1))
        begun = time.monotonic()
        try:
            if code := train(arguments):  # in processes of its own, on several devices, which have said why
                raise SystemExit(code)
        finally:  # also of a training that was stopped: the time of its rest is added to this
            kept["seconds"] += time.monotonic() - begun
            write_whole(note, json.dumps(kept, indent=1))
    entry = open_checkpoint(run.checkpoint).entry
    return Trained(entry.steps, entry.images_seen, kept["seconds"], _parameters(entry))


def _note(run: Run, plan: Plan) -> dict[str, Any]:
    """What decides the run, beside it; refused where the folder's run was decided by something else."""
    recipe = read_recipe(run.recipe) or {}
    decides = {
        "recipe": hashlib.sha256(run.recipe.read_bytes()).hexdigest(),
        "data": str(plan.data.resolve()),
        "source": plan.source or recipe.get("data", {}).get("source"),
        "damsm": file_sha256(plan.damsm) if _reads_damsm(recipe) else None,
        "seed": plan.seed,
        "precision": plan.precision,
        "first stage": file_sha256(run.first_stage) if run.first_stage else None,
        # where learning rates fall towards the end, a longer run is not the shorter one gone on
        "images": run.images if ((recipe.get("model") or {}).get("rates") or {}).get("fall") else None,
    }
    note = run.folder / NOTE
    if not note.is_file():
        if run.checkpoint.is_file():
            raise InputError(f"{run.folder} holds a run of another command: name another folder with --out")
        return {"decides": decides, "seconds": 0.0}
    kept: dict[str, Any] = json.loads(note.read_text())
    if kept["decides"] != decides:
        changed = sorted(name for name in decides if kept["decides"].get(name) != decides[name])
        raise InputError(
            f"{run.folder} holds a run with other {', '.join(changed)}: name another folder with --out, or remove it"
        )
    return kept


def _images_seen(checkpoint: Path) -> int:
    return open_checkpoint(checkpoint).entry.images_seen if checkpoint.is_file() else 0


def _arguments(run: Run, plan: Plan, resume: bool) -> list[str]:
    """Of `attngan train`."""
    budget = [f"--budget.images={run.images}", "--trainer.max_epochs=-1"]
    budget += _trainers_device(plan.device)
    if resume:
        return ["--resume", str(run.folder), *budget]
    recipe = read_recipe(run.recipe) or {}
    given = ["--config", str(run.recipe), f"--run_dir={run.folder}", f"--data.root={plan.data}"]
    given += [f"--seed_everything={plan.seed}", f"--data.seed={plan.seed}", *budget]
    given += [f"--data.source={plan.source}"] if plan.source else []
    given += [f"--trainer.precision={plan.precision}"] if plan.precision else []
    given += [f"--model.damsm={plan.damsm}"] if _reads_damsm(recipe) else []
    places = list(first_stage_keys(recipe))
    if places and run.first_stage is None:
        raise InputError(f"{run.recipe} builds on a first stage: name it NAME{SECOND}.yaml, beside NAME{FIRST}.yaml")
    return given + [f"--{key}={run.first_stage}" for key in places]


def _trainers_device(device: str | None) -> list[str]:
    """``cuda:1`` as the Trainer takes it: what trains, and which of them."""
    if device is None:
        return []
    kind, _, number = device.partition(":")
    return [f"--trainer.accelerator={kind}", f"--trainer.devices={f'[{number}]' if number else 1}"]


def _reads_damsm(recipe: dict[str, Any]) -> bool:
    return bool((recipe.get("model") or {}).get("damsm"))


def first_stage_keys(part: Any, key: str = "") -> Iterator[str]:
    """The keys of a recipe that name the checkpoint of a trained generator, as on the command line."""
    if not isinstance(part, dict):
        return
    if str(part.get("class_path", "")).rpartition(".")[2] == "trained_generator":
        yield f"{key}.init_args.checkpoint"
    for name, value in part.items():
        yield from first_stage_keys(value, f"{key}.{name}" if key else name)


def _parameters(entry: Entry) -> dict[str, int]:
    """How many numbers generator and discriminators learn, or have learnt."""
    described = {"generator": entry.generator, "discriminators": entry.discriminators}
    with torch.random.fork_rng(devices=[]):
        networks = {name: build(description) for name, description in described.items() if description is not None}
    return {name: sum(p.numel() for p in network.parameters()) for name, network in networks.items()}
