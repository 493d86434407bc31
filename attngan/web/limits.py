"""What one request may ask for, and a queue in which no visitor can take the machine."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import anyio
import anyio.to_thread

from attngan.errors import AttnganError, require_at_least

Result = TypeVar("Result")


class BusyError(AttnganError):
    """There is no place in the queue; later there may be one.

    Args:
        told: What the visitor is told.
        own: Whether it is the visitor's own requests that fill it.
    """

    def __init__(self, told: str, own: bool) -> None:
        super().__init__(told)
        self.own = own


class TookTooLongError(AttnganError):
    """A request was not answered within its time."""


@dataclass(frozen=True)
class Limits:
    """What a visitor may ask for.

    Args:
        caption: Characters of a caption.
        pictures: Pictures of one request.
        waiting: Requests that are drawn or wait for it, of all visitors.
        waiting_of_one: Those of one visitor's address.
        seconds: From a request to its answer, waiting included.
        body: Bytes of a request.
        body_seconds: Within which these must have come.

    Raises:
        InputError: One of them leaves nothing to ask for.
    """

    caption: int = 300
    pictures: int = 16
    waiting: int = 8
    waiting_of_one: int = 2
    seconds: float = 60.0
    body: int = 16_000
    body_seconds: float = 10.0

    def __post_init__(self) -> None:
        require_at_least(1, caption=self.caption, waiting=self.waiting, waiting_of_one=self.waiting_of_one)
        require_at_least(2, pictures=self.pictures)  # an interpolation has two ends
        require_at_least(0.1, seconds=self.seconds, body_seconds=self.body_seconds)


class DrawingQueue:
    """One drawing at a time, in the order of asking.

    Args:
        limits: How many may wait, and how long.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._turn = anyio.CapacityLimiter(1)
        self._there: Counter[str] = Counter()

    async def run(self, visitor: str, draw: Callable[[], Result]) -> Result:
        """Draws in a thread of its own when it is this request's turn.

        Args:
            visitor: Who asks: the address.
            draw: Ends early where it calls ``anyio.from_thread.check_cancelled`` and nobody waits for it any more.

        Raises:
            BusyError: The queue is full, or the visitor's share of it.
            TookTooLongError: The time ran out.
        """
        if self._there[visitor] >= self.limits.waiting_of_one:
            raise BusyError(f"{self._there[visitor]} of your requests are being drawn: wait for them", own=True)
        if self._there.total() >= self.limits.waiting:
            raise BusyError(f"{self._there.total()} requests are waiting already: try again in a while", own=False)
        self._there[visitor] += 1
        try:
            with anyio.fail_after(self.limits.seconds):
                return await anyio.to_thread.run_sync(draw, limiter=self._turn)
        except TimeoutError as error:
            raise TookTooLongError(
                f"not drawn within {self.limits.seconds:g} seconds: ask for fewer pictures, or later"
            ) from error
        finally:
            self._there[visitor] -= 1
            self._there += Counter()  # forgets visitors who are gone
