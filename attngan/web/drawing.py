"""Requests as JSON to pictures as JSON: what is asked for is checked here, and drawn as `attngan sample` draws it."""

import base64
import math
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, TypeVar

import anyio.from_thread
import numpy as np
from jaxtyping import Float
from torch import Tensor, nn

from attngan.bounded import read_json
from attngan.errors import InputError, MissingFileError
from attngan.pictures import encode_sample, named_after, to_pil
from attngan.sampling import Drawn, Sampler, draw_all, interpolation
from attngan.web.limits import Limits

#: Beyond this a browser's numbers are not whole any more.
MOST_SEED = 2**53 - 1
#: Pictures drawn at once; between two of these a request can be given up.
BATCH = 4
#: Attention maps are sent no larger than this, in places a side: an eye sees no more in them.
MAP_SIDE = 32

Samplers = Mapping[str, Sampler]


@dataclass(frozen=True)
class DrawRequest:
    """Pictures of a caption.

    Args:
        generator: Name of the one that draws.
        caption: "" for a generator that reads no text.
        seed: Seed of the noise.
        count: How many, of this caption.
        truncation: As of `attngan sample`; None for plain normal noise.
    """

    generator: str
    caption: str = ""
    seed: int = 0
    count: int = 4
    truncation: float | None = None


@dataclass(frozen=True)
class InterpolationRequest:
    """Pictures on the way from one caption to another, with one noise.

    Args:
        generator: Name of the one that draws.
        first: Caption to begin with.
        second: Caption to end with.
        seed: Seed of the noise.
        number: Number of the picture whose noise it is.
        steps: Pictures, both ends included.
        truncation: As of `attngan sample`; None for plain normal noise.
    """

    generator: str
    first: str
    second: str
    seed: int = 0
    number: int = 0
    steps: int = 9
    truncation: float | None = None


Request = TypeVar("Request", DrawRequest, InterpolationRequest)


def read_request(kind: type[Request], body: bytes, limits: Limits) -> Request:
    """A request from its JSON text.

    Args:
        kind: Which one is meant.
        body: As it came.
        limits: What may be asked for.

    Raises:
        InputError: It is none, or asks for too much; says which key, and what it can be.
    """
    given = read_json(body)
    if not isinstance(given, dict):
        raise InputError('a request is a JSON object, as {"generator": "cub_64", "caption": "a red bird"}')
    known = {field.name: field for field in fields(kind)}
    if strange := [name for name in given if name not in known]:
        raise InputError(f"there is no {str(strange[0])[:40]!r} in such a request: it has {', '.join(known)}")
    if missing := [name for name, field in known.items() if field.default is MISSING and name not in given]:
        raise InputError(f"{missing[0]} is missing")
    return kind(**{name: _checked(name, value, limits) for name, value in given.items()})


def _checked(name: str, value: Any, limits: Limits) -> Any:
    if name == "truncation":
        if value is None:
            return None
        if _is_number(value, int | float) and 0 <= value <= 2:
            return float(value)
        raise InputError("truncation is a number from 0 to 2, or null for none")
    bounds = {
        "seed": (0, MOST_SEED),
        "number": (0, MOST_SEED),
        "count": (1, limits.pictures),
        "steps": (2, limits.pictures),
    }
    if name in bounds:
        least, most = bounds[name]
        if not _is_number(value, int) or not least <= value <= most:
            raise InputError(f"{name} is a whole number from {least} to {most:,}")
        return value
    if not isinstance(value, str):
        raise InputError(f"{name} is a text")
    text = " ".join(value.encode("utf-8", "replace").decode().split())
    if len(text) > limits.caption:
        raise InputError(f"{name} has {len(text):,} characters: at most {limits.caption} are read")
    return text


def _is_number(value: object, kind: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool) and value == value and abs(value) != math.inf


# --- drawing ----------------------------------------------------------------------------------------------------------


