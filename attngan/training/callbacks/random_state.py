"""Exact resuming: the state of all random number generators."""

import random
from typing import Any

import numpy as np
import torch
from pytorch_lightning import Callback, Trainer


class RandomState(Callback):
    """Random number generators go into the checkpoint and come back, so that N + N steps equal 2 N.

    Each step draws on from where the one before it ended, whatever was drawn between the two: by validation, scores,
    pictures, and the loaders' starts, which a run that was resumed there does not repeat.
    """

    def __init__(self) -> None:
        self._next_step: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        return self._next_step or self._now()

    def _now(self) -> dict[str, Any]:
        kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
        return {
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "numpy": [str(kind), torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, cached],
            "python": random.getstate(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._next_step = state_dict

    def on_train_epoch_start(self, trainer: Trainer, *_: Any) -> None:
        if self._next_step is None:
            self._next_step = self._now()

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self._next_step = self._now()

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        if self._next_step is None:
            return
        state, self._next_step = self._next_step, None
        torch.set_rng_state(state["torch"])
        if len(state["cuda"]) == torch.cuda.device_count() and state["cuda"]:
            torch.cuda.set_rng_state_all(state["cuda"])
        kind, keys, position, has_gauss, cached = state["numpy"]
        np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))
        version, internal, gauss = state["python"]
        random.setstate((version, tuple(internal), gauss))
