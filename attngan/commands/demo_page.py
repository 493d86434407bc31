"""The demo's page: one HTML file with everything in it, to be opened in a browser or sent to someone."""

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from attngan.pictures import attention_picture, caption_grid, stack
from attngan.records import CaptionedImage
from attngan.sampling import Sampler

STYLE = """
body {font: 16px/1.5 system-ui, sans-serif; max-width: 1000px; margin: 2em auto; padding: 0 1em; color: #222}
h1 {margin-bottom: 0} h2 {margin-top: 2em} img {max-width: 100%; height: auto}
table {border-collapse: collapse; margin: 1em 0} 
td, th {border-bottom: 1px solid #ddd; padding: .35em .9em; text-align: left}
td.number {text-align: right; font-variant-numeric: tabular-nums} .note {color: #666}
"""


def write_page(out: Path, data: Path, facts: dict[str, Any], scores: dict[str, Any]) -> Path:
    """Draws samples and attention maps, plots the losses, and writes ``index.html`` (and ``samples.png``).

    Args:
        out: The demo's folder, with the runs in it.
        data: The generated birds.
        facts: What the demo measured, colour truth among it.
        scores: Those of `attngan evaluate`, by name.
    """
    sampler = Sampler.load(out / "attngan" / "checkpoints" / "last.ckpt")
    shown = _captions_to_show(data)
    captions = [text for text, _ in shown]
    columns = [sampler.draw(captions, [number] * len(captions), facts["seed"]) for number in range(6)]
    real = [_centre_crop(image, sampler.resolution) for _, image in shown]
    rows = [(text, [*(drawn.images[-1][i].cpu() for drawn in columns), real[i]]) for i, text in enumerate(captions)]
    samples = caption_grid(rows, header=["drawn", *[""] * 5, "a real bird of this caption"])
    samples.save(out / "samples.png")
    attention = [
        attention_picture(columns[0].images[-1][i], sampler.words(text), columns[0].attention[-1][i])
        for i, text in enumerate(captions[:4])
    ]
    sections = [
        f"<h1>attngan demo</h1><p class=note>{_how(facts)}</p>",
        "<h2>Samples</h2><p>Test captions, whose combinations of colours no training bird has, and six pictures of "
        "each; a column shares its noise. On the right a real test bird that the caption was written for.</p>"
        + _picture(samples),
        "<h2>Attention</h2><p>Where each word acted when the last stage was drawn; the words with the largest mean "
        "weight are marked.</p>" + _picture(stack(attention)),
        "<h2>Colour truth</h2>" + _colour_table(facts["colour_truth"]),
        "<h2>Scores</h2>" + _score_table(scores),
        "<h2>Losses</h2>" + _picture(_curves(out / "attngan", _GAN_CURVES)) + _picture(_curves(out / "damsm", _DAMSM)),
        "<h2>While it learnt</h2>" + _progress(out / "attngan" / "pictures"),
    ]
    page = out / "index.html"
    head = f"<meta charset=utf-8><title>attngan demo</title><style>{STYLE}</style>"
    page.write_text(f"<!doctype html><html lang=en><head>{head}</head><body>{''.join(sections)}</body></html>")
    return page


