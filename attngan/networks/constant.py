"""Networks whose weights a checkpoint names instead of holding: those of a package or a file, and fixed random ones."""

from torch import Tensor, frombuffer, nn, uint8

from attngan.errors import InputError


class NamedWeights(nn.Module):
    """A network whose state dict says which weights it has; loading one of other weights is refused."""

    @property
    def identity(self) -> str:
        """What the weights are: where they come from, and their hashes."""
        raise NotImplementedError

    def refusal(self, theirs: str) -> str:
        """What to tell of a checkpoint that names other weights, and what to do."""
        raise NotImplementedError

    def get_extra_state(self) -> Tensor:
        # a tensor, as all that a state dict holds
        return frombuffer(bytearray(self.identity.encode()), dtype=uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Checks that the checkpoint was trained with these weights.

        Raises:
            InputError: It was trained with others.
        """
        theirs = bytes(state.cpu().tolist()).decode()
        if theirs != self.identity:
            raise InputError(self.refusal(theirs))


def hold_constant(module: nn.Module, saved: bool) -> None:
    """Makes every parameter below ``module`` a buffer, so that no optimiser finds it and no gradient is kept for it.

    Args:
        module: The network; its weights go on as they are.
        saved: Whether the buffers, those that were there before too, go into state dicts.
    """
    for part in module.modules():
        for name, parameter in list(part._parameters.items()):
            if parameter is not None:
                del part._parameters[name]
                part.register_buffer(name, parameter.detach())
        part._non_persistent_buffers_set = set() if saved else set(part._buffers)
