"""The terminal: what came from files is written out, warnings are lines, and nobody prints past it."""

import ast
import io
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

import attngan.progress
from attngan.progress import progress_bar
from attngan.terminal import console, never_unprintable, printable, say

PACKAGE = Path(attngan.progress.__file__).parent
#: Files that may print, and what: help and versions, which hold nothing of others, and a signal's own name.
PRINTING = {"terminal.py", "cli.py", "stopping.py"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a red bird", "a red bird"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("over\rwritten\b\x07", r"over\rwritten\x08\x07"),
        ("csi \x9b2J", r"csi \x9b2J"),
        ("evil\u202egnp.exe", r"evil\u202egnp.exe"),
        ("caf\udce9", r"caf\udce9"),
        ("Grünspecht ↑ 鳥 🐦", "Grünspecht ↑ 鳥 🐦"),
        ("[red]no markup[/]", "[red]no markup[/]"),
    ],
)
def test_what_a_terminal_would_obey_is_written_out(text, shown, capsys):
    assert printable(text) == shown
    say(text)
    say(text, error=True)
    printed = capsys.readouterr()
    assert printed.out == printed.err == f"{shown}\n"


def test_every_line_goes_through_one_place():
    for file in sorted(PACKAGE.rglob("*.py")):
        calls = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
        printed = [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
        consoles = [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "Console"]
        assert not printed or file.name in PRINTING, f"{file}: print in lines {printed}, not terminal.say"
        assert not consoles or file.name == "terminal.py", f"{file}: Console in lines {consoles}, not terminal.console"


def test_tables_read_no_markup(capsys):
    console().print("[red]a bird[/] :bird: 3.14")
    assert capsys.readouterr().out == "[red]a bird[/] :bird: 3.14\n"


def test_a_bar_reads_no_markup_out_of_a_folders_name(monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(
        attngan.progress,
        "console",
        lambda: Console(file=screen, force_terminal=True, width=100, color_system=None, markup=False),
    )
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    with progress_bar("drawing into [red]x[/] \x1b[2J", 3) as show:
        show(3)
    assert r"drawing into [red]x[/] \x1b[2J" in screen.getvalue()
    assert "\x1b[2J" not in screen.getvalue().replace(r"\x1b[2J", "")


WARNING = """
import warnings
from attngan.terminal import warnings_in_one_line
before = warnings.formatwarning
with warnings_in_one_line("attngan try"):
    warnings.warn("two\\n  lines \\x1b[31m", stacklevel=1)
    warnings.warn("of a version to come", FutureWarning, stacklevel=1)
    warnings.warn("of a version to come", DeprecationWarning, stacklevel=1)
assert warnings.formatwarning is before
"""


def test_a_warning_is_one_line_without_its_place_in_the_source():
    # in a process of its own: pytest catches warnings before they are shown
    told = subprocess.run([sys.executable, "-c", WARNING], capture_output=True, text=True, check=True).stderr
    assert told == "attngan try: two lines \\x1b[31m\n"


def test_a_terminal_without_arrows_ends_no_run(monkeypatch):
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr(sys, "stdout", narrow)
    never_unprintable()
    say("FID ↓ of Grünspecht")
    assert narrow.buffer.getvalue() == "FID \\u2193 of Grünspecht\n".encode("latin-1")
