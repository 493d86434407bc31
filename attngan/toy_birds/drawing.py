"""A toy bird as pixels: the bird, the light on its feathers, and the place it is in."""

# ruff: noqa: RUF005  (points + (x, y) is numpy's sum, not a concatenation)

import math
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from attngan.toy_birds.anatomy import ToyBird
from attngan.toy_birds.captions import Dice
from attngan.toy_birds.shapes import Colour, Points, ellipse, scaled, smooth, thick

_SUPERSAMPLING = 4


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
    return (light + 0.03 * _blotches(dice, 14, size))[..., None]


def _blotches(dice: Dice, cells: int, size: int) -> np.ndarray:
    """Smooth noise in about [-1, 1]."""
    noise = np.array([dice.uniform(-1.0, 1.0) for _ in range(cells * cells)], np.float32).reshape(cells, cells)
    return np.asarray(Image.fromarray(noise).resize((size, size), Image.Resampling.BICUBIC))


# place -> colour of the upper edge, of the horizon or the lower edge, strength and cells of the blotches
_SURROUNDINGS: dict[str, tuple[Colour, Colour, float, int]] = {
    "leaves": ((150, 190, 140), (126, 168, 118), 8, 3),
    "sky": ((160, 198, 234), (206, 226, 240), 4, 3),
    "blossom": ((236, 206, 216), (214, 190, 196), 7, 3),
    "grass": ((190, 214, 226), (206, 222, 226), 4, 3),
    "sand": ((186, 212, 228), (214, 224, 222), 4, 3),
    "snow": ((164, 184, 204), (186, 200, 212), 4, 3),
    "clouds": ((150, 184, 214), (196, 212, 226), 16, 4),
    "dusk": ((170, 168, 200), (238, 204, 178), 5, 3),
    "lake": ((176, 200, 186), (192, 210, 200), 5, 3),
    "sea": ((182, 206, 230), (212, 224, 232), 4, 3),
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
        horizon = max(0.0, bird.ground - dice.uniform(0.10, 0.16))
        near, far = np.array(_GROUND[place][1], np.float32), np.array(_GROUND[place][0], np.float32)
        depth = ((rows - horizon) / max(1 - horizon, 0.05)).clip(0, 1)
        ground = far + depth * (near - far) + 4 * _blotches(dice, 12, size)[..., None]
        picture = np.where(rows < horizon, picture, ground)
    hue = np.array([dice.uniform(-5.0, 5.0) for _ in range(3)], np.float32)
    return Image.fromarray((picture + hue).clip(0, 255).astype(np.uint8))


def _scenery(pen: ImageDraw.ImageDraw, bird: ToyBird, side: int, dice: Dice) -> None:
    """What the bird sits or stands on."""
    pose, place, unit = bird.attributes.pose, bird.attributes.background, bird.unit
    if pose == "standing":
        middle = np.mean([foot.mean(0) for foot in bird.feet], 0)
        shadow = scaled(_GROUND[place][1], 0.82)
        _fill(pen, ellipse(middle + (0, 0.01), 0.42 * unit, 0.055 * unit), shadow, side)
        for _ in range(8 if place == "grass" else 0):
            foot = np.array([dice.uniform(), bird.ground + dice.uniform(-0.04, 0.3)])
            blade = thick(foot, foot + (dice.uniform(-0.03, 0.03), -dice.uniform(0.03, 0.08)), 0.012, 0.002)
            _fill(pen, blade, scaled((118, 156, 78), dice.uniform(0.8, 1.15)), side)
    elif pose == "perched":
        thickness = 0.13 * unit * dice.uniform(0.85, 1.3)
        slope, bend = dice.uniform(-0.04, 0.04), dice.uniform(-0.02, 0.02)
        middle = np.mean([foot.mean(0) for foot in bird.feet], 0) + (0, 0.45 * thickness)
        line = smooth(
            np.array(
                [
                    (x, middle[1] + slope * (x - middle[0]) + bend * (x - middle[0]) ** 2 * 4)
                    for x in np.linspace(-0.1, 1.1, 5)
                ]
            ),
            closed=False,
        )
        bark = scaled((118, 98, 80), dice.uniform(0.85, 1.15))
        for offset, part, colour in (
            (0.0, 1.0, bark),
            (-0.22, 0.45, scaled(bark, 1.22)),
            (0.38, 0.24, scaled(bark, 0.78)),
        ):
            edge = np.array((0, part * thickness / 2))
            _fill(pen, np.concatenate([line - edge, (line + edge)[::-1]]) + (0, offset * thickness), colour, side)
        if place != "sky":
            leaf = (112, 150, 92) if place == "leaves" else (226, 178, 192)
            for _ in range(2):
                x = dice.uniform(0.02, 0.98)
                root = line[min(range(len(line)), key=lambda i: abs(line[i, 0] - x))]
                _fill(pen, _leaf(root, dice.uniform(0.09, 0.15), dice), scaled(leaf, dice.uniform(0.85, 1.12)), side)


def _leaf(root: Points, length: float, dice: Dice) -> Points:
    angle = dice.uniform(0.2, 2.9) * dice.pick((1, -1))
    along = np.array([math.cos(angle), math.sin(angle)]) * length
    across = np.array([-along[1], along[0]]) * 0.28
    return smooth(np.array([root, root + 0.45 * along + across, root + along, root + 0.45 * along - across]))


def _foreground(pen: ImageDraw.ImageDraw, mask_pen: ImageDraw.ImageDraw, bird: ToyBird, side: int, dice: Dice) -> None:
    """Toes on the branch; water in front of a swimming bird."""
    for foot in bird.feet:
        _fill(pen, thick(foot[0], foot[1], 0.042 * bird.unit, 0.028 * bird.unit), bird.leg_colour, side)
    if bird.attributes.pose != "swimming":
        return
    far, near = _GROUND[bird.attributes.background]
    x, _, width, _ = bird.box
    crest = np.linspace(-0.02, 1.02, 27)
    ripple = 0.006 * np.sin(crest * 40 + dice.uniform(0.0, 6.0))
    surface = np.stack([crest, bird.ground + ripple], 1)
    water = np.concatenate([surface, [(1.02, bird.ground + 0.10), (-0.02, bird.ground + 0.10)]])
    blend = scaled((far[0] + near[0], far[1] + near[1], far[2] + near[2]), 0.5)
    inside = (crest > x + 0.02) & (crest < x + width - 0.02)
    hull = np.concatenate([surface[inside], surface[inside][::-1] + (0, 0.07)])
    _fill(pen, hull, blend, side)
    _fill(mask_pen, water, 0, side)
    for row in range(5):
        y = bird.ground + 0.02 + 0.035 * row
        start = x + width * dice.uniform(-0.2, 0.3)
        _fill(
            pen,
            thick(np.array([start, y]), np.array([start + width * dice.uniform(0.5, 0.9), y]), 0.010, 0.004),
            scaled(blend, 1.14),
            side,
        )


def _fill(pen: ImageDraw.ImageDraw, points: Points, colour: Any, side: int) -> None:
    pen.polygon((points * side).ravel().tolist(), fill=colour)
