"""The colour probe's training on generated birds, and what it gets right of birds that it has not seen."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from attngan.data.images import crop_rectangle, load_named_image, resized_shape, shorter_side
from attngan.data.text_files import read_json
from attngan.errors import MissingFileError
from attngan.pixels import centre_corner, centre_crop, from_uint8
from attngan.progress import with_progress
from attngan.toy_birds.captions import PARTS, Dice
from attngan.toy_birds.colour_probe import ColourProbe
from attngan.toy_birds.colour_truth import (
    COLOUR_NAMES,
    ColourTruth,
    captions_of_other_classes,
    percent_of_whole,
    truth_of_colours,
)
from attngan.toy_birds.dataset import draw_bird, plan_bird


@dataclass(frozen=True)
class ProbeAccuracy:
    """What the probe gets right of birds that it was not trained on.

    ``held_out``: colour truth of held-out images of training classes; ``new_classes``: of all images of test classes,
    whose combinations of colours are new; ``mismatched``: of all these images with captions of other classes, which is
    what guessing looks like; ``classes``: percent of all these images whose class it tells among all classes.
    """

    held_out: ColourTruth
    new_classes: ColourTruth
    mismatched: ColourTruth
    classes: float

    def percentages(self) -> dict[str, float]:
        """All of it as one flat dictionary, for a table or JSON."""
        truths = {"held_out": self.held_out, "new_classes": self.new_classes, "mismatched": self.mismatched}
        by_part = {f"{name}_{part}": truth.percent_of[part] for name, truth in truths.items() for part in PARTS}
        return {**{name: truth.percent for name, truth in truths.items()}, **by_part, "classes": self.classes}


def train_probe(
    root: Path | str,
    size: int = 64,
    epochs: int = 6,
    batch_size: int = 64,
    more_birds: int = 2000,
    seed: int = 0,
    bf16: bool = False,
    progress: bool = True,
) -> tuple[ColourProbe, ProbeAccuracy]:
    """Trains a probe on the training classes of a generated data set and judges it on birds it has not seen.

    A tenth of the images of each training class and all images of the test classes are kept out of training. As many
    birds again are drawn with a random colour for each part: of a few dozen classes a network learns the combinations
    by heart, and was wrong about half of the colours of classes that it had not seen. Images are cropped around the
    bird's box as for the generator, then blurred, bent and made noisy at random: what a young generator draws has the
    colours long before it has sharp edges.

    Args:
        root: Data set that ``draw_toy_birds`` drew.
        size: Side in pixels of the probe's input.
        epochs: Passes over the training images.
        batch_size: Images in a step.
        more_birds: Birds of random colours to draw for training, in memory only.
        bf16: Whether to compute in bfloat16, about twice as fast on processors that have instructions for it.
        seed: Seed of weights, order, augmentation and the birds of random colours.
        progress: Whether to show a progress bar.

    Returns:
        The probe (in eval mode, frozen) and its accuracy.
    """
    birds = _read_birds(Path(root), size)
    held_out = _held_out(birds.classes, seed) & birds.training
    trained_on = torch.from_numpy(np.flatnonzero(birds.training & ~held_out))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        probe = ColourProbe(birds.class_names, birds.class_colours, size=size)
        drawn, drawn_colours = _birds_of_random_colours(more_birds, birds.picture_size, size, seed, progress)
        images = torch.cat([birds.images[trained_on], drawn])
        colours = torch.cat([birds.colours[trained_on], drawn_colours])
        _fit(probe, images, colours, epochs, batch_size, bf16, progress)
    probe.eval().requires_grad_(False)
    return probe, _accuracy(probe, birds, held_out, seed)


def _fit(
    probe: ColourProbe,
    images: UInt8[Tensor, "images 3 _ _"],
    colours: Int[Tensor, "images parts"],
    epochs: int,
    batch_size: int,
    bf16: bool,
    progress: bool,
) -> None:
    steps = epochs * -(-len(images) // batch_size)
    probe.train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(probe.parameters(), lr=4e-3, weight_decay=1e-2, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps, pct_start=0.15)
    for batch in with_progress(_batches(len(images), batch_size, epochs), "training the colour probe", steps, progress):
        pictures = _augmented(images[batch], probe.size).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            features = probe.body(pictures)
        logits = probe.class_head.colour_head(features.float())
        loss = F.cross_entropy(logits.flatten(0, 1), colours[batch].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def _augmented(images: UInt8[Tensor, "batch 3 _ _"], size: int) -> Float[Tensor, "batch 3 {size} {size}"]:
    """Crops, mirrors, turns and bends images, and makes some of them blurred and noisy; in [-1, 1]."""
    batch = len(images)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.empty(batch, *shape).uniform_(low, high)

    scale = uniform(0.88, 1.12) * size / images.shape[-1]
    angle = uniform(-0.14, 0.14)
    mirror = torch.where(uniform(0.0, 1.0) < 0.5, -1.0, 1.0)
    shift = uniform(-0.12, 0.12, 2)
    cosine, sine = scale * angle.cos(), scale * angle.sin()
    turn = torch.stack([torch.stack([cosine * mirror, -sine, shift[:, 0]], 1),
                        torch.stack([sine * mirror, cosine, shift[:, 1]], 1)], 1)  # fmt: skip
    grid = F.affine_grid(turn, [batch, 3, size, size], align_corners=False)
    bend = F.interpolate(uniform(-0.08, 0.08, 2, 5, 5), (size, size), mode="bicubic", align_corners=True)
    grid = grid + bend.permute(0, 2, 3, 1)
    pictures = F.grid_sample(from_uint8(images), grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    blurred = torch.randperm(batch)[: batch // 2]
    coarse = int(torch.randint(size // 4, size // 2 + 1, ()))
    small = F.interpolate(pictures[blurred], (coarse, coarse), mode="bilinear", antialias=True)
    pictures[blurred] = F.interpolate(small, (size, size), mode="bilinear")
    pictures = pictures * uniform(0.9, 1.1, 1, 1, 1) + uniform(-0.08, 0.08, 1, 1, 1) + uniform(-0.03, 0.03, 3, 1, 1)
    return (pictures + uniform(0.0, 0.08, 1, 1, 1) * torch.randn_like(pictures)).clamp_(-1, 1)


def _batches(count: int, batch_size: int, epochs: int) -> Iterator[Tensor]:
    for _ in range(epochs):
        yield from torch.randperm(count).split(batch_size)


# --- drawn birds and their truth -------------------------------------------------------------------------------------


class _Birds(NamedTuple):
    picture_size: int
    images: UInt8[Tensor, "images 3 _ _"]
    colours: Int[Tensor, "images parts"]
    captions: list[list[str]]
    classes: np.ndarray  # positions in class_names
    training: np.ndarray  # whether its class is a training class
    class_names: list[str]
    class_colours: Int[Tensor, "classes parts"]


def _read_birds(root: Path, size: int) -> _Birds:
    truth_file = root / "attributes.json"
    if not truth_file.is_file():
        raise MissingFileError(f"no {truth_file}: the colour probe learns from generated birds (draw_toy_birds) only")
    truth = read_json(truth_file)
    side = shorter_side(size)
    pictures, colours = [], []
    for record in truth["images"]:
        path = root / "images" / f"{record['name']}.jpg"
        pictures.append(_cropped(load_named_image(path, str(path)), record["box"], side))
        colours.append([COLOUR_NAMES.index(record["colours"][part]) for part in PARTS])
    classes = np.array([record["class_id"] - 1 for record in truth["images"]])
    every_colour = torch.tensor(colours)
    first_of_class = [int(np.flatnonzero(classes == number)[0]) for number in range(len(truth["classes"]))]
    return _Birds(
        picture_size=truth["arguments"]["size"],
        images=torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous(),
        colours=every_colour,
        captions=[[caption["text"] for caption in record["captions"]] for record in truth["images"]],
        classes=classes,
        training=np.array([record["split"] == "train" for record in truth["images"]]),
        class_names=truth["classes"],
        class_colours=every_colour[first_of_class],
    )


def _birds_of_random_colours(
    count: int, picture_size: int, size: int, seed: int, progress: bool
) -> tuple[Tensor, Tensor]:
    """Images and colours of birds whose parts have any colour each."""
    side = shorter_side(size)
    pictures, colours = np.zeros((count, side, side, 3), np.uint8), np.zeros((count, len(PARTS)), np.int64)
    for number in with_progress(range(count), "drawing birds for the colour probe", count, progress):
        dice = Dice(seed, number, 3)
        chosen = {part: dice.pick(COLOUR_NAMES) for part in PARTS}
        bird = plan_bird(chosen, seed + 1, number, 0)  # another seed than that of the data set
        box = [length * picture_size for length in bird.box]
        pictures[number] = _cropped(draw_bird(bird, picture_size), box, side)
        colours[number] = [COLOUR_NAMES.index(chosen[part]) for part in PARTS]
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(colours)


def _cropped(picture: Image.Image, box: Sequence[float], side: int) -> np.ndarray:
    """What the generator sees of the picture, with the random crop's margin around it."""
    crop = picture.crop(crop_rectangle(tuple(box), *picture.size))
    width, height = resized_shape(*crop.size, side)
    return centre_crop(np.asarray(crop.resize((width, height), Image.Resampling.BILINEAR)), side)


