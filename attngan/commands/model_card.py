"""The card of an exported generator: what it is, of which data, its scores and how they were computed, its terms."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from attngan.bounded import read_recipe
from attngan.checkpoint import Checkpoint, file_sha256, open_checkpoint
from attngan.data.text_files import read_json, read_text
from attngan.errors import InputError
from attngan.files import write_whole

#: What a score compared itself with, by the end of its name.
BESIDE = "_of_"


def write_card(
    file: Path,
    trained: Checkpoint,
    license: str = "",
    data_terms: str = "",
    scores: Path | None = None,
    notes: Path | None = None,
) -> Path:
    """Writes NAME.md beside an exported generator NAME.safetensors.

    Its head is what the Hugging Face hub reads; a README.md of a repository there can be this file as it is.

    Args:
        file: The exported generator.
        trained: The checkpoint that it was taken from; of a run, its config.yaml is the recipe.
        license: Licence of the weights, by the hub's short name, e.g. mit, cc-by-nc-4.0.
        data_terms: What the data's terms allow, in a sentence.
        scores: scores.json of `attngan evaluate`.
        notes: Text in Markdown that goes at the end: limits, what was tried.

    Returns:
        The card.

    Raises:
        InputError: The scores are of another checkpoint, or no scores.
    """
    exported = open_checkpoint(file)
    config = trained.path.resolve().parents[1] / "config.yaml"
    recipe = read_recipe(config) if config.is_file() else None
    parts = [
        _head(exported, license),
        f"# {file.stem}",
        _opening(exported),
        _facts(exported, file),
    ]
    if isinstance(recipe, dict):
        parts.append(f"## Recipe\n\n```yaml\n{yaml.safe_dump(recipe, sort_keys=False).strip()}\n```")
    if scores is not None:
        parts.append(_scores(scores, {trained.sha256, exported.sha256}))
    parts.append(_terms(license, data_terms))
    if notes is not None:
        parts.append(read_text(notes).strip())
    card = file.with_suffix(".md")
    write_whole(card, "\n\n".join(parts) + "\n")
    return card


def _head(exported: Checkpoint, license: str) -> str:
    told: dict[str, Any] = {
        "library_name": "attngan",
        "pipeline_tag": "text-to-image" if exported.entry.damsm else "unconditional-image-generation",
        "tags": ["gan", "attngan"],
        **({"license": license} if license else {}),
    }
    return f"---\n{yaml.safe_dump(told, sort_keys=False)}---"


def _opening(exported: Checkpoint) -> str:
    side = exported.generator().image_sizes[-1]
    of = f", trained on {exported.entry.trained_on}" if exported.entry.trained_on else ""
    what = "captions" if exported.entry.damsm else "noise"
    draw = f'attngan sample {exported.path.name} "a caption"' if what == "captions" else "attngan sample"
    return f"A GAN that draws images of {side} x {side} px from {what}{of}. `{draw}` draws with it."


def _facts(exported: Checkpoint, file: Path) -> str:
    entry, generator = exported.entry, exported.generator()
    assert entry.generator is not None
    kind, arguments = entry.generator["class_path"], entry.generator["init_args"]
    size = f"{file.stat().st_size / 1e6:.1f} MB, SHA-256 `{file_sha256(file)}`; no code in it"
    told = {
        "file": f"`{file.name}`: {size}",
        "generator": f"`{kind.rpartition('.')[2]}`, {sum(p.numel() for p in generator.parameters()):,} weights",
        "its arguments": ", ".join(f"`{name}: {value}`" for name, value in arguments.items()),
    }
    if (vocabulary := exported.vocabulary) is not None:
        told["reads"] = f"up to {exported.word_limit} words of a caption; {len(vocabulary):,} words known"
        told["text encoder"] = f"`{str(entry.damsm and entry.damsm['text_encoder']['class_path']).rpartition('.')[2]}`"
    if entry.trained_on:
        told["data"] = entry.trained_on
    if entry.steps:
        told["training"] = f"{entry.steps:,} steps, {entry.images_seen:,} images seen"
    return "| | |\n|---|---|\n" + "\n".join(f"| {title} | {_cell(text)} |" for title, text in told.items())


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _scores(path: Path, checkpoints: set[str]) -> str:
    """A table of the scores, and in a list how they were computed.

    Raises:
        InputError: The file holds none, or those of another checkpoint.
    """
    told = read_json(path)
    if not isinstance(told, dict) or not isinstance(told.get("scores"), dict):
        raise InputError(f"{path} holds no scores: scores.json of `attngan evaluate` is needed")
    subject = told.get("subject") or {}
    if subject.get("checkpoint_sha256") not in checkpoints:
        raise InputError(
            f"{path}: its scores are of another checkpoint (SHA-256 {str(subject.get('checkpoint_sha256'))[:12]}): "
            "evaluate this one"
        )
    rows = [f"| `{_cell(name)}` | {_value(score)} |" for name, score in told["scores"].items()]
    table = "\n".join(["| score | value |", "|---|---|", *rows])
    reference, extractor = told.get("reference") or {}, told.get("extractor") or {}
    how = {
        "protocol": told.get("protocol") or "none: each score's name says what was done",
        "images": f"{told.get('images'):,} drawn, seed {told.get('seed')}" if told.get("images") else "",
        "against": f"{reference.get('source')} {reference.get('split')}, {reference.get('images'):,} real images"
        if reference.get("images")
        else "",
        "features": f"{extractor.get('name')} (SHA-256 {str(extractor.get('sha256'))[:12]})" if extractor else "",
        "by": ", ".join(f"{name} {version}" for name, version in (told.get("versions") or {}).items()),
    }
    lines = "\n".join(f"- {title}: {text}" for title, text in how.items() if text)
    return f"## Scores\n\n{table}\n\nHow they were computed, by `attngan evaluate`:\n\n{lines}"


def _value(score: Mapping[str, Any] | Any) -> str:
    if not isinstance(score, Mapping) or not isinstance(score.get("value"), int | float):
        return "not known"
    spread = f" ± {score['std']:.3g} (over {score.get('std_over', 'parts')})" if "std" in score else ""
    return f"{score['value']:.4g}{spread}"


def _terms(license: str, data_terms: str) -> str:
    of_weights = f"The weights: {license}." if license else "No licence of the weights was named: ask who made them."
    of_data = data_terms or "What the data's own terms allow was not said; they bind whoever uses what this draws."
    return f"## Terms\n\n{of_weights} {of_data}"
