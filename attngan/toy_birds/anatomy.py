"""A toy bird's attributes and shapes: what a seed makes of the colours of a class."""

# ruff: noqa: RUF005  (points + (x, y) is numpy's sum, not a concatenation)

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from attngan.toy_birds.captions import (
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
)
from attngan.toy_birds.shapes import STEPS, Colour, Points, ellipse, grown, jittered, scaled, smooth, thick

Point = tuple[float, float]
Shape = tuple[Points, Colour]
#: Points of one frame of reference in another.
Frame = Callable[..., Points]


@dataclass
class ToyBird:
    """One bird as it will be drawn, in units of the image's side.

    ``shapes``: polygons back to front, each with its colour; ``box``: x, y, width, height of the bird
    without its perch.
    """

    attributes: BirdAttributes
    box: tuple[float, float, float, float]
    shapes: list[Shape]
    seed: tuple[int, ...]
    ground: float
    unit: float
    feet: list[Points] = field(default_factory=list)
    leg_colour: Colour = (70, 60, 50)


def plan_bird(colours: dict[str, str], seed: int, class_index: int, image_index: int) -> ToyBird:
    """The bird of one image: what varies within the class comes from (seed, class, image)."""
    dice = Dice(seed, class_index, image_index)
    pose = dice.pick(("perched", "perched", "perched", "standing", "standing", "standing", "swimming", "swimming"))
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


_UNIT = 0.46  # the trunk's length as a part of the image's side
_ORIGIN = (0.46, 0.54)  # the trunk's middle in a bird that faces right


def _lay_out(bird: BirdAttributes, dice: Dice, seed: tuple[int, ...]) -> ToyBird:
    """Anatomy in a frame of its own (facing right, the trunk about 1 long, its middle at 0), then in the image."""
    tint = {part: jittered(COLOURS[bird.colours[part]], dice) for part in PARTS}
    build = _build(bird, dice)
    trunk = _trunk_frame(build.plump, build.lean)
    anatomy = _anatomy(bird, build, trunk, tint, dice)
    return _fitted(bird, anatomy, trunk, dice, seed)


class _Build(NamedTuple):
    """Proportions, in lengths of the trunk: the head's radius, how high the trunk is, the neck; ``lean`` in radians."""

    head: float
    plump: float
    neck: float
    lean: float


def _build(bird: BirdAttributes, dice: Dice) -> _Build:
    """A small bird is round with a large head, a large one slender with a small head on a longer neck.

    The crop around the bird's box leaves nothing else to tell sizes by.
    """
    head = {"small": 0.34, "medium": 0.315, "large": 0.29}[bird.size] * dice.uniform(0.97, 1.03)
    plump = {"small": 1.10, "medium": 1.02, "large": 0.94}[bird.size] * dice.uniform(0.97, 1.03)
    neck = {"small": 0.0, "medium": 0.04, "large": 0.09}[bird.size] * dice.uniform(0.7, 1.3)
    low, high = {"perched": (24.0, 36.0), "standing": (14.0, 24.0), "flying": (-4.0, 18.0), "swimming": (2.0, 8.0)}[
        bird.pose
    ]
    return _Build(head, plump, neck, math.radians(dice.uniform(low, high)))


def _trunk_frame(plump: float, lean: float) -> Frame:
    """From the trunk's frame, in which the back is level, to the bird's."""

    def trunk(*points: Point | Points) -> Points:
        x, y = (np.array(points) * (1, plump)).T
        return np.stack([x * math.cos(lean) + y * math.sin(lean), y * math.cos(lean) - x * math.sin(lean)], 1)

    return trunk


class _Anatomy(NamedTuple):
    """Shapes back to front, and where the feet stand, in the bird's frame."""

    shapes: list[Shape]
    feet: list[Points]
    leg_colour: Colour


