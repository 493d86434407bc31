"""While it trains: the ``quick`` protocol on the averaged generator, the best generator by each score, a history."""

import json
import math
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities import rank_zero_info

from attngan.checkpoint import CaptionReader, write_generator
from attngan.evaluation.display import write_whole
from attngan.evaluation.feature_pass import observe
from attngan.evaluation.instruments import Instruments
from attngan.evaluation.measuring import Naming, measure
from attngan.evaluation.protocols import PROTOCOLS, departures
from attngan.evaluation.reference import Reference, look_at_reference, real_crops
from attngan.evaluation.scored_images import DrawnImages, Split, split_of
from attngan.evaluation.scores import larger_is_better
from attngan.extractors.named import load_extractor
from attngan.training.data_of import data_of
from attngan.training.gan_module import GANModule

#: The metrics whose best generator is kept.
KEPT = ("is", "fid", "kid", "precision", "recall")
HISTORY = "history.json"


class _Prepared(NamedTuple):
    """What stays the same from one evaluation to the next."""

    tools: Instruments
    split: Split
    naming: Naming
    compared: Reference


class QuickEvaluation(Callback):
    """Scores the averaged generator every few epochs, on validation captions, without touching the training's noise.

    Writes ``history.json`` (every score of every time, the best and the last of each) and, beside it, a generator file
    ``best_<metric>.safetensors`` for each metric, ready for `attngan sample` and `attngan evaluate`.

    Args:
        folder: Where these go; set by the command line to ``quick`` in the run's folder.
        every_epochs: Epochs between two evaluations; 0 for none.
        metrics: Which scores: is, fid, kid, precision_recall.
        extractor: Feature extractor; None for the protocol's, efficientnet-lite0.
        count: Images drawn; None for the protocol's 1,000.
        batch_size: Images drawn at once.
    """

    def __init__(
        self,
        folder: Path | None = None,
        every_epochs: int = 0,
        metrics: Sequence[Literal["is", "fid", "kid", "precision_recall"]] = ("is", "fid", "kid"),
        extractor: str | None = None,
        count: int | None = None,
        batch_size: int = 32,
    ) -> None:
        self.folder = folder or Path("quick")
        self.every_epochs = every_epochs
        self.metrics = tuple(metrics)
        self.extractor = extractor
        self.count = count
        self.batch_size = batch_size
        self.history: list[dict[str, Any]] = []
        self._prepared: _Prepared | None = None

    # --- what goes into the run's checkpoint ------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        return {"history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history = list(state_dict["history"])

    # --- when -------------------------------------------------------------------------------------------------

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.every_epochs and trainer.is_global_zero:
            # now, since a missing extractor should be known before hours of training
            with torch.random.fork_rng(), torch.autocast(pl_module.device.type, enabled=False):
                self._prepare(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.every_epochs and (trainer.current_epoch + 1) % self.every_epochs == 0:
            self._evaluate(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        steps = int(getattr(pl_module, "steps", 0))
        if self.every_epochs and (not self.history or self.history[-1]["steps"] != steps):
            self._evaluate(trainer, pl_module)

    # --- how --------------------------------------------------------------------------------------------------

    def _prepare(self, trainer: Trainer, module: LightningModule) -> _Prepared:
        if self._prepared is not None:
            return self._prepared
        protocol = PROTOCOLS["quick"]
        spec = self.extractor or protocol.extractor
        network = load_extractor(spec, device=module.device)
        tools = Instruments(frozenset(self.metrics), network, splits=protocol.splits, seed=protocol.seed)
        split = split_of(data_of(trainer), "validation")
        count = self.count or protocol.images
        missed = departures(protocol, network, count, "validation", None, tools.splits, tools.seed)
        naming = Naming(count, None if missed else protocol)
        place = (
            split.cache or self.folder
        ) / f"scored-validation-{split.description['image_size']}px-{tools.short_name}"
        crops = real_crops(split, "centre", None, protocol.seed)
        looks, networks = tools.looks(), tools.identity()
        stale = partial(warnings.warn, stacklevel=2)
        device = str(module.device)
        compared = look_at_reference(crops, looks, networks, None, place, lambda done: None, stale, device)
        self._prepared = _Prepared(tools, split, naming, compared)
        return self._prepared

    def _evaluate(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.is_global_zero:
            # forked: neither the training's noise nor its precision is touched
            with torch.random.fork_rng(), torch.autocast(module.device.type, enabled=False):
                self._score(trainer, module)
        trainer.strategy.barrier()

    def _score(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, GANModule), "the quick evaluation draws with a generator"
        tools, split, naming, compared = self._prepare(trainer, module)
        subject = DrawnImages(module.sampler(), split, naming.images, tools.seed)
        batches = partial(subject.batches, batch_size=self.batch_size)
        said = observe(batches, tools.looks(), naming.images, device=module.device)
        measured = measure(tools, naming, said, subject.captions, split, compared)
        scores = {score.name: score.value for score in measured.scores}
        record = {
            "epoch": trainer.current_epoch + 1,
            "steps": module.steps,
            "images_seen": module.images_seen,
            "scores": scores,
        }
        self.history.append(record)
        for logger in trainer.loggers:
            logger.log_metrics({f"quick/{name}": value for name, value in scores.items()}, step=trainer.global_step)
        self._keep_best(module, scores)
        self._write(tools)
        drawn = {name: value for name, value in scores.items() if "_of_" not in name}
        told = ", ".join(f"{name} {value:.2f}" for name, value in drawn.items())
        rank_zero_info(f"epoch {record['epoch']}: {told}")

    def _keep_best(self, module: GANModule, scores: dict[str, float]) -> None:
        for name, value in scores.items():
            metric = name.partition("_")[0]
            if "_of_" in name or metric not in KEPT or math.isnan(value):
                continue
            if best_of(self.history, name)["steps"] == module.steps:
                _write_averaged(self.folder / f"best_{metric}.safetensors", module)

    def _write(self, tools: Instruments) -> None:
        names = [name for name in self.history[-1]["scores"] if name.partition("_")[0] in KEPT]
        summary = {
            "extractor": tools.extractor and tools.extractor.description(),
            "best": {name: best_of(self.history, name) for name in names if "_of_" not in name},
            "last": self.history[-1],
            "history": self.history,
        }
        write_whole(self.folder / HISTORY, json.dumps(summary, indent=1))


def best_of(history: Sequence[dict[str, Any]], name: str) -> dict[str, Any]:
    """Value, epoch and steps of the best score of this name; the earliest where several are equal."""
    sign = 1 if larger_is_better(name) else -1
    having = [record for record in history if name in record["scores"] and not math.isnan(record["scores"][name])]
    best = max(having, key=lambda record: sign * record["scores"][name])
    return {"value": best["scores"][name], "epoch": best["epoch"], "steps": best["steps"]}


def _write_averaged(path: Path, module: GANModule) -> None:
    """The averaged generator, text encoder and vocabulary: what sampling needs, and nothing else."""
    damsm = module.damsm
    text = None if damsm is None else CaptionReader(damsm.text_encoder, damsm.vocabulary)
    write_generator(path, module.ema.generator, text, module.word_limit, module.steps, module.images_seen)
