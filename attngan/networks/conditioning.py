"""Conditioning augmentation (Zhang et al. 2017, section 3.2)."""

from jaxtyping import Float
from torch import Tensor, nn

from attngan.networks.blocks import GATES, Activation, activate
from attngan.networks.description import Described


class ConditioningAugmentation(Described):
    """A sentence becomes a Gaussian, and the generator's condition a draw from it.

    The draw's noise is an argument, so that one picture depends on nothing but its caption and its seed.

    Args:
        embed_dim: Length of the sentence embedding.
        condition_dim: Length of the condition; mean and log variance have this length each.
        activation: Activation after the linear layer; "relu" in StackGAN.
    """

    def __init__(self, embed_dim: int, condition_dim: int, activation: Activation = "glu") -> None:
        super().__init__()
        self.embed_dim = embed_dim
        self.condition_dim = condition_dim
        self.linear = nn.Linear(embed_dim, 2 * GATES[activation] * condition_dim)
        self.activate = activate(activation)

    def forward(
        self, sentence: Float[Tensor, "batch embed"], noise: Float[Tensor, "batch condition"]
    ) -> tuple[Float[Tensor, "batch condition"], Float[Tensor, "batch condition"], Float[Tensor, "batch condition"]]:
        """The condition, its mean and its log variance (log sigma^2)."""
        mean, log_variance = self.activate(self.linear(sentence)).chunk(2, dim=1)
        return mean + (0.5 * log_variance).exp() * noise, mean, log_variance