def _anatomy(bird: BirdAttributes, build: _Build, trunk: Frame, tint: dict[str, Colour], dice: Dice) -> _Anatomy:
    """Everything back to front. Feathers that lie farther away or underneath are darker."""
    flying = bird.pose == "flying"
    stroke = math.radians(dice.uniform(-30.0, 28.0))
    shapes: list[Shape] = []
    if flying:
        shapes.append((_spread_wing(trunk, stroke + 0.45), scaled(tint["wing"], 0.72)))
    shapes += [(tail, scaled(tint["body"], 0.86)) for tail in _tail(bird.tail, trunk, dice)]
    legs, feet = _legs(bird.pose, trunk((0.04, 0.30), (-0.08, 0.28)), dice)
    leg_colour = dice.pick(((66, 58, 52), (120, 84, 48), (196, 128, 44)))
    shapes += [(leg, leg_colour) for leg in legs]
    middle = _head_middle(build, trunk, flying)
    shapes += _body(middle, build.head, trunk, tint)
    nod = math.radians(dice.uniform(-10.0, 14.0))
    shapes += _head(bird, middle, build.head, nod, tint, dice)
    shapes += _near_wing(trunk, stroke, tint["wing"], dice) if flying else _folded_wing(trunk, tint["wing"], dice)
    return _Anatomy(shapes, feet, leg_colour)


def _head_middle(build: _Build, trunk: Frame, flying: bool) -> Points:
    shoulders = trunk((0.30, -0.14))[0]
    ahead = np.array([0.16 + (0.14 if flying else 0.0), -0.20 - build.neck + (0.16 if flying else 0.0)])
    middle: Points = shoulders + ahead * (1 + 0.2 * (1 - build.head / 0.3))
    return middle


def _body(middle: Points, head: float, trunk: Frame, tint: dict[str, Colour]) -> list[Shape]:
    """Trunk, neck and head with their dark edge, and the belly."""
    outline = smooth(trunk(
        (-0.54, -0.02), (-0.32, -0.19), (-0.02, -0.29), (0.26, -0.30), (0.46, -0.16),
        (0.52, 0.05), (0.36, 0.25), (0.06, 0.34), (-0.26, 0.26), (-0.50, 0.08),
    ))  # fmt: skip
    underside = outline[4 * STEPS - 3 : 9 * STEPS + 1]
    inner_edge = smooth(trunk((-0.42, 0.12), (-0.14, 0.10), (0.08, 0.04), (0.22, -0.06), (0.36, -0.20)), closed=False)
    neck = np.array([
        middle + (-0.82 * head, 0.25 * head), middle + (0.70 * head, 0.55 * head), *trunk((0.50, -0.02), (0.02, -0.27)),
    ])  # fmt: skip
    body = [neck, outline, ellipse(middle, head, head)]
    return [
        *((grown(part, 0.016), scaled(tint["body"], 0.62)) for part in body),
        *((part, tint["body"]) for part in body[:2]),
        (np.concatenate([underside, inner_edge]), tint["belly"]),
        (body[2], tint["body"]),
    ]


def _fitted(bird: BirdAttributes, anatomy: _Anatomy, trunk: Frame, dice: Dice, seed: tuple[int, ...]) -> ToyBird:
    """The bird in the image.

    The trunk stands at one place in one size, as a portraitist would have it, so that a small generator in a short
    training has only the bird to learn; the reader's crops move it about.
    """
    bird_points = np.concatenate([points for points, _ in anatomy.shapes])
    low, high = bird_points.min(0), bird_points.max(0)
    unit = dice.uniform(0.97, 1.03) * _UNIT
    origin = np.array(_ORIGIN) + (dice.uniform(-0.015, 0.015), dice.uniform(-0.015, 0.015))
    extent = (high - low) * unit
    left = origin[0] + low[0] * unit
    corner = np.array([left if bird.facing == "right" else 1 - left - extent[0], origin[1] + low[1] * unit])

    def placed(points: Points) -> Points:
        points = (points - low) * unit
        moved = points if bird.facing == "right" else np.stack([extent[0] - points[:, 0], points[:, 1]], 1)
        in_image: Points = corner + moved
        return in_image

    feet = [placed(foot) for foot in anatomy.feet]
    waterline = placed(trunk((0.06, 0.31)))[0, 1]
    return ToyBird(
        attributes=bird,
        box=(float(corner[0]), float(corner[1]), float(extent[0]), float(extent[1])),
        shapes=[(placed(points), colour) for points, colour in anatomy.shapes],
        seed=seed,
        ground=float(feet[0][0, 1]) if feet else float(waterline),
        unit=unit,
        feet=feet,
        leg_colour=anatomy.leg_colour,
    )


