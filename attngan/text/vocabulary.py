"""Words and their ids. A vocabulary is stored inside every checkpoint that depends on it."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch

from attngan.errors import InputError
from attngan.records import CaptionBatch
from attngan.text.pieces import piece_tokenizer
from attngan.text.tokenizer import CaptionTokenizer, Tokenizer

PADDING, UNKNOWN = Tokenizer.padding, Tokenizer.unknown


@dataclass(frozen=True)
class Vocabulary:
    """Words, each at the position that is its id.

    Args:
        words: Position is id. Position 0 is padding; ours have ``<unk>`` at 1, published ones have no unknown word,
            those of pretrained language models are the tokenizer's.
        tokenizer: What splits captions for it.
        min_count: How often a word had to occur in the training captions to be in.

    Raises:
        InputError: When word 0 is not the padding or a word occurs twice.
    """

    words: tuple[str, ...]
    tokenizer: CaptionTokenizer = field(default_factory=Tokenizer)
    min_count: int = 1

    def __post_init__(self) -> None:
        if not self.words or self.words[0] != self.tokenizer.padding:
            raise InputError(
                f"word 0 of a vocabulary is the padding {self.tokenizer.padding!r}, here: {self.words[:1]}"
            )
        if len(self._ids) != len(self.words):
            twice = next(word for word, count in Counter(self.words).items() if count > 1)
            raise InputError(f"the vocabulary has the word {twice!r} twice")

    @classmethod
    def from_captions(
        cls, captions: Iterable[str], tokenizer: CaptionTokenizer | None = None, min_count: int = 1
    ) -> "Vocabulary":
        """The words of the captions that occur at least `min_count` times, most frequent first, then by alphabet.

        Of a tokenizer that brings its words those, whatever the captions.
        """
        tokenizer = tokenizer or Tokenizer()
        return cls.from_tokens((tokenizer(caption) for caption in captions), tokenizer, min_count)

    @classmethod
    def from_tokens(
        cls, captions: Iterable[Sequence[str]], tokenizer: CaptionTokenizer, min_count: int = 1
    ) -> "Vocabulary":
        """Like `from_captions`, for captions that `tokenizer` has already split."""
        if tokenizer.words is not None:
            return cls(tokenizer.words, tokenizer)
        counts = Counter(word for words in captions for word in words)
        kept = sorted((word for word, count in counts.items() if count >= min_count), key=lambda w: (-counts[w], w))
        return cls((PADDING, UNKNOWN, *kept), tokenizer, min_count)

    @classmethod
    def in_published_order(cls, captions: Iterable[Sequence[str]]) -> "Vocabulary":
        """All words of captions split as published (training ones, then test ones) in order of first appearance.

        What the published code builds where no captions.pickle is at hand: no unknown word, no minimum count.
        """
        return cls((PADDING, *dict.fromkeys(word for words in captions for word in words)), Tokenizer("published"))

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {word: position for position, word in enumerate(self.words)}

    @property
    def has_unknown(self) -> bool:
        """Whether unknown words have an id of their own (published vocabularies drop them)."""
        return self.tokenizer.unknown in self._ids

    def encode(self, caption: str) -> list[int]:
        """The caption's word ids. A word it lacks becomes ``<unk>``, or is left out where there is no ``<unk>``."""
        return self.encode_tokens(self.tokenizer(caption))

    def encode_tokens(self, words: Sequence[str]) -> list[int]:
        """Like `encode`, for a caption that this vocabulary's tokenizer has already split."""
        ids = self._ids
        unknown = ids.get(self.tokenizer.unknown)
        if unknown is not None:
            return [ids.get(word, unknown) for word in words]
        return [ids[word] for word in words if word in ids]

    def unknown_words(self, caption: str) -> list[str]:
        """The caption's words that the vocabulary lacks, in order, each once."""
        return list(dict.fromkeys(word for word in self.tokenizer(caption) if word not in self._ids))

    def knows_any(self, caption: str) -> bool:
        """Whether at least one word of the caption is in the vocabulary."""
        return any(word in self._ids for word in self.tokenizer(caption))

    def words_of(self, ids: Iterable[int]) -> list[str]:
        """The words of these ids; padding included as ``<end>``."""
        return [self.words[position] for position in ids]

    def __len__(self) -> int:
        return len(self.words)

    def to_dict(self) -> dict[str, Any]:
        """Plain values only, so that a checkpoint that holds it is read with ``weights_only=True``."""
        words = list(self.words) if self.tokenizer.words is None else None
        return {"words": words, "tokenizer": self.tokenizer.describe(), "min_count": self.min_count}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> "Vocabulary":
        """The vocabulary that `to_dict` saved.

        Raises:
            InputError: That is not what was saved, or the tokenizer of a language model is not on this machine.
        """
        words, tokenizer, min_count = (saved.get(part) for part in ("words", "tokenizer", "min_count"))
        if isinstance(tokenizer, dict):
            return cls.from_captions((), piece_tokenizer(tokenizer))
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise InputError("the words of a stored vocabulary are a list of text")
        if not isinstance(tokenizer, str) or not isinstance(min_count, int):
            raise InputError("a stored vocabulary has a tokenizer's name and a min_count beside its words")
        return cls(tuple(words), Tokenizer(tokenizer), min_count)  # type: ignore[arg-type]  # checked there

    def difference(self, other: "Vocabulary", this_is: str = "data", other_is: str = "checkpoint") -> str:
        """What keeps the two apart, for an error message; empty when they are equal.

        Args:
            other: The vocabulary to compare with.
            this_is: What to call this one in the message.
            other_is: What to call the other one.
        """
        if self == other:
            return ""
        parts = [f"{this_is}: {len(self):,} words, {other_is}: {len(other):,}"]
        if self.tokenizer != other.tokenizer:
            parts.append(f"tokenizers {self.tokenizer.name!r} and {other.tokenizer.name!r}")
        if self.min_count != other.min_count:
            parts.append(f"minimum counts {self.min_count} and {other.min_count}")
        width = max(len(self), len(other))
        pairs = zip(_padded(self.words, width), _padded(other.words, width), strict=True)
        differing = [(position, mine, theirs) for position, (mine, theirs) in enumerate(pairs) if mine != theirs]
        if differing:
            shown = ", ".join(f"id {position}: {mine!r} / {theirs!r}" for position, mine, theirs in differing[:5])
            parts.append(f"first that differ: {shown}")
        return "; ".join(parts)


