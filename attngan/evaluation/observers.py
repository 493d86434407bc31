"""Networks that look at each image once, in the one pass over all of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from attngan.checkpoint import file_sha256
from attngan.metrics.feature_pass import Observer
from attngan.metrics.features import FeatureExtractor, state_sha256


def extractor_observer(extractor: FeatureExtractor) -> Observer:
    """Rows ``features``, and ``logits`` where the extractor classifies."""

    def look(images: Tensor) -> dict[str, Tensor]:
        said = extractor(images)
        return {"features": said.features} | ({} if said.logits is None else {"logits": said.logits})

    return look


class Scorer:
    """A DAMSM that judges which caption belongs to an image.

    Args:
        path: Its checkpoint, or that of a generator that was trained with it.
        device: Where it runs.
    """

    def __init__(self, path: Path, device: torch.device | str = "cpu") -> None:
        from attngan.training.damsm_module import load_damsm

        self.damsm = load_damsm(path).to(device)
        self.path = path
        self.sha256 = file_sha256(path)
        # Of the weights alone: the same for a DAMSM and for the checkpoint of a generator trained with it.
        self.weights_sha256 = state_sha256(self.damsm.state_dict())

    @property
    def name(self) -> str:
        return f"damsm-{self.weights_sha256[:8]}"

    def trained(self, sampler: Any) -> bool:
        """Whether the sampler's generator learnt to please this scorer: it reads captions with the same weights."""
        own = state_sha256(self.damsm.text_encoder.state_dict())
        return own == state_sha256(sampler.text_encoder.state_dict())

    def look(self, images: UInt8[Tensor, "batch 3 height width"]) -> dict[str, Tensor]:
        """Rows ``damsm``: the images' places in the joint embedding."""
        with torch.inference_mode():
            return {"damsm": self.damsm.image_encoder(images.float() / 127.5 - 1).pooled}

    def encode(self, captions: Sequence[str], batch_size: int = 256) -> tuple[list[int], Float[Tensor, "known embed"]]:
        """Positions of the captions of which it knows a word, and their places in the embedding."""
        known = [i for i, text in enumerate(captions) if self.damsm.vocabulary.knows_any(text)]
        with torch.inference_mode():
            parts = [
                self.damsm.encode_captions([captions[i] for i in known[start : start + batch_size]]).sentence.cpu()
                for start in range(0, len(known), batch_size)
            ]
        return known, torch.cat(parts)
