"""Captions to the pieces of words that a pretrained language model reads ("yellow", "##ham", "##mer")."""

from functools import lru_cache
from typing import Any

from attngan.errors import InputError, MissingPackageError
from attngan.text.language_files import TOKENIZER, LanguageFiles, language_files


class PieceTokenizer:
    """The tokenizer of a pretrained language model; it brings its words, and reads captions of any words.

    Args:
        files: The model's files.

    Attributes:
        before: Ids that the model wants before a caption.
        after: Ids that it wants after it.
        sha256: Hash of the file tokenizer.json.

    Raises:
        MissingPackageError: The package tokenizers is not installed.
        InputError: The file is no tokenizer.
    """

    def __init__(self, files: LanguageFiles) -> None:
        try:
            from tokenizers import Tokenizer
        except ModuleNotFoundError as error:
            raise MissingPackageError(
                "a pretrained text encoder needs an extra: pip install 'attngan[language]'"
            ) from error
        content = files.read(TOKENIZER)
        try:
            self._tokenizer: Any = Tokenizer.from_str(content.decode())
        except Exception as error:  # the library's own, without a class of its own
            raise InputError(f"{files.source}: {TOKENIZER} is no tokenizer ({error})") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.name, self.sha256 = files.source, files.sha256(TOKENIZER)
        ids: dict[str, int] = self._tokenizer.get_vocab(with_added_tokens=True)
        self.words: tuple[str, ...] | None = _by_id(ids)
        self.padding = self.words[0]
        unknown = getattr(self._tokenizer.model, "unk_token", None)  # of those that read bytes there is none
        self.unknown: str = unknown or ""
        self._unknown_id = ids.get(unknown or "")
        whole = self._tokenizer.encode("a")
        inner = [place for place, special in enumerate(whole.special_tokens_mask) if not special]
        self.before, self.after = whole.ids[: inner[0]], whole.ids[inner[-1] + 1 :]

    def __call__(self, caption: str) -> list[str]:
        """The caption's pieces, in order; where there is none for a letter, what stands there."""
        found = self._tokenizer.encode(caption, add_special_tokens=False)
        return [
            caption[start:end] if number == self._unknown_id else piece
            for number, piece, (start, end) in zip(found.ids, found.tokens, found.offsets, strict=True)
        ]

    def left_out(self, caption: str) -> str:
        """Nothing is."""
        return ""

    def joins_clauses(self, caption: str) -> bool:
        """Its pieces are short, whatever the script."""
        return False

    def describe(self) -> dict[str, str]:
        """Whose it is, and the hash of its file: the model's files are named, not copied."""
        return {"pretrained": self.name, "sha256": self.sha256}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PieceTokenizer) and other.sha256 == self.sha256

    def __hash__(self) -> int:
        return hash(self.sha256)

    def __repr__(self) -> str:
        return f"PieceTokenizer({self.name!r})"


def _by_id(ids: dict[str, int]) -> tuple[str, ...]:
    """All pieces at the place of their id; a name of its own for an id that has none."""
    words = [f"<unused {number}>" for number in range(max(ids.values()) + 1)]
    for piece, number in ids.items():
        words[number] = piece
    return tuple(words)


def piece_tokenizer(described: dict[str, Any]) -> PieceTokenizer:
    """That which `PieceTokenizer.describe` described, from what is on this machine.

    Raises:
        MissingPackageError: A package is not installed.
        MissingFileError: The model is not there.
        InputError: It is another one.
    """
    source, sha256 = described.get("pretrained"), described.get("sha256")
    if not isinstance(source, str):
        raise InputError("a stored tokenizer of a language model names its source")
    tokenizer = tokenizer_of(source)
    if tokenizer.sha256 != sha256:
        raise InputError(
            f"the checkpoint's captions were split by another {TOKENIZER} than that of {source} on this machine "
            f"(SHA-256 {str(sha256)[:12]}, here {tokenizer.sha256[:12]})"
        )
    return tokenizer


@lru_cache(maxsize=4)
def tokenizer_of(source: str) -> PieceTokenizer:
    """That of a model on this machine; read once."""
    return PieceTokenizer(language_files(source))
