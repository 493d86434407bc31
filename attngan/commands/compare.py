"""``attngan compare``: several recipes, trained alike and scored alike, in one table and one picture."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from PIL import Image
from rich.table import Table

from attngan.bounded import read_recipe
from attngan.checkpoint import file_sha256
from attngan.commands.compare_runs import (
    ComparedRecipe,
    Plan,
    Trained,
    compared_recipes,
    default_recipes,
    require_own_folders,
    trained,
)
from attngan.commands.evaluate import evaluate
from attngan.data.sources.tables import Columns
from attngan.device import described_machine, usable_device
from attngan.errors import MissingFileError, require_at_least
from attngan.evaluation.image_sets import HALVES, REAL, UNTRAINED
from attngan.evaluation.measuring import ScoreEntry
from attngan.evaluation.metric_table import in_order, kind_named, title_of
from attngan.evaluation.scored_images import read_split
from attngan.evaluation.table import Rows, pivot, shown
from attngan.files import write_whole
from attngan.pictures import caption_grid
from attngan.pixels import from_uint8
from attngan.sampling import Sampler
from attngan.terminal import console, printable, say
from attngan.training.finite import NonFiniteLossError


def compare(
    data: Path,
    damsm: Path,
    configs: list[Path] | None = None,
    images: int = 20_000,
    out: Path = Path("compare"),
    source: str | None = None,
    seed: int = 0,
    seeds: int = 1,
    extractor: str = "efficientnet-lite0",
    scorer: Path | None = None,
    colour_probe: Path | None = None,
    count: int = 1000,
    precision_recall: bool = True,
    precision: str | None = None,
    columns: int = 8,
    device: str | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Trains recipes on the same images, from the same DAMSM and seed, scores them alike, and shows them side by side.

    OUT/compare.md is the table (OUT/compare.json the same for programs, with every seed's scores), and OUT/compare.png
    the picture: the same captions and noise in columns, a recipe a row. Each run lies in OUT/NAME, further seeds' in
    OUT/NAME_seedN.
    Called again, finished runs are not trained again, an interrupted one goes on where it stopped, and a larger budget
    trains them further, unless a recipe's step sizes fall towards the end (then name another OUT). NAME_stage1 and
    NAME_stage2 are trained one after the other, on half of the images each, and are one row.

    Args:
        data: Root of the data set that all of them are trained and scored on.
        damsm: Checkpoint of `attngan pretrain`, for all recipes that read captions.
        configs: The recipes, as files or by name; by default all of configs/toy that train a generator.
        images: Training images that each sees, counted over its epochs.
        out: Folder for runs, table and picture.
        source: Layout of the data set; by default as the recipe says.
        seed: Seed of every training and every evaluation.
        seeds: How often each recipe is trained and scored: with ``seed`` and those after it. A score is then the mean,
            and a recipe is the best only where its worst seed is better than every other recipe's best one.
        extractor: Feature extractor of the scores, as in `attngan evaluate`.
        scorer: DAMSM checkpoint that judges R-precision; by default the one that trained them, which flatters those
            that were trained to please it.
        colour_probe: File of a colour probe, where the data are generated birds: scores the colours as well.
        count: Images that each generator draws to be scored.
        precision_recall: Also score precision, recall, density and coverage.
        precision: Precision in which all of them train, e.g. bf16-mixed; by default as their recipes say. Scores are
            computed in float32.
        columns: Captions in the picture.
        device: cpu, cuda ...; by default cuda where there is one.
        progress: Show progress bars and the table.

    Returns:
        What is written to compare.json.

    Raises:
        MissingFileError: No recipe or DAMSM at the place named.
        ValueError: Recipes of the same name, a second stage without a first, or OUT holds runs that were trained
            otherwise; says which.
    """
    require_at_least(1, images=images, count=count, columns=columns, seeds=seeds)
    require_at_least(0, 2**32 - seeds, seed=seed)
    if not damsm.is_file():
        raise MissingFileError(f"no DAMSM checkpoint at {damsm.resolve()}")
    usable_device(device)  # before hours of training
    entries = compared_recipes(configs or default_recipes())
    plan = Plan(data, damsm, images, out, source, seed, device, precision)
    plans = plan.of_seeds(seeds)
    require_own_folders(entries, plans)
    scoring = Scoring(extractor, scorer, colour_probe, count, precision_recall, progress)
    rows = _rows(entries, plans, scoring)
    result = {
        "rows": rows,
        "images": images,
        "seed": seed,
        "seeds": seeds,
        "data": str(data),
        "damsm": {"path": str(damsm), "sha256": file_sha256(damsm)},
        "machine": described_machine(device),
        "precision": precision,
    }
    write_whole(out / "compare.json", json.dumps(result, indent=1))
    table = markdown(result)
    write_whole(out / "compare.md", table)
    failed = {row["name"] for row in rows if "failed" in row or seed in row.get("stopped", {})}
    if whole := [entry for entry in entries if entry.name not in failed]:
        _picture(whole, plan, columns).save(out / "compare.png")
    if progress:
        _show(result)
        say(f"written: {out / 'compare.md'}, {out / 'compare.json'}, {out / 'compare.png'}")
    return result


