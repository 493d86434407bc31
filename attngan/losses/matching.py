"""The DAMSM's matching losses (Xu et al. 2018, section 3.2): do these words, and this sentence, belong to this image?

Scores are softmax logits of up to about 80: everything here runs in float32 at least, whatever the precision of the
networks; features in float64 stay in it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from attngan.global_batch import Rows
from attngan.losses.precision import at_least_float32
from attngan.losses.word_scores import word_scores
from attngan.records import ImageFeatures, TextFeatures


class MatchingLoss(NamedTuple):
    """The four terms: word and sentence scores, each as "which caption is this image's" and "which image"."""

    words_to_caption: Float[Tensor, ""]
    words_to_image: Float[Tensor, ""]
    sentence_to_caption: Float[Tensor, ""]
    sentence_to_image: Float[Tensor, ""]

    @property
    def total(self) -> Float[Tensor, ""]:
        return torch.stack(self).sum()

    def weighted(self, words: float, sentence: float) -> Float[Tensor, ""]:
        """The sum with the words' two terms and the sentence's two terms each times a weight."""
        by_words = self.words_to_caption + self.words_to_image
        return words * by_words + sentence * (self.sentence_to_caption + self.sentence_to_image)


def sentence_scores(
    pooled: Float[Tensor, "images embed"], sentences: Float[Tensor, "captions embed"]
) -> Float[Tensor, "images captions"]:
    """Cosine of each image's global feature and each caption's sentence feature."""
    norms: Tensor = pooled.norm(dim=1)[:, None] * sentences.norm(dim=1)
    return pooled @ sentences.T / norms.clamp(min=1e-8)


def mask_same_class(
    logits: Float[Tensor, "images captions"], classes: Int[Tensor, " captions"] | None
) -> Float[Tensor, "images captions"]:
    """-inf for pairs of different items of one class: another bird's caption may well be true of this one."""
    if classes is None:
        return logits
    same = classes[: len(logits), None] == classes
    same.fill_diagonal_(False)
    return logits.masked_fill(same, -torch.inf)


def matching_loss(
    image: ImageFeatures,
    text: TextFeatures,
    classes: Int[Tensor, " captions"] | None = None,
    gamma1: float = 4.0,
    gamma2: float = 5.0,
    gamma3: float = 10.0,
    words_within: int | None = None,
    rows: Rows | None = None,
) -> MatchingLoss:
    """DAMSM loss of a batch of images and their captions (equations 11-13).

    Captions without any word (`TextFeatures.of_sentences`) have words' terms of 0. Several processes each score their
    own images, against the captions of all, and join the scores: none computes a pair that is another's.

    Args:
        image: Region and global features of the images; of this process's alone, where there are several.
        text: Word and sentence features of their captions; further captions after them are wrong ones for every image
            but those of its class.
        classes: Class of each caption's item, or None for data without classes.
        gamma1: How much a word attends to its best regions.
        gamma2: How much the best word counts in a caption's score.
        gamma3: Scale of the scores in the softmax over the batch.
        words_within: The words' terms compare the items of a batch within consecutive groups of at most so many: their
            time and memory grow with batch times group, not with the batch's square. None for the whole batch.
        rows: Which rows of the batch the images are; None: all.

    Returns:
        The four cross-entropies; their sum is the loss.
    """
    with torch.autocast(image.pooled.device.type, enabled=False):
        regions, words = at_least_float32(image.regions, text.words)
        rows = rows or Rows.split(len(image.pooled))
        by_sentence = rows.gather(sentence_scores(*at_least_float32(image.pooled, text.sentence)))
        captions = torch.arange(by_sentence.shape[1], device=by_sentence.device)
        of_images, further = captions[: rows.total], captions[rows.total :]
        groups = [torch.cat([group, further]) for group in of_images.split(words_within or rows.total)]
        by_words = [by_sentence.new_zeros(2)]
        if words.shape[2]:
            found = _word_scores_within(groups, rows, regions, words, text.padding, gamma1, gamma2)
            for group, scores in zip(groups, found, strict=True):
                within = None if classes is None else classes[group]
                by_words.append(_both_ways(gamma3 * scores, within) * (len(scores) / rows.total))
        return MatchingLoss(*torch.stack(by_words).sum(0), *_both_ways(gamma3 * by_sentence, classes))


def _word_scores_within(
    groups: Sequence[Int[Tensor, "_"]],
    rows: Rows,
    regions: Float[Tensor, "own_images embed regions"],
    words: Float[Tensor, "captions embed words"],
    padding: Bool[Tensor, "captions words"],
    gamma1: float,
    gamma2: float,
) -> list[Float[Tensor, "_ _"]]:
    """`word_scores` of the images and the captions of each group, (images, captions); each process scores its own."""
    widest, own, first = len(groups[0]), [], 0
    sizes = [len(group) - (words.shape[0] - rows.total) for group in groups]  # images: the further captions are of all
    for group, size in zip(groups, sizes, strict=True):
        here = rows.own_within(first, size)
        if here.stop > here.start:
            scores = word_scores(regions[here], words[group], padding[group], gamma1, gamma2)
            own.append(F.pad(scores, (0, widest - len(group))))
        first += size
    gathered = rows.gather(torch.cat(own)).split(sizes)
    return [scores[:, : len(group)] for scores, group in zip(gathered, groups, strict=True)]


def _both_ways(
    logits: Float[Tensor, "images captions"], classes: Int[Tensor, " captions"] | None
) -> Float[Tensor, "2"]:
    """Cross-entropies of "which caption is this image's" and "which image is this caption's"."""
    logits = mask_same_class(logits, classes)
    true = torch.arange(len(logits), device=logits.device)
    return torch.stack([F.cross_entropy(logits, true), F.cross_entropy(logits[:, : len(true)].T, true)])
