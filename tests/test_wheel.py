"""The package as others get it: a wheel, installed somewhere else and used from an empty folder."""

import email
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from attngan import installed
from tests.conftest import REPOSITORY

ADDRESS = "https://example.org/someone/attngan"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: a build leaves its folders where the source lies."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("attngan", "configs", "checkpoints"):
        shutil.copytree(REPOSITORY / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    command = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-cache-dir", "--wheel-dir", str(out)]
    run([sys.executable, "-m", "pip", *command, str(source)], out, ATTNGAN_REPOSITORY=ADDRESS)
    (built,) = out.glob("*.whl")
    return built


def run(command: list[str], folder: Path, **environment: str) -> str:
    """Runs it as in a shell that knows nothing of this repository; gives what it printed."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=kept | environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_holds_every_file_of_the_package_and_every_recipe(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = {name.removeprefix("attngan-0.1.0.data/data/share/attngan/") for name in archive.namelist()}
    package = [
        path for path in (REPOSITORY / "attngan").rglob("*") if path.is_file() and "__pycache__" not in path.parts
    ]
    recipes = list((REPOSITORY / "configs").rglob("*.yaml"))
    assert {str(path.relative_to(REPOSITORY)) for path in [*package, *recipes]} <= inside
    assert f"checkpoints/{installed.SHIPPED}" in inside


def test_an_index_that_shows_the_readme_alone_finds_its_pictures_and_links(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("/METADATA")]
        metadata = email.message_from_string(archive.read(name).decode())
    shown = str(metadata.get_payload())
    assert f"]({ADDRESS}/raw/HEAD/docs/birds_64.png)" in shown
    assert f"]({ADDRESS}/blob/HEAD/docs/birds.md)" in shown
    assert "](docs/" not in shown
    assert f"Repository, {ADDRESS}" in metadata.get_all("Project-URL")


def test_beside_the_code_alone_it_finds_recipes_and_its_generator(wheel: Path, tmp_path: Path) -> None:
    target, empty = tmp_path / "target", tmp_path / "empty"
    empty.mkdir()
    install = ["install", "--quiet", "--no-deps", "--target", str(target), str(wheel)]
    run([sys.executable, "-m", "pip", *install], empty)
    listed = run([sys.executable, "-m", "attngan", "recipes"], empty, PYTHONPATH=str(target))
    assert all(f"{name}  (" in listed for name in installed.recipes())
    arguments = ["sample", "a small red bird", "--device", "cpu"]
    assert "drawn by cub_64" in run([sys.executable, "-m", "attngan", *arguments], empty, PYTHONPATH=str(target))
    assert (empty / "samples" / "grid.png").is_file()


@pytest.mark.slow
def test_installed_in_an_environment_it_trains_from_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    environment, empty = tmp_path / "environment", tmp_path / "empty"
    empty.mkdir()
    venv.create(environment, with_pip=False)
    scripts = environment / "bin"
    (site,) = environment.glob("lib/python*/site-packages")
    (site / "what_it_needs.pth").write_text(f"{sysconfig.get_path('purelib')}\n")  # without installing torch again
    pip = [sys.executable, "-m", "pip", "--python", str(scripts / "python")]
    run([*pip, "install", "--quiet", "--no-deps", str(wheel)], empty)
    where = run([str(scripts / "python"), "-c", "import attngan; print(attngan.__file__)"], empty)
    assert Path(where).is_relative_to(environment)

    attngan = str(scripts / "attngan")
    assert "toy/attngan  (" in run([attngan, "recipes"], empty)
    run([attngan, "demo", "--smoke", "--out", "demo"], empty)
    assert (empty / "demo" / "index.html").stat().st_size > 100_000
    run(
        [
            attngan,
            "toy-birds",
            "data/toy_birds",
            "--train_classes",
            "16",
            "--test_classes",
            "4",
            "--images_per_class",
            "4",
        ],
        empty,
    )
    run([attngan, "pretrain", "--config", "toy/damsm", "--trainer.max_epochs", "1"], empty)
    run([attngan, "train", "--config", "toy/attngan", "--budget.images", "64"], empty)
    run([attngan, "report", "runs/attngan"], empty)
    last = "runs/attngan/checkpoints/last.ckpt"
    run([attngan, "sample", last, "a small red bird", "--device", "cpu"], empty)
    assert (empty / "runs" / "attngan" / "report.html").is_file()