# --- scores -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scoring:
    """How all of them are scored: the arguments of `compare` of these names."""

    extractor: str
    scorer: Path | None
    colour_probe: Path | None
    count: int
    precision_recall: bool
    progress: bool


def _rows(entries: Sequence[ComparedRecipe], plans: Sequence[Plan], scoring: Scoring) -> list[dict[str, Any]]:
    """Each entry trained and scored, by every plan; a training that diverged is told of, and the others go on."""
    rows: list[dict[str, Any]] = []
    for position, entry in enumerate(entries):
        measured: list[tuple[list[Trained], dict[str, ScoreEntry]]] = []
        stopped: dict[int, str] = {}
        for plan in plans:
            if scoring.progress:
                of_seed = f", seed {plan.seed}" if len(plans) > 1 else ""
                say(f"\n[{position + 1}/{len(entries)}] {entry.name}{of_seed}")
            try:
                runs = [trained(run, plan) for run in entry.runs(plan)]
            except NonFiniteLossError as error:
                stopped[plan.seed] = str(error)
                continue
            # one suffices: none has learnt anything
            untrained = not measured and all("failed" in row for row in rows)
            measured.append((runs, _scores(entry, plan, scoring, untrained)))
        if measured:
            rows.append(_row(entry, measured) | ({"stopped": stopped} if stopped else {}))
        else:
            rows.append({"name": entry.name, "failed": next(iter(stopped.values()))})
    return rows


def _scores(entry: ComparedRecipe, plan: Plan, scoring: Scoring, untrained: bool) -> dict[str, ScoreEntry]:
    """Those of the averaged generator, of an untrained one and of real images."""
    checkpoint = entry.checkpoint(plan)
    reads = Sampler.load(checkpoint, "cpu").reads
    judged = reads == "captions" or (reads == "embeddings" and scoring.scorer is not None)
    metrics = ["is", "fid", "kid"]
    metrics += ["precision_recall"] if scoring.precision_recall else []
    metrics += ["r_precision"] if judged else []
    data = ((read_recipe(entry.recipes[-1]) or {}).get("data")) or {}
    result = evaluate(
        checkpoint=checkpoint,
        data=plan.data,
        source=plan.source or data.get("source", "cub"),
        skip_bad=bool(data.get("skip_bad", False)),
        image_column=data.get("image_column"),
        caption_column=data.get("caption_column"),
        text_embeddings=data.get("text_embeddings"),
        metrics=metrics,
        count=scoring.count,
        seed=plan.seed,
        extractor=scoring.extractor,
        scorer=scoring.scorer,
        colour_probe=None if reads == "nothing" else scoring.colour_probe,
        untrained=untrained,
        out=plan.folder(entry.recipes[-1]) / "evaluation",
        report=True,
        device=plan.device,
        progress=scoring.progress,
    )
    return result["scores"]


def _row(entry: ComparedRecipe, measured: Sequence[tuple[list[Trained], dict[str, ScoreEntry]]]) -> dict[str, Any]:
    """Costs and scores of one training, means of several seeds."""
    of_all = [run for runs, _ in measured for run in runs]
    runs, _ = measured[0]
    seeds = len(measured)
    images, seconds = sum(run.images for run in of_all) // seeds, sum(run.seconds for run in of_all) / seeds
    return {
        "name": entry.name,
        "recipes": [str(path) for path in entry.recipes],
        "parameters": {
            "generator": runs[-1].counts["generator"],  # a second stage has its first one in it
            "discriminators": sum(run.counts["discriminators"] for run in runs),
        },
        "steps": sum(run.steps for run in of_all) // seeds,
        "images": images,
        "seconds": seconds,
        "images_per_second": images / seconds if seconds else None,
        "scores": over_seeds([pivot(scores)[1] for _, scores in measured]),
    }


