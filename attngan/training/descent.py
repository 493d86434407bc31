"""How a step goes down its gradient: in parts that fit the memory, and no farther than a limit."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import torch
from lightning_utilities.core.apply_func import apply_to_collection
from pytorch_lightning import LightningModule
from torch import Tensor, nn

from attngan.errors import InputError
from attngan.global_batch import Rows
from attngan.records import CaptionBatch, TextImageBatch, TrunkFeatures


class Part(NamedTuple):
    """Some of a batch's items, which of those that all processes compute together, and their share of the batch."""

    batch: TextImageBatch
    rows: Rows
    share: float

    @property
    def weight(self) -> float:
        """What the loss of this part of the global batch counts in this process's sum of gradients."""
        return self.share * self.rows.share


def in_parts(batch: TextImageBatch, parts: int) -> list[Part]:
    """A batch in so many parts of nearly equal size; fewer where it has fewer items.

    A part is every so many-th item of the batch, so that it is the same one however many processes compute it.

    Args:
        batch: One batch of the data.
        parts: How many; 1 gives the batch itself.

    Raises:
        InputError: A process would have no item of a part.
    """
    rows = batch.rows or Rows.split(len(batch.indices))
    if parts == 1:
        return [Part(batch, rows, 1.0)]
    of_parts = [rows.part(number, parts) for number in range(min(parts, rows.total))]
    if not all(len(own) for of_part in of_parts for own in of_part.of_ranks):
        raise InputError(
            f"a batch of {rows.total} in model.accumulate {parts} parts leaves one of {len(rows.of_ranks)} devices "
            "without an image: raise data.batch_size, or lower model.accumulate"
        )
    return [
        Part(_rows_of(batch, slice(own.mine.start - rows.mine.start, None, parts)), own, own.total / rows.total)
        for own in of_parts
    ]


def _rows_of(batch: TextImageBatch, rows: slice) -> TextImageBatch:
    captions = CaptionBatch(*(values[rows] for values in batch.captions))
    return TextImageBatch(
        tuple(images[rows] for images in batch.images),
        captions,
        None if batch.classes is None else batch.classes[rows],
        batch.indices[rows],
        batch.mirrored[rows],
        None if batch.embedding is None else batch.embedding[rows],
        trunk=None if batch.trunk is None else TrunkFeatures(*(values[rows] for values in batch.trunk)),
    )


def mean_terms(terms: Sequence[tuple[float, dict[str, Tensor]]]) -> dict[str, Tensor]:
    """The terms of a batch's loss from those of its parts, each with its share."""
    if len(terms) == 1:
        return terms[0][1]
    return {name: torch.stack([share * of_part[name] for share, of_part in terms]).sum(0) for name in terms[0][1]}


def is_logged(step: int, every: int) -> bool:
    """Whether the step of this number, counted from 1, is logged: Lightning's choice, and the first one to be seen.

    Args:
        step: The step.
        every: The trainer's ``log_every_n_steps``; 0 for none.
    """
    return step == 1 or bool(every and step % every == 0)


def fuses_adam(module: LightningModule) -> bool:
    """Whether Adam may be one operation a device: a fused one unscales gradients of 16 bits itself, behind `clip`."""
    plugin = getattr(module._trainer, "precision_plugin", None)  # none where it is not trained by Lightning
    return getattr(plugin, "scaler", None) is None


def fuse_as_here(checkpoint: dict[str, Any], module: LightningModule) -> None:
    """Has a checkpoint's optimisers go on in the form of this run, not in that of the run which wrote it.

    Torch restores ``fused`` with the learning rates. It must be right before the optimiser's state is read, since a
    fused Adam keeps its counts of steps where the weights are.

    Args:
        checkpoint: As read, before Lightning restores the optimisers from it; changed in place.
        module: What will be trained.
    """
    for state in checkpoint.get("optimizer_states", []):
        for group in state["param_groups"]:
            if "fused" in group:  # no key of other optimisers than Adam's kind
                group["fused"] = fuses_adam(module)


Record = TypeVar("Record")


