"""What a run's config.yaml says of its data, for an evaluation of its checkpoint that does not say it again."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from attngan.bounded import read_recipe
from attngan.evaluation.request import Request
from attngan.terminal import say

#: Layout of a data set of which nobody says anything.
USUAL_SOURCE = "cub"
#: Beside the root: keys of the recipe's ``data`` that an evaluation reads a data set by, under the same names.
KEYS = ("source", "text_embeddings", "image_column", "caption_column")


def with_data_of_run(request: Request) -> Request:
    """The request with the data set of the run that its checkpoint lies in, where it names none, or the same one.

    What the request does say stands. Without a run, ``source`` is "cub" if nothing was said.

    Args:
        request: What was asked.

    Raises:
        InputError: The run's config.yaml is no YAML.
    """
    data = _data_of_run(request.checkpoint)
    root = data.get("root")
    if root is not None and (request.data is None or _same(request.data, root)):
        said = {key: getattr(request, key) for key in KEYS}
        filled: dict[str, Any] = {key: data.get(key) if value is None else value for key, value in said.items()}
        skip_bad = request.skip_bad or bool(data.get("skip_bad"))
        if request.data is None and request.progress:
            say(f"data of the run: {root} ({filled['source'] or USUAL_SOURCE})")
        request = replace(request, data=Path(request.data or root), skip_bad=skip_bad, **filled)
    return request if request.source is not None else replace(request, source=USUAL_SOURCE)


def _data_of_run(checkpoint: Path | None) -> dict[str, Any]:
    """``data`` of RUN/config.yaml, for RUN/checkpoints/last.ckpt and RUN/quick/best_fid.safetensors."""
    config = None if checkpoint is None else Path(checkpoint).resolve().parents[1] / "config.yaml"
    if config is None or not config.is_file():
        return {}
    recipe = read_recipe(config)
    data = recipe.get("data") if isinstance(recipe, dict) else None
    return data if isinstance(data, dict) else {}


def _same(one: Path, other: str) -> bool:
    return Path(one).expanduser().resolve() == Path(other).expanduser().resolve()
