"""While it trains: the same captions drawn with the same noise again and again, with their attention maps."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from attngan.errors import require_at_least, tell_without_effect
from attngan.pictures import attention_picture, caption_grid, save_overview, stack
from attngan.records import GeneratedImages, TextFeatures
from attngan.sampling import Sampler


class TrainingPictures(Callback):
    """Draws a grid and attention maps with the averaged generator, into the run's folder and its logger.

    Args:
        folder: Where the pictures go; set by the command line to ``pictures`` in the run's folder.
        every_steps: Generator steps between two pictures; 0 for none.
        captions: Captions to draw; None for the first captions of the first validation images.
        count: How many captions to take, where none are given; rows of a generator without text.
        samples: Images of each caption.
        seed: Seed of the fixed noise.
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
        require_at_least(0, within="pictures.", every_steps=every_steps, seed=seed)
        require_at_least(1, within="pictures.", count=count, samples=samples)
        if not every_steps:
            given = {"captions": (list(captions or []), []), "count": (count, 8), "samples": (samples, 4)}
            tell_without_effect("pictures.every_steps is 0", "pictures.", **given, seed=(seed, 0))
        self.folder = folder or Path("pictures")
        self.every_steps = every_steps
        self.captions = list(captions) if captions else None
        self.count, self.samples, self.seed = count, samples, seed
        self._drawn_at = -1
        self._fixed: tuple[list[str], TextFeatures | None] | None = None

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
        if self._fixed is None:
            self._fixed = self._choose(trainer.datamodule, module)  # type: ignore[attr-defined]
        titles, text = self._fixed
        sampler = module.sampler()
        with torch.autocast(sampler.device.type, enabled=False):
            columns = [self._column(sampler, titles, text, number) for number in range(self.samples)]
        rows = [(title, [drawn.images[-1][i].cpu() for drawn in columns]) for i, title in enumerate(titles)]
        pictures = {"samples": caption_grid(rows)}
        first = columns[0]
        if first.attention:
            pictures["attention"] = stack(
                [
                    attention_picture(first.images[-1][i], sampler.words(c), first.attention[-1][i])
                    for i, c in enumerate(titles[:4])
                ]
            )
        for kind, picture in pictures.items():
            save_overview(picture, self.folder / f"{kind}_{steps:07d}.png")
            loggers: list[Any] = trainer.loggers
            for logger in loggers:
                if hasattr(logger.experiment, "add_image"):  # TensorBoard
                    logger.experiment.add_image(kind, np.asarray(picture), steps, dataformats="HWC")
                elif hasattr(logger, "log_image"):  # Weights & Biases
                    logger.log_image(kind, [picture])

    def _choose(self, data: Any, module: Any) -> tuple[list[str], TextFeatures | None]:
        """What each row is called, and what the generator reads for it."""
        if module.generator.embed_dim is None:
            return [""] * self.count, None
        images = data.split("validation").images
        if module.damsm is None:  # precomputed embeddings: of captions that nobody can encode here
            batch = next(iter(data.val_dataloader()))
            assert batch.embedding is not None
            titles = [images[i].captions[0] for i in batch.indices[: self.count].tolist()]
            return titles, TextFeatures.of_sentences(batch.embedding[: self.count].to(module.device))
        sampler = module.sampler()
        if self.captions is None:
            spread = np.linspace(0, len(images) - 1, min(self.count, len(images))).astype(int)
            known = module.damsm.vocabulary.knows_any
            self.captions = [c for i in spread for c in images[i].captions[:1] if known(c)]
        return self.captions, sampler.encode(self.captions)

    def _column(self, sampler: Sampler, titles: list[str], text: TextFeatures | None, number: int) -> GeneratedImages:
        """One image a row: with the same noise in all rows, or without text with noise of each row's own."""
        rows = len(titles)
        numbers = [number] * rows if text is not None else [row * self.samples + number for row in range(rows)]
        return sampler.draw_features(text, numbers, self.seed)
