"""``attngan push`` and ``attngan pull``: exported generators to the Hugging Face hub, and from it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attngan.checkpoint import open_checkpoint
from attngan.errors import AttnganError, InputError, MissingFileError, MissingPackageError
from attngan.files import FULL, replacing
from attngan.terminal import say

#: What an exported generator is called there, and its card.
WEIGHTS, CARD = "generator.safetensors", "README.md"


class HubError(AttnganError, OSError):
    """The hub refuses, or cannot be reached."""


def push(file: Path, name: str, private: bool = False, endpoint: str | None = None) -> None:
    """Puts an exported generator and its card on the Hugging Face hub, in a repository that is made if there is none.

    Who you are is what `hf auth login` has stored, or the variable HF_TOKEN.

    Args:
        file: File of `attngan export`; NAME.md beside it (--card) becomes the repository's README.md.
        name: OWNER/NAME of the repository.
        private: Make a new repository one that only you see.
        endpoint: Address of the hub, where it is not huggingface.co.
    """
    opened = open_checkpoint(file)
    if opened.entry.kind != "generator" or file.suffix != ".safetensors":
        raise InputError(f"{file} is no exported generator: `attngan export {file} generator.safetensors --card` first")
    hub, card = _hub(endpoint), file.with_suffix(".md")
    with _told(name):
        hub.create_repo(name, private=private or None, exist_ok=True)
        for path, there in ((file, WEIGHTS), (card, CARD)):
            if path.is_file():
                hub.upload_file(path_or_fileobj=path, path_in_repo=there, repo_id=name)
    if not card.is_file():
        say(f"no card: {card} is not there (attngan export --card writes one)", error=True)
    say(f"on the hub: {name} ({file.stat().st_size / 1e6:.1f} MB); attngan pull {name}")


def pull(name: str, out: Path | None = None, revision: str | None = None, endpoint: str | None = None) -> None:
    """Gets an exported generator from the Hugging Face hub: a file to sample, evaluate and build on.

    It holds no code; it is checked to the bit when it is read.

    Args:
        name: OWNER/NAME of the repository.
        out: File to write; by default NAME.safetensors.
        revision: Branch, tag or commit.
        endpoint: Address of the hub, where it is not huggingface.co.
    """
    target = out or Path(f"{name.rpartition('/')[2]}.safetensors")
    if target.suffix != ".safetensors":
        raise InputError(f"{target}: an exported generator's name ends in .safetensors")
    hub = _hub(endpoint)
    with _told(name):
        found = Path(hub.hf_hub_download(name, WEIGHTS, revision=revision))
    with replacing(target) as part, found.open("rb") as source, part.open("wb") as copy:
        while block := source.read(FULL):
            copy.write(block)
    say(f"written: {target} ({open_checkpoint(target).entry.trained_on or 'a generator'})")


def _hub(endpoint: str | None) -> Any:
    try:
        from huggingface_hub import HfApi
    except ModuleNotFoundError as error:
        raise MissingPackageError("the hub needs an extra: pip install 'attngan[hub]'") from error
    return HfApi(endpoint=endpoint, library_name="attngan")


@contextmanager
def _told(name: str) -> Iterator[None]:
    """What the hub's library raises becomes one line."""
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HFValidationError,
        LocalEntryNotFoundError,
        LocalTokenNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        yield
    except HFValidationError as error:
        raise InputError(f"{name!r} is no name of a repository: OWNER/NAME is wanted") from error
    except LocalTokenNotFoundError as error:
        raise HubError(f"{name}: the hub wants to know who you are: `hf auth login` first") from error
    except LocalEntryNotFoundError as error:
        raise HubError(f"{name}: the hub cannot be reached, and it was not fetched before") from error
    except (EntryNotFoundError, RepositoryNotFoundError) as error:
        raise MissingFileError(f"{name}: no {WEIGHTS} there, or no such repository for you ({_line(error)})") from error
    except OSError as error:  # its own errors of HTTP are some, and those of the network
        raise HubError(f"{name}: the hub refuses or cannot be reached ({_line(error)})") from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in ("httpx", "httpx2", "requests"):
            raise
        raise HubError(f"{name}: the hub cannot be reached ({_line(error)})") from error


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200]
