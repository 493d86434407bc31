"""The demo's page: one HTML file with everything in it, to be opened in a browser or sent to someone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from PIL import Image
from torch import Tensor

from attngan.evaluation.image_sets import TITLES
from attngan.evaluation.measuring import ScoreEntry
from attngan.evaluation.metric_table import title_of
from attngan.evaluation.table import pivot, shown
from attngan.files import write_whole
from attngan.pages.page import Cell, Figure, Page, Row, Section, Table, picture, plot
from attngan.pictures import attention_picture, caption_grid, stack
from attngan.pixels import centre_crop, from_uint8
from attngan.records import CaptionedImage, GeneratedImages
from attngan.sampling import Sampler

SAMPLES = 6  # pictures of each caption
#: Title of a plot to the values that it shows.
GAN_CURVES = {
    "generator": ("generator_32/loss", "generator_64/loss"),
    "discriminators": ("discriminator_32/loss", "discriminator_64/loss"),
    "matching": ("matching/words_to_caption", "matching/sentence_to_caption"),
}
DAMSM_CURVES = {"DAMSM loss": ("train/loss_step", "validation/loss"), "recall at 1, %": ("validation/r1",)}


def write_page(out: Path, data: Path, facts: Mapping[str, Any], scores: Mapping[str, ScoreEntry]) -> Path:
    """Draws samples and attention maps, plots the losses, and writes ``index.html`` (and ``samples.png``).

    Args:
        out: The demo's folder, with the runs in it.
        data: The generated birds.
        facts: What the demo measured, colour truth among it.
        scores: Those of `attngan evaluate`, by name.

    Returns:
        The page's path.
    """
    sampler = Sampler.load(out / "attngan" / "checkpoints" / "last.ckpt")
    birds = _captions_to_show(data)
    captions = [bird.caption for bird in birds]
    columns = [sampler.draw(captions, [number] * len(captions), facts["seed"]) for number in range(SAMPLES)]
    samples = _samples(sampler, birds, columns)
    samples.save(out / "samples.png")
    sections = [
        _colour_truth(facts["colour_truth"]),
        Section(
            "Samples",
            f"Test captions, whose combinations of colours no training bird has, and {SAMPLES} pictures of each; a "
            "column shares its noise. On the right a real test bird that the caption was written for.",
            pictures=[picture(samples)],
        ),
        Section(
            "Attention",
            "Where each word acted when the last stage was drawn; the words with the largest mean weight are marked.",
            pictures=[picture(_attention(sampler, captions[:4], columns[0]))],
        ),
        _scores(scores),
        Section("Losses", pictures=[_curves(out / "attngan", GAN_CURVES), _curves(out / "damsm", DAMSM_CURVES)]),
        _progress(out / "attngan" / "pictures"),
    ]
    page = out / "index.html"
    write_whole(page, Page("attngan demo", _how(facts), sections).html())
    return page


class _Bird(NamedTuple):
    caption: str
    image: CaptionedImage


def _captions_to_show(data: Path, count: int = 10) -> list[_Bird]:
    """Test birds spread over all, each with the caption that names most colours: there is most to see."""
    from attngan.data.sources.cub import read_cub
    from attngan.toy_birds.captions import named_colours

    images = read_cub(data, "test")
    chosen = [images[number * len(images) // count] for number in range(count)]
    return [_Bird(max(image.captions, key=lambda text: len(named_colours(text))), image) for image in chosen]


def _samples(sampler: Sampler, birds: Sequence[_Bird], columns: Sequence[GeneratedImages]) -> Image.Image:
    """A caption a row: the pictures drawn of it, and the real bird."""
    rows = []
    for i, bird in enumerate(birds):
        drawn = [column.images[-1][i].cpu() for column in columns]
        rows.append((bird.caption, [*drawn, _centre_crop(bird.image, sampler.resolution)]))
    return caption_grid(rows, header=["drawn", *[""] * (len(columns) - 1), "a real bird of this caption"])


def _centre_crop(image: CaptionedImage, side: int) -> Float[Tensor, "3 side side"]:
    """What an evaluation sees of a real image, in [-1, 1]."""
    from attngan.data.images import load_pixels, shorter_side

    pixels = load_pixels(image.path, image.box, shorter_side(side))
    return from_uint8(torch.from_numpy(centre_crop(pixels, side).copy()).permute(2, 0, 1))


def _attention(sampler: Sampler, captions: Sequence[str], drawn: GeneratedImages) -> Image.Image:
    return stack(
        [
            attention_picture(drawn.images[-1][i], sampler.words(text), drawn.attention[-1][i])
            for i, text in enumerate(captions)
        ]
    )


def _how(facts: Mapping[str, Any]) -> str:
    how = "Generated birds, a DAMSM that matches captions with images, and a two-stage AttnGAN (32 and 64 px): "
    how += f"{facts['took_minutes']:.1f} minutes, seed {facts['seed']}."
    return how + (" A smoke test: it was hardly trained, the pictures show nothing." if facts["smoke"] else "")


def _colour_truth(truth: Mapping[str, Any]) -> Section:
    parts = ", ".join(f"{part} {value:.0f} %" for part, value in truth["samples_by_part"].items())
    lines = [
        ("samples and their captions", truth["samples"]),
        ("real test birds and their captions", truth["real"]),
        ("samples and captions of other birds", truth["samples_with_other_captions"]),
        ("real test birds and captions of other birds", truth["real_with_other_captions"]),
    ]
    note = (
        "Does the picture show what the caption says? A small classifier trained on real birds looks for the colours "
        f"that captions name ({truth['named']} of them). By part: {parts}."
    )
    rows = [Row(label, [Cell(f"{value:.1f} %", main=not i)]) for i, (label, value) in enumerate(lines)]
    return Section("Colour truth", note, table=Table(["", "colours seen"], rows))


def _scores(scores: Mapping[str, ScoreEntry]) -> Section:
    suffixes, rows = pivot(scores)
    note = (
        "The Inception Score looks through the colour probe, so it is comparable with nothing but itself. R-precision "
        "(1 of 100 captions) is judged by the DAMSM that also trained the generator, which flatters it."
    )
    lines = [
        Row(title_of(name), [Cell(shown(row.get(suffix)), main=not suffix) for suffix in suffixes], name)
        for name, row in rows.items()
    ]
    return Section("Scores", note, table=Table(["score", *(TITLES[suffix] for suffix in suffixes)], lines))


def _curves(run: Path, plots: Mapping[str, Sequence[str]]) -> Figure:
    """Logged values against steps, one panel a group."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run), size_guidance={"scalars": 0})
    events.Reload()
    known = events.Tags()["scalars"]

    def draw(panels: Sequence[Axes]) -> None:
        for panel, (title, names) in zip(panels, plots.items(), strict=True):
            for name in names:
                if name in known:
                    points = events.Scalars(name)
                    panel.plot([p.step for p in points], [p.value for p in points], label=name, linewidth=1)
            panel.set_title(title, fontsize=10)
            panel.set_xlabel("steps", fontsize=8)
            if panel.lines:
                panel.legend(fontsize=7, frameon=False)

    return plot(draw, len(plots), 2.8)


def _progress(folder: Path, count: int = 4) -> Section:
    """A few of the pictures drawn during training, first to last."""
    title, found = "While it learnt", sorted(folder.glob("samples_*.png"))
    if not found:
        return Section(title, "Too short a run for pictures.")
    chosen = [found[round(i * (len(found) - 1) / max(1, count - 1))] for i in range(min(count, len(found)))]
    pictures = []
    for path in dict.fromkeys(chosen):
        with Image.open(path) as image:
            step = int(path.stem.partition("_")[2])
            pictures.append(picture(image.crop((0, 0, image.width, min(image.height, 320))), f"step {step:,}"))
    return Section(title, pictures=pictures)
