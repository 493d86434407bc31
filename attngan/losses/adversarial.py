"""The two players' losses, and the wrong pairs that teach a discriminator to read (Xu et al. 2018, equations 4-6)."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from attngan.errors import InputError
from attngan.global_batch import Rows
from attngan.losses.precision import at_least_float32


class Verdict(NamedTuple):
    """A discriminator's logits on a batch: for image-and-caption pairs, and for the images alone (None: no head).

    One logit an image, or one a place of it: the losses are means over all of them.
    """

    pair: Float[Tensor, "batch *places"] | None
    image: Float[Tensor, "batch *places"] | None

    @property
    def heads(self) -> list[Tensor]:
        """The logits of the heads that there are; those on pairs first."""
        return [logits for logits in self if logits is not None]

    def gathered(self, rows: Rows) -> "Verdict":
        """That on the whole batch, of which several processes each judged their rows."""
        return Verdict(*(None if logits is None else rows.gather(logits) for logits in self))


class AdversarialLoss(NamedTuple):
    """What one stage's discriminator minimises (of its verdicts on real, drawn and wrong pairs), and the generator."""

    discriminator: Callable[[Verdict, Verdict, Verdict], Tensor]
    generator: Callable[[Verdict], Tensor]


def real_bce(logits: Float[Tensor, "batch *places"]) -> Float[Tensor, ""]:
    return F.softplus(-at_least_float32(logits)[0]).mean()


def fake_bce(logits: Float[Tensor, "batch *places"]) -> Float[Tensor, ""]:
    return F.softplus(at_least_float32(logits)[0]).mean()


def discriminator_loss(real: Verdict, fake: Verdict, wrong: Verdict) -> Float[Tensor, ""]:
    """Binary cross-entropy of one stage's discriminator, the two answers weighing the same (StackGAN, AttnGAN, DM-GAN).

    ``(real + cond_real) / 2 + (fake + cond_fake + cond_wrong) / 3``; without a head for the image alone
    ``cond_real + (cond_fake + cond_wrong) / 2``; without one for pairs ``real + fake``. On logits: equal to the
    published form on sigmoids in float32, but for logits beyond 17 or so, where that one has no gradient left.

    Args:
        real: Verdict on real images and their captions.
        fake: Verdict on generated images and the captions they were made of.
        wrong: Verdict on real images with captions that are not theirs; that on the images alone does not count.
    """
    is_real = [real_bce(head) for head in real if head is not None]
    is_fake = [fake_bce(head) for head in (*fake, wrong.pair) if head is not None]
    return torch.stack(is_real).mean() + torch.stack(is_fake).mean()


def summed_discriminator_loss(real: Verdict, fake: Verdict, wrong: Verdict) -> Float[Tensor, ""]:
    """Binary cross-entropy of one stage's discriminator as StackGAN++ has it: every answer counts once.

    ``real + cond_real + fake + cond_fake + wrong + cond_wrong``, where a wrong pair's image is a real one, so that the
    answer on it alone should be "real"; without a head for pairs ``real + fake``.

    Args:
        real: Verdict on real images and their captions.
        fake: Verdict on generated images and the captions they were made of.
        wrong: Verdict on real images with captions that are not theirs.
    """
    answers = [real_bce(head) for head in (*real, wrong.image) if head is not None]
    answers += [fake_bce(head) for head in (*fake, wrong.pair) if head is not None]
    return torch.stack(answers).sum()


def generator_loss(fake: Verdict) -> Float[Tensor, ""]:
    """Binary cross-entropy of the generator before one stage's discriminator: its heads should say "real"."""
    return torch.stack([real_bce(head) for head in fake if head is not None]).sum()


def hinge_discriminator_loss(real: Verdict, fake: Verdict, wrong: Verdict) -> Float[Tensor, ""]:
    """Hinge loss of one stage's discriminator (Tao et al. 2022, 3.3).

    ``mean(max(0, 1 - real)) + (mean(max(0, 1 + fake)) + mean(max(0, 1 + wrong))) / 2``, of each head that there is; a
    head for the image alone has no wrong images, and its fake ones count in full.

    Args:
        real: Verdict on real images and their captions.
        fake: Verdict on generated images and the captions they were made of.
        wrong: Verdict on real images with captions that are not theirs.
    """

    def margin(logits: Tensor | None, target: int) -> list[Tensor]:
        return [] if logits is None else [F.relu(1 - target * at_least_float32(logits)[0]).mean()]

    of_pairs = margin(fake.pair, -1) + margin(wrong.pair, -1)
    terms = margin(real.pair, 1) + ([torch.stack(of_pairs).mean()] if of_pairs else [])
    return torch.stack(terms + margin(real.image, 1) + margin(fake.image, -1)).sum()


