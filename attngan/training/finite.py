"""A loss that is not finite ends the run before it can spoil the weights or a checkpoint."""

from collections.abc import Mapping

import torch
from pytorch_lightning import LightningModule
from torch import Tensor

from attngan.errors import AttnganError


class NonFiniteLossError(AttnganError, RuntimeError):
    """A term of the loss is NaN or infinite; its message names the term and says what to try."""

    exit_code = 3


def check_finite(terms: Mapping[str, Tensor], module: LightningModule) -> None:
    """Raises a `NonFiniteLossError` that names the terms that are not finite.

    One wait for the device a call, so it is called once a step with all terms together.
    """
    values = torch.stack([value.detach().float() for value in terms.values()])
    if bool(values.isfinite().all()):
        return
    bad = [
        f"{name} = {value:g}" for name, value in zip(terms, values.tolist(), strict=True) if not abs(value) < torch.inf
    ]
    raise NonFiniteLossError(
        f"training stopped in epoch {module.current_epoch}: {', '.join(bad)}. The last good checkpoint is kept. Try a "
        "smaller learning rate, precision 32 instead of 16, or look for broken images with `attngan prepare`."
    )
