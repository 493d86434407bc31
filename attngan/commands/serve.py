"""``attngan serve``: a page to try captions on."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from attngan.commands.run_folder import CHECKPOINTS
from attngan.errors import InputError, MissingPackageError
from attngan.installed import shipped_generator
from attngan.sampling import Sampler
from attngan.terminal import say


def serve(
    checkpoints: list[Path] | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    pictures: int = 16,
    waiting: int = 8,
    waiting_of_one: int = 2,
    caption_length: int = 300,
    seconds: float = 60.0,
    device: str | None = None,
) -> int:
    """Shows a page on which captions are drawn: http://127.0.0.1:8000, until Ctrl-C.

    Captions, seed, number of pictures and truncation; where each word acted; one word changed and the same noise; the
    way from one caption to another; several generators side by side. Each picture can be had as a PNG that holds its
    caption and seed. The page loads nothing from elsewhere.

    Args:
        checkpoints: Generators: checkpoints of `attngan train` or files of `attngan export`. None: the one that ships.
        host: Address to listen at. By default this machine alone can reach the page; 0.0.0.0 lets the network in.
        port: Port to listen at; 0 for any that is free.
        pictures: Pictures of one request at most, 2 or more.
        waiting: Requests that are drawn or wait for it, of all visitors; more are refused.
        waiting_of_one: The same of one visitor's address. Behind a proxy all visitors have one: give both alike.
        caption_length: Characters of a caption at most.
        seconds: From a request to its answer at most; later it is given up.
        device: cpu, cuda ...; by default cuda where there is one.

    Returns:
        The exit code.

    Raises:
        InputError: A generator that reads precomputed embeddings, which nobody can type, or a port that is not free.
        MissingPackageError: The extra is not installed.
    """
    if missing := [name for name in ("starlette", "uvicorn") if importlib.util.find_spec(name) is None]:
        raise MissingPackageError(f"attngan serve needs an extra ({missing[0]}): pip install 'attngan[web]'")
    from attngan.web.application import application
    from attngan.web.limits import Limits
    from attngan.web.server import listen, serve_until_stopped, url_of

    limits = Limits(caption_length, pictures, waiting, waiting_of_one, seconds)
    samplers = load_samplers(checkpoints or [shipped_generator()], device)
    with listen(host, port) as bound:
        for name, sampler in samplers.items():
            say(f"{name}: {sampler.title}")
        away = "" if _is_local(host) else f", and whoever can reach {host}"
        say(f"{url_of(bound)}  (this machine{away}; Ctrl-C stops it)")
        names = ["localhost", "127.0.0.1", "::1", host] if _is_local(host) else ["*"]
        serve_until_stopped(application(samplers, limits, names), bound)
    return 0


def load_samplers(checkpoints: Sequence[Path], device: str | None = None) -> dict[str, Sampler]:
    """Generators by short names that tell them apart.

    Args:
        checkpoints: Files of generators.
        device: Where they draw; None for a GPU if there is one.

    Raises:
        InputError: One reads precomputed embeddings, or a file is named twice.
    """
    samplers = {}
    for name, path in short_names(checkpoints).items():
        samplers[name] = Sampler.load(path, device)
        if samplers[name].reads == "embeddings":
            raise InputError(
                f"{path} reads precomputed sentence embeddings, which nobody can type: `attngan sample {path} "
                "--embeddings FILE.npy` draws them"
            )
    return samplers


def short_names(paths: Sequence[Path]) -> dict[str, Path]:
    """The files by their names without ending, as ``cub_64``; of a run's checkpoint as ``RUN/last``.

    Where these do not tell them apart, more folders stand before them, and the ending behind.

    Raises:
        InputError: A file is named twice.
    """
    if len({path.resolve() for path in paths}) < len(paths):
        raise InputError("a checkpoint is named twice")
    folders = max(len(path.resolve().parts) for path in paths)
    for before in range(folders):
        for ending in (False, True):
            names = {_short_name(path, before, ending): path for path in paths}
            if len(names) == len(paths):
                return names
    raise AssertionError("different files have different names")


def _short_name(path: Path, before: int, ending: bool) -> str:
    within = path.resolve().parent
    if within.name == CHECKPOINTS:
        within, before = within.parent, before + (path.suffix == ".ckpt")
    folders = within.parts[1:][-before:] if before else ()
    return "/".join([*folders, path.name if ending else path.stem])


def _is_local(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")
