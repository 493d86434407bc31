"""How fast the two players learn: the learning rates as a pure function of how far the run is."""

from dataclasses import dataclass

#: What is left of the learning rates at the end of their fall.
LEAST = 0.02


@dataclass(frozen=True)
class Rates:
    """Adam's arguments for both players, and how the learning rates fall.

    Args:
        generator: The generator's learning rate.
        discriminator: The learning rate of each discriminator.
        betas: Adam's two decay rates.
        fall: Share of the run, at its end, over which both learning rates fall to a fiftieth: 0 for none. For runs with
            a budget or a last epoch.
        halved_every: Both learning rates are halved after every so many epochs (StackGAN); None for never.
    """

    generator: float = 2e-4
    discriminator: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    fall: float = 0.0
    halved_every: int | None = None

    @property
    def constant(self) -> bool:
        """Whether they stay what they are for the whole run."""
        return not self.fall and self.halved_every is None

    def factor(self, epoch: int, done: float) -> float:
        """What both learning rates are multiplied by.

        ``0.5 ** floor(epoch / halved_every) * min(1, max(0.02, (1 - done) / fall))``, without the half that is not
        asked for. It depends on the place in the run alone, so that a resumed run learns as one that never stopped.

        Args:
            epoch: The epoch, counted from 0.
            done: The share of the run that is done, in [0, 1].
        """
        halved = 1.0 if self.halved_every is None else 0.5 ** (epoch // self.halved_every)
        return halved * min(1.0, max(LEAST, (1 - done) / self.fall)) if self.fall else halved
