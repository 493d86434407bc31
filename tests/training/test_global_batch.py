"""Several processes train as one: losses, gradients and weights of every variant, on real gloo processes."""

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from torch import Tensor

from tests.conftest import REPOSITORY
from tests.training.several import CASES, DAMSM_FILE, NOT_SYNCHRONISED, Outcome, prepare, train

#: By case and precision: what the first process has, and which of its tensors another one has not.
Outcomes = dict[tuple[str, str], tuple[Outcome, list[str]]]
EXACT = ("64-true", "32-true")
CLOSE = {"64-true": 1e-10, "32-true": 1e-5, "bf16-mixed": 0.2}  # half as large a gradient would be 0.5


def start(folder: Path, world: int, thorough: bool) -> Outcomes:
    """What so many processes make of the cases."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(world)}
    common |= {"LOCAL_WORLD_SIZE": str(world), "TORCHELASTIC_RUN_ID": "test", "GROUP_RANK": "0", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.training.several", str(folder), *["thorough"] * thorough]
    processes = [
        subprocess.Popen(command, cwd=REPOSITORY, env=common | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(world)
    ]
    assert [process.wait() for process in processes] == [0] * world
    found = torch.load(folder / f"{world}.pt", weights_only=True)
    return {key: (Outcome(*outcome), differ) for key, (outcome, differ) in found.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("several")
    prepare(folder)
    return folder


@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=pytest.mark.slow)])
def by_several(request, folder):
    """What so many processes make of the cases: started once, for all that is asked of them."""
    return start(folder, request.param, thorough=request.param > 2)


def distance(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """Of all numbers together, relative to their size."""
    assert one.keys() == other.keys()
    flat = [torch.cat([values[name].flatten().double() for name in one]) for values in (one, other)]
    return float((flat[0] - flat[1]).norm() / flat[1].norm())


def differences(several: Outcome, alone: Outcome) -> dict[str, float]:
    """Of the terms of the losses, the gradients of all steps, and the state after them."""
    terms = [
        [{name: torch.tensor(value, dtype=torch.float64) for name, value in step.items()} for step in outcome.terms]
        for outcome in (several, alone)
    ]
    of_terms = max(distance(one, other) for one, other in zip(*terms, strict=True))
    return {
        "losses": of_terms,
        "gradients": distance(several.gradients, alone.gradients),
        "weights": distance(several.state, alone.state),
    }


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.synchronised])
def test_several_processes_train_as_one(by_several, folder, name):
    computed_in = [precision for case, precision in by_several if case == name]
    assert computed_in
    for precision in computed_in:
        several, differ = by_several[name, precision]
        assert not differ, "the processes are not of one mind"
        found = differences(several, train(CASES[name], precision, folder / DAMSM_FILE))
        assert max(found.values()) < CLOSE[precision], (precision, found)


def test_without_synchronised_batch_norm_the_processes_are_of_one_mind(by_several, folder):
    several, differ = by_several[NOT_SYNCHRONISED, "64-true"]
    assert not differ
    alone = train(CASES[NOT_SYNCHRONISED], "64-true", folder / DAMSM_FILE)
    assert differences(several, alone)["gradients"] > 1e-3  # each normalises its own rows


def print_table() -> None:
    """The largest of the differences to one process, as docs/scaling.md shows them."""
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepare(folder)
        by_worlds = [start(folder, world, thorough=True) for world in (2, 4)]
        for name, case in CASES.items():
            if case.synchronised:
                alone = [train(case, precision, folder / DAMSM_FILE) for precision in EXACT]
                compared = [
                    differences(found[name, precision][0], one)
                    for found in by_worlds
                    for precision, one in zip(EXACT, alone, strict=True)
                ]
                print("|", " | ".join([name, "0", *(f"{max(far.values()):.0e}" for far in compared)]), "|", flush=True)


if __name__ == "__main__":
    print_table()
