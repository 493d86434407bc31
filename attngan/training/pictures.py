"""While it trains: the same captions drawn with the same noise again and again, with their attention maps."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from attngan.pictures import attention_picture, caption_grid, stack
from attngan.sampling import Sampler


class TrainingPictures(Callback):
    """Draws a grid and attention maps with the averaged generator, into the run's folder and its logger.

    Args:
        folder: Where the pictures go; set by the command line to ``pictures`` in the run's folder.
        every_steps: Generator steps between two pictures; 0 for none.
        captions: Captions to draw; None for the first captions of the first validation images.
        count: How many captions to take, where none are given.
        samples: Images of each caption.
        seed: Of the fixed noise.
    """

    def __init__(
        self,
        folder: Path | None = None,
        every_steps: int = 500,
        captions: Sequence[str] | None = None,
        count: int = 8,
        samples: int = 4,
        seed: int = 0,
    ) -> None:
        self.folder = folder or Path("pictures")
        self.every_steps = every_steps
        self.captions = list(captions) if captions else None
        self.count, self.samples, self.seed = count, samples, seed
        self._drawn_at = -1

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        steps = int(getattr(pl_module, "steps", 0))
        if self.every_steps and steps % self.every_steps == 0:
            self._draw(trainer, pl_module, steps)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.every_steps:
            self._draw(trainer, pl_module, int(getattr(pl_module, "steps", 0)))

    def _draw(self, trainer: Trainer, module: Any, steps: int) -> None:
        if not trainer.is_global_zero or steps == self._drawn_at:
            return
        self._drawn_at = steps
        if self.captions is None:
            images = trainer.datamodule.split("validation").images  # type: ignore[attr-defined]
            spread = np.linspace(0, len(images) - 1, min(self.count, len(images))).astype(int)
            known = [c for i in spread for c in images[i].captions[:1] if module.damsm.vocabulary.knows_any(c)]
            self.captions = known
        sampler = Sampler(module.ema.generator, module.damsm.text_encoder, module.damsm.vocabulary)
        with torch.autocast(sampler.device.type, enabled=False):
            columns = [sampler.draw(self.captions, [n] * len(self.captions), self.seed) for n in range(self.samples)]
        rows = [(c, [drawn.images[-1][i].cpu() for drawn in columns]) for i, c in enumerate(self.captions)]
        pictures = {"samples": caption_grid(rows)}
        first = columns[0]
        if first.attention:
            pictures["attention"] = stack(
                [
                    attention_picture(first.images[-1][i], sampler.words(c), first.attention[-1][i])
                    for i, c in enumerate(self.captions[:4])
                ]
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        for kind, picture in pictures.items():
            picture.save(self.folder / f"{kind}_{steps:07d}.png")
            loggers: list[Any] = trainer.loggers
            for logger in loggers:
                if hasattr(logger.experiment, "add_image"):  # TensorBoard
                    logger.experiment.add_image(kind, np.asarray(picture), steps, dataformats="HWC")
                elif hasattr(logger, "log_image"):  # Weights & Biases
                    logger.log_image(kind, [picture])
