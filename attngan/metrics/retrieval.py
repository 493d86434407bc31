"""Retrieval between images and captions in the joint embedding: recall at k, both ways, over a whole split."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attngan.errors import InputError
from attngan.metrics.unit_vectors import TIE, unit_vectors


def recall_at(
    images: Float[Tensor, "images embed"],
    captions: Float[Tensor, "captions embed"],
    owner: Int[Tensor, "captions"],
    ks: Sequence[int] = (1, 5, 10),
    chunk: int = 512,
) -> dict[str, float]:
    """Percent of queries that find what belongs to them among their k nearest by cosine.

    Image to text: a hit is any caption of the image among the k nearest captions. Text to image: the caption's
    image among the k nearest images. Ties count against the query, so an encoder that maps everything to one point
    scores 0.

    Args:
        images: Global image features.
        captions: Sentence features of all captions.
        owner: Position in ``images`` of the image that each caption describes.
        ks: The k of each recall.
        chunk: Rows of the similarity matrix held at once.

    Returns:
        ``image_to_text_r1``, ``text_to_image_r1`` and so on, in percent.

    Raises:
        InputError: A vector that is not finite or is 0, an owner that is no image, or an image without a caption.
    """
    image_units, caption_units = unit_vectors(images, "image"), unit_vectors(captions, "caption")
    owner = owner.to(image_units.device)
    if len(owner) == 0 or not 0 <= int(owner.min()) <= int(owner.max()) < len(images):
        raise InputError(f"caption owners must be positions of the {len(images)} images")
    if len(owner.unique()) != len(images):
        raise InputError(f"{len(images) - len(owner.unique())} of {len(images)} images have no caption")
    to_text = torch.cat(
        [
            _ranks_among_captions(image_units[start : start + chunk], start, caption_units, owner)
            for start in range(0, len(images), chunk)
        ]
    )
    to_image = torch.cat(
        [
            _ranks_among_images(caption_units[start : start + chunk], image_units, owner[start : start + chunk])
            for start in range(0, len(captions), chunk)
        ]
    )
    recalls = {f"image_to_text_r{k}": 100 * (to_text < k).double().mean().item() for k in ks}
    return recalls | {f"text_to_image_r{k}": 100 * (to_image < k).double().mean().item() for k in ks}


def _ranks_among_captions(images: Tensor, first: int, captions: Tensor, owner: Tensor) -> Tensor:
    """How many foreign captions are at least as near as the image's own nearest caption."""
    scores = images @ captions.T
    own = owner == torch.arange(first, first + len(images), device=owner.device)[:, None]
    best = scores.masked_fill(~own, -torch.inf).amax(1, keepdim=True)
    return ((scores >= best - TIE) & ~own).sum(1)


def _ranks_among_images(captions: Tensor, images: Tensor, owner: Tensor) -> Tensor:
    """How many other images are at least as near as the caption's own."""
    scores = captions @ images.T
    own = scores.gather(1, owner[:, None])
    return (scores >= own - TIE).sum(1) - 1
