"""``attngan``: its overview, its errors and its exit codes."""

import subprocess
import sys

import pytest

import attngan
from attngan.cli import COMMANDS, _call, main


def test_the_overview_tells_of_every_command(capsys):
    for arguments in ([], ["-h"], ["--help"]):
        assert main(arguments) == 0
        printed = capsys.readouterr().out
        for name, command in COMMANDS.items():
            assert f"  {name} " in printed
            assert command.summary in printed


def test_the_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"attngan {attngan.__version__}\n"


def test_an_unknown_command(capsys):
    assert main(["smaple", "--help"]) == 2
    captured = capsys.readouterr()
    assert "no command 'smaple'" in captured.err
    assert "  sample " in captured.err
    assert captured.out == ""


@pytest.mark.parametrize("name", ["toy-birds", "prepare", "sample", "export", "evaluate"])
def test_every_option_of_a_command_is_explained(name, capsys):
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert f"attngan {name}" in capsys.readouterr().out


def test_importing_the_package_is_light():
    code = (
        "import sys, attngan, attngan.cli; attngan.cli.main(['--help']); "
        "print(sorted({'torch', 'pytorch_lightning', 'jsonargparse', 'numpy'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.splitlines()[-1] == "[]"


def test_a_module_lacks_what_it_lacks():
    with pytest.raises(AttributeError, match="smaple"):
        attngan.smaple  # noqa: B018 - the access is the test


def function(place: str, words: list[str], count: int = 2, loud: bool = False, notes: list[str] | None = None) -> tuple:
    """Does nothing.

    Args:
        place: Where to.
        words: What to say.
        count: How often.
        loud: In capitals.
        notes: Beside it.
    """
    return place, words, count, loud, notes


def test_a_signature_is_a_command_line(capsys):
    positional = ("place", "words")
    assert _call(function, ["here", "a", "b"], "say", positional) == ("here", ["a", "b"], 2, False, None)
    options = ["here", "a", "--count", "3", "--loud", "true", "--notes", "x", "y"]
    assert _call(function, options, "say", positional) == ("here", ["a"], 3, True, ["x", "y"])
    for wrong in (["here"], ["here", "a", "--count", "many"], ["here", "a", "--cuont", "3"]):
        with pytest.raises(SystemExit) as ended:
            _call(function, wrong, "say", positional)
        assert ended.value.code == 2
    capsys.readouterr()
    with pytest.raises(SystemExit):
        _call(function, ["--help"], "say", positional)
    printed = capsys.readouterr().out
    for text in ("Does nothing.", "Where to.", "What to say.", "How often.", "In capitals.", "Beside it."):
        assert text in printed


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator is tuned")
def test_the_allocator_keeps_memory():
    code = (
        "import resource\n"
        "from attngan.allocator import tune_allocator\n"
        "assert tune_allocator()\n"
        "faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "bytearray(32 << 20)\n"
        "before = faults()\n"
        "for _ in range(10): b = bytes(bytearray(32 << 20))[:1]\n"
        "print(faults() - before)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    # given back and faulted in again it would be 8,192 pages a round and more
    assert int(ran.stdout) < 30_000


def test_other_systems_are_left_alone(monkeypatch):
    from attngan import allocator

    monkeypatch.setattr(allocator.sys, "platform", "darwin")
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda _: pytest.fail("called"))
    assert allocator.tune_allocator() is False


def test_options_may_be_typed_with_hyphens(tmp_path, capsys):
    assert main(["toy-birds", str(tmp_path / "a"), "--train-classes", "2", "--test-classes=1", "--no-progress"]) == 0
    assert len((tmp_path / "a" / "classes.txt").read_text().splitlines()) == 3
