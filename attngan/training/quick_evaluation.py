"""While it trains: the ``quick`` protocol on the averaged generator, the best generator by each score, a history."""

import json
import math
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from attngan import ranks
from attngan.checkpoint import CaptionReader, open_checkpoint, write_generator
from attngan.data.datamodule import TextImageDataModule
from attngan.errors import InputError, require_at_least, tell_without_effect
from attngan.evaluation.feature_pass import collect_outputs
from attngan.evaluation.image_sets import ImageSet, reference_sets
from attngan.evaluation.measuring import Naming, measure
from attngan.evaluation.metric_table import in_order, kind_named, larger_is_better, title_of
from attngan.evaluation.networks import Networks
from attngan.evaluation.protocols import PROTOCOLS, departures
from attngan.evaluation.reference import Reference, real_crops, reference_outputs
from attngan.evaluation.scored_images import DrawnImages, Split, split_of
from attngan.extractors.named import load_extractor
from attngan.files import write_whole
from attngan.terminal import say
from attngan.training.gan_module import GANModule

HISTORY = "history.json"
QUICK_METRICS = ("is", "fid", "kid")


class _Prepared(NamedTuple):
    """What stays the same from one evaluation to the next."""

    networks: Networks
    split: Split
    naming: Naming
    reference: Reference


class QuickEvaluation(Callback):
    """Scores the averaged generator every few epochs, on validation captions, without touching the training's noise.

    Writes ``history.json`` (every score of every time, the best and the last of each) and, beside it, a generator file
    ``best_<metric>.safetensors`` for each metric, ready for `attngan sample` and `attngan evaluate`.

    Args:
        folder: Where these go; set by the command line to ``quick`` in the run's folder.
        every_epochs: Epochs between two evaluations; 0 for none.
        metrics: Which scores, of those that need no captions, e.g. is, fid, kid, precision_recall.
        extractor: Feature extractor; None for the protocol's, efficientnet-lite0.
        count: Images drawn; None for the protocol's 1,000.
        batch_size: Images drawn at once.
    """

    def __init__(
        self,
        folder: Path | None = None,
        every_epochs: int = 0,
        metrics: Sequence[str] = QUICK_METRICS,
        extractor: str | None = None,
        count: int | None = None,
        batch_size: int = 32,
    ) -> None:
        require_at_least(0, within="quick.", every_epochs=every_epochs)
        require_at_least(1, within="quick.", count=count, batch_size=batch_size)
        if not every_epochs:
            given = {"extractor": (extractor, None), "count": (count, None), "metrics": (tuple(metrics), QUICK_METRICS)}
            tell_without_effect("quick.every_epochs is 0", "quick.", **given)
        self.folder = folder or Path("quick")
        self.every_epochs = every_epochs
        self.metrics = tuple(metrics)
        if unfit := [m.name for m in in_order(self.metrics) if m.through != "extractor" or "captions" in m.needs]:
            raise InputError(f"quick.metrics: {', '.join(unfit)} needs captions or another network: leave it out")
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
        if self.every_epochs:
            if trainer.is_global_zero:
                self._drop_files_of_another_future()
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
        networks = Networks(network)
        data = cast(TextImageDataModule, trainer.datamodule)  # type: ignore[attr-defined]  # set at the start
        split = split_of(data, "validation")
        count = self.count or protocol.images
        missed = departures(protocol, network, count, "validation", None, protocol.splits, protocol.seed)
        naming = Naming(count, None if missed else protocol)
        place = (
            split.cache or self.folder
        ) / f"scored-validation-{split.description['image_size']}px-{networks.short_name}"
        crops = real_crops(split, "centre", None, protocol.seed)
        reference = reference_outputs(crops, networks, None, place, lambda done: None, str(module.device))
        self._prepared = _Prepared(networks, split, naming, reference)
        return self._prepared

    def _evaluate(self, trainer: Trainer, module: LightningModule) -> None:
        # forked: neither the training's noise nor its precision is touched
        with torch.random.fork_rng(), torch.autocast(module.device.type, enabled=False):
            self._score(trainer, module)

    def _score(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, GANModule), "the quick evaluation draws with a generator"
        networks, split, naming, reference = self._prepare(trainer, module)
        protocol = PROTOCOLS["quick"]
        images = DrawnImages(module.sampler(), split, naming.images, protocol.seed)
        batches = partial(images.batches, batch_size=self.batch_size)
        outputs = collect_outputs(batches, networks.output_functions, naming.images, device=module.device)
        scores: dict[str, float] = {}
        if ranks.is_first():  # which has what all have seen
            sets = [ImageSet("scored", outputs, images.captions, reference), *reference_sets(reference, protocol.seed)]
            measured = measure(sets, in_order(self.metrics), networks, naming, split, protocol.splits, protocol.seed)
            scores = {score.name: score.value for score in measured.scores}
        scores = ranks.broadcast(scores)
        record = {
            "epoch": trainer.current_epoch + 1,
            "steps": module.steps,
            "images_seen": module.images_seen,
            "scores": scores,
        }
        self.history.append(record)
        for logger in trainer.loggers:
            # at the step that the losses are logged at: Lightning's own count is one an optimiser
            logger.log_metrics({f"quick/{name}": value for name, value in scores.items()}, step=module.steps)
        if ranks.is_first():
            self._keep_best(module, scores)
            self._write(networks)
        drawn = {name: value for name, value in scores.items() if "_of_" not in name}
        told = ", ".join(f"{title_of(name)} {value:.2f}" for name, value in drawn.items())
        say(f"epoch {record['epoch']}: {told}")

    def _drop_files_of_another_future(self) -> None:
        """Removes each best generator that the history does not know: of steps after the checkpoint gone on with."""
        known = {(kind, best_of(self.history, name)["steps"]) for kind, name in self._best_names()}
        for path in sorted(self.folder.glob("best_*.safetensors")):
            kind, steps = path.stem.removeprefix("best_"), open_checkpoint(path).entry.steps
            if (kind, steps) not in known:
                say(f"{path} is of step {steps:,}, which is not in this run's history any more: removed")
                path.unlink()

    def _best_names(self) -> list[tuple[str, str]]:
        """Kind and name of every score that a best generator is kept of."""
        names = {name: None for record in self.history for name in record["scores"]}
        return [(kind, name) for name, kind in _kept(names).items() if _is_number_somewhere(self.history, name)]

    def _keep_best(self, module: GANModule, scores: dict[str, float]) -> None:
        for name, kind in _kept(scores).items():
            path = self.folder / f"best_{kind}.safetensors"
            if math.isnan(scores[name]):
                continue
            # the best of all; or, where that one's file was of another future, the best that there is
            if best_of(self.history, name)["steps"] == module.steps or not path.is_file():
                _write_averaged(path, module)

    def _write(self, networks: Networks) -> None:
        summary = {
            "extractor": networks.extractor and networks.extractor.description(),
            "best": {name: best_of(self.history, name) for name in _kept(self.history[-1]["scores"])},
            "last": self.history[-1],
            "history": self.history,
        }
        write_whole(self.folder / HISTORY, json.dumps(summary, indent=1))


def _kept(names: Iterable[str]) -> dict[str, str]:
    """Scores of drawn images that have a better side, whose best generator is kept; name to kind."""
    kinds = {name: kind_named(name) for name in names if "_of_" not in name}
    return {name: kind[0] for name, kind in kinds.items() if kind is not None and kind[1].better is not None}


def _is_number_somewhere(history: Sequence[dict[str, Any]], name: str) -> bool:
    return any(not math.isnan(record["scores"].get(name, math.nan)) for record in history)


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
