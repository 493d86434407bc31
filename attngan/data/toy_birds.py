"""Draws birds with known colours, and captions them, into the layout of CUB-200-2011.

For first runs, tests and measurements whose truth is known: a class fixes the colours of body, wing, belly and crown,
the images of a class differ in everything else (pose, size, bill, tail, background, light), and the captions name some
of it. The ordinary CUB reader reads the result. Test classes are new combinations of colours that training classes
show one by one, so what a caption of a test class asks for can be learned.
"""

# ruff: noqa: RUF005  (points + (x, y) is numpy's sum, not a concatenation)

import itertools
import json
import math
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from attngan.data.toy_captions import (
    BACKGROUNDS,
    BILL_COLOURS,
    BILL_LENGTHS,
    BILL_SHAPES,
    COLOURS,
    PARTS,
    SIZES,
    TAILS,
    BirdAttributes,
    Dice,
    named_colours,
    write_captions,
)

__all__ = ["COLOURS", "PARTS", "ToyBird", "draw_bird", "draw_toy_birds", "named_colours", "plan_bird", "plan_classes"]

CAPTIONS = 10  # an image, as in CUB
_VERSION = 1  # of the drawings: raise it when the same seed gives other pictures or captions
_SUPERSAMPLING = 4
_TRUTH = "attributes.json"
_UNFINISHED = "attributes.unfinished.json"

Points = np.ndarray  # (points, 2), x to the right and y downwards
Colour = tuple[int, int, int]


@dataclass
class ToyBird:
    """One bird as it will be drawn, in units of the image's side.

    ``shapes``: polygons back to front, each with its colour; ``box``: x, y, width, height of the bird
    without its perch.
    """

    attributes: BirdAttributes
    box: tuple[float, float, float, float]
    shapes: list[tuple[Points, Colour]]
    seed: tuple[int, ...]
    ground: float
    unit: float
    feet: list[Points] = field(default_factory=list)
    leg_colour: Colour = (70, 60, 50)


# --- the data set ----------------------------------------------------------------------------------------------------


def draw_toy_birds(
    root: Path | str,
    train_classes: int = 160,
    test_classes: int = 40,
    images_per_class: int = 10,
    size: int = 96,
    seed: int = 0,
    progress: bool = True,
) -> Path:
    """Draws a data set of captioned birds; the same arguments give the same pictures and captions.

    Besides CUB's own files it writes ``attributes.json``: what is true of every image, and for every caption the
    colours that it names. A data set that is complete is kept as it is; one that was interrupted is gone on with.

    Args:
        root: Folder of the data set; made if it is missing.
        train_classes: Training classes. From 10 on, they show every colour on every part. Many classes of few images
            teach more than few of many: of 40 a network learns the combinations by heart, and reads or draws new
            ones wrongly.
        test_classes: Test classes: combinations of colours that no training class has, of colours that training
            classes show on the same part.
        images_per_class: Images of each class.
        size: Side of the square images in pixels. The bird fills most of the crop that the reader makes around its
            box, and the crop about the whole image: 3/2 of the training resolution is plenty.
        seed: Another seed draws another data set.
        progress: Whether to show a progress bar.

    Returns:
        ``root``.

    Raises:
        ValueError: An argument makes no sense, or ``root`` holds files of something else.
    """
    root = Path(root)
    arguments = {
        "train_classes": train_classes, "test_classes": test_classes, "images_per_class": images_per_class,
        "size": size, "seed": seed, "version": _VERSION,
    }  # fmt: skip
    for name, least in {"images_per_class": 1, "size": 8, "seed": 0}.items():
        if arguments[name] < least:
            raise ValueError(f"{name} is {arguments[name]}; it must be at least {least}")
    classes = plan_classes(train_classes, test_classes, seed)
    if _is_complete(root, arguments):
        return root
    root.mkdir(parents=True, exist_ok=True)
    _write_whole(root / _UNFINISHED, json.dumps({"arguments": arguments}))

    names = [_class_name(number, colours) for number, colours in enumerate(classes, start=1)]
    for folder, name in itertools.product(("images", "text"), names):
        (root / folder / name).mkdir(parents=True, exist_ok=True)
    images = []
    jobs = list(itertools.product(range(len(classes)), range(images_per_class)))
    for class_index, image_index in _with_progress(jobs, f"Drawing birds into {root}", progress):
        stem = f"{names[class_index]}/toy_bird_{class_index + 1:03d}_{image_index + 1:04d}"
        bird = plan_bird(classes[class_index], seed, class_index, image_index)
        captions = write_captions(bird.attributes, Dice(seed, class_index, image_index, 1), CAPTIONS)
        picture = root / "images" / f"{stem}.jpg"
        if not picture.exists():  # a file is moved to its name when it is whole
            unfinished = picture.with_name(f"{picture.name}.{os.getpid()}.unfinished")
            # Full colour resolution: colour is what these pictures are about.
            draw_bird(bird, size).save(unfinished, format="JPEG", quality=95, subsampling=0)
            unfinished.replace(picture)
        _write_whole(root / "text" / f"{stem}.txt", "".join(f"{text}\n" for text, _ in captions))
        images.append({
            "name": stem,
            "class_id": class_index + 1,
            "split": "train" if class_index < train_classes else "test",
            **asdict(bird.attributes),
            "box": [round(length * size, 1) for length in bird.box],
            "captions": [{"text": text, "named": named} for text, named in captions],
        })  # fmt: skip
    _write_lists(root, names, images)
    truth = {"arguments": arguments, "colours": COLOURS, "parts": PARTS, "classes": names, "images": images}
    _write_whole(root / _TRUTH, json.dumps(truth))
    (root / _UNFINISHED).unlink(missing_ok=True)
    return root


