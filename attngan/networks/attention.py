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


def region_dots(
    regions: Float[Tensor, "images embed regions"], words: Float[Tensor, "captions embed words"]
) -> Float[Tensor, "images captions words regions"]:
    """The dot product of each word of every caption with each region of every image (Xu et al. 2018, equation 7).

    Words are rows and regions last in memory, so that the softmax over regions, of which there are most, runs over
    contiguous memory.
    """
    captions, embed, length = words.shape
    return torch.matmul(words.mT.reshape(-1, embed), regions).view(len(regions), captions, length, -1)


def region_weights(
    dots: Float[Tensor, "images captions words regions"], padding: Bool[Tensor, "captions words"], gamma1: float
) -> tuple[Float[Tensor, "images captions words regions"], Float[Tensor, "images captions words regions"]]:
    """Each word of every caption looks at the regions of every image (equation 8).

    Args:
        dots: What `region_dots` gives.
        padding: True where a caption has no word. Padded words get no part of the first softmax; their weights have no
            meaning.
        gamma1: How much a word attends to its best regions.

    Returns:
        The weights of a region over words, which sum to 1 over the caption's words, and the weights alpha of a word
        over regions, which sum to 1 over regions.
    """
    spoken = dots.masked_fill(padding[..., None], -torch.inf).softmax(2)  # over words: which word a region speaks of
    return spoken, (gamma1 * spoken).softmax(3)  # over regions


def region_contexts(
    regions: Float[Tensor, "images embed regions"], weights: Float[Tensor, "images captions words regions"]
) -> Float[Tensor, "images captions words embed"]:
    """The region context c of each word: the regions, weighted (equation 9)."""
    rows = torch.matmul(weights.flatten(1, 2), regions.mT)
    return rows.view(*weights.shape[:3], -1)
