"""Convolutions with many weights and few places, whose gradient at the weights has two forms: the faster one is timed.

The deepest convolutions of a discriminator of 256 px (1,024 to 2,048 channels at 8 x 8 px) have 30 million weights and
16 places an image. A library that is made for many places and few weights reaches half of a processor's speed there, a
matrix product nearly all of it; on another processor it may be the other way round.
"""

import time
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attngan.ranks import world_size

#: How the gradient at the weights is computed: by torch's convolution, or as a product with the input's patches.
WeightGradient = Literal["convolution", "product"]
#: Convolutions of fewer weights are torch's own: nothing is to be had there, and to time them would take longer.
LEAST_WEIGHTS = 2**24


class DeepConvolution(nn.Conv2d):
    """As `torch.nn.Conv2d`; where it has many weights, a CPU computes their gradient in the form that is faster there.

    Which one that is, is measured in the first backward pass. `weight_gradients` tells it and `choose_weight_gradients`
    sets it, so that a training that goes on computes as it did before: the forms differ in their rounding. It is
    torch's where several processes compute, whose times differ, and where deterministic algorithms are asked for.
    """

    weight_gradient: WeightGradient | None = None

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        # all that is asked of the weight is asked of this one: to read `self.weight` is a step of spectral norm
        if not self._has_a_choice(input, weight):
            plain: Tensor = super()._conv_forward(input, weight, bias)
            return plain
        output: Tensor = _Convolution.apply(input, weight, self)
        return output if bias is None else output + bias[:, None, None]

    def _has_a_choice(self, input: Tensor, weight: Tensor) -> bool:
        return (
            weight.numel() >= LEAST_WEIGHTS
            and self.weight_gradient != "convolution"
            and self.groups == 1
            and not isinstance(self.padding, str)
            and self.padding_mode == "zeros"
            and torch.is_grad_enabled()
            and weight.requires_grad
            and input.device.type == "cpu"
            and input.dtype == weight.dtype
            and not torch.is_autocast_enabled("cpu")
            and not torch.are_deterministic_algorithms_enabled()
            and world_size() == 1
            and not torch.compiler.is_compiling()
        )

    def gradient_at_weight(self, input: Tensor, weight: Tensor, gradient: Tensor) -> Tensor:
        """The gradient at the weights, from that at the output, by the form that is chosen; the first time, by both."""
        if self.weight_gradient is None:
            seconds = [(_seconds(self, form, input, weight, gradient), form) for form in _FORMS]
            _, self.weight_gradient = min(seconds)
        at_weight: Tensor = _FORMS[self.weight_gradient](self, input, weight, gradient)
        return at_weight


class _Convolution(torch.autograd.Function):
    """A convolution whose backward pass asks the module for the gradient at its weights."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, module: DeepConvolution) -> Tensor:
        ctx.save_for_backward(input, weight)
        ctx.module = module
        return F.conv2d(input, weight, None, *_geometry(module))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (gradient,) = gradients
        input, weight = ctx.saved_tensors
        at_input = at_weight = None
        if ctx.needs_input_grad[0]:
            at_input = _by_torch(ctx.module, input, weight, gradient, of_weight=False)
        if ctx.needs_input_grad[1]:
            at_weight = ctx.module.gradient_at_weight(input, weight, gradient)
        return at_input, at_weight, None


def _geometry(module: nn.Conv2d) -> tuple[Any, Any, Any]:
    return module.stride, module.padding, module.dilation


def _by_torch(module: nn.Conv2d, input: Tensor, weight: Tensor, gradient: Tensor, of_weight: bool) -> Tensor:
    wanted = [not of_weight, of_weight, False]
    gradients: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        gradient, input, weight, None, *_geometry(module), False, [0, 0], 1, wanted
    )
    return gradients[int(of_weight)]


def _by_convolution(module: nn.Conv2d, input: Tensor, weight: Tensor, gradient: Tensor) -> Tensor:
    return _by_torch(module, input, weight, gradient, of_weight=True)


def _by_product(module: nn.Conv2d, input: Tensor, weight: Tensor, gradient: Tensor) -> Tensor:
    """(out, batch x places) times (batch x places, channels x height x width of the filter)."""
    stride, padding, dilation = _geometry(module)
    patches = F.unfold(input, module.kernel_size, dilation, padding, stride)
    product = gradient.flatten(2).transpose(0, 1).flatten(1) @ patches.transpose(1, 2).flatten(0, 1)
    return product.view(weight.shape)


_FORMS: dict[WeightGradient, Any] = {"convolution": _by_convolution, "product": _by_product}


@torch.no_grad()
def _seconds(module: nn.Conv2d, form: WeightGradient, input: Tensor, weight: Tensor, gradient: Tensor) -> float:
    """The shorter of two times that a form takes: the first call asks for memory and prepares."""
    took = []
    for _ in range(2):
        begun = time.perf_counter()
        _FORMS[form](module, input, weight, gradient)
        took.append(time.perf_counter() - begun)
    return min(took)


def weight_gradients(network: nn.Module) -> dict[str, WeightGradient]:
    """The form of each of a network's deep convolutions that has been chosen, by the module's name."""
    deep = {name: module for name, module in network.named_modules() if isinstance(module, DeepConvolution)}
    return {name: module.weight_gradient for name, module in deep.items() if module.weight_gradient is not None}


def choose_weight_gradients(network: nn.Module, forms: Mapping[str, Any] | WeightGradient) -> None:
    """Sets the forms that `weight_gradients` told, or one form for all.

    Args:
        network: Whose deep convolutions are set.
        forms: By the module's name; one that is not named, or with a form that there is not, will measure for itself.
    """
    for name, module in network.named_modules():
        if isinstance(module, DeepConvolution):
            form = forms if isinstance(forms, str) else forms.get(name)
            module.weight_gradient = form if form in _FORMS else None