def plan_classes(train_classes: int, test_classes: int, seed: int) -> list[dict[str, str]]:
    """The colours of each class, training classes first.

    No two classes are alike, the four colours of a class differ, every ten classes show each colour once on each part,
    and test classes use a colour only on parts where a training class has it.
    """
    if train_classes < 2 or test_classes < 0:
        raise ValueError(f"{train_classes} training and {test_classes} test classes: needs at least 2 and 0")
    dice = Dice(seed, 0)
    training = list(itertools.islice(_balanced_classes(dice), train_classes))
    if train_classes >= len(COLOURS):
        return [*training, *_balanced_test_classes(dice, training, test_classes)]
    seen = [sorted({colours[part] for colours in training}) for part in PARTS]
    combinations = [dict(zip(PARTS, colours, strict=True)) for colours in itertools.product(*seen)]
    new = [c for c in combinations if c not in training and len(set(c.values())) == len(PARTS)]
    if len(new) < test_classes:
        raise ValueError(
            f"{train_classes} training classes leave only {len(new)} new combinations of their colours, fewer than "
            f"the {test_classes} test classes asked for: ask for more training classes"
        )
    return [*training, *dice.shuffled(new)[:test_classes]]


def _balanced_test_classes(dice: Dice, training: list[dict[str, str]], count: int) -> list[dict[str, str]]:
    return list(itertools.islice((c for c in _balanced_classes(dice) if c not in training), count))


def _balanced_classes(dice: Dice) -> Iterator[dict[str, str]]:
    """Tens of classes without end; in each ten every part has every colour once. A ten may not repeat a class."""
    given: list[tuple[str, ...]] = []
    while True:
        order = dice.shuffled(tuple(COLOURS))
        shifts = [0, *dice.shuffled(range(1, len(order)))[: len(PARTS) - 1]]
        ten = [tuple(order[(i + shift) % len(order)] for shift in shifts) for i in range(len(order))]
        if set(ten) & set(given):
            continue
        given += ten
        yield from (dict(zip(PARTS, colours, strict=True)) for colours in ten)


def _class_name(number: int, colours: dict[str, str]) -> str:
    """As CUB's, "001.Red_body_blue_wing_white_belly_black_crown"."""
    return f"{number:03d}." + "_".join(f"{colours[part]}_{part}" for part in PARTS).capitalize()


