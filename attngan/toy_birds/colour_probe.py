"""The colour probe: a small network that tells the colour of each part of a generated bird; one file describes it."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from attngan import described_weights
from attngan.errors import InputError, MissingFileError
from attngan.toy_birds.captions import COLOURS, PARTS

_ENTRY = "attngan"
_KIND = "colour probe of generated birds"


class ProbeOutput(NamedTuple):
    """``colours``: logits of each part's colour, in the order of ``PARTS`` and ``COLOURS``; ``classes``: of classes."""

    features: Float[Tensor, "batch features"]
    colours: Float[Tensor, "batch parts colours"]
    classes: Float[Tensor, "batch classes"]


class ColourProbe(nn.Module):
    """A small network that looks for each part of a bird and tells its colour.

    There is no separate head for classes: a class is its four colours, so the log-probability of a class is the sum of
    theirs. That makes the probe a classifier (for an Inception Score) that knows classes of which it saw no image.

    Args:
        class_names: Names of the classes, as in the data set.
        class_colours: Colour of each part in each class, as numbers in the order of ``PARTS`` and ``COLOURS``.
        width: Channels of the first layer.
        size: Side, in pixels, to which images are brought.
    """

    def __init__(
        self, class_names: Sequence[str], class_colours: Int[Tensor, "classes 4"], width: int = 24, size: int = 64
    ) -> None:
        super().__init__()
        self.class_names = tuple(class_names)
        self.width, self.size = width, size
        self.body = nn.Sequential(
            _convolution(3, width, stride=2),
            _convolution(width, 2 * width, stride=2),
            _Residual(2 * width),
            _convolution(2 * width, 4 * width, stride=2),
            _Residual(4 * width),
            _PartPooling(4 * width, len(PARTS), local_channels=2 * width),
        )
        self.class_head = _ClassHead(_ColourHead(2 * width), class_colours)

    @property
    def name(self) -> str:
        """For the names of scores: says what the classes are."""
        return f"toy-colour-probe-{self.size}px"

    @property
    def sha256(self) -> str:
        """Of the file that :meth:`save` writes."""
        content = described_weights.to_bytes(_ENTRY, self._described(), self.state_dict())
        return hashlib.sha256(content).hexdigest()

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> ProbeOutput:
        """Colours and classes of images in [-1, 1] of any size."""
        if images.shape[-2:] != (self.size, self.size):
            images = F.interpolate(images, (self.size, self.size), mode="bilinear", antialias=True)
        features = self.body(images)
        return ProbeOutput(features, self.class_head.colour_head(features), self.class_head(features))

    def save(self, path: Path | str) -> None:
        """Writes a .safetensors file that describes itself."""
        described_weights.write(path, _ENTRY, self._described(), self.state_dict())

    @classmethod
    def load(cls, path: Path | str) -> "ColourProbe":
        """Reads what :meth:`save` wrote; in eval mode, frozen.

        Raises:
            MissingFileError: There is no such file.
            InputError: It is not a colour probe.
        """
        description = _description(path)
        if description is None:
            raise InputError(f"{path} is no colour probe (a .safetensors file that train_probe's result was saved to)")
        state = described_weights.read_weights(path)

        def described() -> "ColourProbe":
            colours, width, size = state["class_head.colours"], description["width"], description["size"]
            return cls(tuple(map(str, description["class_names"])), colours, width, size)

        return described_weights.build_with(described, state, str(path)).eval().requires_grad_(False)

    def _described(self) -> dict[str, Any]:
        return {"kind": _KIND, "class_names": self.class_names, "width": self.width, "size": self.size}


def is_colour_probe(path: Path | str) -> bool:
    """Whether the file is one that :meth:`ColourProbe.save` wrote."""
    return _description(path) is not None


def _description(path: Path | str) -> dict[str, Any] | None:
    if not Path(path).is_file():
        raise MissingFileError(f"no colour probe at {Path(path).resolve()}")
    try:
        description = described_weights.read_description(path, _ENTRY)
    except ValueError:
        return None
    return description if description is not None and description.get("kind") == _KIND else None


def _convolution(channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(channels, out_channels, 3, stride, 1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(_convolution(channels, channels), _convolution(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.convolutions(x)
        return y


class _PartPooling(nn.Module):
    """Where each part is (attention over places), and what is seen there: one vector a part.

    Telling place from colour is what carries over to combinations of colours that training never showed.
    """

    def __init__(self, channels: int, parts: int, local_channels: int) -> None:
        super().__init__()
        self.places = nn.Conv2d(channels, parts, 1)
        self.sights = nn.Conv2d(channels, local_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        places = self.places(x).flatten(2).float().softmax(-1)  # (batch, parts, places)
        sights = self.sights(x).relu().flatten(2).float()  # (batch, channels, places)
        return torch.einsum("bpl,bcl->bpc", places, sights).flatten(1)


class _ColourHead(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(len(PARTS), channels, len(COLOURS)) * channels**-0.5)
        self.bias = nn.Parameter(torch.zeros(len(PARTS), len(COLOURS)))

    def forward(self, features: Tensor) -> Tensor:
        by_part = features.unflatten(1, (len(PARTS), -1))
        return torch.einsum("bpc,pck->bpk", by_part, self.weight) + self.bias


class _ClassHead(nn.Module):
    """Logit of a class: the sum of the log-probabilities of its colours."""

    def __init__(self, colour_head: _ColourHead, class_colours: Tensor) -> None:
        super().__init__()
        self.colour_head = colour_head
        self.register_buffer("colours", class_colours.clone())

    colours: Tensor

    def forward(self, features: Tensor) -> Tensor:
        log_probabilities: Tensor = self.colour_head(features).log_softmax(-1)  # (batch, parts, colours)
        of_parts = [log_probabilities[:, part, self.colours[:, part]] for part in range(len(PARTS))]
        total: Tensor = sum(of_parts[1:], of_parts[0])
        return total
