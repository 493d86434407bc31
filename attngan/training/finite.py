"""Numbers that are not finite end the run before they can spoil the weights or a checkpoint."""

import math
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from pytorch_lightning import LightningModule
from torch import Tensor

from attngan.errors import AttnganError
from attngan.training.callbacks import KeepLast
from attngan.weight_files import not_finite, read_torch_file


class NonFiniteLossError(AttnganError, RuntimeError):
    """A term of the loss, or a gradient, is NaN or infinite; its message names it and says what to try."""

    exit_code = 3


class _Noted(NamedTuple):
    """Numbers that must be finite, on their way to the CPU; of ``player``, the first is the largest of its gradient."""

    names: tuple[str, ...]
    values: Tensor
    player: str | None
    there: torch.cuda.Event | None


class FiniteCheck:
    """Looks at what must be finite in a training: its loss, and its gradients, of which a finite loss can have others.

    On a CPU it looks at once, so that no weight changes. A GPU is behind with its work, and to wait for it would empty
    its queue: its numbers are read a step later, or before a checkpoint is written.

    Args:
        module: The module that trains.
    """

    def __init__(self, module: LightningModule) -> None:
        self._module = module
        self._noted: deque[_Noted] = deque()
        self._of_this_step = 0

    def terms(self, terms: Mapping[str, Tensor]) -> None:
        """Those of the loss, all of a step together.

        Raises:
            NonFiniteLossError: Some are not finite; names them.
        """
        self._note(tuple(terms), [*terms.values()])

    def gradients(self, parameters: Iterable[Tensor], player: str, terms: Mapping[str, Tensor] | None = None) -> None:
        """Those that an optimiser is about to use. The largest magnitude tells, which cannot overflow as a norm can.

        Args:
            parameters: What the optimiser is about to change.
            player: Whose they are, for the message: "generator", say.
            terms: Those of the loss: the message names the ones that are not finite, where there are any.

        Raises:
            NonFiniteLossError: One is not finite.
        """
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if gradients:
            largest = torch.nn.utils.get_total_norm(gradients, math.inf)
            self._note(("", *(terms or {})), [largest, *(terms or {}).values()], player)

    def step_done(self) -> None:
        """At the end of a step: looks at what the one before it noted.

        Raises:
            NonFiniteLossError: Something was not finite.
        """
        while len(self._noted) > self._of_this_step:
            self._look()
        self._of_this_step = 0

    def look(self) -> None:
        """Looks at all that is noted.

        Raises:
            NonFiniteLossError: Something was not finite.
        """
        while self._noted:
            self._look()

    def _note(self, names: tuple[str, ...], values: list[Tensor], player: str | None = None) -> None:
        together = torch.stack([value.detach().float() for value in values])
        waits = self._waits(together.device)
        there = torch.cuda.Event() if waits and together.is_cuda else None
        self._noted.append(_Noted(names, together.to("cpu", non_blocking=waits), player, there))
        self._of_this_step += 1
        if there is not None:
            there.record()
        if not waits:
            self.look()
            self._of_this_step = 0

    def _waits(self, device: torch.device) -> bool:
        return device.type == "cuda"

    def _look(self) -> None:
        noted = self._noted.popleft()
        if noted.there is not None:
            noted.there.synchronize()
        found = dict(zip(noted.names, noted.values.tolist(), strict=True))
        largest = found.pop("", math.inf)
        bad = ", ".join(f"{name} = {value:g}" for name, value in found.items() if not math.isfinite(value))
        if noted.player is not None and not math.isfinite(largest):
            bad = bad or f"gradients of the {noted.player} that are not finite, though its loss is"
        elif noted.player is not None:
            return
        if bad:
            raise NonFiniteLossError(_told(bad, self._module))


def _told(what: str, module: LightningModule) -> str:
    return (
        f"training stopped in epoch {module.current_epoch}: {what}. {_kept(module)} Try a smaller learning rate, "
        "precision 32 instead of 16, or look for broken images with `attngan prepare`."
    )


def _kept(module: LightningModule) -> str:
    """Which checkpoint of the run is good: its newest one whose weights are finite."""
    keepers = [callback for callback in module.trainer.callbacks if isinstance(callback, KeepLast)]  # type: ignore[attr-defined]
    if not keepers:
        return ""
    found = sorted(keepers[0].path.parent.glob("*.ckpt"), key=lambda file: file.stat().st_mtime, reverse=True)
    good = next((file for file in found if _is_good(file)), None)
    if good is None:
        return "No checkpoint of this run was written yet." if not found else "No checkpoint of this run is good."
    return f"The last good checkpoint is kept: {good}."


def _is_good(path: Path) -> bool:
    try:
        return not not_finite(read_torch_file(path, "a checkpoint")["state_dict"])
    except (AttnganError, KeyError, TypeError):
        return False
