"""Whole files, and one process at a time."""

import errno
import os
import shutil
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from attngan import files
from attngan.errors import NoRoomError
from attngan.files import InUseError, claimed, locked, replacing, reserve, write_whole


def test_a_file_appears_whole_and_replaces_the_old_one(tmp_path):
    path = tmp_path / "new folder" / "x.json"
    write_whole(path, "ä\n")
    assert path.read_bytes() == "ä\n".encode()
    write_whole(path, b"\x00\r\n")
    assert path.read_bytes() == b"\x00\r\n"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_fails_halfway_leaves_the_old_file_and_nothing_beside_it(tmp_path, error):
    path = tmp_path / "x.png"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as part:
            assert part.parent == path.parent
            assert part.suffix == ".part"  # nobody takes it for an image
            part.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")
def test_one_process_waits_for_the_other(tmp_path):
    lock = tmp_path / "folder" / "lock"
    code = (
        "import sys, time; from pathlib import Path; from attngan.files import locked\n"
        "with locked(Path(sys.argv[1])): print('in', flush=True); time.sleep(0.5)\n"
        "print('out', flush=True)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(lock)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "in\n"
        began = time.monotonic()
        with locked(lock):
            assert time.monotonic() - began > 0.3
    with locked(lock):  # and again
        pass


# --- who holds a lock -----------------------------------------------------------------------------------------------

HOLD = (
    "import sys, time; from pathlib import Path; from attngan.files import locked\n"
    "with locked(Path(sys.argv[1])): print('in', flush=True); sys.stdin.read()"
)


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock until its input is closed."""
    lock = tmp_path / "lock"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], **pipes) as other:
        assert other.stdout.readline() == "in\n"
        yield other, lock
        other.kill()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")
def test_a_wait_says_for_whom_and_since_when(holder, monkeypatch):
    other, lock = holder
    said = []

    def say(line):
        said.append(line)
        if len(said) == 3:
            other.stdin.close()

    monkeypatch.setattr("attngan.files._SAY_AGAIN", 0.0)  # each time that it looks
    with locked(lock, say):
        pass
    assert len(said) >= 3  # looking does not wipe out what the holder said of itself
    for line in said[:3]:
        assert f"waiting for process {other.pid} on {socket.gethostname()}, since 20" in line
        assert str(lock.parent) in line


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")
def test_a_claim_does_not_wait_and_names_the_holder(holder):
    other, lock = holder
    with (
        pytest.raises(InUseError, match=rf"^the run is being written by process {other.pid} on .*: go elsewhere$"),
        claimed(lock, "the run", "go elsewhere"),
    ):
        pass
    other.kill()  # however it ends
    other.wait()
    with claimed(lock, "the run", "go elsewhere"):
        pass


def test_room_that_is_not_there_is_told_before_anything_is_written_through_memory(tmp_path, monkeypatch):
    reserve(tmp_path / "x", 5000)
    assert (tmp_path / "x").stat().st_size == 5000

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(OSError, match="No space left") as refused:
        reserve(tmp_path / "y", 5000)
    assert refused.value.filename == str(tmp_path / "y")

    def unknown(*_):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", unknown, raising=False)
    reserve(tmp_path / "z", 5000)
    assert (tmp_path / "z").stat().st_size == 5000


# --- what the system refuses ------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_file_may_be_read_by_whom_the_umask_says(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        write_whole(tmp_path / "x.json", "{}")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x.json").stat().st_mode) == mode


@pytest.mark.parametrize(
    "error", [RuntimeError("PytorchStreamWriter failed writing file"), OSError("7 requested, 3 written")]
)
def test_a_full_disk_is_told_whatever_the_library_says(tmp_path, error, monkeypatch):
    monkeypatch.setattr(files.shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**9, 10**9, 0))
    with pytest.raises(NoRoomError, match=r"x\.ckpt: no room on the disk"), replacing(tmp_path / "x.ckpt"):
        raise error
    assert not list(tmp_path.iterdir())


def test_a_fault_on_a_disk_with_room_stays_a_fault(tmp_path):
    with pytest.raises(RuntimeError, match="of ours"), replacing(tmp_path / "x.ckpt"):
        raise RuntimeError("of ours")


def test_what_the_system_refuses_names_the_file_that_was_asked_for():
    with pytest.raises(OSError) as caught:  # noqa: PT011 - which one depends on who runs the test
        write_whole(Path("/sys/x.json"), "{}")
    assert caught.value.filename in ("/sys/x.json", "/sys")
