"""Captions to features: the text half of the DAMSM (Xu et al. 2018, section 3.2)."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from attngan.draws import Draws
from attngan.errors import InputError
from attngan.networks.blocks import Dropout
from attngan.networks.description import Described
from attngan.records import CaptionBatch, TextFeatures
from attngan.text.vocabulary import Vocabulary, limit_words, pad_captions


class TextEncoder(Described):
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

    def forward(self, captions: CaptionBatch, draws: Draws | None = None) -> TextFeatures:
        """Word and sentence features; words are 0 at padded positions, whatever the ids there.

        Args:
            captions: Word ids.
            draws: A training step's, for the dropout; None: off torch's global stream.

        Raises:
            InputError: A caption has no word.
        """
        if empty := [str(row) for row, length in enumerate(captions.lengths.tolist()) if length < 1]:
            raise InputError(
                f"the captions {', '.join(empty)} of the batch have no word to encode: leave out captions of which the "
                "vocabulary knows none (data without captions are for generators that read no text: embed_dim null, no "
                "DAMSM)"
            )
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
    text_encoder: TextEncoder, vocabulary: Vocabulary, captions: Sequence[str], limit: int
) -> TextFeatures:
    """Features of captions as text: the first ``limit`` words that the vocabulary has ids for.

    Raises:
        InputError: A caption of which the vocabulary knows no word.
    """
    for caption in captions:
        if not vocabulary.knows_any(caption):
            raise InputError(f"the vocabulary knows no word of the caption {caption!r}")
    ids = [limit_words(vocabulary.encode(caption), limit) for caption in captions]
    features: TextFeatures = text_encoder(pad_captions(ids).to(text_encoder.embedding.weight.device))
    return features