def over_seeds(scores: Sequence[Rows]) -> Rows:
    """Means of a recipe's own scores over several trainings, with the standard deviation over them and every value.

    What stands beside them, of real images and of an untrained generator, is that of the first.
    """
    first, *others = scores
    if not others:
        return first
    merged = {name: dict(row) for name, row in first.items()}
    for name, row in merged.items():
        if "" not in row:
            continue
        values = [one[name][""]["value"] for one in scores if "" in one.get(name, {})]
        finite = all(map(math.isfinite, values))
        spread = math.nan if not finite else stdev(values) if len(values) > 1 else 0.0
        row[""] = {"value": fmean(values), "std": spread, "std_over": f"{len(values)} seeds", "seeds": values}
    return merged


#: What a recipe's size and training are told by.
COSTS = ("G", "D", "steps", "images", "minutes", "images/s")


# --- table and picture ------------------------------------------------------------------------------------------------


def markdown(result: dict[str, Any]) -> str:
    """The table: a recipe a row, then an untrained generator and real images; the best value of a column in bold."""
    names, lines = _cells(result)
    head = ["", *COSTS, *(f"{title_of(n)}<br>`{n}`" for n in names)]
    table = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in table) + "\n\n" + _listed(_facts(result))


def _listed(facts: Sequence[str]) -> str:
    return "".join(f"- {fact}\n" for fact in facts)


def _show(result: dict[str, Any]) -> None:
    """The same for the terminal: as many columns side by side as 80 characters hold."""
    names, lines = _cells(result)
    titles = [*COSTS, *map(title_of, names)]
    groups = [range(len(COSTS)), *(range(i, min(i + 3, len(titles))) for i in range(len(COSTS), len(titles), 3))]
    for group in groups:
        table = Table("recipe", *(titles[i] for i in group))
        for line in lines:
            table.add_row(printable(line[0]), *(printable(line[1 + i].replace("**", "")) for i in group))
        console().print(table)
    for fact in _facts(result):
        say(fact)


