"""The demo's trainings: shown while they run, and what became of them, in figures and in plain words."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

#: From this share of the images on, what pictures of generated birds look like.
EXPECTED = (
    (0.9, "colours where the captions name them, in birds whose shapes are rough"),
    (0.5, "most colours in their places, shapes still to come"),
    (0.25, "colours, and shapes that only begin"),
    (0.1, "colours, no shapes yet"),
    (0.0, "noise or patches: it has hardly been trained"),
)


@dataclass(frozen=True)
class Trained:
    """What a training did.

    Args:
        images: Images seen, counted over epochs.
        budget: Images that it was meant to see.
        steps: Steps of the generator; 0 for a DAMSM.
        seconds: Time spent in training.
    """

    images: int
    budget: int
    steps: int
    seconds: float

    @property
    def share(self) -> float:
        """Of the budget's images, at most 1."""
        return min(1.0, self.images / max(1, self.budget))

    @property
    def cut(self) -> bool:
        """Whether the limit in minutes ended it. A last batch may be missing to the budget."""
        return self.share < 0.99

    @property
    def images_per_second(self) -> float:
        """Of training alone."""
        return self.images / max(self.seconds, 1e-9)

    def expected(self) -> str:
        """What there is to see in the pictures after so many images."""
        return next(text for share, text in EXPECTED if self.share >= share)

    def outcome(self, minutes: float) -> str:
        """How it ended, and what to expect therefore.

        Args:
            minutes: The limit that may have cut it.
        """
        if not self.cut:
            return f"all {self.budget:,} images: {self.expected()}"
        return (
            f"stopped by the limit of {minutes:g} minutes at {100 * self.share:.0f} % of the images: {self.expected()}"
        )


class ShownTraining(Callback):
    """Says every few seconds how far a training is, with its last picture; at the end knows what it did.

    Args:
        show: Is told the state in words, and the picture if there is one.
        budget: Images that the training is meant to see.
        pictures: Folder of the training's pictures; None: there are none.
        every_seconds: Time between two calls of ``show``.
    """

    def __init__(
        self,
        show: Callable[[str, Path | None], None],
        budget: int,
        pictures: Path | None = None,
        every_seconds: float = 15.0,
    ) -> None:
        self.show, self.budget, self.pictures, self.every_seconds = show, budget, pictures, every_seconds
        self.trained = Trained(0, budget, 0, 0.0)
        self._begun = self._shown = time.monotonic()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._begun = self._shown = time.monotonic()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        now = time.monotonic()
        images, steps = int(getattr(pl_module, "images_seen", 0)), int(getattr(pl_module, "steps", 0))
        self.trained = Trained(images, self.budget, steps, now - self._begun)
        if now - self._shown > self.every_seconds:
            self._shown = now
            told = f"{images:,} of {self.budget:,} images, {self.trained.images_per_second:.0f} images/s"
            self.show(told, self._last_picture())

    def _last_picture(self) -> Path | None:
        return max(self.pictures.glob("samples_*.png"), default=None) if self.pictures else None
