"""Captions to features: the text half of the DAMSM (Xu et al. 2018, section 3.2).

`CaptionEncoder` says what a text encoder is, `TextEncoder` is the published one; `pretrained_text.py` has another.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from attngan.draws import Draws
from attngan.errors import InputError
from attngan.networks.blocks import Dropout
from attngan.networks.description import Described
from attngan.networks.scanned_text import ScannedTextEncoder
from attngan.records import CaptionBatch, TextFeatures
from attngan.text.vocabulary import Vocabulary, limit_words, pad_captions
from attngan.weight_files import load_weights


class CaptionEncoder(Described):
    """Base of the text encoders: captions as ids to word and sentence features.

    Attributes:
        embed_dim: Length of a word's and a sentence's features.
        vocabulary: Which ids it reads, where it brings that; None: it is made for the vocabulary of the captions.
    """

    embed_dim: int
    vocabulary: Vocabulary | None = None

    @property
    def vocabulary_size(self) -> int:
        """How many ids it reads."""
        raise NotImplementedError

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def portable(self) -> nn.Module:
        """A module that gives the same features in eval mode, and that exporters can trace for any number of words."""
        return self

    def pretrained_weights(self) -> list[nn.Parameter]:
        """Those that are trained on from a pretraining elsewhere, and want smaller steps."""
        return []

    def start_from(self, other: "CaptionEncoder", own: Vocabulary, theirs: Vocabulary, source: str) -> None:
        """Takes the weights of another one, of other captions perhaps.

        Args:
            other: The other encoder.
            own: Vocabulary of this one.
            theirs: Vocabulary of the other one.
            source: File that it comes from, for messages.

        Raises:
            InputError: It is of another kind or size.
        """
        if type(self) is not type(other):
            raise InputError(
                f"{source}: its text encoder is a {type(other).__name__}, this one a {type(self).__name__}: set "
                "model.text_encoder to the one that it was trained with"
            )
        load_weights(self, other.state_dict(), source)

    def forward(self, captions: CaptionBatch, draws: Draws | None = None) -> TextFeatures:
        """Word and sentence features; words are 0 at padded positions, whatever the ids there.

        Args:
            captions: Word ids.
            draws: A training step's, for the dropout; None: off torch's global stream.

        Raises:
            InputError: A caption has no word.
        """
        raise NotImplementedError


def require_words(captions: CaptionBatch) -> None:
    """Refuses a batch with a caption of no word.

    Raises:
        InputError: Says which.
    """
    if torch.compiler.is_exporting():
        return  # a graph looks at no values
    if empty := [str(row) for row, length in enumerate(captions.lengths.tolist()) if length < 1]:
        raise InputError(
            f"the captions {', '.join(empty)} of the batch have no word to encode: leave out captions of "
            "which the vocabulary knows none (data without captions are for generators that read no text: embed_dim "
            "null, no DAMSM)"
        )


class TextEncoder(CaptionEncoder):
    """Bidirectional LSTM or GRU over word embeddings. Captions may come in any order of lengths.

    Args:
        vocabulary_size: Words in the vocabulary, the padding id 0 included.
        embed_dim: Length of a word's and a sentence's features, both directions together.
        word_dim: Length of the word embedding.
        rnn: The recurrent cell.
        dropout: Dropout of the word embeddings in training.
    """

    def __init__(
        self,
        vocabulary_size: int,
        embed_dim: int = 256,
        word_dim: int = 300,
        rnn: Literal["lstm", "gru"] = "lstm",
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if embed_dim % 2:
            raise InputError(f"embed_dim must be even, half for each direction, not {embed_dim}")
        self.embed_dim = embed_dim
        self.embedding = nn.Embedding(vocabulary_size, word_dim)
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        self.dropout = Dropout(dropout)
        cell = {"lstm": nn.LSTM, "gru": nn.GRU}[rnn]
        self.rnn = cell(word_dim, embed_dim // 2, batch_first=True, bidirectional=True)

    @property
    def vocabulary_size(self) -> int:
        return self.embedding.num_embeddings

    def portable(self) -> nn.Module:
        return ScannedTextEncoder(self.embedding, self.rnn)

    @torch.no_grad()
    def start_from(self, other: CaptionEncoder, own: Vocabulary, theirs: Vocabulary, source: str) -> None:
        """The recurrent network is taken as it is; words that both vocabularies have get their embeddings."""
        if not isinstance(other, TextEncoder):
            return super().start_from(other, own, theirs, source)
        for name in ("embed_dim", "word_dim", "rnn"):
            if self.init_args[name] != other.init_args[name]:
                raise InputError(
                    f"{source}: its text encoder has {name} {other.init_args[name]}, this one {self.init_args[name]}: "
                    f"set model.{name}={other.init_args[name]}"
                )
        load_weights(self.rnn, other.rnn.state_dict(), source)
        places = {word: place for place, word in enumerate(theirs.words)}
        pairs = [(place, places[word]) for place, word in enumerate(own.words) if word in places]
        rows, from_rows = (torch.tensor(numbers) for numbers in zip(*pairs, strict=True))
        self.embedding.weight[rows] = other.embedding.weight[from_rows].to(self.embedding.weight)

    def forward(self, captions: CaptionBatch, draws: Draws | None = None) -> TextFeatures:
        require_words(captions)
        embedded = self.dropout(self.embedding(captions.ids), draws)
        # torch would sort by itself, but wait for the device with it
        lengths, order = captions.lengths.cpu().sort(descending=True)
        back = order.argsort().to(embedded.device, non_blocking=True)
        packed = pack_padded_sequence(embedded[order.to(embedded.device, non_blocking=True)], lengths, batch_first=True)
        output, state = self.rnn(packed)
        words, _ = pad_packed_sequence(output, batch_first=True, total_length=captions.ids.shape[1])
        last = state[0] if isinstance(state, tuple) else state  # (directions, batch, embed / 2)
        return TextFeatures(words[back].mT, torch.cat([last[0], last[1]], 1)[back], captions.padding)


def encode_captions(
    text_encoder: CaptionEncoder, vocabulary: Vocabulary, captions: Sequence[str], limit: int
) -> TextFeatures:
    """Features of captions as text: the first ``limit`` words that the vocabulary has ids for.

    Raises:
        InputError: A caption of which the vocabulary knows no word.
    """
    for caption in captions:
        if not vocabulary.knows_any(caption):
            raise InputError(f"the vocabulary knows no word of the caption {caption!r}")
    ids = [limit_words(vocabulary.encode(caption), limit) for caption in captions]
    features: TextFeatures = text_encoder(pad_captions(ids).to(text_encoder.device))
    return features