def _padded(words: tuple[str, ...], width: int) -> tuple[str | None, ...]:
    return words + (None,) * (width - len(words))


def pad_captions(captions: Sequence[Sequence[int]], width: int | None = None) -> CaptionBatch:
    """Captions of any lengths as one batch, padded with 0.

    Args:
        captions: Word ids of each caption, at least one each.
        width: Words a row; None: as many as the longest has.

    Raises:
        InputError: When a caption has no word, or more than `width`.
    """
    lengths = [len(ids) for ids in captions]
    if not lengths or min(lengths) == 0:
        raise InputError("a caption without any known word cannot be encoded" if lengths else "no captions to pad")
    width = max(lengths) if width is None else width
    if max(lengths) > width:
        raise InputError(f"a caption has {max(lengths)} words, more than the {width} of its batch")
    padded = np.zeros((len(lengths), width), dtype=np.int64)
    for row, ids in zip(padded, captions, strict=True):
        row[: len(ids)] = ids
    return CaptionBatch(torch.from_numpy(padded), torch.tensor(lengths))


def no_captions(batch: int) -> CaptionBatch:
    """The captions of a batch of images that have none: no word each."""
    return CaptionBatch(torch.zeros(batch, 0, dtype=torch.int64), torch.zeros(batch, dtype=torch.int64))


def limit_words(ids: Sequence[int], limit: int, rng: np.random.Generator | None = None) -> list[int]:
    """At most `limit` words of a caption, in their order.

    Args:
        ids: The caption's word ids.
        limit: How many words may stay.
        rng: Draws which words stay, as published (another subset each time); None keeps the first ones.
    """
    if len(ids) <= limit:
        return list(ids)
    if rng is None:
        return list(ids[:limit])
    return [ids[position] for position in np.sort(rng.permutation(len(ids))[:limit])]
