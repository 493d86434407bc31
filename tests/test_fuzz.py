"""A few damaged files of every kind: only errors that the documentation names (scripts/fuzz.py reads a million)."""

import importlib.util

import pytest

from tests.conftest import REPOSITORY

SPEC = importlib.util.spec_from_file_location("fuzz", REPOSITORY / "scripts" / "fuzz.py")
fuzz = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(fuzz)


@pytest.mark.parametrize("kind", fuzz.KINDS)
def test_a_damaged_file_is_read_or_refused(kind):
    told = fuzz.run(kind, seed=7, start=0, count=12, show=True)
    assert told.inputs == 12
    assert told.read + told.refused == 12, told.faults


def test_an_undocumented_error_is_a_fault(monkeypatch):
    def fails(path):
        raise KeyError(path.name)

    monkeypatch.setitem(fuzz.KINDS, "captions", fuzz.KINDS["captions"]._replace(read=fails))
    told = fuzz.run("captions", seed=0, start=0, count=2, show=False)
    assert sum(told.faults.values()) == 2
    assert told.read == told.refused == 0


def test_an_input_is_the_same_each_time(tmp_path):
    def made(start, count):
        return [path.read_bytes() for _, path in fuzz.inputs("pickle", 3, start, count, tmp_path)]

    assert made(0, 5)[4] == made(4, 1)[0]
    assert len(set(made(0, 5))) > 1