def _cells(result: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The scores' names; and each row's name, costs and scores."""
    rows = [row for row in result["rows"] if "failed" not in row]
    names = list(dict.fromkeys(name for row in rows for name in row["scores"]))
    lines = [_line(row, rows, names) for row in rows]
    lines.append(_compared_with(f"untrained {rows[0]['name']}" if rows else "untrained", (UNTRAINED,), rows, names))
    lines.append(_compared_with("real images", (REAL, HALVES), rows, names))
    for row in result["rows"]:
        if "failed" in row:
            lines.append([row["name"], f"stopped: {row['failed']}", *[""] * (len(COSTS) + len(names) - 1)])
    return names, lines


def _line(row: dict[str, Any], rows: Sequence[dict[str, Any]], names: Sequence[str]) -> list[str]:
    """A recipe: its size, what it cost, its scores."""
    counts = [f"{row['parameters'][part] / 1e6:.2f} M" for part in ("generator", "discriminators")]
    rate = row["images_per_second"]
    cost = [f"{row['steps']:,}", f"{row['images']:,}", f"{row['seconds'] / 60:.1f}", f"{rate:.1f}" if rate else ""]
    scores = []
    for name in names:
        text = shown(row["scores"].get(name, {}).get("")) or "no text"
        scores.append(f"**{text}**" if row["name"] in best_rows(rows, name) else text)
    return [row["name"], *counts, *cost, *scores]


def _compared_with(
    title: str, suffixes: Sequence[str], rows: Sequence[dict[str, Any]], names: Sequence[str]
) -> list[str]:
    """The first score of each name that is of these sets of images."""
    found = []
    for name in names:
        of_rows = [row["scores"].get(name, {}) for row in rows]
        found.append(next((shown(scores[s]) for scores in of_rows for s in suffixes if s in scores), ""))
    return [title, *[""] * 6, *found]


def _facts(result: dict[str, Any]) -> list[str]:
    halves = [kind.label for metric in in_order() if "halves" in metric.beside for kind in metric.kinds.values()]
    seeds = range(result["seed"], result["seed"] + result.get("seeds", 1))
    of_seeds = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {seeds[0]} to {seeds[-1]} (mean ± standard deviation)"
    stopped = [
        f"{row['name']}, seed {number}: stopped: {why}"
        for row in result["rows"]
        for number, why in row.get("stopped", {}).items()
    ]
    return [
        *strengths(result["rows"]),
        *stopped,
        f"{result['images']:,} training images each, {of_seeds}, data {result['data']}, DAMSM "
        f"{result['damsm']['sha256'][:8]}, {result['machine']}, trained in "
        f"{result.get('precision') or 'the precision of the recipes'}.",
        f"Of real images: {', '.join(halves)} are those of two halves of the test split.",
    ]


def best_rows(rows: Sequence[dict[str, Any]], name: str) -> list[str]:
    """Names of the rows with the best value of a score; several where they are equal, none where all are.

    None either where neither a larger nor a smaller value is better, or where another row has a seed that is as good
    as one of the best row's.
    """
    kind = kind_named(name)
    if kind is None or kind[1].better is None:
        return []
    sign = 1.0 if kind[1].better == "larger" else -1.0
    of_rows = {row["name"]: _of_seeds(row["scores"][name][""]) for row in rows if "" in row["scores"].get(name, {})}
    finite = {row: [sign * v for v in values] for row, values in of_rows.items() if all(map(math.isfinite, values))}
    if not finite:
        return []
    means = {row: fmean(values) for row, values in finite.items()}
    found = [row for row, mean in means.items() if mean == max(means.values())]
    worst_of_best = min(min(finite[row]) for row in found)
    if any(max(values) >= worst_of_best for row, values in finite.items() if row not in found):
        return []
    return found if len(found) < max(2, len(finite)) else []


def _of_seeds(score: ScoreEntry) -> list[float]:
    return score.get("seeds") or [score["value"]]


def strengths(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What each recipe is best at of those that have a rival there: scores, speed, size."""
    whole = [row for row in rows if "failed" not in row]
    found: dict[str, list[str]] = {row["name"]: [] for row in whole}
    for name in dict.fromkeys(name for row in whole for name in row["scores"]):
        if sum("" in row["scores"].get(name, {}) for row in whole) > 1:
            for best in best_rows(whole, name):
                found[best].append(title_of(name))
    costs = {
        "images a second": {row["name"]: -(row["images_per_second"] or 0.0) for row in whole},
        "the smallest generator": {row["name"]: row["parameters"]["generator"] for row in whole},
    }
    for title, cost in costs.items():
        least = [name for name, value in cost.items() if value == min(cost.values())]
        if len(least) == 1 < len(cost):
            found[least[0]].append(title)
    return [f"{name}: best at {', '.join(titles)}." for name, titles in found.items() if titles]


def _picture(entries: Sequence[ComparedRecipe], plan: Plan, columns: int) -> Image.Image:
    """Captions in columns, beneath them a real image of each, then a row a recipe; a column shares its noise."""
    samplers = {entry.name: Sampler.load(entry.checkpoint(plan), plan.device) for entry in entries}
    data = ((read_recipe(entries[0].recipes[-1]) or {}).get("data")) or {}
    source = plan.source or data.get("source", "cub")
    largest = max(sampler.resolution for sampler in samplers.values())
    named = Columns(data.get("image_column"), data.get("caption_column"))
    split = read_split(plan.data, source, "test", largest, bool(data.get("skip_bad", False)), columns=named)
    chosen = [i * len(split.images) // columns for i in range(min(columns, len(split.images)))]
    captions = [split.images[i].captions[0] for i in chosen]
    real = [from_uint8(next(split.crops(i))[0]) for i in chosen]
    rows = [("real images", real)]
    for name, sampler in samplers.items():
        texts = captions if sampler.reads == "captions" else None
        if sampler.reads == "embeddings":
            continue
        drawn = sampler.draw(texts, range(len(chosen)), plan.seed).images[-1].float().cpu()
        rows.append((name if texts else f"{name} (reads no text)", list(drawn)))
    return caption_grid(rows, side=max(64, min(largest, 128)), text_width=190, header=captions)
