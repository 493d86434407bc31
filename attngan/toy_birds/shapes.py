"""The polygons and colours that toy birds are made of."""

import numpy as np

from attngan.toy_birds.captions import Dice

Points = np.ndarray  # (points, 2), x to the right and y downwards
Colour = tuple[int, int, int]

STEPS = 6  # points that a smooth curve has between two of its control points
_T = np.arange(STEPS)[:, None] / STEPS
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


def smooth(points: Points, closed: bool = True) -> Points:
    """A curve through the points."""
    if closed:
        corners = np.stack([np.roll(points, shift, 0) for shift in (1, 0, -1, -2)])
        curve: Points = np.einsum("sc,cpx->psx", _SPLINE, corners).reshape(-1, 2)
        return curve
    padded = np.concatenate([points[:1], points, points[-1:]])
    corners = np.stack([padded[i : len(points) - 1 + i] for i in range(4)])
    return np.concatenate([np.einsum("sc,cpx->psx", _SPLINE, corners).reshape(-1, 2), points[-1:]])


def ellipse(middle: Points, width: float, height: float) -> Points:
    return middle + _CIRCLE * (width, height)


def grown(points: Points, by: float) -> Points:
    """Pushed outwards from the middle; drawn underneath in a darker colour it makes an outline."""
    away = points - points.mean(0)
    outside: Points = points + by * away / (np.linalg.norm(away, axis=1, keepdims=True) + 1e-6)
    return outside


def thick(start: Points, end: Points, width: float, end_width: float) -> Points:
    """A stroke that narrows or widens towards its end."""
    along = (end - start) / (np.linalg.norm(end - start) + 1e-6)
    across = np.array([-along[1], along[0]]) / 2
    return np.array(
        [start + width * across, end + end_width * across, end - end_width * across, start - width * across]
    )


def scaled(colour: Colour, by: float) -> Colour:
    r, g, b = (min(255, round(channel * by)) for channel in colour)
    return r, g, b


def jittered(colour: Colour, dice: Dice) -> Colour:
    """Another feather of the same colour."""
    light = dice.uniform(0.93, 1.07)
    r, g, b = (min(255, max(0, round(channel * light + dice.uniform(-7.0, 7.0)))) for channel in colour)
    return r, g, b