def _held_out(classes: np.ndarray, seed: int) -> np.ndarray:
    """A tenth of the images of each class, at least one."""
    chosen = np.zeros(len(classes), bool)
    for number in np.unique(classes):
        members = Dice(seed, int(number)).shuffled(np.flatnonzero(classes == number).tolist())
        chosen[members[: max(1, len(members) // 10)]] = True
    return chosen


def _accuracy(probe: ColourProbe, birds: _Birds, held_out: np.ndarray, seed: int) -> ProbeAccuracy:
    unseen = np.flatnonzero(held_out | ~birds.training)
    top, left = centre_corner(birds.images.shape[2], birds.images.shape[3], probe.size)
    images = birds.images[torch.from_numpy(unseen)][..., top : top + probe.size, left : left + probe.size]
    with torch.inference_mode():
        outputs = [probe(from_uint8(batch)) for batch in images.split(256)]
    seen = torch.cat([output.colours for output in outputs]).argmax(-1)
    told = torch.cat([output.classes for output in outputs]).argmax(-1).numpy()

    def truth_of(rows: np.ndarray) -> ColourTruth:  # rows of ``unseen``, each with all captions of its image
        pairs = [(seen[row], caption) for row in rows for caption in birds.captions[unseen[row]]]
        return truth_of_colours(torch.stack([colours for colours, _ in pairs]), [caption for _, caption in pairs])

    new = ~birds.training[unseen]
    classes = birds.classes[unseen]
    none = ColourTruth(dict.fromkeys(PARTS, 0), dict.fromkeys(PARTS, 0))
    mismatched = captions_of_other_classes([birds.captions[i] for i in unseen], classes.tolist(), seed)
    return ProbeAccuracy(
        held_out=truth_of(np.flatnonzero(~new)),
        new_classes=truth_of(np.flatnonzero(new)) if new.any() else none,
        mismatched=truth_of_colours(seen, mismatched),
        classes=percent_of_whole(int((told == classes).sum()), len(classes)),
    )
