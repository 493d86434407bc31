"""The demo's page: one HTML file with everything in it, to be opened in a browser or sent to someone.

It is written several times: with the first pictures, while the training goes on, and with its results.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from PIL import Image
from torch import Tensor

from attngan.commands.demo_facts import ColourTruths, DemoFacts
from attngan.data.images import load_named_image
from attngan.evaluation.image_sets import TITLES
from attngan.evaluation.measuring import ScoreEntry
from attngan.evaluation.metric_table import title_of
from attngan.evaluation.table import pivot, shown
from attngan.files import write_whole
from attngan.pages.page import Badge, Captioned, Cell, Fact, Figure, Page, Row, Section, Table, picture, plot
from attngan.pictures import attention_picture, caption_grid, stack, to_pil
from attngan.pixels import centre_crop, from_uint8
from attngan.records import CaptionedImage, GeneratedImages
from attngan.sampling import Sampler
from attngan.stopping import Stopped
from attngan.training.curves import read_curves

SAMPLES = 6  # pictures of each caption
REFRESH_SECONDS = 20
TITLE = "attngan demo"
#: What the demo does, step by step.
STEPS = (
    "captions, drawn by the generator that ships",
    "generated birds with captions, and a probe of their colours",
    "a DAMSM, which tells which caption belongs to which image",
    "an AttnGAN, from captions to images",
    "scores and pictures",
)
#: Title of a plot to the values that it shows, each with what people read instead of its name.
Curves = Mapping[str, Mapping[str, str]]
GAN_CURVES: Curves = {
    "generator's loss": {"generator_32/loss": "32 px", "generator_64/loss": "64 px"},
    "discriminators' losses": {"discriminator_32/loss": "32 px", "discriminator_64/loss": "64 px"},
    "matching loss": {"matching/words_to_caption": "words", "matching/sentence_to_caption": "sentence"},
}
DAMSM_CURVES: Curves = {
    "DAMSM's loss": {"train/loss_step": "training", "validation/loss": "validation"},
    "first caption is the right one, %": {"validation/r1": "validation"},
}


@dataclass(frozen=True)
class Shipped:
    """Captions drawn by the generator that ships.

    Args:
        title: Which generator that is, in words; "": there is none.
        captions: Those that were drawn.
        images: ``SAMPLES`` of each caption, in [-1, 1].
        unknown: The words of each caption that the vocabulary lacks.
        refused: Captions of which it knows no word.
        problem: Why there are no pictures; "": there are.
    """

    title: str
    captions: Sequence[str] = ()
    images: Sequence[Sequence[Float[Tensor, "3 side side"]]] = field(default=(), repr=False)
    unknown: Sequence[Sequence[str]] = ()
    refused: Sequence[str] = ()
    problem: str = ""

    @classmethod
    def draw(cls, sampler: Sampler, captions: Sequence[str], seed: int, refused: Sequence[str] = ()) -> "Shipped":
        """Draws what the vocabulary knows a word of; a column shares its noise.

        Args:
            sampler: The generator.
            captions: What to draw.
            seed: Seed of the noise.
            refused: Captions that were refused before.
        """
        known = [caption for caption in captions if sampler.knows(caption)]
        refused = [*refused, *(caption for caption in captions if caption not in known)]
        columns = (
            [sampler.draw(known, [n] * len(known), seed).images[-1].float().cpu() for n in range(SAMPLES)]
            if known
            else []
        )
        vocabulary = sampler.vocabulary
        return cls(
            sampler.title,
            known,
            [[column[i] for column in columns] for i in range(len(known))],
            [vocabulary.unknown_words(caption) if vocabulary else [] for caption in known],
            refused,
        )

    def picture(self) -> Image.Image:
        """All of them together."""
        return caption_grid(list(zip(self.captions, self.images, strict=True)))

    def section(self) -> Section:
        """What the page shows of it."""
        title = "Birds from captions"
        if not self.captions:
            return Section(title, f"There are no pictures yet: {self.problem}")
        note = (
            f"Drawn by {self.title}, the generator that ships with attngan. The pictures of a column share their noise."
        )
        if self.refused:
            note += f" Not drawn, as no word is known: {', '.join(self.refused)}."
        rows = [
            Captioned(
                caption,
                [_figure(image) for image in images],
                f"unknown words: {', '.join(unknown)}" if unknown else "",
            )
            for caption, images, unknown in zip(self.captions, self.images, self.unknown, strict=True)
        ]
        return Section(title, note, captioned=rows)


class DemoPage:
    """The page's file, rewritten as the demo goes on; the first pictures stay at its top.

    Args:
        path: The file.
        shipped: The first pictures.
    """

    def __init__(self, path: Path, shipped: Shipped) -> None:
        self.path, self._first = path, shipped.section()

    def under_way(self, step: int, told: str = "", last_picture: Path | None = None) -> None:
        """While it goes on; a browser reads it again every few seconds.

        Args:
            step: What is being done, from 1.
            told: How far it is.
            last_picture: The newest picture of the training.
        """
        states = ["done"] * (step - 1) + [told or "now"] + ["to come"] * (len(STEPS) - step)
        facts = [Fact(f"{i}. {what}", state) for i, (what, state) in enumerate(zip(STEPS, states, strict=True), 1)]
        pictures = [_training_picture(last_picture)] if last_picture else []
        note = "This page is rewritten as it goes on, and reads itself again."
        lead = "Birds from captions are here; now a small generator is trained on this machine, on generated birds."
        badge = Badge(f"step {step} of {len(STEPS)}", good=True)
        self._write(lead, [Section("Under way", note, facts=facts, pictures=pictures)], badge, REFRESH_SECONDS)

    def stop(self, error: BaseException) -> None:
        """When the demo ends before its end."""
        interrupted = isinstance(error, KeyboardInterrupt | SystemExit | Stopped)
        why = "interrupted" if interrupted else str(error) or type(error).__name__
        ended = Section("The training", facts=[Fact("ended early", why, bad=True)])
        self._write("The training ended before its end.", [ended], Badge("stopped", good=False))

    def finish(self, lead: str, sections: Sequence[Section], badge: Badge | None) -> None:
        """With what `results` gives."""
        self._write(lead, sections, badge)

    def _write(
        self, lead: str, sections: Sequence[Section], badge: Badge | None = None, refresh: int | None = None
    ) -> None:
        write_whole(self.path, Page(TITLE, lead, [self._first, *sections], badge, refresh).html())


def results(
    out: Path, data: Path, facts: DemoFacts, scores: Mapping[str, ScoreEntry]
) -> tuple[str, list[Section], Badge | None]:
    """Draws samples and attention maps, plots the losses; writes ``samples.png``.

    Args:
        out: The demo's folder, with the runs in it.
        data: The generated birds.
        facts: What the demo measured.
        scores: Those of `attngan evaluate`, by name.

    Returns:
        The page's lead, its sections, and what stands beside the lead.
    """
    sampler = Sampler.load(out / "attngan" / "checkpoints" / "last.ckpt")
    birds = _captions_to_show(data)
    captions = [bird.caption for bird in birds]
    columns = [sampler.draw(captions, [number] * len(captions), facts.seed) for number in range(SAMPLES)]
    rows = _rows(sampler, birds, columns)
    header = ["drawn", *[""] * (SAMPLES - 1), "a real bird of this caption"]
    caption_grid(rows, header=header).save(out / "samples.png")
    sections = [
        _training(facts),
        Section(
            "Generated birds, drawn by the generator that was just trained",
            f"Test captions, whose combinations of colours no training bird has, and {SAMPLES} pictures of each. Last "
            "the test bird that the caption was written for.",
            captioned=[
                Captioned(caption, [*map(_figure, images[:-1]), _figure(images[-1], "the test bird")])
                for caption, images in rows
            ],
        ),
        _colour_truth(facts.colour_truth),
        Section(
            "Attention",
            "Where each word acted when the last stage was drawn; the words with the largest mean weight are marked.",
            pictures=[picture(_attention(sampler, captions[:4], columns[0]))],
        ),
        _scores(scores),
        Section("Losses", pictures=[_curves(out / "attngan", GAN_CURVES), _curves(out / "damsm", DAMSM_CURVES)]),
        _progress(out / "attngan" / "pictures"),
    ]
    lead = "First, birds that the shipped generator drew from captions; then what was trained here, on generated birds."
    trained = facts.generator
    cut = trained is not None and trained.cut and not facts.smoke
    badge = Badge(f"stopped at {100 * trained.share:.0f} % of the images", good=False) if trained and cut else None
    return lead, sections, badge


def _training(facts: DemoFacts) -> Section:
    trained, damsm = facts.generator, facts.damsm
    assert trained is not None
    assert damsm is not None
    ended = trained.outcome(facts.minutes)
    lines = [
        Fact(
            "the generator", "A smoke test: it was hardly trained, its pictures show nothing." if facts.smoke else ended
        ),
        Fact("images", f"{trained.images:,} of {trained.budget:,}, in {trained.steps:,} steps"),
        Fact("speed", f"{trained.images_per_second:.0f} images/s for {trained.seconds / 60:.1f} minutes"),
        Fact("computed in", facts.precision),
        Fact("the DAMSM", f"{damsm.images:,} of {damsm.budget:,} images in {damsm.seconds / 60:.1f} minutes"),
        Fact("all together", f"{facts.took_minutes:.1f} minutes, seed {facts.seed}"),
    ]
    if trained.cut and not facts.smoke:
        again = "on a machine with less other work, or with a higher limit: --minutes 60 --images "
        lines.insert(1, Fact("better pictures", f"{again}{trained.budget}", bad=True))
    note = "A DAMSM that matches captions with images, then a two-stage AttnGAN (32 and 64 px), from nothing."
    return Section("Trained on this machine", note, facts=lines)


def _figure(image: Float[Tensor, "3 side side"], caption: str = "") -> Figure:
    return picture(to_pil(image), caption)


def _training_picture(path: Path) -> Figure:
    """A picture of the training: its first rows, and after how many steps it was drawn."""
    image = load_named_image(path, str(path))
    step = int(path.stem.partition("_")[2])
    return picture(image.crop((0, 0, image.width, min(image.height, 320))), f"step {step:,}")


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


def _rows(
    sampler: Sampler, birds: Sequence[_Bird], columns: Sequence[GeneratedImages]
) -> list[tuple[str, list[Tensor]]]:
    """Each caption with the pictures drawn of it, and last the real bird."""
    return [
        (
            bird.caption,
            [
                *(column.images[-1][i].float().cpu() for column in columns),
                _centre_crop(bird.image, sampler.resolution),
            ],
        )
        for i, bird in enumerate(birds)
    ]


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


def _colour_truth(truth: ColourTruths) -> Section:
    parts = ", ".join(f"{part} {value:.0f} %" for part, value in truth.samples_by_part.items())
    lines = [
        ("samples and their captions", truth.samples),
        ("real test birds and their captions", truth.real),
        ("samples and captions of other birds", truth.samples_with_other_captions),
        ("real test birds and captions of other birds", truth.real_with_other_captions),
    ]
    note = (
        "Does the picture show what the caption says? A small classifier trained on real birds looks for the colours "
        f"that captions name ({truth.named} of them). By part: {parts}."
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


def _curves(run: Path, plots: Curves) -> Figure:
    """Logged values against steps, one panel a group."""
    known = read_curves(run)

    def draw(panels: Sequence[Axes]) -> None:
        for panel, (title, names) in zip(panels, plots.items(), strict=True):
            for name, label in names.items():
                if name in known:
                    panel.plot(known[name].steps, known[name].values, label=label, linewidth=1)
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
    return Section(title, pictures=[_training_picture(path) for path in dict.fromkeys(chosen)])
