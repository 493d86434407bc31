"""How well the words of each caption find their place in each image (Xu et al. 2018, equation 10), a few images a time.

All pairs of images, captions, words and regions are as many numbers as a step of large batches has no memory for, and
more than a processor's cache holds. Here they are made for a few images at once and forgotten. The gradient is written
out by hand: it needs the words' dot products with the regions, and their contexts, which are kept for as many images as
`KEPT_BYTES` hold and computed again for the others; the weights of both are always made anew.
"""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from attngan.networks.attention import region_contexts, region_dots, region_weights

#: Numbers of one kind that are made at once: what a processor's cache holds, or what fills a GPU.
AT_ONCE_CPU, AT_ONCE_GPU = 2**19, 2**26
#: What is kept from forward to backward pass, in bytes, however large the batch.
KEPT_BYTES = 2**29
#: No product of two norms is taken for less: a zero vector has a cosine of 0.
SMALLEST = 1e-8


def word_scores(
    regions: Float[Tensor, "images embed regions"],
    words: Float[Tensor, "captions embed words"],
    padding: Bool[Tensor, "captions words"],
    gamma1: float = 4.0,
    gamma2: float = 5.0,
    kept_bytes: int = KEPT_BYTES,
) -> Float[Tensor, "images captions"]:
    """Score of each pair: ``log sum_t exp(gamma2 cos(c_t, e_t))`` over the caption's true words.

    As published a sum, so longer captions score higher, and without the paper's exponent 1 / gamma2. Can be
    differentiated once.

    Args:
        regions: Region features v of the images.
        words: Word features e of the captions.
        padding: True where a caption has no word.
        gamma1: How much a word attends to its best regions.
        gamma2: How much the best word counts in a caption's score.
        kept_bytes: Memory for what the backward pass would else compute again; beyond it memory grows with the images.
    """
    scores: Tensor = _WordScores.apply(regions, words, padding, gamma1, gamma2, kept_bytes)
    return scores


class _WordScores(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, regions: Tensor, words: Tensor, padding: Tensor, gamma1: float, gamma2: float, kept_bytes: int
    ) -> Tensor:
        images, embed, places = regions.shape
        rows = words.shape[0] * words.shape[2]
        images_kept = (
            kept_bytes // (rows * (places + embed) * regions.element_size()) if any(ctx.needs_input_grad) else 0
        )
        of_images, of_words, kept = [], [], list[Tensor]()
        for chunk in _chunks(images, rows * places, regions.device):
            dots = region_dots(regions[chunk], words)
            _, weights = region_weights(dots, padding, gamma1)
            contexts = region_contexts(regions[chunk], weights)
            norms = contexts.norm(dim=3)
            # the product of the norms is clamped, not each of them: a zero vector scores 0
            cosines = (weights * dots).sum(3) / (norms * words.norm(dim=1)).clamp_(min=SMALLEST)
            of_images.append((gamma2 * cosines).masked_fill_(padding, -torch.inf).logsumexp(2))
            of_words.append((cosines, norms))
            if chunk.stop <= images_kept:
                kept += [dots, contexts]
        scores = torch.cat(of_images)
        cosines, norms = map(torch.cat, zip(*of_words, strict=True))
        ctx.save_for_backward(regions, words, padding, scores, cosines, norms, *kept)
        ctx.gammas = gamma1, gamma2
        return scores

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        with torch.autocast(gradient.device.type, enabled=False):  # a backward pass may run within the step's
            return *_gradients(ctx, gradient), None, None, None, None


def _gradients(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None]:
    """Of the scores, at the regions and, where the text encoder learns, at the words."""
    regions, words, padding, scores, all_cosines, all_norms, *kept = ctx.saved_tensors
    gamma1, gamma2 = ctx.gammas
    embed, lengths = words.shape[1], words.norm(dim=1)  # (captions, words)
    rows = words.mT.reshape(-1, embed)
    _, at_words, *_ = ctx.needs_input_grad
    of_regions, of_rows, of_lengths = [], torch.zeros_like(rows), torch.zeros_like(lengths)
    for chunk in _chunks(len(regions), len(rows) * regions.shape[2], regions.device):
        places = regions[chunk]
        dots = kept.pop(0) if (is_kept := bool(kept)) else region_dots(places, words)
        spoken, weights = region_weights(dots, padding, gamma1)
        contexts = kept.pop(0) if is_kept else region_contexts(places, weights)
        cosines, norms = all_cosines[chunk], all_norms[chunk]
        products = (norms * lengths).clamp_(min=SMALLEST)
        best = (gamma2 * cosines - scores[chunk, :, None]).exp_().masked_fill_(padding, 0.0)
        of_cosines = gamma2 * gradient[chunk, :, None] * best
        of_dots = of_cosines / products  # of the products of contexts and words, by which cosines are made
        of_products = (-of_dots * cosines).masked_fill_(products <= SMALLEST, 0.0)
        of_lengths += (of_products * norms).sum(0)
        of_contexts = contexts * (of_products * lengths / norms.clamp(min=SMALLEST))[..., None]
        flat = of_contexts.flatten(1, 2)
        of_weights = torch.matmul(flat, places).view_as(weights).addcmul_(of_dots[..., None], dots)
        of_regions.append(torch.matmul(flat.mT, weights.flatten(1, 2)))
        # through both softmaxes: over regions, over words
        of_spoken = _of_softmax(of_weights, weights, 3).mul_(gamma1)
        of_scores = _of_softmax(of_spoken, spoken, 2).addcmul_(of_dots[..., None], weights).flatten(1, 2)
        of_regions[-1] += torch.matmul(rows.T, of_scores)
        if at_words:
            for one, own in zip(of_scores, places, strict=True):
                of_rows.addmm_(one, own.T)
    if not at_words:
        return torch.cat(of_regions), None
    of_words = of_rows.view(len(words), -1, embed).mT
    of_words = of_words + words * (of_lengths / lengths.clamp(min=SMALLEST))[:, None]
    return torch.cat(of_regions), of_words


def _of_softmax(gradient: Tensor, weights: Tensor, dim: int) -> Tensor:
    """The gradient at what a softmax was made of, in the place of that at its weights."""
    mean = (gradient * weights).sum(dim, keepdim=True)
    return gradient.sub_(mean).mul_(weights)


def _chunks(images: int, numbers_each: int, device: torch.device) -> Iterator[slice]:
    """The images in groups, as many at once as a device has use for."""
    at_once = max(1, (AT_ONCE_CPU if device.type == "cpu" else AT_ONCE_GPU) // max(1, numbers_each))
    return (slice(first, min(first + at_once, images)) for first in range(0, images, at_once))
