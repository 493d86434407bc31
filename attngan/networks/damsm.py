"""The Deep Attentional Multimodal Similarity Model: a text and an image encoder that speak one embedding."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from attngan.errors import InputError
from attngan.networks.description import build, describe
from attngan.networks.image_encoder import ImageEncoder
from attngan.networks.text_encoder import CaptionEncoder, encode_captions
from attngan.records import CaptionBatch, TextFeatures
from attngan.text.vocabulary import Vocabulary


class DAMSM(nn.Module):
    """Both encoders, the vocabulary that the text encoder was made for, and the constants of its loss.

    Args:
        text_encoder: Captions to word and sentence features.
        image_encoder: Pixels to region and global features.
        vocabulary: Words and their ids, as many as the text encoder reads.
        gammas: gamma1, gamma2, gamma3 of the matching loss.
    """

    def __init__(
        self,
        text_encoder: CaptionEncoder,
        image_encoder: ImageEncoder,
        vocabulary: Vocabulary,
        gammas: tuple[float, float, float] = (4.0, 5.0, 10.0),
    ) -> None:
        super().__init__()
        rows = text_encoder.vocabulary_size
        if rows != len(vocabulary):
            raise InputError(f"the text encoder has {rows} words, the vocabulary {len(vocabulary)}: they do not fit")
        self.text_encoder = text_encoder
        self.image_encoder = image_encoder
        self.vocabulary = vocabulary
        self.gammas = gammas
        self.frozen = False

    @property
    def embed_dim(self) -> int:
        return self.text_encoder.embed_dim

    def encode_captions(self, captions: Sequence[str], limit: int = 25) -> TextFeatures:
        """See `attngan.networks.text_encoder.encode_captions`."""
        return encode_captions(self.text_encoder, self.vocabulary, captions, limit)

    def encode_batches(self, captions: CaptionBatch, batch_size: int = 512) -> torch.Tensor:
        """Sentence features of many captions, on the CPU."""
        device = self.text_encoder.device
        parts = [
            self.text_encoder(
                CaptionBatch(captions.ids[i : i + batch_size], captions.lengths[i : i + batch_size]).to(device)
            )
            for i in range(0, len(captions.ids), batch_size)
        ]
        return torch.cat([part.sentence.float().cpu() for part in parts])

    def freeze(self) -> "DAMSM":
        """For the generator's training and for scores: eval mode, no gradients for the weights."""
        self.image_encoder.trunk.freeze()
        self.requires_grad_(False)
        self.frozen = True
        return self.eval()

    def train(self, mode: bool = True) -> "DAMSM":
        # a parent module's train() must not switch dropout on in a frozen model
        return super().train(mode and not self.frozen)

    def describe(self) -> dict[str, Any]:
        """What a checkpoint needs beside the weights to make this model again."""
        return {
            "text_encoder": describe(self.text_encoder),
            "image_encoder": describe(self.image_encoder),
            "vocabulary": self.vocabulary.to_dict(),
            "gammas": list(self.gammas),
        }

    @classmethod
    def build(cls, description: dict[str, Any]) -> "DAMSM":
        """The model of a description, with fresh weights.

        Raises:
            InputError: It is of a text encoder alone.
        """
        if "image_encoder" not in description:
            raise InputError(
                "this file holds a text encoder without its image encoder, as an exported generator does: give the "
                "checkpoint of `attngan pretrain` or `attngan train` that it came from"
            )
        gammas = description["gammas"]
        return cls(
            build(description["text_encoder"], CaptionEncoder),
            build(description["image_encoder"], ImageEncoder),
            Vocabulary.from_dict(description["vocabulary"]),
            (gammas[0], gammas[1], gammas[2]),
        )
