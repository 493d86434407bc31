"""What is wrong with a data set: collected while it is read, so that one run names every problem and none is silent."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from attngan.errors import InputError

SHOWN = 10  # how many of a kind an error message lists


class UnusableImagesError(InputError):
    """Images of a data set that cannot be used; names each."""


class Findings:
    """Problems by kind. A ``bad`` image stops training unless it may be left out; a ``note`` only is counted.

    Attributes:
        bad: Kind to the images that cannot be used, one message each.
        notes: Kind to what was mended, dropped or noticed without losing an image.
        advice: What to do where nothing of the data set can be used.
    """

    def __init__(self) -> None:
        self.bad: dict[str, list[str]] = defaultdict(list)
        self.notes: dict[str, list[str]] = defaultdict(list)
        self.advice: list[str] = []

    def add_bad(self, kind: str, message: str) -> None:
        """An image that cannot be used, and why. The message names the file."""
        self.bad[kind].append(message)

    def add_note(self, kind: str, message: str) -> None:
        """Something that loses no image. The message names the file."""
        self.notes[kind].append(message)

    @property
    def bad_count(self) -> int:
        """How many images cannot be used."""
        return sum(map(len, self.bad.values()))

    def stop_if_bad(self) -> None:
        """Raises when an image cannot be used, naming each (the first of each kind, where there are many).

        Raises:
            UnusableImagesError: Lists the images and says how to go on.
        """
        if not self.bad:
            return
        lines = [f"{self.bad_count:,} image{'s' if self.bad_count > 1 else ''} of the data set cannot be used:"]
        for kind, messages in self.bad.items():
            lines += [f"  {kind}: {message}" for message in messages[:SHOWN]]
            if len(messages) > SHOWN:
                lines.append(f"  {kind}: and {len(messages) - SHOWN:,} more")
        lines.append(
            "Repair them, or leave them out on purpose with skip_bad=True (--data.skip_bad=true on the command line, "
            "--skip-bad for attngan prepare, which writes all of them into its report)."
        )
        raise UnusableImagesError("\n".join(lines + self.advice))


@contextmanager
def collecting(findings: Findings | None) -> Iterator[Findings]:
    """The findings to add to: the caller's own, or new ones that stop at the end when an image cannot be used."""
    if findings is not None:
        yield findings
        return
    own = Findings()
    yield own
    own.stop_if_bad()