def _tail(kind: str, trunk: Frame, dice: Dice) -> list[Points]:
    length, width = {"short": (0.24, 0.10), "long": (0.46, 0.085), "forked": (0.40, 0.12), "fanned": (0.34, 0.20)}[kind]
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
    length = dice.uniform(0.10, 0.15) if pose == "perched" else dice.uniform(0.18, 0.26)
    bottom = float(hips[:, 1].max()) + length
    legs, feet = [], []
    for hip, spread in zip(hips, (0.05, -0.05), strict=True):
        foot = np.array([hip[0] + spread, bottom])
        legs.append(thick(hip - (0, 0.06), foot, 0.045, 0.03))
        feet.append(np.array([foot + (-0.05, 0.0), foot + (0.12, 0.012)]))
    return legs, feet


def _head(
    bird: BirdAttributes, middle: Points, radius: float, nod: float, tint: dict[str, Colour], dice: Dice
) -> list[Shape]:
    """Bill, crown patch and eye."""

    def at(*points: Point) -> Points:
        x, y = np.array(points).T * radius
        turned = np.stack([x * math.cos(nod) - y * math.sin(nod), x * math.sin(nod) + y * math.cos(nod)], 1)
        of_bird: Points = middle + turned
        return of_bird

    long = {"short": 0.50, "medium": 0.75, "long": 1.10}[bird.bill_length] * dice.uniform(0.93, 1.07)
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
    ring = scaled(tint["body"], 1.35) if sum(tint["body"]) > 250 else (150, 148, 145)
    return [
        (bill, colour),
        (slit, scaled(colour, 0.6)),
        (at(*cap, *lower_edge), tint["crown"]),
        (ellipse(eye, 0.215 * radius, 0.215 * radius), ring),
        (ellipse(eye, 0.165 * radius, 0.165 * radius), (16, 14, 16)),
        (ellipse(eye + (0.05 * radius, -0.06 * radius), 0.055 * radius, 0.055 * radius), (250, 250, 250)),
    ]


def _folded_wing(trunk: Frame, colour: Colour, dice: Dice) -> list[Shape]:
    droop = dice.uniform(-0.02, 0.05)
    wing = smooth(trunk(
        (0.24, -0.02), (0.12, -0.14), (-0.12, -0.13), (-0.42, -0.05), (-0.70, 0.05 + droop),
        (-0.40, 0.12 + droop), (-0.10, 0.17), (0.13, 0.14),
    ))  # fmt: skip
    shapes = [(grown(wing, 0.014), scaled(colour, 0.58)), (wing, colour)]
    for start, end in (
        ((0.02, 0.10), (-0.50, 0.065 + droop)),
        ((-0.02, 0.03), (-0.56, 0.045 + droop)),
        ((-0.04, -0.04), (-0.52, 0.01 + droop)),
    ):
        a, b = trunk(start, end)
        shapes.append((thick(a, b, 0.022, 0.010), scaled(colour, 0.74)))
    return shapes


def _spread_wing(trunk: Frame, stroke: float) -> Points:
    """A raised wing with a scalloped rear edge, turned about the shoulder."""
    span = np.array([
        (0.20, 0.04), (0.25, -0.30), (0.16, -0.68), (-0.06, -1.00), (-0.15, -0.80), (-0.25, -0.78), (-0.28, -0.58),
        (-0.37, -0.52), (-0.36, -0.34), (-0.42, -0.24), (-0.34, 0.02), (-0.10, 0.08),
    ])  # fmt: skip
    x, y = span.T
    turned = np.stack([x * math.cos(stroke) - y * math.sin(stroke), x * math.sin(stroke) + y * math.cos(stroke)], 1)
    return smooth(trunk(*(turned + (0.06, -0.12))))


def _near_wing(trunk: Frame, stroke: float, colour: Colour, dice: Dice) -> list[Shape]:
    wing = _spread_wing(trunk, stroke)
    shapes = [(grown(wing, 0.012), scaled(colour, 0.58)), (wing, colour)]
    root = trunk((0.02, -0.14))[0]
    for place in (4, 6, 8):  # feather shafts run towards the notches of the rear edge
        tip = wing[place * STEPS]
        shapes.append(
            (thick(root + 0.35 * (tip - root), root + 0.95 * (tip - root), 0.020, 0.010), scaled(colour, 0.76))
        )
    return shapes
