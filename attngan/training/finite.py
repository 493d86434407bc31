"""Numbers that are not finite end the run before they can spoil the weights or a checkpoint."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from pytorch_lightning import LightningModule
from torch import Tensor

from attngan.errors import AttnganError
from attngan.training.callbacks import KeepLast
from attngan.weight_files import not_finite, read_torch_file


class NonFiniteLossError(AttnganError, RuntimeError):
    """A term of the loss, or a gradient, is NaN or infinite; its message names it and says what to try."""

    exit_code = 3


def check_finite(terms: Mapping[str, Tensor], module: LightningModule) -> None:
    """Raises a `NonFiniteLossError` that names the terms that are not finite.

    One wait for the device a call, so it is called once a step with all terms together.
    """
    values = torch.stack([value.detach().float() for value in terms.values()])
    if bool(values.isfinite().all()):
        return
    bad = [
        f"{name} = {value:g}" for name, value in zip(terms, values.tolist(), strict=True) if not math.isfinite(value)
    ]
    raise NonFiniteLossError(_told(", ".join(bad), module))


def check_gradients(
    parameters: Iterable[Tensor], module: LightningModule, player: str, terms: Mapping[str, Tensor] | None = None
) -> None:
    """Raises a `NonFiniteLossError` if a gradient is not finite: a finite loss can have such (the root of 0, say).

    For the moment between the backward pass and the optimiser's step; one wait for the device a call. The largest
    magnitude tells, which cannot overflow as a norm can.

    Args:
        parameters: Those that the optimiser is about to change.
        module: The module that trains.
        player: Whose they are, for the message: "generator", say.
        terms: Those of the loss: the message names the ones that are not finite, where there are any.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if gradients and not bool(torch.nn.utils.get_total_norm(gradients, math.inf).isfinite()):
        if terms:
            check_finite(terms, module)
        raise NonFiniteLossError(_told(f"gradients of the {player} that are not finite, though its loss is", module))


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
