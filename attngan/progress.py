"""How far a long piece of work is: a bar where somebody looks at it, a line now and then in a log file."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

from attngan.terminal import console, printable, say

Item = TypeVar("Item")

#: Seconds between two lines in a log file.
EVERY_SECONDS = 30.0


@contextmanager
def progress_bar(
    title: str, total: int, shown: bool = True, transient: bool = False
) -> Iterator[Callable[[int], None]]:
    """Tells how many are done while the block runs; yields a function that is told so.

    On a terminal a bar with the time left. In a log file a line every half minute, and one at the end.

    Args:
        title: What stands before it.
        total: How many there are to do.
        shown: False for nothing at all.
        transient: The bar vanishes when the block ends; in a log file what took less than half a minute leaves no line.
    """
    if not shown:
        yield lambda done: None
    elif sys.stdout.isatty():
        with _bar(title, total, transient) as show:
            yield show
    else:
        lines = Lines(title, total)
        yield lines.show
        lines.end(always=not transient)


@contextmanager
def _bar(title: str, total: int, transient: bool) -> Iterator[Callable[[int], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    text = TextColumn("{task.description}", markup=False)  # a name of a folder is no markup
    columns = (text, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=transient, console=console()) as bar:
        task = bar.add_task(printable(title), total=total)
        yield lambda done: bar.update(task, completed=done)


class Lines:
    """A line every so many seconds: what is done, how many of how many, and how long the rest will take.

    Args:
        title: What is done.
        total: How many there are to do.
        every_seconds: Time between two lines.
    """

    def __init__(self, title: str, total: int, every_seconds: float = EVERY_SECONDS) -> None:
        self.title, self.total, self.every_seconds = title, total, every_seconds
        self._done = 0
        self._begun = self._said = time.monotonic()
        self._at_first: int | None = None

    def show(self, done: int) -> None:
        """Takes note of how many are done; prints a line if it is time for one."""
        if self._at_first is None:
            self._at_first = done  # what an interrupted run had done was not done now
        self._done, now = done, time.monotonic()
        if now - self._said < self.every_seconds:
            return
        self._said = now
        newly, left = done - self._at_first, self.total - done
        time_left = f", {_duration((now - self._begun) * left / newly)} left" if newly > 0 and left > 0 else ""
        say(f"{self.title}: {done:,} of {self.total:,}{time_left}")

    def end(self, always: bool = True) -> None:
        """The last line; not of what was done at once unless ``always``."""
        took = time.monotonic() - self._begun
        if always or took >= self.every_seconds:
            say(f"{self.title}: {self._done:,} of {self.total:,} in {_duration(took)}")


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds))) if seconds >= 60 else f"{seconds:.0f} s"


def with_progress(items: Iterable[Item], title: str, total: int, shown: bool = True) -> Iterator[Item]:
    """The items, one after the other, with a bar that counts those that the caller is done with."""
    with progress_bar(title, total, shown) as show:
        for number, item in enumerate(items, start=1):
            yield item
            show(number)
