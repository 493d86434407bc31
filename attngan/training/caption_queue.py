"""Captions of earlier batches, kept as wrong ones for the matching loss: a frozen text encoder's features stay true."""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from lightning_utilities.core.rank_zero import rank_zero_warn
from torch import Tensor, nn

from attngan.records import TextFeatures


class CaptionQueue(nn.Module):
    """Features of the last captions that went through a frozen text encoder, first in, first out.

    A batch of 16 sets 15 wrong captions against each image; these come for no more than their scores. Ours, after the
    queue of He et al. 2020 (MoCo), which needs a slow encoder, where here nothing changes the features. They lie in the
    checkpoint, so that a resumed run goes on exactly.

    Args:
        size: Captions kept.
        embed_dim: Length of the text features.
        word_limit: Words kept of a caption, the first ones.
    """

    words: Float[Tensor, "size embed words"]
    sentences: Float[Tensor, "size embed"]
    padding: Bool[Tensor, "size words"]
    classes: Int[Tensor, " size"]
    seen: Int[Tensor, ""]

    def __init__(self, size: int, embed_dim: int, word_limit: int = 25) -> None:
        super().__init__()
        self.register_buffer("words", torch.zeros(size, embed_dim, word_limit))
        self.register_buffer("sentences", torch.zeros(size, embed_dim))
        self.register_buffer("padding", torch.ones(size, word_limit, dtype=torch.bool))
        self.register_buffer("classes", torch.full((size,), -1))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self._count: int | None = 0

    @torch.no_grad()
    def beside(
        self, text: TextFeatures, classes: Int[Tensor, " batch"] | None
    ) -> tuple[TextFeatures, Int[Tensor, " captions"] | None]:
        """A batch's text features and classes with the kept ones after them, for `matching_loss`.

        Args:
            text: Features of the batch's captions.
            classes: Classes of its items; None for data without classes.
        """
        count = min(self._seen_so_far(), len(self.padding))
        if not count:
            return text, classes
        padding = self.padding[:count]
        kept = TextFeatures(self.words[:count].to(text.words), self.sentences[:count].to(text.sentence), padding)
        kept = kept.with_places(_places_of(padding))
        places = max(kept.padding.shape[1], text.padding.shape[1])
        pairs = zip(text.with_places(places), kept.with_places(places), strict=True)
        both = TextFeatures(*(torch.cat(pair) for pair in pairs))
        return both, None if classes is None else torch.cat([classes, self.classes[:count]])

    @torch.no_grad()
    def add(self, text: TextFeatures, classes: Int[Tensor, " batch"] | None) -> None:
        """Takes a batch's captions in, in the place of the oldest ones."""
        size, word_limit = self.padding.shape
        rows = (self._seen_so_far() + torch.arange(len(text.sentence), device=self.padding.device)) % size
        words, sentence, padding = text.with_places(word_limit)
        self.words[rows], self.sentences[rows] = words.to(self.words), sentence.to(self.sentences)
        self.padding[rows] = padding
        if classes is not None:
            self.classes[rows] = classes
        self.seen += len(rows)
        self._count = self._seen_so_far() + len(rows)

    def _seen_so_far(self) -> int:
        """`seen`, which a device is asked for once."""
        if self._count is None:
            self._count = int(self.seen)
        return self._count

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        empty = {prefix + name: buffer for name, buffer in self.named_buffers()}
        kept = {name: state_dict.get(name) for name in empty}
        if any(tensor is None or tensor.shape != empty[name].shape for name, tensor in kept.items()):
            # none, or that of an earlier version, of another size or word limit; it is full again within a few batches
            rank_zero_warn("the checkpoint has no captions of earlier batches in this form: they are collected anew")
            for name in [name for name in state_dict if name.startswith(prefix)]:
                del state_dict[name]
            state_dict |= empty | {f"{prefix}seen": torch.zeros_like(self.seen)}
        super()._load_from_state_dict(state_dict, prefix, *arguments)
        self._count = None


def _places_of(padding: Bool[Tensor, "captions words"]) -> int:
    """Those of the longest caption; on a GPU, which would be waited for, all that there are."""
    return max((~padding).sum(1).tolist()) if padding.device.type == "cpu" else padding.shape[1]
