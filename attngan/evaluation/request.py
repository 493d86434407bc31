"""What the user asks of an evaluation: the arguments of `attngan evaluate`, under the same names."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attngan.extractors.extractor import Precision, Resize

#: Which of the arguments name files and folders.
PATHS = (
    "checkpoint", "images", "data", "reference", "extractor_weights", "scorer", "clip_weights", "colour_probe", "out",
)  # fmt: skip


@dataclass(frozen=True)
class Request:
    """See `attngan.commands.evaluate.evaluate`, whose arguments these are; None where nothing was said."""

    checkpoint: Path | None = None
    images: Path | None = None
    data: Path | None = None
    source: str | None = None
    split: str | None = None
    image_size: int | None = None
    skip_bad: bool = False
    image_column: str | None = None
    caption_column: str | None = None
    reference: Path | None = None
    metrics: Sequence[str] | None = None
    protocol: str | None = None
    count: int | None = None
    seed: int | None = None
    splits: int | None = None
    truncation: float | None = None
    extractor: str | None = None
    extractor_weights: Path | None = None
    resize: Resize | None = None
    precision: Precision = "float32"
    scorer: Path | None = None
    clip: str | None = None
    clip_weights: Path | None = None
    colour_probe: Path | None = None
    text_embeddings: str | None = None
    untrained: bool = False
    out: Path = Path("evaluation")
    write_images: bool = False
    report: bool = False
    batch_size: int = 32
    device: str | None = None
    devices: int = 1
    progress: bool = True

    @classmethod
    def of(cls, **arguments: Any) -> "Request":
        """From the arguments as they were given: files and folders may be text."""
        paths = {name: arguments[name] for name in PATHS if arguments.get(name) is not None}
        return cls(**{**arguments, **{name: Path(given) for name, given in paths.items()}})
