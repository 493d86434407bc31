"""Every folder of the package imports those below it alone: no circle, and no import inside a function to hide one."""

import ast
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

PACKAGE = REPOSITORY / "attngan"
#: From the ground up; a room (a folder of the package, or a file at its root) imports those before it.
ROOMS = [
    "allocator.py",
    "errors.py",
    "terminal.py",
    "ranks.py",
    "launching.py",
    "global_batch.py",
    "draws.py",
    "option_errors.py",
    "signatures.py",
    "short_help.py",
    "bounded.py",
    "file_kinds.py",
    "weight_files.py",
    "array_files.py",
    "stopping.py",
    "files.py",
    "integrity.py",
    "installed.py",
    "progress.py",
    "pixels.py",
    "device.py",
    "records.py",
    "pictures.py",
    "pages",
    "metrics",
    "text",
    "data",
    "networks",
    "losses",
    "described_weights.py",
    "checkpoint.py",
    "sampling.py",
    "portable.py",
    "web",
    "style_transfer",
    "toy_birds",
    "extractors",
    "evaluation",
    "retrieval",
    "training",
    "commands",
    "runs.py",
    "cli.py",
    "completion.py",
    "__main__.py",
    "__init__.py",
]


def imported_rooms(file: Path) -> dict[str, int]:
    """The rooms that a file imports, with the line; imports inside functions included."""
    rooms: dict[str, int] = {}
    for node in ast.walk(ast.parse(file.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}:{node.lineno}: imports are absolute here"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            top, _, rest = name.partition(".")
            if top == "attngan" and rest:
                room = rest.partition(".")[0]
                if (PACKAGE / room).is_dir() or (PACKAGE / f"{room}.py").is_file():
                    rooms[room if (PACKAGE / room).is_dir() else f"{room}.py"] = node.lineno
    return rooms


def test_every_room_has_its_place():
    there = {path.name for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert there == set(ROOMS)


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_import_runs_upward(file):
    here = file.relative_to(PACKAGE).parts[0]
    below = ROOMS[: ROOMS.index(here) + 1]
    upward = {room: line for room, line in imported_rooms(file).items() if room not in below}
    assert not upward, f"{file} imports what stands above {here}: {upward}"


def test_an_upward_import_is_found(tmp_path):
    (tmp_path / "x.py").write_text("def f():\n    from attngan.training.finite import check_finite\n")
    assert imported_rooms(tmp_path / "x.py") == {"training": 2}
