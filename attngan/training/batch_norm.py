"""Batch norm over the global batch, on any device and to any derivative."""

import torch
from jaxtyping import Float
from pytorch_lightning.plugins import LayerSync
from torch import Tensor, distributed, nn

from attngan.global_batch import sum_over_ranks
from attngan.losses.precision import at_least_float32


class SynchronisedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """As torch's SyncBatchNorm, which is for GPUs alone and has no second derivative (gradient penalties need one).

    Processes tell each other mean, variance and count of each channel, which make those of all; in float32 at least.
    In eval mode, and for its names in checkpoints, it is the batch norm that it took the place of.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        """Those that it takes the place of differ in this alone."""

    def forward(self, input: Float[Tensor, "batch channels *places"]) -> Float[Tensor, "batch channels *places"]:
        if not self.training:
            return super().forward(input)
        mean, variance, count = _statistics(input)
        self._learn(mean.detach(), variance.detach() * count / (count - 1))
        scale = (variance + self.eps).rsqrt()
        if self.affine:
            scale = scale * self.weight
        shift = -mean * scale if self.bias is None else self.bias - mean * scale
        channels = (1, -1, *[1] * (input.dim() - 2))
        return torch.addcmul(shift.view(channels), at_least_float32(input)[0], scale.view(channels)).to(input.dtype)

    @torch.no_grad()
    def _learn(self, mean: Tensor, variance: Tensor) -> None:
        """Running statistics, as torch keeps them."""
        if not self.track_running_stats or self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
        self.running_var.lerp_(variance.to(self.running_var.dtype), momentum)


def _statistics(x: Float[Tensor, "batch channels *places"]) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and variance (over n, not n - 1) of each channel over the global batch, and n."""
    (wide,) = at_least_float32(x)
    over = [0, *range(2, x.dim())]
    count = x.numel() // x.shape[1]
    if count:
        variance, mean = torch.var_mean(wide, over, correction=0)
    else:  # in the graph all the same, in whose backward pass the processes meet
        variance = mean = wide.sum(over)
    own = torch.stack([mean, variance, torch.full_like(mean, count)])
    # by the parts' means, not by sums of squares, which would lose the digits of a small variance around a large mean
    whole = own.new_zeros(distributed.get_world_size(), *own.shape)
    whole[distributed.get_rank()] = own
    means, variances, counts = sum_over_ranks(whole).unbind(1)
    total = counts.sum(0)
    shares = counts / total
    mean = (shares * means).sum(0)
    return mean, (shares * (variances + (means - mean).square())).sum(0), total.detach()


class GlobalBatchNorm(LayerSync):
    """Lightning's plugin for it: every batch norm that learns. A frozen network's, in eval mode, stay as they are."""

    def __init__(self) -> None:
        self._replaced: list[tuple[nn.Module, str, nn.Module]] = []

    def apply(self, model: nn.Module) -> nn.Module:
        for module in [*model.modules()]:
            for name, child in [*module.named_children()]:
                if isinstance(child, nn.modules.batchnorm._BatchNorm) and child.training:
                    self._replaced.append((module, name, child))
                    setattr(module, name, _with_state_of(child))
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        for module, name, child in self._replaced:
            setattr(module, name, child.train(getattr(module, name).training))
        self._replaced.clear()
        return model


def _with_state_of(norm: nn.modules.batchnorm._BatchNorm) -> SynchronisedBatchNorm:
    """Of the same parameters and buffers, under the same names: what changes in one changes in the other."""
    synchronised = SynchronisedBatchNorm(
        norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats
    )
    synchronised._parameters, synchronised._buffers = norm._parameters, norm._buffers
    synchronised._non_persistent_buffers_set = norm._non_persistent_buffers_set
    return synchronised