def _is_complete(root: Path, arguments: dict[str, int]) -> bool:
    """Whether the data set is there already. Refuses a folder that holds anything else."""
    if root.exists() and not root.is_dir():
        raise ValueError(f"{root} is a file; toy birds are drawn into a folder")
    if not root.exists() or not any(root.iterdir()):
        return False
    record = next((root / name for name in (_TRUTH, _UNFINISHED) if (root / name).exists()), None)
    if record is None:
        raise ValueError(f"{root} holds other files: draw toy birds into a new or an empty folder")
    try:
        truth = json.loads(record.read_text(encoding="utf-8"))
        found = truth["arguments"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{record} is not a list of toy birds: draw them into a new or an empty folder") from error
    if found != arguments:
        differing = [f"{name} {found.get(name)} instead of {value}" for name, value in arguments.items()
                     if found.get(name) != value]  # fmt: skip
        raise ValueError(
            f"{root} holds toy birds drawn with {', '.join(differing) or 'other arguments'}: "
            "remove that folder or choose another"
        )
    return record.name == _TRUTH and all(
        (root / "images" / f"{image['name']}.jpg").exists() for image in truth["images"]
    )


def _write_lists(root: Path, class_names: list[str], images: list[dict[str, Any]]) -> None:
    """CUB's own lists of files, boxes, labels and splits."""
    numbered = list(enumerate(images, start=1))
    lists = {
        "classes.txt": [f"{number} {name}" for number, name in enumerate(class_names, start=1)],
        "images.txt": [f"{number} {image['name']}.jpg" for number, image in numbered],
        "image_class_labels.txt": [f"{number} {image['class_id']}" for number, image in numbered],
        "bounding_boxes.txt": [f"{number} {' '.join(map(str, image['box']))}" for number, image in numbered],
        "train_test_split.txt": [f"{number} {int(image['split'] == 'train')}" for number, image in numbered],
        **{
            f"{split}/filenames.txt": [image["name"] for image in images if image["split"] == split]
            for split in ("train", "test")
        },
    }
    for name, lines in lists.items():
        (root / name).parent.mkdir(exist_ok=True)
        _write_whole(root / name, "".join(f"{line}\n" for line in lines))


def _write_whole(path: Path, text: str) -> None:
    """Never leaves half a file under this name."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.unfinished")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


def _with_progress(jobs: list[tuple[int, int]], title: str, progress: bool) -> Iterator[tuple[int, int]]:
    if not progress:
        yield from jobs
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as bar:
        yield from bar.track(jobs, description=title)


# --- one bird: attributes and shapes ---------------------------------------------------------------------------------


def plan_bird(colours: dict[str, str], seed: int, class_index: int, image_index: int) -> ToyBird:
    """The bird of one image: what varies within the class comes from (seed, class, image)."""
    dice = Dice(seed, class_index, image_index)
    pose = dice.pick(("perched", "perched", "perched", "standing", "standing", "flying", "flying", "swimming"))
    attributes = BirdAttributes(
        colours=dict(colours),
        size=dice.pick(SIZES),
        bill_length=dice.pick(BILL_LENGTHS),
        bill_shape=dice.pick(BILL_SHAPES),
        bill_colour=dice.pick(BILL_COLOURS),
        tail=dice.pick(TAILS),
        pose=pose,
        background=dice.pick(BACKGROUNDS[pose]),
        facing=dice.pick(("left", "right")),
    )
    return _lay_out(attributes, dice, (seed, class_index, image_index))


def _lay_out(bird: BirdAttributes, dice: Dice, seed: tuple[int, ...]) -> ToyBird:
    """Anatomy in a frame of its own (facing right, the trunk about 1 long, its middle at 0), then fitted to the image.

    A small bird is round with a large head, a large one slender with a small head on a longer neck: the crop around
    the bird's box leaves nothing else to tell sizes by.
    """
    tint = {part: _jittered(COLOURS[bird.colours[part]], dice) for part in PARTS}
    head = {"small": 0.34, "medium": 0.295, "large": 0.25}[bird.size] * dice.uniform(0.95, 1.05)
    plump = {"small": 1.12, "medium": 1.0, "large": 0.88}[bird.size] * dice.uniform(0.95, 1.05)
    neck = {"small": 0.0, "medium": 0.06, "large": 0.16}[bird.size] * dice.uniform(0.7, 1.3)
    lean = math.radians(
        dice.uniform(
            *{"perched": (18.0, 48.0), "standing": (6.0, 30.0), "flying": (-4.0, 18.0), "swimming": (-2.0, 8.0)}[
                bird.pose
            ]
        )
    )
    flying = bird.pose == "flying"

    def trunk(*points: tuple[float, float] | Points) -> Points:
        """From the trunk's frame, in which the back is level."""
        x, y = (np.array(points) * (1, plump)).T
        return np.stack([x * math.cos(lean) + y * math.sin(lean), y * math.cos(lean) - x * math.sin(lean)], 1)

    outline = _smooth(trunk(
        (-0.54, -0.02), (-0.32, -0.19), (-0.02, -0.29), (0.26, -0.30), (0.46, -0.16),
        (0.52, 0.05), (0.36, 0.25), (0.06, 0.34), (-0.26, 0.26), (-0.50, 0.08),
    ))  # fmt: skip
    underside = outline[4 * _STEPS - 3 : 9 * _STEPS + 1]
    inner_edge = _smooth(trunk((-0.42, 0.12), (-0.14, 0.10), (0.08, 0.04), (0.22, -0.06), (0.36, -0.20)), closed=False)
    shoulders = trunk((0.30, -0.14))[0]
    ahead = np.array([0.16 + (0.14 if flying else 0.0), -0.20 - neck + (0.16 if flying else 0.0)])
    middle = shoulders + ahead * (1 + 0.2 * (1 - head / 0.3))

    # Everything back to front. Feathers that lie farther away or underneath are darker.
    shapes: list[tuple[Points, Colour]] = []
    stroke = math.radians(dice.uniform(-30.0, 28.0))
    if flying:
        shapes.append((_spread_wing(trunk, stroke + 0.45), _scaled(tint["wing"], 0.72)))
    shapes += [(tail, _scaled(tint["body"], 0.86)) for tail in _tail(bird.tail, trunk, dice)]
    legs, feet = _legs(bird.pose, trunk((0.04, 0.30), (-0.08, 0.28)), dice)
    leg_colour = dice.pick(((66, 58, 52), (120, 84, 48), (196, 128, 44)))
    shapes += [(leg, leg_colour) for leg in legs]
    bridge = np.array([
        middle + (-0.82 * head, 0.25 * head), middle + (0.70 * head, 0.55 * head), *trunk((0.50, -0.02), (0.02, -0.27)),
    ])  # fmt: skip
    body = [bridge, outline, _ellipse(middle, head, head)]
    shapes += [(_grown(part, 0.016), _scaled(tint["body"], 0.62)) for part in body]
    shapes += [(part, tint["body"]) for part in body[:2]]
    shapes.append((np.concatenate([underside, inner_edge]), tint["belly"]))
    shapes.append((body[2], tint["body"]))
    nod = math.radians(dice.uniform(-10.0, 14.0))
    shapes += _head(bird, middle, head, nod, tint, dice)
    shapes += _near_wing(trunk, stroke, tint["wing"], dice) if flying else _folded_wing(trunk, tint["wing"], dice)

    bird_points = np.concatenate([points for points, _ in shapes])
    low, high = bird_points.min(0), bird_points.max(0)
    unit = dice.uniform(0.64, 0.74) / float((high - low).max())
    extent = (high - low) * unit
    slack = np.maximum(1 - extent - 0.12, 0.0)
    corner = 0.06 + slack * (dice.uniform(0.3, 0.7), dice.uniform(0.35, 0.65))

    def placed(points: Points) -> Points:
        points = (points - low) * unit
        return corner + (points if bird.facing == "right" else np.stack([extent[0] - points[:, 0], points[:, 1]], 1))

    feet = [placed(foot) for foot in feet]
    waterline = placed(trunk((0.06, 0.31)))[0, 1]
    ground = float(feet[0][0, 1]) if feet else float(waterline)
    return ToyBird(
        attributes=bird,
        box=(float(corner[0]), float(corner[1]), float(extent[0]), float(extent[1])),
        shapes=[(placed(points), colour) for points, colour in shapes],
        seed=seed,
        ground=ground,
        unit=unit,
        feet=feet,
        leg_colour=leg_colour,
    )


def _tail(kind: str, trunk: Any, dice: Dice) -> list[Points]:
    length, width = {"short": (0.24, 0.10), "long": (0.58, 0.085), "forked": (0.46, 0.12), "fanned": (0.36, 0.26)}[kind]
    length, lift = length * dice.uniform(0.9, 1.1), dice.uniform(-0.10, 0.12)
    end = -0.44 - length
    if kind == "forked":
        return [
            trunk((-0.36, -0.10), (end, lift - width), (end + 0.05, lift - width + 0.07), (-0.42, 0.09)),
            trunk((-0.36, -0.06), (end + 0.05, lift + width - 0.07), (end, lift + width), (-0.40, 0.10)),
        ]
    curve = [(end + 0.04, lift - width), (end - 0.02, lift), (end + 0.04, lift + width)]
    return [trunk((-0.34, -0.11), *curve, (-0.38, 0.12))]


def _legs(pose: str, hips: Points, dice: Dice) -> tuple[list[Points], list[Points]]:
    """Legs, and where the feet stand: a line from heel to toe each."""
    if pose not in ("perched", "standing"):
        return [], []
    length = dice.uniform(0.10, 0.15) if pose == "perched" else dice.uniform(0.20, 0.34)
    bottom = float(hips[:, 1].max()) + length
    legs, feet = [], []
    for hip, spread in zip(hips, (0.05, -0.05), strict=True):
        foot = np.array([hip[0] + spread, bottom])
        legs.append(_thick(hip - (0, 0.06), foot, 0.045, 0.03))
        feet.append(np.array([foot + (-0.05, 0.0), foot + (0.12, 0.012)]))
    return legs, feet


def _head(
    bird: BirdAttributes, middle: Points, radius: float, nod: float, tint: dict[str, Colour], dice: Dice
) -> list[tuple[Points, Colour]]:
    """Bill, crown patch and eye."""

    def at(*points: tuple[float, float]) -> Points:
        x, y = np.array(points).T * radius
        return middle + np.stack([x * math.cos(nod) - y * math.sin(nod), x * math.sin(nod) + y * math.cos(nod)], 1)

    long = {"short": 0.50, "medium": 0.85, "long": 1.45}[bird.bill_length] * dice.uniform(0.93, 1.07)
    tip, half = (
        0.86 + long,
        {"pointed": 0.19, "cone": 0.36, "hooked": 0.26, "curved": 0.19, "flat": 0.20}[bird.bill_shape],
    )
    y = 0.16
    upper: dict[str, list[tuple[float, float]]] = {
        "pointed": [(tip, y)],
        "cone": [(0.86 + 0.55 * long, y - 0.22), (tip, y + 0.06)],
        "hooked": [(tip - 0.22, y - 0.20), (tip, y + 0.02), (tip - 0.02, y + 0.34), (tip - 0.20, y + 0.12)],
        "curved": [(0.86 + 0.5 * long, y - 0.16), (0.86 + 0.8 * long, y), (tip, y + 0.12 + 0.28 * long),
                   (0.86 + 0.72 * long, y + 0.16), (0.86 + 0.45 * long, y + 0.06)],
        "flat": [(tip - 0.30, y - 0.02), (tip - 0.06, y - 0.04), (tip, y + 0.10),
                 (tip - 0.06, y + 0.22), (tip - 0.30, y + 0.22)],
    }  # fmt: skip
    colour = {"black": (44, 42, 44), "grey": (128, 130, 134), "orange": (232, 132, 34), "yellow": (232, 194, 54)}[
        bird.bill_colour
    ]
    bill = at((0.80, y - half), *upper[bird.bill_shape], (0.80, y + half))
    slit = at((0.86, y + 0.02), (0.86 + 0.7 * long, y + 0.06), (0.86, y + 0.09))

    crest = max(0.0, dice.uniform(-0.35, 0.35))  # some raise their crown feathers at the back
    angles = np.radians(np.linspace(16, 204, 33))
    lift = 1.02 + crest * np.exp(-np.abs(angles - math.radians(140)) / 0.22)
    cap = [(float(r * math.cos(a)), float(-r * math.sin(a))) for r, a in zip(lift, angles, strict=True)]
    lower_edge = [(-0.66, 0.20), (-0.34, 0.0), (0.0, -0.16), (0.30, -0.24), (0.66, -0.26)]
    eye = at((0.44, -0.04))[0]
    ring = _scaled(tint["body"], 1.35) if sum(tint["body"]) > 250 else (150, 148, 145)
    return [
        (bill, colour),
        (slit, _scaled(colour, 0.6)),
        (at(*cap, *lower_edge), tint["crown"]),
        (_ellipse(eye, 0.215 * radius, 0.215 * radius), ring),
        (_ellipse(eye, 0.165 * radius, 0.165 * radius), (16, 14, 16)),
        (_ellipse(eye + (0.05 * radius, -0.06 * radius), 0.055 * radius, 0.055 * radius), (250, 250, 250)),
    ]


def _folded_wing(trunk: Any, colour: Colour, dice: Dice) -> list[tuple[Points, Colour]]:
    droop = dice.uniform(-0.02, 0.05)
    wing = _smooth(trunk(
        (0.24, -0.02), (0.12, -0.14), (-0.12, -0.13), (-0.42, -0.05), (-0.70, 0.05 + droop),
        (-0.40, 0.12 + droop), (-0.10, 0.17), (0.13, 0.14),
    ))  # fmt: skip
    shapes = [(_grown(wing, 0.014), _scaled(colour, 0.58)), (wing, colour)]
    for start, end in (
        ((0.02, 0.10), (-0.50, 0.065 + droop)),
        ((-0.02, 0.03), (-0.56, 0.045 + droop)),
        ((-0.04, -0.04), (-0.52, 0.01 + droop)),
    ):
        a, b = trunk(start, end)
        shapes.append((_thick(a, b, 0.022, 0.010), _scaled(colour, 0.74)))
    return shapes


def _spread_wing(trunk: Any, stroke: float) -> Points:
    """A raised wing with a scalloped rear edge, turned about the shoulder."""
    span = np.array([
        (0.20, 0.04), (0.25, -0.30), (0.16, -0.68), (-0.06, -1.00), (-0.15, -0.80), (-0.25, -0.78), (-0.28, -0.58),
        (-0.37, -0.52), (-0.36, -0.34), (-0.42, -0.24), (-0.34, 0.02), (-0.10, 0.08),
    ])  # fmt: skip
    x, y = span.T
    turned = np.stack([x * math.cos(stroke) - y * math.sin(stroke), x * math.sin(stroke) + y * math.cos(stroke)], 1)
    return _smooth(trunk(*(turned + (0.06, -0.12))))


def _near_wing(trunk: Any, stroke: float, colour: Colour, dice: Dice) -> list[tuple[Points, Colour]]:
    wing = _spread_wing(trunk, stroke)
    shapes = [(_grown(wing, 0.012), _scaled(colour, 0.58)), (wing, colour)]
    root = trunk((0.02, -0.14))[0]
    for place in (4, 6, 8):  # feather shafts run towards the notches of the rear edge
        tip = wing[place * _STEPS]
        shapes.append(
            (_thick(root + 0.35 * (tip - root), root + 0.95 * (tip - root), 0.020, 0.010), _scaled(colour, 0.76))
        )
    return shapes


# --- shapes ----------------------------------------------------------------------------------------------------------

_STEPS = 6  # points that a smooth curve has between two of its control points
_T = np.arange(_STEPS)[:, None] / _STEPS
_SPLINE = (
    0.5
    * np.concatenate([_T**0, _T, _T**2, _T**3], 1)
    @ np.array(  # Catmull-Rom
        [[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]]
    )
)
_CIRCLE = np.stack(
    [np.cos(np.linspace(0, 2 * np.pi, 32, endpoint=False)), np.sin(np.linspace(0, 2 * np.pi, 32, endpoint=False))], 1
)


def _smooth(points: Points, closed: bool = True) -> Points:
    """A curve through the points."""
    if closed:
        corners = np.stack([np.roll(points, shift, 0) for shift in (1, 0, -1, -2)])
        return np.einsum("sc,cpx->psx", _SPLINE, corners).reshape(-1, 2)
    padded = np.concatenate([points[:1], points, points[-1:]])
    corners = np.stack([padded[i : len(points) - 1 + i] for i in range(4)])
    return np.concatenate([np.einsum("sc,cpx->psx", _SPLINE, corners).reshape(-1, 2), points[-1:]])


def _ellipse(middle: Points, width: float, height: float) -> Points:
    return middle + _CIRCLE * (width, height)


def _grown(points: Points, by: float) -> Points:
    """Pushed outwards from the middle; drawn underneath in a darker colour it makes an outline."""
    away = points - points.mean(0)
    return points + by * away / (np.linalg.norm(away, axis=1, keepdims=True) + 1e-6)


def _thick(start: Points, end: Points, width: float, end_width: float) -> Points:
    along = (end - start) / (np.linalg.norm(end - start) + 1e-6)
    across = np.array([-along[1], along[0]]) / 2
    return np.array(
        [start + width * across, end + end_width * across, end - end_width * across, start - width * across]
    )


def _scaled(colour: Colour, by: float) -> Colour:
    r, g, b = (min(255, round(channel * by)) for channel in colour)
    return r, g, b


def _jittered(colour: Colour, dice: Dice) -> Colour:
    """Another feather of the same colour."""
    light = dice.uniform(0.93, 1.07)
    r, g, b = (min(255, max(0, round(channel * light + dice.uniform(-7.0, 7.0)))) for channel in colour)
    return r, g, b


# --- one bird: pixels ------------------------------------------------------------------------------------------------


def draw_bird(bird: ToyBird, size: int) -> Image.Image:
    """The picture, ``size`` x ``size``, drawn four times as large and reduced so that edges are smooth."""
    dice = Dice(*bird.seed, 2)
    side = size * _SUPERSAMPLING
    # The reduction gives the background back exactly as it was, whatever filter enlarges it.
    canvas = _background(bird, size, dice).resize((side, side), Image.Resampling.NEAREST)
    pen = ImageDraw.Draw(canvas)
    _scenery(pen, bird, side, dice)
    mask = Image.new("L", (side, side))
    mask_pen = ImageDraw.Draw(mask)
    for points, colour in bird.shapes:
        polygon = (points * side).ravel().tolist()
        pen.polygon(polygon, fill=colour)
        mask_pen.polygon(polygon, fill=255)
    _foreground(pen, mask_pen, bird, side, dice)
    picture = np.asarray(canvas.reduce(_SUPERSAMPLING), np.float32)
    feathers = np.asarray(mask.reduce(_SUPERSAMPLING), np.float32)[..., None] / 255
    light = 1 + feathers * (_light_on_feathers(bird, size, dice) - 1)
    return Image.fromarray((picture * light).clip(0, 255).astype(np.uint8))


def _light_on_feathers(bird: ToyBird, size: int, dice: Dice) -> np.ndarray:
    """Light from above, a little uneven as on feathers."""
    x, y, width, height = bird.box
    rows = (np.arange(size, dtype=np.float32) + 0.5) / size
    down = ((rows - y) / height).clip(0, 1)[:, None]
    across = ((rows - x) / width).clip(0, 1)[None]
    side = dice.uniform(-0.05, 0.05)
    light = 1.10 - 0.24 * down**1.5 + side * (across - 0.5)
    return (light + 0.05 * _blotches(dice, 14, size))[..., None]


def _blotches(dice: Dice, cells: int, size: int) -> np.ndarray:
    """Smooth noise in about [-1, 1]."""
    noise = np.array([dice.uniform(-1.0, 1.0) for _ in range(cells * cells)], np.float32).reshape(cells, cells)
    return np.asarray(Image.fromarray(noise).resize((size, size), Image.Resampling.BICUBIC))


# place -> colour of the upper edge, of the horizon or the lower edge, strength and cells of the blotches
_SURROUNDINGS: dict[str, tuple[Colour, Colour, float, int]] = {
    "leaves": ((168, 196, 150), (120, 156, 112), 34, 7),
    "sky": ((164, 200, 232), (214, 230, 240), 8, 5),
    "blossom": ((232, 208, 216), (206, 196, 190), 26, 7),
    "grass": ((196, 216, 220), (204, 218, 196), 12, 6),
    "sand": ((190, 214, 226), (222, 226, 216), 8, 5),
    "snow": ((172, 190, 206), (198, 208, 218), 10, 5),
    "clouds": ((150, 184, 214), (196, 212, 226), 40, 5),
    "dusk": ((170, 168, 200), (238, 204, 178), 12, 5),
    "lake": ((158, 186, 170), (176, 196, 184), 22, 7),
    "sea": ((186, 208, 228), (216, 226, 232), 8, 5),
}
_GROUND: dict[str, tuple[Colour, Colour]] = {  # at the horizon, at the lower edge
    "grass": ((158, 186, 120), (122, 158, 84)),
    "sand": ((222, 204, 166), (204, 180, 138)),
    "snow": ((226, 232, 238), (206, 216, 228)),
    "lake": ((142, 184, 192), (98, 150, 168)),
    "sea": ((120, 172, 200), (84, 140, 180)),
}


def _background(bird: ToyBird, size: int, dice: Dice) -> Image.Image:
    place = bird.attributes.background
    top, bottom, strength, cells = _SURROUNDINGS[place]
    rows = ((np.arange(size, dtype=np.float32) + 0.5) / size)[:, None, None]
    picture = (1 - rows) * np.array(top, np.float32) + rows * np.array(bottom, np.float32)
    picture = picture + strength * _blotches(dice, cells, size)[..., None]
    if place in _GROUND:
        horizon = max(0.0, bird.ground - dice.uniform(0.08, 0.22))
        near, far = np.array(_GROUND[place][1], np.float32), np.array(_GROUND[place][0], np.float32)
        depth = ((rows - horizon) / max(1 - horizon, 0.05)).clip(0, 1)
        ground = far + depth * (near - far) + 9 * _blotches(dice, 12, size)[..., None]
        picture = np.where(rows < horizon, picture, ground)
    hue = np.array([dice.uniform(-8.0, 8.0) for _ in range(3)], np.float32)
    return Image.fromarray((picture + hue).clip(0, 255).astype(np.uint8))


def _scenery(pen: ImageDraw.ImageDraw, bird: ToyBird, side: int, dice: Dice) -> None:
    """What the bird sits or stands on."""
    pose, place, unit = bird.attributes.pose, bird.attributes.background, bird.unit
    if pose == "standing":
        middle = np.mean([foot.mean(0) for foot in bird.feet], 0)
        shadow = _scaled(_GROUND[place][1], 0.82)
        _fill(pen, _ellipse(middle + (0, 0.01), 0.42 * unit, 0.055 * unit), shadow, side)
        for _ in range(26 if place == "grass" else 0):
            foot = np.array([dice.uniform(), bird.ground + dice.uniform(-0.04, 0.3)])
            blade = _thick(foot, foot + (dice.uniform(-0.03, 0.03), -dice.uniform(0.03, 0.08)), 0.012, 0.002)
            _fill(pen, blade, _scaled((118, 156, 78), dice.uniform(0.8, 1.15)), side)
    elif pose == "perched":
        thickness = 0.13 * unit * dice.uniform(0.85, 1.3)
        slope, bend = dice.uniform(-0.10, 0.10), dice.uniform(-0.04, 0.04)
        middle = np.mean([foot.mean(0) for foot in bird.feet], 0) + (0, 0.45 * thickness)
        line = _smooth(
            np.array(
                [
                    (x, middle[1] + slope * (x - middle[0]) + bend * (x - middle[0]) ** 2 * 4)
                    for x in np.linspace(-0.1, 1.1, 5)
                ]
            ),
            closed=False,
        )
        bark = _scaled((118, 98, 80), dice.uniform(0.85, 1.15))
        for offset, part, colour in (
            (0.0, 1.0, bark),
            (-0.22, 0.45, _scaled(bark, 1.22)),
            (0.38, 0.24, _scaled(bark, 0.78)),
        ):
            edge = np.array((0, part * thickness / 2))
            _fill(pen, np.concatenate([line - edge, (line + edge)[::-1]]) + (0, offset * thickness), colour, side)
        if place != "sky":
            leaf = (112, 150, 92) if place == "leaves" else (226, 178, 192)
            for _ in range(4):
                x = dice.uniform(0.02, 0.98)
                root = line[min(range(len(line)), key=lambda i: abs(line[i, 0] - x))]
                _fill(pen, _leaf(root, dice.uniform(0.09, 0.15), dice), _scaled(leaf, dice.uniform(0.85, 1.12)), side)


def _leaf(root: Points, length: float, dice: Dice) -> Points:
    angle = dice.uniform(0.2, 2.9) * dice.pick((1, -1))
    along = np.array([math.cos(angle), math.sin(angle)]) * length
    across = np.array([-along[1], along[0]]) * 0.28
    return _smooth(np.array([root, root + 0.45 * along + across, root + along, root + 0.45 * along - across]))


def _foreground(pen: ImageDraw.ImageDraw, mask_pen: ImageDraw.ImageDraw, bird: ToyBird, side: int, dice: Dice) -> None:
    """Toes on the branch; water in front of a swimming bird."""
    for foot in bird.feet:
        _fill(pen, _thick(foot[0], foot[1], 0.042 * bird.unit, 0.028 * bird.unit), bird.leg_colour, side)
    if bird.attributes.pose != "swimming":
        return
    far, near = _GROUND[bird.attributes.background]
    x, _, width, _ = bird.box
    crest = np.linspace(-0.02, 1.02, 27)
    ripple = 0.006 * np.sin(crest * 40 + dice.uniform(0.0, 6.0))
    surface = np.stack([crest, bird.ground + ripple], 1)
    water = np.concatenate([surface, [(1.02, bird.ground + 0.10), (-0.02, bird.ground + 0.10)]])
    blend = _scaled((far[0] + near[0], far[1] + near[1], far[2] + near[2]), 0.5)
    inside = (crest > x + 0.02) & (crest < x + width - 0.02)
    hull = np.concatenate([surface[inside], surface[inside][::-1] + (0, 0.07)])
    _fill(pen, hull, blend, side)
    _fill(mask_pen, water, 0, side)
    for row in range(5):
        y = bird.ground + 0.02 + 0.035 * row
        start = x + width * dice.uniform(-0.2, 0.3)
        _fill(
            pen,
            _thick(np.array([start, y]), np.array([start + width * dice.uniform(0.5, 0.9), y]), 0.010, 0.004),
            _scaled(blend, 1.14),
            side,
        )


def _fill(pen: ImageDraw.ImageDraw, points: Points, colour: Any, side: int) -> None:
    pen.polygon((points * side).ravel().tolist(), fill=colour)
