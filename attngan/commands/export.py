"""``attngan export``: a generator alone, as one small file; or as a graph that other programs run."""

from pathlib import Path
from typing import Any, Literal

from attngan.checkpoint import Checkpoint, WeightType, open_checkpoint, write_generator
from attngan.commands.model_card import write_card
from attngan.errors import InputError, tell_without_effect
from attngan.portable import write_onnx, write_program
from attngan.terminal import say

Format = Literal["safetensors", "onnx", "pt2"]
#: Suffix of each format.
FORMATS: dict[Format, str] = {"safetensors": ".safetensors", "onnx": ".onnx", "pt2": ".pt2"}


def export(
    checkpoint: Path,
    out: Path,
    format: Format | None = None,
    dtype: WeightType = "float32",
    trained_on: str = "",
    card: bool = False,
    license: str = "",
    data_terms: str = "",
    scores: Path | None = None,
    notes: Path | None = None,
) -> None:
    """Writes the averaged generator, and where it has them its text encoder and vocabulary, as one small file.

    It holds no code and no optimiser states; `attngan sample` and `attngan evaluate` read it like a checkpoint.

    With --format onnx or pt2: one graph from word ids and noise to the image, of any number of images and words, for
    programs without attngan (examples/sample_onnx.py); vocabulary and lengths are in its metadata.

    Args:
        checkpoint: Checkpoint of `attngan train` to take the generator from.
        out: File to write, ending in .safetensors, .onnx or .pt2.
        format: safetensors (weights and their description), onnx (for onnxruntime and others; pip install
            'attngan[onnx]') or pt2 (for torch.export.load); by default what the name of the file says.
        dtype: Type that the weights are stored in. float16 halves the file, and no eye sees it in the pictures;
            bfloat16 rounds more coarsely, but holds weights of any size. They are read back as float32.
        trained_on: Data that it was trained on, in words; `attngan sample` tells it with the file's name.
        card: Also write NAME.md, a model card: what it is, data, recipe (of a run), scores and terms.
        license: For the card: licence of the weights, by its short name (mit, cc-by-nc-4.0).
        data_terms: For the card: what the data's terms allow, in a sentence.
        scores: For the card: scores.json of `attngan evaluate`, of this checkpoint.
        notes: For the card: a text in Markdown that goes at its end.
    """
    if not card:
        of_card: dict[str, Any] = {"license": (license, ""), "data_terms": (data_terms, "")}
        tell_without_effect("--card is not given", "--", **of_card, scores=(scores, None), notes=(notes, None))
    chosen = format or next((name for name, suffix in FORMATS.items() if suffix == out.suffix), None)
    if chosen is None or FORMATS[chosen] != out.suffix:
        wanted = FORMATS[chosen] if chosen else ", ".join(FORMATS.values())
        raise InputError(f"{out}: an exported generator's name ends in {wanted}")
    source = open_checkpoint(checkpoint)
    if chosen == "safetensors":
        _write_weights(source, out, dtype, trained_on)
        if card:
            say(f"written: {write_card(out, source, license, data_terms, scores, notes)}")
    else:
        of_weights: dict[str, Any] = {
            "dtype": (dtype, "float32"),
            "trained_on": (trained_on, ""),
            "card": (card, False),
        }
        tell_without_effect(f"a graph is written ({out.suffix})", "--", **of_weights)
        by, difference = (
            ("onnxruntime", write_onnx(source, out)) if chosen == "onnx" else ("the file", write_program(source, out))
        )
        told = f"{by} draws the same to {difference:.1e}" if difference is not None else "not checked: no onnxruntime"
        say(f"{out}: {told}")
    say(f"written: {out} ({out.stat().st_size / 1e6:.1f} MB)")


def _write_weights(source: Checkpoint, out: Path, dtype: WeightType, trained_on: str) -> None:
    entry = source.entry
    write_generator(
        out,
        source.generator(),
        source.caption_reader(),
        entry.word_limit,
        entry.steps,
        entry.images_seen,
        dtype,
        trained_on or entry.trained_on,
    )
