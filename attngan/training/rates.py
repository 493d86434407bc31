"""How fast the two players learn: the learning rates as a pure function of how far the run is."""

from dataclasses import dataclass

from attngan.errors import InputError, require_at_least

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

    def __post_init__(self) -> None:
        within = "model.rates."
        require_at_least(0, within=within, generator=self.generator, discriminator=self.discriminator)
        require_at_least(0, 1, within=within, fall=self.fall)
        require_at_least(1, within=within, halved_every=self.halved_every)
        require_decay_rates(self.betas, "model.rates.betas")

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


def require_decay_rates(betas: tuple[float, float], name: str) -> None:
    """Refuses decay rates that Adam cannot use.

    Args:
        betas: Adam's two decay rates.
        name: The option that they came from.

    Raises:
        InputError: One is not in [0, 1).
    """
    if not all(0 <= beta < 1 for beta in betas):
        raise InputError(f"{name} is {list(betas)}: each must be at least 0 and less than 1")
