"""Files that belong to attngan and are no code: the recipes of ``configs/``, and the generator that ships.

In a clone they lie at its root; an installed package has them under ``share/attngan``, which is of the environment, of
the user (``pip install --user``), or beside the package (``pip install --target``).
"""

import difflib
import os
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from attngan.errors import MissingFileError

#: Of the generator that ships: the file in ``checkpoints/``, the only weights there; beside it lies its card.
SHIPPED = "cub_64.safetensors"
#: How names of checkpoints end: ours, exported ones, and published files (which are refused with what to do).
ENDINGS = (".ckpt", ".safetensors", ".pth")


def roots() -> list[Path]:
    """Where these files are looked for, in this order."""
    beside = Path(__file__).parents[1]
    if (beside / "pyproject.toml").is_file():
        return [beside]
    schemes = (sysconfig.get_default_scheme(), sysconfig.get_preferred_scheme("user"))
    prefixes = [beside, *(Path(sysconfig.get_path("data", scheme)) for scheme in schemes)]
    return [prefix / "share" / "attngan" for prefix in prefixes]


def recipe(name: str) -> Path:
    """The path of a recipe, e.g. ``toy/damsm``.

    Args:
        name: As `recipes` has it; ``.yaml`` behind it does no harm.

    Raises:
        MissingFileError: It is nowhere; says which names are near, or where it was looked for.
    """
    name = name.removesuffix(".yaml")
    known = recipes()
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, 3, 0.5)
    meant = f"did you mean {' or '.join(near)}? " if near else ""
    folders = " or ".join(str(folder / "configs") for folder in roots())
    raise MissingFileError(f"no recipe {name} in {folders}: {meant}`attngan recipes` lists them")


def recipes() -> dict[str, Path]:
    """All recipes that came with attngan: name without ``.yaml`` to path, those of generated birds as ``toy/NAME``."""
    folder = next((root / "configs" for root in roots() if (root / "configs").is_dir()), None)
    files = sorted(folder.rglob("*.yaml")) if folder else []
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in files if folder}


def shipped_generator() -> Path:
    """The generator that draws where no checkpoint is named.

    Raises:
        MissingFileError: It is nowhere; says where it was looked for, and what to do without it.
    """
    return _find(
        Path("checkpoints") / SHIPPED,
        'no generator came with this installation: name a checkpoint before the captions (attngan sample FILE "..."); '
        f"no {SHIPPED}",
    )


def checkpoint_and_captions(words: Sequence[str]) -> tuple[Path | None, list[str]]:
    """What is positional on the command line, told apart: the first is a checkpoint if it names a file, or looks so.

    Args:
        words: As they were given.

    Returns:
        The checkpoint, which may not be there (then its name ends like one's); None: the generator that ships is meant.
        And the captions.
    """
    # os.path: a caption may be longer than a file's name, which pathlib answers with an OSError
    if words and (os.path.isfile(words[0]) or words[0].endswith(ENDINGS)):
        return Path(words[0]), list(words[1:])
    return None, list(words)


def _find(place: Path, missing: str) -> Path:
    folders = roots()
    for folder in folders:
        if (folder / place).is_file():
            return folder / place
    raise MissingFileError(f"{missing} in {' or '.join(str((folder / place).parent) for folder in folders)}")
