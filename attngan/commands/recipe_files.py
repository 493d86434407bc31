"""Where the recipes of ``configs/`` lie: in the repository, or where the package was installed."""

import sys
from pathlib import Path

from attngan.errors import MissingFileError


def recipe(name: str) -> Path:
    """The path of a recipe, e.g. ``toy/damsm.yaml``.

    Raises:
        MissingFileError: It is nowhere; says where it was looked for.
    """
    places = [Path(__file__).parents[2] / "configs", Path(sys.prefix) / "share" / "attngan" / "configs"]
    for place in places:
        if (place / name).is_file():
            return place / name
    raise MissingFileError(f"no recipe {name} in {' or '.join(map(str, places))}")
