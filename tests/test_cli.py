"""``attngan``: its overview, its errors and its exit codes."""

import errno
import importlib
import inspect
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from docstring_parser import parse

import attngan
from attngan.cli import COMMANDS, RECIPES, _call, main
from attngan.errors import REFUSALS, InputError, UsageError, require_at_least


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
    assert "no command 'smaple': did you mean sample?" in captured.err
    assert "  sample " in captured.err
    assert captured.out == ""


@pytest.mark.parametrize("name", ["toy-birds", "prepare", "sample", "export", "evaluate"])
def test_every_option_of_a_command_is_explained(name, capsys):
    assert main([name, "--help"]) == 0
    assert f"attngan {name}" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main([name, "--help-all"])
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
    mistakes = (
        (["here"], r"missing: words"),
        (["here", "a", "--count", "many"], r"--count: 'many' is not a whole number"),
        (["here", "a", "--cuont", "3"], r"there is no option --cuont: did you mean --count\?"),
    )
    for wrong, told in mistakes:
        with pytest.raises(UsageError, match=told):
            _call(function, wrong, "say", positional)
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


PRINT_HELP = """
import contextlib
from attngan.cli import COMMANDS, main
for name in COMMANDS:
    with contextlib.suppress(SystemExit):
        main([name, "--help"])
"""


@pytest.fixture(scope="module")
def helps():
    """The help of all commands, by two processes in which a set has another order."""

    def help_of_all(hash_seed: str) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "COLUMNS": "100"}
        command = [sys.executable, "-c", PRINT_HELP]
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600, check=True).stdout

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(help_of_all, "12"))


def test_help_is_the_same_in_every_process(helps):
    assert helps[0] == helps[1]
    assert re.findall(r"^usage: attngan ([\w-]+)", helps[0], flags=re.MULTILINE) == list(COMMANDS)


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in RECIPES])
def test_options_have_the_order_of_the_signature(name, helps):
    command = COMMANDS[name]
    function = getattr(importlib.import_module(command.module), command.function)
    own = re.split(r"^usage: attngan ", helps[0], flags=re.MULTILINE)[1 + list(COMMANDS).index(name)]
    options = re.findall(r"^  --(\w+)", own, flags=re.MULTILINE)
    assert options == [n for n in inspect.signature(function).parameters if n not in command.positional]


def test_every_argument_of_a_command_reads_as_help():
    for name, command in COMMANDS.items():
        if name in RECIPES:
            continue
        function = getattr(importlib.import_module(command.module), command.function)
        described = {p.arg_name: p.description or "" for p in parse(inspect.getdoc(function) or "").params}
        assert list(described) == list(inspect.signature(function).parameters), name
        for text in described.values():
            assert text.strip().endswith("."), f"{name}: {text}"
            assert not re.match(r"(Of|In|Its|Their|Likewise)\b", text), f"{name}: {text}"


#: A mistake in each command, and what its one line must say.
MISTAKES = {
    "demo": (["--minutes", "1", "--out", "new"], "5 or more"),
    "toy-birds": (["birds", "--train-classes", "1"], "at least 2"),
    "prepare": (["nowhere"], "nowhere: no such folder"),
    "pretrain": ([], "--config"),
    "train": (["--resume", "runs/nothing"], "nothing to go on with"),
    "finetune-classifier": (["--data", "nowhere", "--out", "x.safetensors"], "nowhere: no such folder"),
    "evaluate": (["--metrics", "fid"], "either --checkpoint or --images"),
    "sample": (["nothing.ckpt", "a red bird"], "no checkpoint at"),
    "export": (["nothing.ckpt", "x.pt"], ".safetensors"),
    "compare": (["nothing.yaml", "--data", "nowhere", "--damsm", "nothing.ckpt"], "nothing.ckpt"),
    "recipes": (["nothing"], "no recipe"),
    "pull": (["owner/name", "--out", "x.ckpt"], ".safetensors"),
    "report": (["nowhere"], "nowhere"),
    "retrieve": (["nothing.ckpt", "a red bird", "--images", "nowhere"], "no checkpoint at"),
    "embed": (["nothing.ckpt", "--captions", "red", "--out", "x.npy"], "no checkpoint at"),
    "push": (["nothing.safetensors", "me/name"], "no checkpoint at"),
    "completion": (["sh"], "'sh' is not one of"),
    "serve": (["nothing.ckpt"], "no checkpoint at"),
    "stylize": (["nothing.jpg", "nothing.png", "--size", "0"], "size is 0: it must be at least 1"),
    "import-published": (["--generator", "nothing.pth", "--out", "x.ckpt"], "nothing.pth"),
}