def draw(samplers: Samplers, request: DrawRequest) -> dict[str, Any]:
    """Pictures of a caption, with attention over its words.

    Returns:
        ``words`` that the generator sees, as they are written; ``unknown`` ones; a ``note`` on what is not read;
        ``map_size``, rows and columns of the attention maps; and ``pictures``: each with ``number``, ``name``, ``png``
        (a data URL of the file, which holds caption and seed) and ``attention``, for each word its ``share`` of all
        weights and its ``map`` (base64 of a byte a place, row by row, 255 where the word has its largest weight).

    Raises:
        InputError: The generator cannot read the caption.
        MissingFileError: There is no such generator.
    """
    sampler = _named(samplers, request.generator)
    caption = None if sampler.reads == "nothing" else _readable(sampler, request.caption)
    words = [] if caption is None else sampler.words_as_written(caption)
    pictures, size = list[dict[str, Any]](), [0, 0]
    for one in _while_wanted(
        draw_all(sampler, [caption], request.count, request.seed, min(BATCH, request.count), request.truncation)
    ):
        maps = _small_maps(one, len(words))
        size = list(maps.shape[1:])
        origin = sampler.origin(caption, request.seed, one.number, request.truncation)
        name = f"{named_after(caption).lstrip('_') or request.generator}_{request.seed}_{one.number:03d}.png"
        attention = [{"share": float(weights.mean()), "map": _as_bytes(weights)} for weights in maps]
        pictures.append({"number": one.number, "attention": attention, **_picture(one.image, name, origin)})
    return {"pictures": pictures, "map_size": size, "words": words, **_told(sampler, caption)}


def draw_interpolation(samplers: Samplers, request: InterpolationRequest) -> dict[str, Any]:
    """Pictures on the way from one caption to another.

    Returns:
        ``pictures``: each with its ``share`` of the second caption, ``name`` and ``png``; and of each caption, as
        ``first`` and ``second``, what `draw` says of it.

    Raises:
        InputError: The generator cannot read one of them.
        MissingFileError: There is no such generator.
    """
    sampler = _named(samplers, request.generator)
    if sampler.reads == "nothing":
        raise InputError(f"{request.generator} reads no text: there is no way between captions")
    ends = _readable(sampler, request.first), _readable(sampler, request.second)
    origin = sampler.origin(" -> ".join(ends), request.seed, request.number, request.truncation)
    on_the_way = interpolation(sampler, *ends, request.steps, request.number, request.seed, request.truncation)
    pictures = []
    for step, image in enumerate(_while_wanted(on_the_way)):
        name = f"interpolation_{request.seed}_{request.number:03d}_{step:03d}.png"
        facts = {**origin, "step": step, "steps": request.steps}
        pictures.append({"share": step / (request.steps - 1), **_picture(image, name, facts)})
    return {"pictures": pictures, "first": _told(sampler, ends[0]), "second": _told(sampler, ends[1])}


Item = TypeVar("Item")


def _while_wanted(items: Iterable[Item]) -> Iterable[Item]:
    """The items, as long as somebody waits for them."""
    for item in items:
        anyio.from_thread.check_cancelled()
        yield item


def _named(samplers: Samplers, name: str) -> Sampler:
    if name not in samplers:
        raise MissingFileError(f"there is no generator {name[:40]!r} here: there are {', '.join(samplers)}")
    return samplers[name]


def _readable(sampler: Sampler, caption: str) -> str:
    if not caption:
        raise InputError("there is no caption: type what the picture is to show")
    if not sampler.knows(caption):
        raise InputError(
            f"no word of {caption!r} is known: the captions that this generator learnt from had none of them"
        )
    return caption


def _told(sampler: Sampler, caption: str | None) -> dict[str, Any]:
    """What there is to say of a caption."""
    if caption is None:
        return {"unknown": [], "note": ""}
    return {"unknown": sampler.unknown_words(caption), "note": sampler.unread(caption)}


def _picture(image: Float[Tensor, "3 height width"], name: str, facts: Mapping[str, object]) -> dict[str, str]:
    png = base64.b64encode(encode_sample(to_pil(image), **facts)).decode()
    return {"name": name, "png": f"data:image/png;base64,{png}"}


def _small_maps(drawn: Drawn, words: int) -> Float[Tensor, "words rows columns"]:
    """Of the last stage, padding left out."""
    if not drawn.attention or not words:
        return drawn.image.new_empty(0, 0, 0)
    maps = drawn.attention[-1][:words].float()
    return nn.functional.adaptive_avg_pool2d(maps, MAP_SIDE) if max(maps.shape[1:]) > MAP_SIDE else maps


def _as_bytes(weights: Float[Tensor, "rows columns"]) -> str:
    """A byte a place, from the smallest weight to the largest."""
    low, high = float(weights.min()), float(weights.max())
    scaled = (weights.numpy() - low) / max(high - low, 1e-6) * 255
    return base64.b64encode(scaled.astype(np.uint8).tobytes()).decode()
