"""A metric is one declaration: a function of numbers and, above it, all that anybody has to know of it.

```python
@metric("kid", label="KID", better="smaller", needs={"reference"}, beside=("halves",), help="kernel distance ...")
def kid_score(features, reference, seed) -> Measurement: ...
```

The function takes what it needs by name (``INPUTS``) and gives one number, or a :class:`Measurement`. Every list of
metrics derives from the table: the help of `attngan evaluate`, its validation, the names of scores, the printed table,
the report, what is larger-is-better, what looks through the feature extractor, what needs captions or real images.
"""

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from attngan.errors import InputError

Better = Literal["larger", "smaller"]
#: The network whose outputs a metric reads: the feature extractor, a DAMSM, a CLIP model, or the toy birds' probe.
Network = Literal["extractor", "damsm", "clip", "colours"]
#: What a metric needs besides the images: others to compare with, or each image's caption.
Need = Literal["reference", "captions"]
#: Sets of images on which a metric is computed. ``scored``: the drawn or given ones; ``repeated``: several drawn for
#: each of a few captions; ``real``: the reference; ``halves``: one half of the reference, compared with the other;
#: ``captioned``: real images, each with a caption of its own; ``shuffled``: the scored ones with captions of others;
#: ``untrained``: drawn by a generator of the same design that has learnt nothing.
ImageSetKind = Literal["scored", "repeated", "real", "halves", "captioned", "shuffled", "untrained"]

#: What a metric's function may ask for by the name of a parameter.
INPUTS = {
    "features": "(images, features): what the extractor saw of the images",
    "logits": "(images, classes): how it classified them",
    "reference": "(real, features): what it saw of the images to compare with",
    "statistics": "mean and covariance of those, also where only these were published",
    "embeddings": "(images, embed): the images' places in the joint embedding of DAMSM or CLIP",
    "pool": "all captions' places there, with their owners, texts and classes",
    "captions": "(images,): each image's caption; its position in the pool, or in the data set",
    "colours": "(images, parts): the colours that the toy birds' probe saw",
    "texts": "each image's caption in words",
    "splits": "parts of the Inception Score",
    "seed": "of every random choice",
}


class TooFewImagesError(InputError):
    """A metric cannot be computed on so few images; where it was a comparison beside the score, that is left out."""


class ScoreKind(NamedTuple):
    """One number of a metric, as people read it.

    ``label`` is its name in tables, ``better`` which side is good (None: neither by itself), ``unit`` what it counts.
    """

    label: str
    better: Better | None
    unit: str = ""

    @property
    def title(self) -> str:
        """Label, arrow and unit: ``FID ↓``, ``R-precision ↑ (%)``."""
        arrow = {"larger": " ↑", "smaller": " ↓", None: ""}[self.better]
        return f"{self.label}{arrow}" + (f" ({self.unit})" if self.unit else "")


class Value(NamedTuple):
    """One number: of which kind, its standard deviation (or error) where there is one, and over what that is.

    ``suffix`` stands behind the score's name, where a metric gives a number to compare its own with.
    """

    kind: str
    value: float
    error: float | None = None
    over: str = ""
    suffix: str = ""


class Measurement(NamedTuple):
    """What a metric's function gives: its numbers, and what the report shows of single images.

    ``counted`` stands in the scores' names where a metric counts otherwise than by images ("50x8").
    """

    values: Sequence[Value]
    details: object = None
    counted: str | None = None


