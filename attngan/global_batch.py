"""A batch that several processes compute together: which of its rows each holds, and what they join.

Every process computes the loss of the whole batch, from its own rows and what it gathers of the others'; the weights'
gradient is the sum over processes of each one's loss times its share of the rows. All processes run the same program,
so that collectives meet, and `sum_over_ranks` is its own adjoint: what autograd gives is the gradient of that sum.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, distributed


class _Sum(torch.autograd.Function):
    """An all-reduce whose derivative is one too, any number of times: gradient penalties take it twice."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        total = values.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        (gradient,) = gradients
        return sum_over_ranks(gradient)


def sum_over_ranks(values: Tensor) -> Tensor:
    """The sum of what every process gives, bit for bit the same on all; differentiable any number of times.

    Args:
        values: A tensor of one shape and type on every process.
    """
    total: Tensor = _Sum.apply(values)
    return total


class Rows:
    """Which rows of a global batch each process holds: processes after one another hold rows after one another.

    Args:
        of_ranks: Positions in the batch that each process holds, ascending over all of them; one range for a process
            that trains alone.
        rank: Which of them this process is.
    """

    def __init__(self, of_ranks: Sequence[range], rank: int = 0) -> None:
        self.of_ranks, self.rank = tuple(of_ranks), rank
        #: Positions of this process's rows, in the batch that the loader gave.
        self.mine = self.of_ranks[rank]
        #: Rows of all processes.
        self.total = sum(map(len, self.of_ranks))
        #: How many rows there are before this process's.
        self.first = sum(map(len, self.of_ranks[:rank]))

    @classmethod
    def split(cls, total: int, world: int = 1, rank: int = 0) -> "Rows":
        """A batch dealt to so many processes as evenly as it goes, earlier ones first; as `numpy.array_split` does."""
        sizes = [total // world + (of < total % world) for of in range(world)]
        return cls([range(sum(sizes[:of]), sum(sizes[: of + 1])) for of in range(world)], rank)

    @property
    def share(self) -> float:
        """This process's part of the rows."""
        return len(self.mine) / self.total

    @property
    def alone(self) -> bool:
        """Whether there is one process."""
        return len(self.of_ranks) == 1

    def part(self, number: int, parts: int) -> "Rows":
        """Every so many-th row of the batch: the same rows however many processes hold them."""
        return Rows(
            [range(own.start + (number - own.start) % parts, own.stop, parts) for own in self.of_ranks], self.rank
        )

    def gather(self, own: Tensor) -> Tensor:
        """The rows of all processes in the order of the batch, differentiably; numbers of 16 bits in float32.

        Args:
            own: This process's rows, (rows, ...).
        """
        return self.place(own, slice(self.first, self.first + len(self.mine)), self.total)

    def place(self, own: Tensor, at: slice | Tensor, count: int) -> Tensor:
        """Gathers rows that each process puts at places of its own, differentiably.

        Args:
            own: This process's rows, (rows, ...).
            at: Where they stand among those of all processes; no place is another's too.
            count: How many rows all processes have together.
        """
        if self.alone:
            return own
        if own.dtype == torch.bool:
            return self.place(own.byte(), at, count).bool()
        if own.is_floating_point() and own.element_size() < 4:
            own = own.float()  # under autocast an LSTM's type hangs on how many rows it is given: processes may differ
        whole = own.new_zeros(count, *own.shape[1:])
        whole[at] = own
        return sum_over_ranks(whole)

    def own_within(self, first: int, count: int) -> slice:
        """Which of this process's rows are among so many of the whole, from one on."""
        start, stop = max(first - self.first, 0), min(first + count - self.first, len(self.mine))
        return slice(start, max(start, stop))

    def places_of(self, positions: Tensor) -> slice | Tensor:
        """Where in these positions among all rows this process's rows stand."""
        if self.alone:
            return slice(None)
        return ((positions >= self.first) & (positions < self.first + len(self.mine))).nonzero()[:, 0]

    def mean(self, of_own: Tensor) -> Tensor:
        """The mean over all rows, differentiably.

        Args:
            of_own: The mean over this process's rows.
        """
        return of_own if self.alone else sum_over_ranks(of_own * self.share)
