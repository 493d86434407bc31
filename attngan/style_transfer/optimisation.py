"""The optimisation of a picture's pixels, iteration by iteration, and its history."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from attngan.errors import AttnganError, InputError
from attngan.files import replacing
from attngan.style_transfer.objective import Losses, Objective
from attngan.weight_files import read_torch_file

OptimizerName = Literal["lbfgs", "adam"]


class DivergedError(AttnganError):
    """The loss is no number any more."""


class Iteration(NamedTuple):
    """What was measured in an iteration, of the picture before its step; ``evaluations`` are those until then."""

    number: int
    content: float
    style: float
    total_variation: float
    evaluations: int

    @property
    def total(self) -> float:
        """What is minimised."""
        return self.content + self.style + self.total_variation


class StyleTransfer:
    """A picture on its way to a style.

    Args:
        objective: What it is optimised for.
        start: The picture to begin with, in [-1, 1].
        optimizer: "lbfgs", with a line search (Gatys et al. used L-BFGS), or "adam".
        learning_rate: Adam's step size, in the range of pixels; L-BFGS finds its own.
    """

    def __init__(
        self,
        objective: Objective,
        start: Float[Tensor, "1 3 height width"],
        optimizer: OptimizerName = "lbfgs",
        learning_rate: float = 0.02,
    ) -> None:
        self.objective = objective
        self.image = start.detach().clone(memory_format=torch.contiguous_format).requires_grad_(True)
        self.history: list[Iteration] = []
        self.evaluations = 0
        self._optimizer: torch.optim.Optimizer
        if optimizer == "lbfgs":
            self._optimizer = torch.optim.LBFGS(
                [self.image],
                max_iter=1,  # one iteration a step; what it learnt of the curvature stays between steps
                max_eval=25,  # all of them may be the line search's
                history_size=20,
                tolerance_grad=0,
                tolerance_change=0,
                line_search_fn="strong_wolfe",
            )
        else:
            self._optimizer = torch.optim.Adam([self.image], learning_rate)

    def run(self, iterations: int) -> Iterator[Iteration]:
        """Goes on to so many iterations in all; yields after each.

        Raises:
            DivergedError: The loss is no number any more; the picture is that of the last good iteration.
        """
        while len(self.history) < iterations:
            yield self.step()

    def step(self) -> Iteration:
        """One iteration; its losses are those of the picture before it."""
        before, first = self.image.detach().clone(), list[Losses]()

        def evaluate() -> float:
            self._optimizer.zero_grad()
            losses = self.objective(self.image)
            total = losses.total
            total.backward()
            self.evaluations += 1
            if not first:
                first.append(losses)
            return total.item()

        self._optimizer.step(evaluate)
        content, style, smooth = (term.item() for term in first[0])
        if not _finite(content + style + smooth) or not bool(self.image.isfinite().all()):
            self.image.data.copy_(before)
            raise DivergedError(
                f"the loss is no number any more after {len(self.history)} iterations: lower the weights or "
                "--learning_rate"
            )
        self.history.append(Iteration(len(self.history) + 1, content, style, smooth, self.evaluations))
        return self.history[-1]

    def final_losses(self) -> Losses:
        """Those of the picture as it is."""
        with torch.no_grad():
            return self.objective(self.image)

    # --- resuming -----------------------------------------------------------------------------------------------------

    def save(self, path: Path, settings: Mapping[str, Any]) -> None:
        """Writes everything that the next iteration depends on.

        Args:
            path: The file.
            settings: What the run was asked for; another run of the same settings can go on.
        """
        state = {
            "settings": dict(settings),
            "image": self.image.detach(),
            "optimizer": self._optimizer.state_dict(),
            "history": [tuple(iteration) for iteration in self.history],
            "evaluations": self.evaluations,
        }
        with replacing(path) as part:
            torch.save(state, part)

    def load(self, path: Path, settings: Mapping[str, Any]) -> None:
        """Goes on from what `save` wrote.

        Args:
            path: The file.
            settings: As in `save`.

        Raises:
            InputError: The file is none of them, or the run there had other settings; says which.
        """
        try:
            state = read_torch_file(path, "a run to go on with")
            saved = state["settings"]
        except Exception as error:  # whatever is in the file
            raise InputError(f"{path} cannot be gone on with ({error}): remove it, or name another --out") from error
        other = [name for name in settings if saved.get(name) != settings[name]]
        if other:
            told = ", ".join(f"{name} {saved.get(name)!r}, now {settings[name]!r}" for name in other)
            raise InputError(f"{path.parent} holds a run with other settings ({told}): name another --out")
        self.image.data.copy_(state["image"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.history = [Iteration(*values) for values in state["history"]]
        self.evaluations = state["evaluations"]


def start_image(
    content: Float[Tensor, "1 3 height width"], noise: float, seed: int
) -> Float[Tensor, "1 3 height width"]:
    """The picture to begin with: the content's, with a share of noise.

    Args:
        content: The content image, in [-1, 1].
        noise: 0 is the content alone, 1 noise alone.
        seed: Seed of the noise.

    Raises:
        InputError: The share is outside of [0, 1].
    """
    if not 0 <= noise <= 1:
        raise InputError(f"--start_noise is {noise}: a share between 0 (the content) and 1 (noise alone)")
    random = torch.randn(content.shape, generator=torch.Generator().manual_seed(seed)).to(content)
    return (1 - noise) * content + noise * 0.5 * random


def _finite(value: float) -> bool:
    return abs(value) < float("inf")
