"""Training on several devices, every network of a module on its own: gradients are joined once an optimiser's step."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor, distributed, nn
from torch.optim import Optimizer

from attngan.errors import InputError


class GlobalBatchStrategy(DDPStrategy):
    """One process a device, as Lightning's DDP starts them; gradients are summed before each optimiser's step.

    Torch's DistributedDataParallel joins gradients while one backward pass goes through one forward pass of one module.
    A GAN's discriminators judge three times before theirs, pass the generator's on, and penalties differentiate twice.
    So, as stylegan3 does, the gradient of the weights that are about to be changed is summed in one piece: once a step
    and network, whatever came before it.
    """

    def setup_distributed(self) -> None:
        """Lightning seeds anew here; what follows, weights above all, is to be drawn as in a process alone."""
        with torch.random.fork_rng(devices=[]):
            super().setup_distributed()

    def _get_process_group_backend(self) -> str:
        # captions' lengths are gathered on the CPU, beside the GPU's work
        return self._process_group_backend or ("gloo" if self.root_device.type == "cpu" else "cpu:gloo,cuda:nccl")

    def configure_ddp(self) -> None:
        """All begin with the first process's weights; no wrapper around the module."""
        assert self.lightning_module is not None
        in_one_piece([*self.lightning_module.parameters(), *self.lightning_module.buffers()], _from_first)

    def optimizer_step(
        self,
        optimizer: Optimizer,
        closure: Callable[[], Any],
        model: LightningModule | nn.Module | None = None,
        **kwargs: Any,
    ) -> Any:
        """Before gradients are unscaled, checked and clipped, they are those of the global batch."""

        def joined() -> Any:
            result = closure()
            gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
            in_one_piece(gradients, distributed.all_reduce)  # those without one have none on any process
            return result

        result = super().optimizer_step(optimizer, joined, model, **kwargs)
        self._share_statistics(automatic=True)
        return result

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        output = super().training_step(*args, **kwargs)
        self._share_statistics(automatic=False)
        return output

    def _share_statistics(self, automatic: bool) -> None:
        """Batch norms that are not synchronised go on with the first process's statistics, as under torch's wrapper.

        Args:
            automatic: The step of a module with automatic optimisation is over; or of another.
        """
        module = self.lightning_module
        if self._layer_sync is None and module is not None and module.automatic_optimization == automatic:
            norms = [norm for norm in module.modules() if isinstance(norm, nn.modules.batchnorm._BatchNorm)]
            in_one_piece([statistic for norm in norms for statistic in norm.buffers()], _from_first)


@torch.no_grad()
def in_one_piece(tensors: Iterable[Tensor], collective: Callable[[Tensor], Any]) -> None:
    """Changes tensors by a collective over all of them side by side, one for each type of number.

    Args:
        tensors: The same ones on every process.
        collective: Changes the flat tensor that it is given.
    """
    by_type: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        by_type.setdefault(tensor.dtype, []).append(tensor)
    for alike in by_type.values():
        flat = torch.cat([tensor.flatten() for tensor in alike])
        collective(flat)
        parts = flat.split([tensor.numel() for tensor in alike])
        torch._foreach_copy_(alike, [part.view_as(tensor) for part, tensor in zip(parts, alike, strict=True)])


def _from_first(values: Tensor) -> None:
    distributed.broadcast(values, 0)


def normalises_globally(trainer: Trainer) -> bool:
    """Whether batch norm is over the batch of all devices."""
    return trainer.world_size == 1 or getattr(trainer.strategy, "_layer_sync", None) is not None


def require_global_batch(module: LightningModule) -> None:
    """Refuses strategies under which several devices would not train as one.

    Raises:
        InputError: Several processes train, and not by `GlobalBatchStrategy`.
    """
    trainer = module.trainer
    if trainer.world_size > 1 and not isinstance(trainer.strategy, GlobalBatchStrategy):
        raise InputError(
            f"trainer.strategy is {type(trainer.strategy).__name__}, under which {trainer.world_size} devices would "
            "not train as one with their batch: leave it out (auto)"
        )