def test_there_is_a_mistake_for_every_command():
    assert set(MISTAKES) == set(COMMANDS)


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_in_one_line(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments, message = MISTAKES[name]
    assert main([name, *arguments]) == (2 if name == "completion" else 1)  # a shell that there is not: the usage
    printed = capsys.readouterr()
    assert printed.err.startswith(f"attngan {name}: ")
    assert printed.err.count("\n") == 1
    assert message in printed.err
    assert not any(tmp_path.iterdir())  # and nothing was begun


OURS = (AssertionError, AttributeError, KeyError, RuntimeError, TypeError, ValueError, FileNotFoundError, ImportError)


@pytest.mark.parametrize("error", OURS)
def test_a_fault_of_ours_keeps_its_traceback(error, monkeypatch):
    def planted(*_: object, **__: object) -> None:
        raise error("a fault of ours")

    monkeypatch.setattr("attngan.toy_birds.dataset.plan_classes", planted)
    with pytest.raises(error, match="a fault of ours"):
        main(["toy-birds", "birds"])


@pytest.mark.parametrize(
    ("number", "told"), [(errno.EACCES, "permission denied"), (errno.ENOSPC, "no space left on device")]
)
def test_what_the_system_refuses_is_told_in_one_line(number, told, monkeypatch, capsys):
    def refused(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), "/there/birds")

    monkeypatch.setattr("attngan.toy_birds.dataset.plan_classes", refused)
    assert main(["toy-birds", "birds"]) == 1
    assert capsys.readouterr().err == f"attngan toy-birds: /there/birds: {told}: {REFUSALS[number]}\n"


def test_what_the_system_says_for_another_reason_keeps_its_traceback(monkeypatch):
    def forgotten(*_: object, **__: object) -> None:
        raise OSError(errno.EPIPE, os.strerror(errno.EPIPE))

    monkeypatch.setattr("attngan.toy_birds.dataset.plan_classes", forgotten)
    with pytest.raises(BrokenPipeError):
        main(["toy-birds", "birds"])


def test_python_m_attngan():
    ran = subprocess.run([sys.executable, "-m", "attngan", "--version"], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout) == (0, f"attngan {attngan.__version__}\n")


def test_the_package_is_typed():
    assert (Path(attngan.__file__).parent / "py.typed").is_file()


OUT_OF_BOUNDS = [
    (["sample", "--seed", "-1", "a red bird"], "seed is -1: it must be at least 0"),
    (["sample", "--truncation", "-1", "a red bird"], "truncation is -1: it must be at least 0"),
    (["sample", "--batch_size", "0", "a red bird"], "batch_size is 0: it must be at least 1"),
    (["evaluate", "--images", ".", "--metrics", "is", "--seed", "-1"], "seed is -1: it must be at least 0"),
    (["evaluate", "--images", ".", "--metrics", "is", "--splits", "0"], "splits is 0: it must be at least 1"),
    (["demo", "--smoke", "--seed", "-1"], "seed is -1: it must be between 0 and"),
    (["toy-birds", "birds", "--seed", "-1"], "seed is -1: it must be at least 0"),
    (["compare", "--data", ".", "--damsm", "no.ckpt", "--seed", "-1"], "seed is -1: it must be between 0 and"),
]


@pytest.mark.parametrize(("arguments", "told"), OUT_OF_BOUNDS)
def test_a_number_out_of_bounds_is_a_mistake_of_one_line(arguments, told, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith(f"attngan {arguments[0]}: {told}")


def test_none_is_no_number_and_nan_is_out_of_bounds():
    require_at_least(0, given=None, seed=0, weight=1.5)
    with pytest.raises(InputError, match=r"model\.weight is nan: it must be at least 0"):
        require_at_least(0, within="model.", weight=float("nan"))


def test_nobody_reads_on():
    ran = subprocess.run(
        f"{sys.executable} -m attngan train --help | head -1; echo ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.stdout.splitlines()[0].startswith("usage: attngan train")
    assert ran.stderr == ""


def test_an_interruption_is_no_traceback(monkeypatch, capsys):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("attngan.toy_birds.dataset.plan_classes", interrupted)
    assert main(["toy-birds", "birds"]) == 130
    assert capsys.readouterr().err == "attngan toy-birds: interrupted\n"
