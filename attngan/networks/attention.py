"""The two attentions of AttnGAN, as pure functions: a region over words, and a word over regions."""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, einsum

PaddingMask = Literal["own", "published"]


def word_attention(
    query: Float[Tensor, "batch embed regions"],
    words: Float[Tensor, "batch embed words"],
    padding: Bool[Tensor, "batch words"],
    mask: PaddingMask = "own",
    values: Float[Tensor, "batch value words"] | None = None,
) -> tuple[Float[Tensor, "batch _ regions"], Float[Tensor, "batch regions words"]]:
    """Each place of a feature map looks at the words of its caption (Xu et al. 2018, equation 2).

    Args:
        query: Image features.
        words: Word features, already projected to the image features' length; finite at padded positions too.
        padding: True where a caption has no word.
        mask: "own": a sample's padding masks its own places, so its picture does not depend on the rest of the batch.
            "published": the padding rows as the published code lays them out (row b * regions + r takes the padding of
            sample (b * regions + r) mod batch), to reproduce its numbers.
        values: What is read at each word, where that is not the word features themselves (DM-GAN's memory: ``words``
            are then its keys); finite at padded positions too.

    Returns:
        The attended words at each place, and the weights, which sum to 1 over words.
    """
    batch, _, regions = query.shape
    rows = padding[:, None]
    if mask == "published":
        row = torch.arange(batch * regions, device=padding.device)
        rows = padding[row % batch].view(batch, regions, -1)
    scores = einsum("ber,bew->brw", query, words).masked_fill(rows, -torch.inf)
    weights = scores.softmax(-1)  # (batch, regions, words)
    return einsum("bew,brw->ber", words if values is None else values, weights), weights


def region_weights(
    regions: Float[Tensor, "images embed regions"],
    words: Float[Tensor, "captions embed words"],
    padding: Bool[Tensor, "captions words"],
    gamma1: float,
) -> tuple[Float[Tensor, "images captions words regions"], Float[Tensor, "images captions words regions"]]:
    """Each word of every caption looks at the regions of every image (Xu et al. 2018, equations 7-8).

    All pairs at once: matrix products instead of a loop over captions. Words are rows and regions last in memory, so
    that the softmax over regions, of which there are most, runs over contiguous memory.

    Args:
        regions: Region features v of the images.
        words: Word features e of the captions.
        padding: True where a caption has no word. Padded words get no part of the first softmax; what is returned for
            them has no meaning.
        gamma1: How much a word attends to its best regions.

    Returns:
        The dot product of each word with each region, and the weights alpha, which sum to 1 over regions.
    """
    captions, embed, length = words.shape
    scores = torch.matmul(words.mT.reshape(-1, embed), regions).view(len(regions), captions, length, -1)
    spoken = scores.masked_fill(padding[..., None], -torch.inf).softmax(2)  # over words: which word a region speaks of
    return scores, (gamma1 * spoken).softmax(3)  # over regions


def region_contexts(
    regions: Float[Tensor, "images embed regions"], weights: Float[Tensor, "images captions words regions"]
) -> Float[Tensor, "images captions words embed"]:
    """The region context c of each word: the regions, weighted (equation 9)."""
    rows = torch.matmul(weights.flatten(1, 2), regions.mT)
    return rows.view(*weights.shape[:3], -1)
