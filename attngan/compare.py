"""``attngan compare``: several recipes, trained alike and scored alike, in one table and one picture."""

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml

from attngan.checkpoint import ENTRY, file_sha256, read_checkpoint

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


def compare(
    data: Path,
    damsm: Path,
    configs: list[Path] | None = None,
    images: int = 20_000,
    out: Path = Path("compare"),
    source: str | None = None,
    seed: int = 0,
    extractor: str = "efficientnet-lite0",
    scorer: Path | None = None,
    colour_probe: Path | None = None,
    count: int = 1000,
    precision_recall: bool = True,
    columns: int = 8,
    device: str | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Trains recipes on the same images, from the same DAMSM and seed, scores them alike, and shows them side by side.

    OUT/compare.md is the table (OUT/compare.json the same for programs, with every score that was computed), and
    OUT/compare.png the picture: the same captions and noise in columns, a recipe a row. Each run lies in OUT/NAME.
    Called again, finished runs are not trained again, an interrupted one goes on where it stopped, and a larger budget
    trains all of them further. NAME_stage1 and NAME_stage2 are trained one after the other, on half of the images each,
    and are one row.

    Args:
        data: Root of the data set that all of them are trained and scored on.
        damsm: Checkpoint of `attngan pretrain`, for all recipes that read captions.
        configs: The recipes; by default all of configs/toy that train a generator.
        images: Training images that each sees, counted over its epochs.
        out: Folder for runs, table and picture.
        source: Layout of the data set; by default as the recipe says.
        seed: Of every training and every evaluation.
        extractor: Feature extractor of the scores, as in `attngan evaluate`.
        scorer: DAMSM checkpoint that judges R-precision; by default the one that trained them, which flatters those
            that were trained to please it.
        colour_probe: File of a colour probe, where the data are generated birds: scores the colours as well.
        count: Images that each generator draws to be scored.
        precision_recall: Also score precision, recall, density and coverage.
        columns: Captions in the picture.
        device: cpu, cuda ...; by default cuda where there is one.
        progress: Show progress bars and the table.

    Returns:
        What is written to compare.json.

    Raises:
        FileNotFoundError: No recipe or DAMSM at the place named.
        ValueError: Recipes of the same name, a second stage without a first, or OUT holds runs that were trained
            otherwise; says which.
    """
    if not damsm.is_file():
        raise FileNotFoundError(f"no DAMSM checkpoint at {damsm.resolve()}")
    entries = contestants(configs or default_recipes())
    plan = _Plan(data, damsm, images, out, source, seed, device)
    metrics = ["is", "fid", "kid", *(["precision_recall"] if precision_recall else [])]
    rows = []
    for position, entry in enumerate(entries):
        if progress:
            print(f"\n[{position + 1}/{len(entries)}] {entry.name}", flush=True)
        trained = [_trained(run, plan) for run in entry.runs(plan)]
        untrained = position == 0  # one suffices: none has learnt anything
        scores = _scores(entry, plan, metrics, extractor, scorer, colour_probe, count, untrained, progress)
        rows.append(_row(entry, trained, scores))
    result = {
        "rows": rows,
        "images": images,
        "seed": seed,
        "data": str(data),
        "damsm": {"path": str(damsm), "sha256": file_sha256(damsm)},
        "machine": _machine(device),
    }
    from attngan.evaluation.display import write_whole

    write_whole(out / "compare.json", json.dumps(result, indent=1))
    table = markdown(result)
    write_whole(out / "compare.md", table)
    _picture(entries, plan, columns).save(out / "compare.png")
    if progress:
        print(f"\n{table}\nwritten: {out / 'compare.md'}, {out / 'compare.json'}, {out / 'compare.png'}")
    return result


# --- who takes part ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Contestant:
    """One row: a recipe, or the two stages of one, and the folder names of their runs."""

    name: str
    recipes: tuple[Path, ...]

    def runs(self, plan: "_Plan") -> Iterator["_Run"]:
        """What is trained, one after the other; each knows the checkpoint that the one before it wrote."""
        before = None
        for recipe in self.recipes:
            run = _Run(recipe, plan.out / recipe.stem, plan.images // len(self.recipes), before)
            yield run
            before = run.checkpoint

    def checkpoint(self, plan: "_Plan") -> Path:
        """What is scored."""
        return list(self.runs(plan))[-1].checkpoint


@dataclass(frozen=True)
class _Plan:
    """What is the same for all."""

    data: Path
    damsm: Path
    images: int
    out: Path
    source: str | None
    seed: int
    device: str | None


@dataclass(frozen=True)
class _Run:
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
    from attngan.demo.recipes import recipe

    folder = recipe("toy/damsm.yaml").parent
    return sorted(path for path in folder.glob("*.yaml") if path.stem != "damsm")


def contestants(recipes: Sequence[Path]) -> list[Contestant]:
    """Recipes as rows, the two stages of one together, in the order of the family's papers.

    Raises:
        FileNotFoundError: There is no such recipe.
        ValueError: Two of the same name, or a second stage without its first.
    """
    by_name: dict[str, Path] = {}
    for path in map(Path, recipes):
        if not path.is_file():
            raise FileNotFoundError(f"no recipe at {path.resolve()}")
        if path.stem in by_name:
            raise ValueError(f"{by_name[path.stem]} and {path} have the same name: their runs would share a folder")
        by_name[path.stem] = path
    rows = []
    for name, path in by_name.items():
        if name.endswith(FIRST) and name.removesuffix(FIRST) + SECOND in by_name:
            continue  # stands in its second stage's row
        if name.endswith(SECOND):
            short = name.removesuffix(SECOND)
            if short + FIRST not in by_name:
                raise ValueError(f"{path} builds on a first stage: give {short}{FIRST}.yaml as well")
            rows.append(Contestant(short, (by_name[short + FIRST], path)))
        else:
            rows.append(Contestant(name, (path,)))
    order = {name: position for position, name in enumerate(FAMILY)}
    return sorted(rows, key=lambda row: (order.get(row.name, len(order)), row.name))


# --- training ---------------------------------------------------------------------------------------------------------


@dataclass
class _Trained:
    """What a training came to."""

    steps: int
    images: int
    seconds: float
    counts: dict[str, int] = field(default_factory=dict)


def _trained(run: _Run, plan: _Plan) -> _Trained:
    """Trains, or goes on with it, or finds it done."""
    from attngan.training.recipes import train

    note = run.folder / NOTE
    kept = _note(run, plan)
    seen = _images_seen(run.checkpoint)
    if seen < run.images:
        arguments = _arguments(run, plan, resume=run.checkpoint.is_file())
        run.folder.mkdir(parents=True, exist_ok=True)
        note.write_text(json.dumps(kept, indent=1))
        begun = time.monotonic()
        try:
            train(arguments)
        finally:  # also of a training that was stopped: the time of its rest is added to this
            kept["seconds"] += time.monotonic() - begun
            note.write_text(json.dumps(kept, indent=1))
    contents = read_checkpoint(run.checkpoint)
    entry = contents[ENTRY]
    return _Trained(entry["steps"], entry["images_seen"], kept["seconds"], _parameters(entry))


def _note(run: _Run, plan: _Plan) -> dict[str, Any]:
    """What decides the run, beside it; refused where the folder's run was decided by something else."""
    recipe = yaml.safe_load(run.recipe.read_text(encoding="utf-8"))
    decides = {
        "recipe": hashlib.sha256(run.recipe.read_bytes()).hexdigest(),
        "data": str(plan.data.resolve()),
        "source": plan.source or recipe.get("data", {}).get("source"),
        "damsm": file_sha256(plan.damsm) if _reads_damsm(recipe) else None,
        "seed": plan.seed,
    }
    note = run.folder / NOTE
    if not note.is_file():
        if run.checkpoint.is_file():
            raise ValueError(f"{run.folder} holds a run of another command: name another folder with --out")
        return {"decides": decides, "seconds": 0.0}
    kept: dict[str, Any] = json.loads(note.read_text())
    if kept["decides"] != decides:
        changed = sorted(name for name in decides if kept["decides"].get(name) != decides[name])
        raise ValueError(
            f"{run.folder} holds a run with other {', '.join(changed)}: name another folder with --out, or remove it"
        )
    return kept


def _images_seen(checkpoint: Path) -> int:
    return int(read_checkpoint(checkpoint)[ENTRY]["images_seen"]) if checkpoint.is_file() else 0


def _arguments(run: _Run, plan: _Plan, resume: bool) -> list[str]:
    """Of `attngan train`."""
    budget = [f"--budget.images={run.images}", "--trainer.max_epochs=-1"]
    if resume:
        return ["--resume", str(run.folder), *budget]
    recipe = yaml.safe_load(run.recipe.read_text(encoding="utf-8"))
    given = ["--config", str(run.recipe), f"--run_dir={run.folder}", f"--data.root={plan.data}"]
    given += [f"--seed_everything={plan.seed}", f"--data.seed={plan.seed}", *budget]
    given += [f"--data.source={plan.source}"] if plan.source else []
    given += [f"--trainer.accelerator={plan.device}"] if plan.device in ("cpu", "cuda", "mps") else []
    given += [f"--model.damsm={plan.damsm}"] if _reads_damsm(recipe) else []
    places = list(_first_stage_keys(recipe))
    if places and run.first_stage is None:
        raise ValueError(f"{run.recipe} builds on a first stage: name it NAME{SECOND}.yaml, beside NAME{FIRST}.yaml")
    return given + [f"--{key}={run.first_stage}" for key in places]


def _reads_damsm(recipe: dict[str, Any]) -> bool:
    return bool((recipe.get("model") or {}).get("damsm"))


def _first_stage_keys(part: Any, key: str = "") -> Iterator[str]:
    """The keys of a recipe that name the checkpoint of a trained generator, as on the command line."""
    if not isinstance(part, dict):
        return
    if str(part.get("class_path", "")).rpartition(".")[2] == "trained_generator":
        yield f"{key}.init_args.checkpoint"
    for name, value in part.items():
        yield from _first_stage_keys(value, f"{key}.{name}" if key else name)


def _parameters(entry: dict[str, Any]) -> dict[str, int]:
    """How many numbers generator and discriminators learn, or have learnt."""
    from attngan.networks.description import build

    with torch.random.fork_rng(devices=[]):
        networks = {name: build(entry[name]) for name in ("generator", "discriminators")}
    return {name: sum(p.numel() for p in network.parameters()) for name, network in networks.items()}


# --- scores -----------------------------------------------------------------------------------------------------------


def _scores(
    entry: Contestant,
    plan: _Plan,
    metrics: list[str],
    extractor: str,
    scorer: Path | None,
    colour_probe: Path | None,
    count: int,
    untrained: bool,
    progress: bool,
) -> dict[str, dict[str, Any]]:
    """Those of the averaged generator, of an untrained one and of real images."""
    from attngan.evaluation import evaluate
    from attngan.sampling import Sampler

    checkpoint = entry.checkpoint(plan)
    reads = Sampler.load(checkpoint, "cpu").reads
    judged = reads == "captions" or (reads == "embeddings" and scorer is not None)
    wanted: list[Any] = [*metrics, *(["r_precision"] if judged else [])]
    data = (yaml.safe_load(entry.recipes[-1].read_text(encoding="utf-8")).get("data")) or {}
    result = evaluate(
        checkpoint=checkpoint,
        data=plan.data,
        source=plan.source or data.get("source", "cub"),
        skip_bad=bool(data.get("skip_bad", False)),
        text_embeddings=data.get("text_embeddings"),
        metrics=wanted,
        count=count,
        seed=plan.seed,
        extractor=extractor,
        scorer=scorer,
        colour_probe=None if reads == "nothing" else colour_probe,
        untrained=untrained,
        out=plan.out / entry.recipes[-1].stem / "evaluation",
        report=True,
        device=plan.device,
        progress=progress,
    )
    scores: dict[str, dict[str, Any]] = result["scores"]
    return scores


def _row(entry: Contestant, trained: list[_Trained], scores: dict[str, dict[str, Any]]) -> dict[str, Any]:
    from attngan.evaluation.display import pivot

    images, seconds = sum(part.images for part in trained), sum(part.seconds for part in trained)
    return {
        "name": entry.name,
        "recipes": [str(path) for path in entry.recipes],
        "parameters": {
            "generator": trained[-1].counts["generator"],  # a second stage has its first one in it
            "discriminators": sum(part.counts["discriminators"] for part in trained),
        },
        "steps": sum(part.steps for part in trained),
        "images": images,
        "seconds": seconds,
        "images_per_second": images / seconds if seconds else None,
        "scores": pivot(scores)[1],
    }


# --- table and picture ------------------------------------------------------------------------------------------------


def markdown(result: dict[str, Any]) -> str:
    """The table: a recipe a row, then an untrained generator and real images; the best value of a column in bold."""
    from attngan.evaluation.display import shown
    from attngan.evaluation.scores import HALVES, REAL, UNTRAINED

    rows = result["rows"]
    names = list(dict.fromkeys(name for row in rows for name in row["scores"]))
    head = ["", "G", "D", "steps", "images", "minutes", "images/s", *names]
    lines = []
    for row in rows:
        counts = [f"{row['parameters'][part] / 1e6:.2f} M" for part in ("generator", "discriminators")]
        rate = row["images_per_second"]
        cost = [f"{row['steps']:,}", f"{row['images']:,}", f"{row['seconds'] / 60:.1f}", f"{rate:.1f}" if rate else ""]
        scores = [shown(row["scores"].get(name, {}).get("")) or "no text" for name in names]
        best = [row["name"] in best_rows(rows, name) for name in names]
        marked = [f"**{text}**" if is_best else text for text, is_best in zip(scores, best, strict=True)]
        lines.append([row["name"], *counts, *cost, *marked])
    for title, suffixes in (("untrained", (UNTRAINED,)), ("real images", (REAL, HALVES))):
        first = [
            next((row["scores"][name][s] for row in rows for s in suffixes if s in row["scores"].get(name, {})), None)
            for name in names
        ]
        owner = f" {rows[0]['name']}" if title == "untrained" else ""
        lines.append([title + owner, *[""] * 6, *map(shown, first)])
    table = [head, ["---"] * len(head), *lines]
    facts = [
        f"{result['images']:,} training images each, seed {result['seed']}, data {result['data']}, DAMSM "
        f"{result['damsm']['sha256'][:8]}, {result['machine']}.",
        "Of real images: FID, KID, precision, recall, density and coverage are those of two halves of the test split.",
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in table) + "\n\n" + "\n".join(facts) + "\n"


def best_rows(rows: Sequence[dict[str, Any]], name: str) -> list[str]:
    """Names of the rows with the best value of a score; of several where they are equal."""
    from attngan.evaluation.scores import larger_is_better

    values = {row["name"]: row["scores"][name][""]["value"] for row in rows if "" in row["scores"].get(name, {})}
    finite = {row: value for row, value in values.items() if value == value}
    if not finite:
        return []
    best = (max if larger_is_better(name) else min)(finite.values())
    return [row for row, value in finite.items() if value == best]


def _picture(entries: Sequence[Contestant], plan: _Plan, columns: int) -> Any:
    """Captions in columns, beneath them a real image of each, then a row a recipe; a column shares its noise."""
    from attngan.evaluation.subjects import read_split
    from attngan.pictures import caption_grid
    from attngan.sampling import Sampler

    samplers = {entry.name: Sampler.load(entry.checkpoint(plan), plan.device) for entry in entries}
    data = (yaml.safe_load(entries[0].recipes[-1].read_text(encoding="utf-8")).get("data")) or {}
    source = plan.source or data.get("source", "cub")
    largest = max(sampler.resolution for sampler in samplers.values())
    split = read_split(plan.data, source, "test", largest, bool(data.get("skip_bad", False)))
    chosen = [i * len(split.images) // columns for i in range(min(columns, len(split.images)))]
    captions = [split.images[i].captions[0] for i in chosen]
    real = [next(split.crops(i))[0].float() / 127.5 - 1 for i in chosen]
    rows = [("real images", real)]
    for name, sampler in samplers.items():
        texts = captions if sampler.reads == "captions" else None
        if sampler.reads == "embeddings":
            continue
        drawn = sampler.draw(texts, range(len(chosen)), plan.seed).images[-1].float().cpu()
        rows.append((name if texts else f"{name} (reads no text)", list(drawn)))
    return caption_grid(rows, side=max(64, min(largest, 128)), text_width=190, header=captions)


def _machine(device: str | None) -> str:
    import os
    import platform

    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    on = device or ("cuda" if torch.cuda.is_available() else "cpu")
    gpu = f", {torch.cuda.get_device_name()}" if on == "cuda" and torch.cuda.is_available() else ""
    return f"{cpus} CPUs ({platform.machine()}){gpu}, torch {torch.__version__}"