def hinge_generator_loss(fake: Verdict) -> Float[Tensor, ""]:
    """Minus the mean logit of each head."""
    return -torch.stack([at_least_float32(head)[0].mean() for head in fake if head is not None]).sum()


#: Names of the losses, as recipes have them.
Adversarial = Literal["bce", "bce sum", "hinge"]

ADVERSARIAL: dict[Adversarial, AdversarialLoss] = {
    "bce": AdversarialLoss(discriminator_loss, generator_loss),
    "bce sum": AdversarialLoss(summed_discriminator_loss, generator_loss),
    "hinge": AdversarialLoss(hinge_discriminator_loss, hinge_generator_loss),
}


# --- wrong pairs ------------------------------------------------------------------------------------------------------


class WrongPairs(NamedTuple):
    """Positions of real images of a batch, and of captions that are not theirs."""

    images: Int[Tensor, " pairs"]
    captions: Int[Tensor, " pairs"]


def wrong_pairs(batch: int, classes: Int[Tensor, " batch"] | None = None) -> Int[Tensor, " batch"]:
    """For each image of a batch, the position of a caption that is not its own.

    Items sorted by class are rolled by the count of the largest class, so no image meets a caption of its own class,
    unless a class fills more than half the batch; then, and without classes, they are rolled by one.

    Raises:
        InputError: The batch has one item only, so there is no wrong caption.
    """
    _check_size(batch)
    if classes is None:
        return torch.arange(batch).roll(-1)
    order = classes.argsort(stable=True)
    # a number of the device's: nothing waits for it
    largest = (classes[:, None] == classes).sum(1).max()
    shift = torch.where(2 * largest <= batch, largest, 1)
    rolled = order[(torch.arange(batch, device=order.device) + shift) % batch]
    return torch.empty_like(order).scatter_(0, order, rolled)


def _check_size(batch: int) -> None:
    if batch < 2:
        raise InputError("a batch of 1 has no wrong caption to show the discriminator: use a batch_size of 2 or more")


def of_other_classes(lengths: Int[Tensor, " batch"], classes: Int[Tensor, " batch"] | None) -> WrongPairs:
    """Each image with a caption of another class, where that can be: see `wrong_pairs`."""
    captions = wrong_pairs(len(lengths), classes).to(lengths.device, non_blocking=True)
    return WrongPairs(torch.arange(len(captions), device=captions.device), captions)


def next_longest(lengths: Int[Tensor, " batch"], classes: Int[Tensor, " batch"] | None) -> WrongPairs:
    """AttnGAN and DM-GAN: each image but the last with the next one's caption, whatever its class.

    Next in the order of the captions' lengths, longest first: the published loader sorts each batch so.
    """
    _check_size(len(lengths))
    order = lengths.argsort(descending=True, stable=True)
    return WrongPairs(order[:-1], order[1:])


def next_caption(lengths: Int[Tensor, " batch"], classes: Int[Tensor, " batch"] | None) -> WrongPairs:
    """StackGAN: each image but the last with the next one's caption, as the batch comes, whatever its class."""
    _check_size(len(lengths))
    order = torch.arange(len(lengths), device=lengths.device)
    return WrongPairs(order[:-1], order[1:])


def next_image(lengths: Int[Tensor, " batch"], classes: Int[Tensor, " batch"] | None) -> WrongPairs:
    """DF-GAN: each caption with the next image, the last one with the first, as the batch comes, whatever its class."""
    _check_size(len(lengths))
    order = torch.arange(len(lengths), device=lengths.device)
    return WrongPairs(order.roll(-1), order)


#: Names of the rules, as recipes have them.
WrongPairsRule = Literal["other class", "attngan", "dfgan", "stackgan", "stackgan++"]

#: Each rule takes the lengths of the batch's captions in words, and the classes of its images (None: there are none).
WRONG_PAIRS: dict[WrongPairsRule, Callable[[Int[Tensor, " batch"], Int[Tensor, " batch"] | None], WrongPairs]] = {
    "other class": of_other_classes,
    "attngan": next_longest,
    "dfgan": next_image,
    "stackgan": next_caption,
    # the published loader draws another image of the data set for each caption, and draws once more where it is of the
    # same class; here it is another one of the batch, which was drawn at random too
    "stackgan++": of_other_classes,
}