@dataclass(frozen=True)
class Metric:
    """A declared metric; see :func:`metric` for its fields."""

    name: str
    function: Callable[..., Measurement | float]
    kinds: Mapping[str, ScoreKind]
    help: str
    through: Network
    needs: frozenset[Need]
    on: ImageSetKind
    beside: tuple[ImageSetKind, ...]
    implies: tuple[str, ...]

    @property
    def label(self) -> str:
        """What people call it: its first number's label."""
        return next(iter(self.kinds.values())).label

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the function's parameters."""
        return tuple(inspect.signature(self.function).parameters)

    @property
    def sets(self) -> tuple[ImageSetKind, ...]:
        """The sets of images on which it is computed, the scored ones first."""
        untrained: tuple[ImageSetKind, ...] = ("untrained",) if self.on == "scored" else ()
        return (self.on, *self.beside, *untrained)

    def measure(self, given: Callable[[str], object]) -> Measurement:
        """Calls the function; ``given`` tells the value of each of its parameters."""
        result = self.function(**{name: given(name) for name in self.inputs})
        return result if isinstance(result, Measurement) else Measurement([Value(self.name, float(result))])


#: Every declared metric by name. Complete once ``attngan.evaluation.metric_table`` was imported.
DECLARED: dict[str, Metric] = {}


def metric(
    name: str,
    *,
    label: str = "",
    better: Better | None = None,
    unit: str = "",
    kinds: Mapping[str, ScoreKind] | None = None,
    help: str,
    through: Network = "extractor",
    needs: Collection[Need] = (),
    on: ImageSetKind = "scored",
    beside: Sequence[ImageSetKind] = (),
    implies: Sequence[str] = (),
) -> Callable[[Callable[..., Measurement | float]], Callable[..., Measurement | float]]:
    """Declares the function beneath it as a metric.

    Args:
        name: In the command's ``--metrics``, and the beginning of the score's name.
        label: In tables.
        better: Whether a larger or a smaller value is good; None for a number that has no good side by itself.
        unit: What it counts, e.g. "%".
        kinds: Instead of label, better and unit, where the function gives several numbers: their names and kinds.
        help: A few words for the help of `attngan evaluate`.
        through: The network whose outputs it reads.
        needs: What it needs besides the images.
        on: The set of images that is scored.
        beside: Sets on which it is computed too, to know what the score can say.
        implies: Metrics that are computed with it.

    Raises:
        ValueError: A parameter that is none of ``INPUTS``, no label, or a name that another metric has.
    """
    numbers = dict(kinds) if kinds else {name: ScoreKind(label, better, unit)}

    def declare(function: Callable[..., Measurement | float]) -> Callable[..., Measurement | float]:
        declared = Metric(name, function, numbers, help, through, frozenset(needs), on, tuple(beside), tuple(implies))
        if unknown := set(declared.inputs) - set(INPUTS):
            raise ValueError(f"metric {name} takes {', '.join(sorted(unknown))}: there are {', '.join(INPUTS)}")
        if not all(kind.label for kind in numbers.values()):
            raise ValueError(f"metric {name} needs a label for tables")
        if (other := DECLARED.get(name)) and other.function.__module__ != function.__module__:
            raise ValueError(f"metric {name} is declared twice, in {other.function.__module__} too")
        DECLARED[name] = declared
        return function

    return declare


def in_order(names: Collection[str] | None = None) -> list[Metric]:
    """Metrics in the table's order: by network, then what needs no reference, then by name.

    Args:
        names: Of these; None for all.

    Raises:
        InputError: A name that no metric has.
    """
    if unknown := sorted(set(names or ()) - set(DECLARED)):
        raise InputError(f"no metric is named {', '.join(unknown)}: there are {', '.join(m.name for m in in_order())}")
    found = [declared for declared in DECLARED.values() if names is None or declared.name in names]
    networks = get_args(Network)
    return sorted(
        found, key=lambda m: (networks.index(m.through), "captions" in m.needs, "reference" in m.needs, m.name)
    )


def kind_named(score: str) -> tuple[str, ScoreKind] | None:
    """Of which kind a score is, by its technical name (``fid_30k_attngan_of_real_halves``); None for other names."""
    kinds = {name: kind for declared in DECLARED.values() for name, kind in declared.kinds.items()}
    begins = [name for name in kinds if score.startswith(f"{name}_")]
    longest = max(begins, key=len, default=None)
    return None if longest is None else (longest, kinds[longest])
