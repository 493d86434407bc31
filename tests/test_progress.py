"""Progress bars: there when asked for, and never in the way of the items."""

from attngan.progress import progress_bar, with_progress


def test_a_bar_counts(capsys):
    with progress_bar("looking", 12) as show:
        show(12)
    printed = capsys.readouterr().out
    assert "looking" in printed
    assert "12/12" in printed


def test_no_bar(capsys):
    assert list(with_progress(iter("abc"), "looking", 3, shown=False)) == ["a", "b", "c"]
    assert capsys.readouterr().out == ""
    assert list(with_progress("abc", "looking", 3)) == ["a", "b", "c"]
    assert "3/3" in capsys.readouterr().out