def _captions_to_show(data: Path, count: int = 10) -> list[tuple[str, CaptionedImage]]:
    from attngan.data.sources.cub import read_cub
    from attngan.toy_birds.dataset import named_colours

    images = read_cub(data, "test")
    chosen = []
    for number in range(count):
        image = images[number * len(images) // count]
        # the caption that names most colours: there is most to see
        chosen.append((max(image.captions, key=lambda text: len(named_colours(text))), image))
    return chosen


def _centre_crop(image: CaptionedImage, side: int) -> Float[Tensor, "3 side side"]:
    """What an evaluation sees of a real image."""
    from attngan.data.images import load_pixels, shorter_side

    pixels = load_pixels(image.path, image.box, shorter_side(side))
    top, left = ((whole - side) // 2 for whole in pixels.shape[:2])
    crop = torch.from_numpy(pixels[top : top + side, left : left + side].copy())
    return crop.permute(2, 0, 1).float().div(127.5).sub(1)


def _how(facts: dict[str, Any]) -> str:
    how = f"Generated birds, DAMSM, two-stage AttnGAN (32 and 64 px), {facts['took_minutes']:.1f} minutes, seed "
    how += str(facts["seed"])
    return how + (". A smoke test: it was hardly trained, the pictures show nothing." if facts["smoke"] else ".")


def _picture(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return f'<img src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}">'


def _colour_table(truth: dict[str, Any]) -> str:
    parts = ", ".join(f"{part} {value:.0f} %" for part, value in truth["samples_by_part"].items())
    lines = [
        ("samples and their captions", truth["samples"]),
        ("real test birds and their captions", truth["real"]),
        ("samples and captions of other birds", truth["samples_with_other_captions"]),
        ("real test birds and captions of other birds", truth["real_with_other_captions"]),
    ]
    rows = "".join(f"<tr><td>{name}</td><td class=number>{value:.1f} %</td></tr>" for name, value in lines)
    return (
        f"<p>A small classifier trained on real birds looks for the colours that captions name "
        f"({truth['named']} of them). By part: {parts}.</p><table>{rows}</table>"
    )


def _score_table(scores: dict[str, Any]) -> str:
    rows = []
    for name, score in scores.items():
        spread = f" ± {score['std']:.2f}" if "std" in score else ""
        rows.append(f"<tr><td>{html.escape(name)}</td><td class=number>{score['value']:.2f}{spread}</td></tr>")
    note = (
        "The Inception Score looks through the colour probe, so it is comparable with nothing but itself. R-precision "
        "(1 of 100 captions) is judged by the DAMSM that also trained the generator, which flatters it."
    )
    return f"<table>{''.join(rows)}</table><p class=note>{note}</p>"


_GAN_CURVES: dict[str, Sequence[str]] = {
    "generator": ["generator_32/loss", "generator_64/loss"],
    "discriminators": ["discriminator_32/loss", "discriminator_64/loss"],
    "matching": ["matching/words_to_caption", "matching/sentence_to_caption"],
}
_DAMSM: dict[str, Sequence[str]] = {
    "DAMSM loss": ["train/loss_step", "validation/loss"],
    "recall at 1, %": ["validation/r1"],
}


def _curves(run: Path, plots: dict[str, Sequence[str]]) -> Image.Image:
    """Logged values against steps, one plot a group."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run), size_guidance={"scalars": 0})
    events.Reload()
    known = events.Tags()["scalars"]
    figure, axes = pyplot.subplots(1, len(plots), figsize=(10, 2.8), squeeze=False)
    for axis, (title, names) in zip(axes[0], plots.items(), strict=True):
        for name in names:
            if name in known:
                points = events.Scalars(name)
                axis.plot([p.step for p in points], [p.value for p in points], label=name, linewidth=1)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("steps", fontsize=8)
        if axis.lines:
            axis.legend(fontsize=7)
    figure.tight_layout()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    pyplot.close(figure)
    return Image.open(buffer)


def _progress(folder: Path, count: int = 4) -> str:
    """A few of the pictures drawn during training, first to last."""
    pictures = sorted(folder.glob("samples_*.png"))
    if not pictures:
        return "<p>Too short a run for pictures.</p>"
    chosen = [pictures[round(i * (len(pictures) - 1) / max(1, count - 1))] for i in range(min(count, len(pictures)))]
    shown = []
    for path in dict.fromkeys(chosen):
        with Image.open(path) as image:
            shown.append(
                f"<h3>step {int(path.stem.partition('_')[2])}</h3>{_picture(image.crop((0, 0, image.width, 320)))}"
            )
    return "".join(shown)