class GraphCut:
    """Divides a backward pass in two: down to some tensors, in as many passes as one likes, and once on from there.

    The gradients are those of one pass over the sum of all that was computed behind the cut, but the graph of each of
    its terms may be gone before the next one is computed.
    """

    def __init__(self) -> None:
        self._before: dict[int, Tensor] = {}
        self._behind: dict[int, Tensor] = {}

    def __call__(self, record: Record) -> Record:
        """The same record, its tensors the ends of a graph; one that stands in it twice is one tensor here too."""
        cut: Record = apply_to_collection(record, Tensor, self._end)
        return cut

    def _end(self, tensor: Tensor) -> Tensor:
        if not tensor.requires_grad:
            return tensor
        if id(tensor) not in self._before:
            self._before[id(tensor)] = tensor
            self._behind[id(tensor)] = tensor.detach().requires_grad_()
        return self._behind[id(tensor)]

    def backward(self) -> None:
        """The rest of the way, with the gradients that have come to the cut."""
        reached = [(self._before[key], end.grad) for key, end in self._behind.items() if end.grad is not None]
        if reached:
            torch.autograd.backward([tensor for tensor, _ in reached], [gradient for _, gradient in reached])


def clipped_norm(parameters: Iterable[nn.Parameter], limit: float | None) -> Tensor:
    """The norm of the gradient of all these weights together; where it is above the limit they are scaled down to it.

    As `torch.nn.utils.clip_grad_norm_`; the norm is the one before.

    Args:
        parameters: The weights; those without a gradient count as 0.
        limit: Largest norm; None leaves the gradient as it is.
    """
    return nn.utils.clip_grad_norm_(list(parameters), float("inf") if limit is None else limit)


@contextmanager
def statistics_kept(network: nn.Module) -> Iterator[None]:
    """Batch norms normalise as ever but learn no running mean and variance: of images that are drawn a second time."""
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    counted = [None if norm.num_batches_tracked is None else norm.num_batches_tracked.clone() for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum, count in zip(norms, momenta, counted, strict=True):
            norm.momentum = momentum
            if count is not None and norm.num_batches_tracked is not None:
                norm.num_batches_tracked.copy_(count)


def refuse_idle_devices(images: int, batch_size: int, drop_last: bool, accumulate: int, devices: int) -> None:
    """Each device needs an item of each part of each batch: told before the training, with what to change.

    Args:
        images: Training images.
        batch_size: Images of a batch, over all devices.
        drop_last: Whether a last batch that is not full is left out.
        accumulate: In how many parts each batch is computed.
        devices: How many train together.

    Raises:
        InputError: A device would have nothing to do in some part of a batch.
    """
    least, parts = devices * accumulate, f" in model.accumulate {accumulate} parts" * (accumulate > 1)
    if devices > 1 and batch_size < least:
        raise InputError(
            f"data.batch_size {batch_size} is over all devices: {devices} of them{parts} need {least} images or more"
        )
    if devices > 1 and not drop_last and 0 < images % batch_size < least:
        raise InputError(
            f"the last batch of an epoch would have {images % batch_size} of {images:,} training images, too few for "
            f"{devices} devices{parts}: set data.drop_last=true, or another data.batch_size than {batch_size}"
        )


def refuse_lonely_items(
    images: int, batch_size: int, drop_last: bool, accumulate: int, network: nn.Module, apart: int = 1
) -> None:
    """A batch norm over vectors cannot normalise a single item: told before the training, with what to change.

    Args:
        images: Training images.
        batch_size: Images of a batch, over all devices.
        drop_last: Whether a last batch that is not full is left out.
        accumulate: In how many parts each batch is computed.
        network: What is trained.
        apart: How many devices normalise their own items by themselves; 1 where batch norm is over those of all.

    Raises:
        InputError: A batch, or a part of one, would have one item.
    """
    if not any(isinstance(module, nn.BatchNorm1d) for module in network.modules()):
        return
    rest, pieces = 0 if drop_last else images % batch_size, accumulate * apart
    on_devices = f" on {apart} devices without trainer.sync_batchnorm" * (apart > 1)
    if batch_size // pieces < 2:
        parts = f" in model.accumulate {accumulate} parts" * (accumulate > 1)
        asked = f"data.batch_size {batch_size}{parts}{on_devices}" if pieces > 1 else "1"
        raise InputError(
            f"data.batch_size: {asked} leaves one image to be normalised by itself, which batch norm cannot do: give "
            "at least two images a part"
        )
    if rest and rest // pieces < 2:
        raise InputError(
            f"the last batch of an epoch would have {rest} of {images:,} training images, too few for batch norm (two "
            f"a part, {accumulate} part{'s' * (accumulate > 1)}{on_devices}): set data.drop_last=true, or another "
            f"data.batch_size than {batch_size}"
        )
