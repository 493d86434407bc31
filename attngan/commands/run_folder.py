"""The folder of a run: where it lies is where it is written to, by one process at a time."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attngan.bounded import read_recipe
from attngan.checkpoint import open_checkpoint
from attngan.errors import FileInTheWayError, InputError, MissingFileError
from attngan.files import claimed
from attngan.installed import recipe, recipes
from attngan.integrity import DamagedFileError, check_whole
from attngan.terminal import say
from attngan.weight_files import read_torch_file

RESUME, CONFIG, RUN_DIR = "--resume", "--config", "--run_dir"
CHECKPOINTS, LAST, CONFIG_FILE = "checkpoints", "last.ckpt", "config.yaml"
#: Parts of a recipe that have a folder, and what it is called in the run's. config.yaml does not store them: a run that
#: was renamed, moved or copied would go on where it was.
FOLDERS = {"checkpoints": CHECKPOINTS, "last": CHECKPOINTS, "pictures": "pictures", "quick": "quick"}
#: Other spellings on the command line.
SPELLINGS = {"-c": CONFIG, "--keep": "--checkpoints.keep"}


def spelled_out(arguments: Sequence[str]) -> list[str]:
    """The command line with one spelling for each option that is looked for in it: ``--config FILE``, in two words.

    Raises:
        MissingFileError: A recipe that is named, not a file, and that did not come with attngan; says which are near.
    """
    words = list[str]()
    for argument in arguments:
        name, equals, value = argument.partition("=")
        name = SPELLINGS.get(name, name)
        words += [name, value] if equals and name in (CONFIG, RESUME, RUN_DIR) else [name + equals + value]
    for place, word in enumerate(words[:-1]):
        if word == CONFIG:
            words[place + 1] = recipe_file(words[place + 1])
    return words


def recipe_file(given: str) -> str:
    """A file as it is named; of a recipe that came with attngan, by its name in any folder, its file.

    Raises:
        MissingFileError: It is neither; says which names are near.
    """
    name = given.removeprefix("configs/").removesuffix(".yaml")
    if Path(given).is_file() or given.startswith("{"):  # YAML itself, as Lightning takes it too
        return given
    if name in recipes():
        return str(recipe(name))
    return str(recipe(given)) if Path(given).suffix == "" and not Path(given).exists() else given


def folder_of(checkpoint: Path) -> Path | None:
    """The run that a checkpoint lies in; None where it lies somewhere else."""
    return checkpoint.parent.parent if checkpoint.parent.name == CHECKPOINTS else None


def default_run_dir(recipes: Sequence[Path], command: str) -> Path:
    """``runs/`` and the recipe's name; of a run's own config.yaml that of the run."""
    if not recipes:
        return Path("runs") / command
    last = recipes[-1]
    return Path("runs") / (last.resolve().parent.name if last.name == CONFIG_FILE else last.stem)


# --- going on with one ------------------------------------------------------------------------------------------------


def with_resume(command: str, arguments: list[str]) -> list[str]:
    """``--resume FOLDER`` alone suffices: the run's own config.yaml and its last checkpoint are added.

    Args:
        command: "train" or "pretrain".
        arguments: As `spelled_out` gives them.

    Raises:
        MissingFileError: There is no such run, or it has no config.yaml; says what to do.
        DamagedFileError: No checkpoint there is whole.
    """
    if RESUME not in arguments:
        return arguments
    at = len(arguments) - 1 - arguments[::-1].index(RESUME)
    if at + 1 >= len(arguments):
        raise InputError(f"--resume needs the folder of a run: attngan {command} --resume runs/NAME")
    place, rest = Path(arguments[at + 1]), arguments[:at] + arguments[at + 2 :]
    checkpoint = _whole_checkpoint(place, command)
    run = folder_of(checkpoint)
    start = [RESUME, str(checkpoint)]
    if CONFIG not in rest:
        if run is None or not (run / CONFIG_FILE).is_file():
            raise MissingFileError(
                f"{run or checkpoint} has no config.yaml, which says how the run was trained: copy it there, or name "
                f"the recipe: attngan {command} --resume {place} --config NAME"
            )
        start = [CONFIG, str(run / CONFIG_FILE), *start]
    if run is not None and not any(word == RUN_DIR for word in rest):
        rest = [*rest, RUN_DIR, str(run)]  # last: what a recipe of before stored is not where the run lies now
    return start + _what_the_checkpoint_holds(checkpoint) + rest


def _what_the_checkpoint_holds(checkpoint: Path) -> list[str]:
    """Of the networks that came from other files, which may be gone: the DAMSM, and StackGAN's first stage."""
    entry = open_checkpoint(checkpoint).entry
    start = ["--model.damsm", str(checkpoint)] if entry.generator and entry.damsm else []
    stage1 = entry.generator and entry.generator["init_args"].get("stage1")
    return start + (["--model.generator.init_args.stage1", json.dumps(stage1)] if stage1 else [])


