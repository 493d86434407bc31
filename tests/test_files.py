"""Whole files, and one process at a time."""

import subprocess
import sys
import time

import pytest

from attngan.files import locked, replacing, write_whole


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
