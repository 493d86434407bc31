"""Training on several devices, every network of a module on its own: gradients are joined once an optimiser's step."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from pytorch_lightning import LightningModule
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

    def configure_ddp(self) -> None:
        """All begin with the first process's weights; no wrapper around the module."""
        assert self.lightning_module is not None
        for tensor in [*self.lightning_module.parameters(), *self.lightning_module.buffers()]:
            distributed.broadcast(tensor.detach(), 0)

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
            sum_gradients(parameter for group in optimizer.param_groups for parameter in group["params"])
            return result

        return super().optimizer_step(optimizer, joined, model, **kwargs)


@torch.no_grad()
def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Each gradient becomes the sum of all processes', in one all-reduce a type of number.

    Args:
        parameters: Those without a gradient have none on any process.
    """
    by_type: dict[torch.dtype, list[Tensor]] = {}
    for parameter in parameters:
        if parameter.grad is not None:
            by_type.setdefault(parameter.grad.dtype, []).append(parameter.grad)
    for gradients in by_type.values():
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(flat)
        summed = flat.split([gradient.numel() for gradient in gradients])
        torch._foreach_copy_(gradients, [part.view_as(of) for part, of in zip(summed, gradients, strict=True)])


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
