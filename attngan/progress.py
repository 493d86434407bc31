"""Progress bars: title, bar, count and the time left."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Item = TypeVar("Item")


@contextmanager
def progress_bar(
    title: str, total: int, shown: bool = True, transient: bool = False
) -> Iterator[Callable[[int], None]]:
    """A bar on the screen while the block runs; yields a function that is told how many are done.

    Args:
        title: What stands before the bar.
        total: How many there are to do.
        shown: False for no bar.
        transient: The bar vanishes when the block ends.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, disable=not shown, transient=transient) as bar:
        task = bar.add_task(title, total=total)
        yield lambda done: bar.update(task, completed=done)


def with_progress(items: Iterable[Item], title: str, total: int, shown: bool = True) -> Iterator[Item]:
    """The items, one after the other, with a bar that counts those that the caller is done with."""
    with progress_bar(title, total, shown) as show:
        for number, item in enumerate(items, start=1):
            yield item
            show(number)
