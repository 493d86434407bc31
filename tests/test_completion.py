"""What a shell completes after ``attngan``."""

import re
import shutil
import subprocess
import sys

import pytest

from attngan.cli import COMMANDS, main
from attngan.completion import command_line
from attngan.installed import recipes


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    """For each shell the file that it reads."""
    folder = tmp_path_factory.mktemp("scripts")

    def write(shell):
        path = folder / f"attngan.{shell}"
        if not path.is_file():
            command = [sys.executable, "-m", "attngan", "completion", shell]
            path.write_text(subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout)
        return path

    return write


def completed(script, folder, *words):
    """What bash offers for the last of the words; no Python runs meanwhile."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash here")
    ask = (
        f'source {script("bash")}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _shtab_attngan; '
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    found = subprocess.run(
        [bash, "-c", ask, "bash", "attngan", *words], cwd=folder, capture_output=True, text=True, timeout=60, check=True
    )
    assert found.stderr == ""
    return found.stdout.split()


def test_commands_options_and_values(script, tmp_path):
    assert completed(script, tmp_path, "s") == ["sample", "serve", "stylize"]
    assert completed(script, tmp_path, "sample", "--tr") == ["--truncation"]
    assert completed(script, tmp_path, "train", "--budget.i") == ["--budget.images"]
    assert completed(script, tmp_path, "train", "--data.source", "co") == ["coco", "coco2014", "coco2017"]
    assert completed(script, tmp_path, "evaluate", "--protocol", "d") == ["dmgan", "dfgan"]
    assert "fid" in completed(script, tmp_path, "evaluate", "--metrics", "is", "")
    assert completed(script, tmp_path, "demo", "--smoke", "t") == ["true"]


def test_files_and_recipe_names(script, tmp_path):
    (tmp_path / "toy.yaml").touch()
    (tmp_path / "last.ckpt").touch()
    assert completed(script, tmp_path, "sample", "la") == ["last.ckpt"]
    offered = completed(script, tmp_path, "train", "--config", "toy")
    assert "toy.yaml" in offered
    assert {name for name in recipes() if name.startswith("toy/")} < set(offered)
    assert completed(script, tmp_path, "recipes", "attngan_cu") == ["attngan_cub"]


def test_what_help_shows_is_completed(capsys):
    (subcommands,) = (action for action in command_line()._actions if action.dest == "command")
    assert set(subcommands.choices) == set(COMMANDS)
    for name, parser in subcommands.choices.items():
        capsys.readouterr()
        assert main([name, "--help"]) == 0
        shown = set(re.findall(r"^  (--[\w.]+)", capsys.readouterr().out, re.MULTILINE))
        offered = {option for action in parser._actions for option in action.option_strings}
        assert offered - {"--help", "--help-all"} == shown, name


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_can_be_read_by_its_shell(script, shell):
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    read = subprocess.run([shell, "-n", script(shell)], capture_output=True, text=True, timeout=60)
    assert (read.returncode, read.stderr) == (0, "")


def test_torch_is_not_imported():
    code = "import sys; from attngan.cli import main; main(['completion', 'bash']); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, timeout=60, check=True)


def test_without_shtab(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 1
    assert "pip install shtab" in capsys.readouterr().err
