"""Exact resuming: the state of all random number generators."""

import random
from typing import Any

import numpy as np
import torch
from pytorch_lightning import Callback, Trainer


class RandomState(Callback):
    """Random number generators go into the checkpoint and come back, so that N + N steps equal 2 N."""

    def __init__(self) -> None:
        self._loaded: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
        return {
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "numpy": [str(kind), torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, cached],
            "python": random.getstate(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._loaded = state_dict

    def on_train_epoch_start(self, trainer: Trainer, *_: Any) -> None:
        # an epoch goes on where the last one ended, or a run that is resumed between the two would differ
        if self._loaded is None:
            self._loaded = self.state_dict()

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        # not before: starting the data loader draws from the global stream
        if self._loaded is None:
            return
        state, self._loaded = self._loaded, None
        torch.set_rng_state(state["torch"])
        if len(state["cuda"]) == torch.cuda.device_count() and state["cuda"]:
            torch.cuda.set_rng_state_all(state["cuda"])
        kind, keys, position, has_gauss, cached = state["numpy"]
        np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))
        version, internal, gauss = state["python"]
        random.setstate((version, tuple(internal), gauss))
