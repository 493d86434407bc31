"""Stopping in order when asked: by Ctrl-C, by SIGTERM, or by SIGUSR1, which SLURM sends ahead of a time limit.

The first signal raises `Stopped` where the program is at that moment, as Ctrl-C does in Python: what is written here is
written whole or not at all, and goes on where it was. Where a computation must not be torn apart, as a training step,
it is held back until that is done. A second signal ends the process at once, whatever it is doing.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

#: What asks a command to stop; Windows knows the first two alone.
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))


class Stopped(BaseException):
    """The command was asked to stop. No ``except Exception`` takes it for a fault.

    Args:
        number: The signal.

    Attributes:
        exit_code: What a shell gives for a program that this signal ended.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


class _Requests:
    """What this process was asked, and whether it has to wait."""

    def __init__(self) -> None:
        self.heard: list[int] = []
        self.asked: int | None = None
        self.held: str | None = None

    def receive(self, number: int, frame: FrameType | None = None) -> None:
        if self.asked is not None:  # somebody put this handler back after the first one
            _leave_to_the_system()
            os.kill(os.getpid(), number)
            return
        self.asked = number
        # the second one needs no turn of Python's: it acts within a long computation too
        _leave_to_the_system()
        if self.held is None:
            raise Stopped(number)
        with suppress(RuntimeError):  # it came while something was being printed
            print(f"\n{signal.Signals(number).name}: {self.held} (again to stop at once)", flush=True)


_requests = _Requests()


def _leave_to_the_system() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)


@contextmanager
def listening() -> Iterator[None]:
    """Within the block signals are heard. What they did before comes back at its end.

    Nothing changes within another such block, outside the main thread (Python hears signals there alone), and for a
    signal that whoever started the program wants to be ignored (nohup, a shell's background jobs).
    """
    if _requests.heard or threading.current_thread() is not threading.main_thread():
        yield
        return
    heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, _requests.receive) for number in heard}
    _requests.heard, _requests.asked, _requests.held = heard, None, None
    try:
        yield
    finally:
        _requests.heard, _requests.asked, _requests.held = [], None, None
        for number, handler in before.items():
            signal.signal(number, handler)


def listen_again() -> None:
    """Takes the signals back from another program's part that took them within the block, as Lightning does."""
    if _requests.asked is None and threading.current_thread() is threading.main_thread():
        for number in _requests.heard:
            signal.signal(number, _requests.receive)


def asked() -> int | None:
    """The signal that asked this process to stop; None for none so far."""
    return _requests.asked


def hold(told: str) -> None:
    """From now on a request waits: for `stop_if_asked`, or for `release`.

    Args:
        told: What is done first; shown to whoever asks.
    """
    _requests.held = told


def release() -> None:
    """From now on requests act where they come, and one that waits acts now.

    Raises:
        Stopped: One waits.
    """
    _requests.held = None
    stop_if_asked()


def stop_if_asked() -> None:
    """Acts on a request that waits.

    Raises:
        Stopped: There is one.
    """
    if _requests.asked is not None:
        raise Stopped(_requests.asked)
