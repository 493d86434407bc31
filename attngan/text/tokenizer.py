r"""Captions to words.

``"words"`` (our default) lower-cases, folds accents ("café" is "cafe") and takes ``\w+`` through nltk. ``"published"``
is the tokenizer behind the published vocabularies: ``\w+`` under Python's own ``re``, then each word reduced to its
ASCII letters ("café" is "caf"). It must not go through nltk: from 3.10 on nltk compiles patterns with another engine,
whose ``\w`` takes in combining marks and leaves out superscript digits, so that "İstanbul" would get other ids.
"""

import re
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, Protocol, get_args, runtime_checkable

from attngan.errors import InputError

if TYPE_CHECKING:
    from nltk.tokenize.api import TokenizerI

TokenizerName = Literal["words", "published"]

# Accents proper, and what glues emoji together. Other combining marks (Indic vowel signs, Japanese voicing) are letters
# of their scripts: dropping them would merge different words.
_ACCENTS_AND_JOINERS = re.compile(
    "[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f\u200b-\u200f\u2060\ufe00-\ufe0f\ufeff\u00ad]"
)

_HAN = "\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
# also kana, Thai, Lao, Burmese and Khmer; so many letters in a row are no single word
_UNSPACED = re.compile(f"[{_HAN}]{{5,}}|[{_HAN}\u3040-\u30ff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]{{10,}}")


@runtime_checkable
class CaptionTokenizer(Protocol):
    """What splits captions: into words, whose vocabulary captions make, or into the pieces of a pretrained language
    model, which brings its vocabulary.

    Attributes:
        name: For messages.
        padding: The word of id 0, which is in no caption.
        unknown: The word that stands for those that the vocabulary lacks.
        words: All words there are, by id; None: those of the training captions.
    """

    @property
    def name(self) -> str: ...

    @property
    def padding(self) -> str: ...

    @property
    def unknown(self) -> str: ...

    @property
    def words(self) -> tuple[str, ...] | None: ...

    def __call__(self, caption: str) -> list[str]: ...

    def left_out(self, caption: str) -> str:
        """The caption's letters and digits that come into no word, each once."""

    def joins_clauses(self, caption: str) -> bool:
        """Whether whole clauses of the caption become one word, since its script puts no spaces between words."""

    def describe(self) -> str | dict[str, str]:
        """Plain values by which a checkpoint finds it again."""


class Tokenizer:
    """Splits a caption into words.

    Args:
        name: ``"words"`` (lower-cased words, accents folded) or ``"published"`` (what the published vocabularies need).

    Raises:
        InputError: For another name.
    """

    padding = "<end>"  # the published vocabularies call it so
    unknown = "<unk>"
    words: tuple[str, ...] | None = None

    def __init__(self, name: TokenizerName = "words") -> None:
        if name not in get_args(TokenizerName):
            raise InputError(f"there is no tokenizer {name!r}: choose one of {', '.join(get_args(TokenizerName))}")
        self.name: TokenizerName = name

    def __call__(self, caption: str) -> list[str]:
        """The caption's words, in order; empty when it has none."""
        # Captions that were once mis-decoded carry pairs of replacement characters where a dash or a quote was.
        caption = caption.replace("\ufffd\ufffd", " ")
        if self.name == "published":
            words = (word.encode("ascii", "ignore").decode() for word in re.findall(r"\w+", caption.lower()))
            return [word for word in words if word]
        folded = fold_accents(caption).lower()
        if folded.isascii():  # of which every engine makes the same words; nltk takes seconds to import
            return re.findall(r"\w+", folded)
        split: list[str] = _nltk_words().tokenize(folded)
        return split

    def left_out(self, caption: str) -> str:
        """The caption's letters and digits that come into no word, each once; empty for most captions."""
        if self.name != "published" or caption.isascii():
            return ""
        return "".join(dict.fromkeys(letter for letter in caption if letter.isalnum() and not letter.isascii()))

    def joins_clauses(self, caption: str) -> bool:
        """See `is_unspaced`."""
        return is_unspaced(caption)

    def describe(self) -> str:
        """Its name."""
        return self.name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tokenizer) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"Tokenizer({self.name!r})"


def is_unspaced(caption: str) -> bool:
    """Whether the caption is of a script that puts no spaces between words, and nobody has put any there.

    Words are split at spaces: a whole clause becomes one word, which no other caption has.
    """
    return not caption.isascii() and _UNSPACED.search(caption) is not None


def fold_accents(text: str) -> str:
    """The text without accents, ligatures and joiners: "Café ﬁnch" becomes "Cafe finch"."""
    if text.isascii():
        return text
    bare = _ACCENTS_AND_JOINERS.sub("", unicodedata.normalize("NFKD", text))
    return unicodedata.normalize("NFKC", bare)


@lru_cache(maxsize=1)
def _nltk_words() -> "TokenizerI":
    from nltk.tokenize import RegexpTokenizer  # with it come SciPy and whatever else is installed that it knows of

    return RegexpTokenizer(r"\w+")
