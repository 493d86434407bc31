"""What the user is told of an error: one line where it is theirs or the machine's; nothing of a fault of ours."""

import errno
import os
import urllib.error

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from attngan.errors import REFUSALS, InputError, told_in_one_line


@pytest.mark.parametrize("number", sorted(REFUSALS))
def test_every_refusal_of_the_system_is_one_line_with_place_cause_and_advice(number):
    told = told_in_one_line(OSError(number, os.strerror(number), "/there/x.png"))
    assert told == f"/there/x.png: {os.strerror(number).lower()}: {REFUSALS[number]}"


def test_a_write_that_does_not_say_where():
    assert told_in_one_line(OSError(errno.ENOSPC, "No space left on device")) == (
        f"no space left on device: {REFUSALS[errno.ENOSPC]}"
    )


OURS = [
    FileNotFoundError(errno.ENOENT, "No such file or directory", "x"),
    OSError("something"),
    BrokenPipeError(errno.EPIPE, "Broken pipe"),
    RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
    KeyError("x"),
    AssertionError(),
]


@pytest.mark.parametrize("error", OURS, ids=repr)
def test_a_fault_of_ours_is_not_told_in_one_line(error):
    assert told_in_one_line(error) is None


def test_shortages():
    assert "model.accumulate" in (told_in_one_line(torch.OutOfMemoryError("CUDA out of memory. Tried ...")) or "")
    assert "CUDA out of memory" in (told_in_one_line(torch.OutOfMemoryError("CUDA out of memory. Tried ...")) or "")
    assert "too little memory" in (told_in_one_line(MemoryError()) or "")
    assert "cannot be reached" in (told_in_one_line(urllib.error.URLError("no name")) or "")
    of_docker = "DataLoader worker (pid 7) is killed by signal: Bus error. ... out of shared memory."
    assert "--shm-size" in (told_in_one_line(RuntimeError(of_docker)) or "")


class Refusing(Dataset):
    """A data set that cannot be read, for a reason of its own."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> int:
        raise self.error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (InputError("x.jpg is no picture: look at it"), "x.jpg is no picture: look at it"),
        (PermissionError(errno.EACCES, "Permission denied", "x.jpg"), "x.jpg: permission denied: "),
    ],
)
def test_what_a_loading_process_met_is_told_without_its_traceback(error, told):
    with pytest.raises(type(error)) as caught:
        list(DataLoader(Refusing(error), num_workers=1))
    assert "Traceback" in str(caught.value)
    line = told_in_one_line(caught.value)
    assert line is not None
    assert line.startswith(told)
    assert "\n" not in line
