"""Captions of earlier batches, kept as wrong ones for the matching loss: a frozen text encoder's features stay true."""

from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.nn import functional as F

from attngan.networks.text_encoder import TextEncoder
from attngan.records import CaptionBatch, TextFeatures


class CaptionQueue(nn.Module):
    """The last captions that went through a frozen text encoder, first in, first out.

    A batch of 16 sets 15 wrong captions against each image; these come for no more than their scores. Ours; the queue
    of He et al. 2020 (MoCo), where the features need no slow encoder since nothing changes them. Word ids and classes
    lie in the checkpoint, and features are made of them anew, so that a resumed run goes on exactly.

    Args:
        size: Captions kept.
        embed_dim: Length of the text features.
        words: Words kept of a caption, the first ones.
    """

    ids: Int[Tensor, "size words"]
    lengths: Int[Tensor, " size"]
    classes: Int[Tensor, " size"]
    seen: Int[Tensor, ""]
    word_features: Tensor
    sentences: Tensor

    def __init__(self, size: int, embed_dim: int, words: int = 25) -> None:
        super().__init__()
        self.register_buffer("ids", torch.zeros(size, words, dtype=torch.int64))
        self.register_buffer("lengths", torch.ones(size, dtype=torch.int64))
        self.register_buffer("classes", torch.full((size,), -1))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("word_features", torch.zeros(size, embed_dim, words), persistent=False)
        self.register_buffer("sentences", torch.zeros(size, embed_dim), persistent=False)
        self._loaded = False

    def _load_from_state_dict(self, *arguments: Any) -> None:
        super()._load_from_state_dict(*arguments)
        self._loaded = True

    @torch.no_grad()
    def beside(
        self, text: TextFeatures, classes: Int[Tensor, " batch"] | None, encoder: TextEncoder
    ) -> tuple[TextFeatures, Int[Tensor, " captions"] | None]:
        """A batch's text features and classes with the kept ones after them, for `matching_loss`.

        Args:
            text: Of the batch's captions.
            classes: Of its items; None for data without classes.
            encoder: Makes the features of the kept captions again, after a resume.
        """
        count = min(int(self.seen), len(self.ids))
        if not count:
            return text, classes
        if self._loaded:
            kept = encoder(CaptionBatch(self.ids[:count, : int(self.lengths[:count].max())], self.lengths[:count]))
            self._write(torch.arange(count, device=self.ids.device), kept)
            self._loaded = False
        longest = max(int(self.lengths[:count].max()), text.words.shape[2])
        kept_words, words = self.word_features[:count, :, :longest], text.words
        padding = torch.arange(longest, device=words.device) >= self.lengths[:count, None]
        missing = longest - words.shape[2]
        both = TextFeatures(
            torch.cat([F.pad(words, (0, missing)), F.pad(kept_words, (0, longest - kept_words.shape[2])).to(words)]),
            torch.cat([text.sentence, self.sentences[:count].to(text.sentence)]),
            torch.cat([F.pad(text.padding, (0, missing), value=True), padding]),
        )
        return both, None if classes is None else torch.cat([classes, self.classes[:count]])

    @torch.no_grad()
    def add(self, captions: CaptionBatch, text: TextFeatures, classes: Int[Tensor, " batch"] | None) -> None:
        """Takes a batch's captions in, in the place of the oldest ones."""
        size, words = self.ids.shape
        places = (int(self.seen) + torch.arange(len(captions.ids), device=self.ids.device)) % size
        self.ids[places] = F.pad(captions.ids, (0, max(0, words - captions.ids.shape[1])))[:, :words]
        self.lengths[places] = captions.lengths.clamp(max=words)
        if classes is not None:
            self.classes[places] = classes
        self._write(places, text)
        self.seen += len(places)

    def _write(self, places: Tensor, text: TextFeatures) -> None:
        words = self.ids.shape[1]
        of_words = F.pad(text.words, (0, max(0, words - text.words.shape[2])))[:, :, :words]
        self.word_features[places] = of_words.to(self.word_features)
        self.sentences[places] = text.sentence.to(self.sentences)