def _whole_checkpoint(place: Path, command: str) -> Path:
    """The checkpoint that was named, or of a run the newest whole one: ``last.ckpt``, unless that is damaged."""
    if place.is_file():
        try:
            check_whole(place)
        except DamagedFileError as error:
            others = [str(path) for path in _newest_first(place.parent) if path != place and is_whole(path)]
            told = f" ({others[0]} is whole)" if others else ""
            raise DamagedFileError(f"{error}{told}") from error
        return place
    run = place.parent if place.name == CHECKPOINTS and place.is_dir() else place
    last = run / CHECKPOINTS / LAST
    try:
        if last.is_file():
            check_whole(last)
            return last
        problem: Exception = MissingFileError(f"there is nothing to go on with: no {last}{_begun(run, command)}")
    except DamagedFileError as error:
        problem = error
    for path in _newest_first(last.parent):
        if path != last and is_whole(path):
            say(f"{problem}. Going on with the newest whole one, {path} ({_steps(path)} steps)", error=True)
            return path
    raise problem


def _begun(run: Path, command: str) -> str:
    if not (run / CONFIG_FILE).is_file():
        return ""
    return f". It wrote none yet: start it again with attngan {command} --config {run}/config.yaml --run_dir {run}"


def _newest_first(folder: Path) -> list[Path]:
    """Checkpoints that can be gone on with, by how far their training was; of equal ones the one written last."""
    return sorted(folder.glob("*.ckpt"), key=lambda path: (_steps(path), path.stat().st_mtime_ns), reverse=True)


def _steps(path: Path) -> int:
    try:
        contents = read_torch_file(path)
        return int(contents["global_step"]) if "loops" in contents else -1
    except Exception:  # whatever a damaged file brings about: it is as good as not there
        return -1


def is_whole(path: Path) -> bool:
    """Whether there is a checkpoint that can be gone on with."""
    try:
        check_whole(path)
    except (DamagedFileError, FileNotFoundError):
        return False
    return _steps(path) >= 0


# --- writing to it ----------------------------------------------------------------------------------------------------


@contextmanager
def claimed_run(run_dir: Path) -> Iterator[None]:
    """Nobody else writes into the run while the block runs; what a killed process left half-written is cleared away.

    Raises:
        InUseError: Another process writes there; says which.
    """
    with claimed(run_dir / ".lock", f"the run {run_dir}", "wait for its end, or train into another folder (--run_dir)"):
        for folder in sorted({*FOLDERS.values()}):
            for part in (run_dir / folder).glob("*.part"):
                part.unlink(missing_ok=True)
        yield


def has_checkpoints(run_dir: Path) -> bool:
    """Whether something was trained there."""
    return any((run_dir / CHECKPOINTS).glob("*.ckpt"))


def refuse_other_run(run_dir: Path, resumed: Path | None, command: str) -> None:
    """A run is never written over by another one.

    Raises:
        FileInTheWayError: The folder holds one that is not gone on with.
    """
    if not has_checkpoints(run_dir):
        return
    if resumed is None or run_dir.resolve() != (folder_of(resumed) or resumed).resolve():
        raise FileInTheWayError(
            f"{run_dir} holds a run already. Go on with it: attngan {command} --resume {run_dir}; "
            "or start another one: --run_dir FOLDER"
        )


def put_into(run_dir: Path, config: Any) -> None:
    """Every folder of the recipe becomes one in the run's.

    Raises:
        InputError: The recipe names another one.
    """
    for part, name in FOLDERS.items():
        if part not in config:
            continue
        given = config[part].folder
        if given is not None and Path(given).name != name:  # of that name: config.yaml of before stored where it was
            raise InputError(
                f"{part}.folder is {given}, but a run's files lie in its own folder ({run_dir / name}): leave it out, "
                "and name the run's folder with run_dir"
            )
        config[part].folder = run_dir / name
    config.trainer.default_root_dir = str(run_dir)
    config.run_dir = run_dir


def to_store(config: Any, run_dir: Path) -> Any:
    """The configuration as config.yaml keeps it: without where the run lies, and what it goes on from."""
    stored = config.clone()
    for part in FOLDERS:
        if part in stored:
            stored[part].folder = None
    stored.trainer.default_root_dir = None
    stored.run_dir = stored.resume = stored.config = None
    if config.resume is not None and (before := run_dir / CONFIG_FILE).is_file() and "damsm" in stored.model:
        model = (read_recipe(before) or {}).get("model") or {}
        stored.model.damsm = model.get("damsm", stored.model.damsm)  # not the run's own checkpoint
    return stored
