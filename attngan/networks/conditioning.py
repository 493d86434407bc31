"""Conditioning augmentation (Zhang et al. 2017, section 3.2)."""

from jaxtyping import Float
from torch import Tensor, nn


class ConditioningAugmentation(nn.Module):
    """A sentence becomes a Gaussian, and the generator's condition a draw from it.

    The draw's noise is an argument, so that one picture depends on nothing but its caption and its seed.

    Args:
        embed_dim: Length of the sentence embedding.
        condition_dim: Length of the condition; mean and log variance have this length each.
    """

    def __init__(self, embed_dim: int, condition_dim: int) -> None:
        super().__init__()
        self.condition_dim = condition_dim
        self.linear = nn.Linear(embed_dim, 4 * condition_dim)

    def forward(
        self, sentence: Float[Tensor, "batch embed"], noise: Float[Tensor, "batch condition"]
    ) -> tuple[Float[Tensor, "batch condition"], Float[Tensor, "batch condition"], Float[Tensor, "batch condition"]]:
        """The condition, its mean and its log variance (log sigma^2)."""
        mean, log_variance = nn.functional.glu(self.linear(sentence), dim=1).chunk(2, dim=1)
        return mean + (0.5 * log_variance).exp() * noise, mean, log_variance
