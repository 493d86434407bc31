"""The two players' losses, and the wrong pairs that teach a discriminator to read (Xu et al. 2018, equations 4-6)."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


class Verdict(NamedTuple):
    """A discriminator's logits on a batch: for image-and-caption pairs, and for the images alone (None: no head)."""

    pair: Float[Tensor, " batch"]
    image: Float[Tensor, " batch"] | None


def real_bce(logits: Float[Tensor, " batch"]) -> Float[Tensor, ""]:
    return F.softplus(-logits.float()).mean()


def fake_bce(logits: Float[Tensor, " batch"]) -> Float[Tensor, ""]:
    return F.softplus(logits.float()).mean()


def discriminator_loss(real: Verdict, fake: Verdict, wrong: Float[Tensor, " pairs"]) -> Float[Tensor, ""]:
    """Binary cross-entropy of one stage's discriminator.

    ``(real + cond_real) / 2 + (fake + cond_fake + cond_wrong) / 3``, or without a head for the image alone
    ``cond_real + (cond_fake + cond_wrong) / 2``. On logits: equal to the published form on sigmoids in float32, but
    for logits beyond 17 or so, where that one has no gradient left.

    Args:
        real: Verdict on real images and their captions.
        fake: Verdict on generated images and the captions they were made of.
        wrong: Logits of real images with captions that are not theirs.
    """
    if real.image is None or fake.image is None:
        return real_bce(real.pair) + (fake_bce(fake.pair) + fake_bce(wrong)) / 2
    is_real = (real_bce(real.image) + real_bce(real.pair)) / 2
    return is_real + (fake_bce(fake.image) + fake_bce(fake.pair) + fake_bce(wrong)) / 3


def generator_loss(fake: Verdict) -> Float[Tensor, ""]:
    """Binary cross-entropy of the generator before one stage's discriminator: both heads should say "real"."""
    pair = real_bce(fake.pair)
    return pair if fake.image is None else pair + real_bce(fake.image)


def wrong_pairs(batch: int, classes: Int[Tensor, " batch"] | None = None) -> Int[Tensor, " batch"]:
    """For each image of a batch, the position of a caption that is not its own.

    Items sorted by class are rolled by the count of the largest class, so no image meets a caption of its own class,
    unless a class fills more than half the batch; then, and without classes, they are rolled by one.

    Raises:
        ValueError: The batch has one item only, so there is no wrong caption.
    """
    if batch < 2:
        raise ValueError("a batch of 1 has no wrong caption to show the discriminator: use a batch_size of 2 or more")
    if classes is None:
        return torch.arange(batch).roll(-1)
    order = classes.argsort(stable=True)
    largest = int(classes.unique(return_counts=True)[1].max())
    shift = largest if 2 * largest <= batch else 1
    wrong = torch.empty_like(order)
    wrong[order] = order.roll(-shift)
    return wrong


def published_wrong_pairs(batch: int) -> tuple[Int[Tensor, " pairs"], Int[Tensor, " pairs"]]:
    """The published choice: images 0 .. B-2 with captions 1 .. B-1, of the same class or not."""
    return torch.arange(batch - 1), torch.arange(1, batch)
