"""Progress: a bar on a terminal, lines in a log file, and never in the way of the items."""

import sys

import pytest

from attngan import progress
from attngan.progress import Lines, progress_bar, with_progress


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass when they are told to."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_bar_counts(capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    with progress_bar("looking", 12) as show:
        show(12)
    printed = capsys.readouterr().out
    assert "looking" in printed
    assert "12/12" in printed


def test_no_bar(capsys):
    assert list(with_progress(iter("abc"), "looking", 3, shown=False)) == ["a", "b", "c"]
    assert capsys.readouterr().out == ""
    assert list(with_progress("abc", "looking", 3)) == ["a", "b", "c"]
    assert "3 of 3" in capsys.readouterr().out


def test_a_log_file_gets_a_line_every_half_minute_and_one_at_the_end(clock, capsys):
    with progress_bar("decoding", 4000) as show:
        for done in range(0, 4001, 1000):
            show(done)
            clock[0] += 20
    assert capsys.readouterr().out.splitlines() == [
        "decoding: 2,000 of 4,000, 40 s left",
        "decoding: 4,000 of 4,000",
        "decoding: 4,000 of 4,000 in 0:01:40",
    ]


def test_what_was_done_before_does_not_shorten_the_time_left(clock, capsys):
    lines = Lines("features", 10_000, every_seconds=30.0)
    lines.show(9_000)  # of an interrupted run
    clock[0] += 100
    lines.show(9_100)
    assert capsys.readouterr().out == "features: 9,100 of 10,000, 0:15:00 left\n"


def test_what_was_done_at_once_leaves_no_line_where_the_bar_would_vanish(clock, capsys):
    with progress_bar("decoding", 5, transient=True) as show:
        show(5)
    assert capsys.readouterr().out == ""
    with progress_bar("decoding", 5, transient=True) as show:
        clock[0] += 31
        show(5)
    assert capsys.readouterr().out.splitlines()[-1] == "decoding: 5 of 5 in 31 s"
