"""Worker processes: they end with their parent, and not before it."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

from attngan.data import processes
from attngan.files import locked

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork and no such signals")

POOL = """
import os, sys, time
from pathlib import Path
from attngan.data.processes import worker_processes
from attngan.files import locked

def work(chunk):
    os.write(1, b"%d\\n" % os.getpid())  # whole: several processes write
    end = time.monotonic() + 600
    while time.monotonic() < end:  # busy: nobody looks at a queue
        pass
    return list(chunk)

with locked(Path(sys.argv[1])), worker_processes(2, 64) as run:
    list(run(work, list(range(64))))
"""
LOADERS = """
import os, sys, time
from pathlib import Path
from torch.utils.data import Dataset
from attngan.data.loader import EpochOrder, torch_loader
from attngan.files import locked

class Slow(Dataset):
    def __getitem__(self, places):
        os.write(1, b"%d\\n" % os.getpid())  # whole: several processes write
        time.sleep(600)

with locked(Path(sys.argv[1])):
    list(torch_loader(Slow(), 2, EpochOrder(64, 8, False, False)))
"""


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture(params=[POOL, LOADERS], ids=["pool", "loaders"])
def parent(request, tmp_path):
    """A process at work, the ids of two workers of its, and the lock that it holds."""
    lock = tmp_path / "lock"
    command = [sys.executable, "-c", request.param, str(lock)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            workers = {int(process.stdout.readline()) for _ in range(2)}
            assert len(workers) == 2
            yield process, workers, lock
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="looks at processes in /proc")
def test_workers_end_with_a_parent_that_is_killed_and_its_lock_is_free(parent):
    process, workers, lock = parent
    process.kill()
    process.wait()
    until = time.monotonic() + 10
    while any(map(alive, workers)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(alive, workers))
    began = time.monotonic()
    with locked(lock):
        assert time.monotonic() - began < 1


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="looks at processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_to_all_processes_is_the_parents_to_act_on(parent, number):
    _process, workers, _lock = parent
    time.sleep(0.5)  # they have begun
    for pid in workers:
        os.kill(pid, number)
    time.sleep(0.5)
    assert all(map(alive, workers))


def test_without_the_kernels_help_a_worker_watches_its_parent(monkeypatch):
    ended = []
    monkeypatch.setattr(processes.os, "getppid", lambda: 1)
    monkeypatch.setattr(processes.os, "_exit", ended.append)
    processes._watch(os.getpid())
    assert ended == [1]
