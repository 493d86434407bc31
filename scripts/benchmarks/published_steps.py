"""The published losses and training steps, one line of the papers' algorithms after another.

Losses are taken of sigmoids, word scores in a loop over captions, discriminators collect gradients in the generator's
step that nobody reads, an average is updated parameter by parameter, and each loss is fetched as a number at once.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam

GAMMAS = (4.0, 5.0, 10.0)
MATCHING = 5.0


class Text(NamedTuple):
    """Captions as encoded: words (batch, embed, words), sentences (batch, embed), True where there is no word."""

    words: Tensor
    sentence: Tensor
    padding: Tensor


class Batch(NamedTuple):
    """Images in [-1, 1], smallest first, with captions' lengths, longest first, and classes."""

    images: Sequence[Tensor]
    lengths: Tensor
    classes: Tensor | None


# --- matching ---------------------------------------------------------------------------------------------------------


def words_loss(regions: Tensor, words: Tensor, batch: Batch, gammas: Sequence[float] = GAMMAS) -> list[Tensor]:
    """Which caption is this image's, and which image this caption's: one caption at a time against all images."""
    gamma1, gamma2, gamma3 = gammas
    images, embed, height, side = regions.shape
    places = height * side
    columns = []
    for number, length in enumerate(batch.lengths.tolist()):
        query = words[number, :, :length].unsqueeze(0).contiguous().repeat(images, 1, 1)
        context = regions.view(images, embed, places)
        rows = context.transpose(1, 2).contiguous()
        over_words = torch.bmm(rows, query).view(images * places, length).softmax(1)
        turned = over_words.view(images, places, length).transpose(1, 2).contiguous().view(images * length, places)
        over_places = (turned * gamma1).softmax(1).view(images, length, places).transpose(1, 2).contiguous()
        read = torch.bmm(context, over_places).transpose(1, 2).contiguous().view(images * length, embed)
        asked = query.transpose(1, 2).contiguous().view(images * length, embed)
        dots, norms = (asked * read).sum(1), asked.norm(2, 1) * read.norm(2, 1)
        cosines = (dots / norms.clamp(min=1e-8)).view(images, length)
        columns.append(cosines.mul(gamma2).exp().sum(1, keepdim=True).log())
    return _both_ways(torch.cat(columns, 1) * gamma3, batch.classes)


def sentence_loss(pooled: Tensor, sentence: Tensor, batch: Batch, gamma3: float = GAMMAS[2]) -> list[Tensor]:
    norms = torch.mm(pooled.norm(2, 1, True), sentence.norm(2, 1, True).t())
    return _both_ways(torch.mm(pooled, sentence.t()) / norms.clamp(min=1e-8) * gamma3, batch.classes)


def _both_ways(scores: Tensor, classes: Tensor | None) -> list[Tensor]:
    if classes is not None:
        scores.data.masked_fill_((classes[:, None] == classes).fill_diagonal_(False), -torch.inf)
    own = torch.arange(len(scores), device=scores.device)
    return [F.cross_entropy(scores, own), F.cross_entropy(scores.transpose(0, 1), own)]


class DAMSMPlayers:
    """The two encoders and their optimiser."""

    def __init__(self, text: nn.Module, image: nn.Module, rate: float = 2e-3) -> None:
        self.text, self.image = text, image
        trained = [p for network in (text, image) for p in network.parameters() if p.requires_grad]
        self.adam = Adam(trained, rate, (0.5, 0.999))


def damsm_step(players: DAMSMPlayers, ids: Tensor, batch: Batch, gammas: Sequence[float] = GAMMAS) -> list[float]:
    """One step of pretraining; what it minimised: words both ways, sentences both ways."""
    players.text.zero_grad()
    players.image.zero_grad()
    regions, pooled = players.image(batch.images[-1])
    words, sentence = players.text(ids, batch.lengths)
    terms = words_loss(regions, words, batch, gammas) + sentence_loss(pooled, sentence, batch, gammas[2])
    sum(terms).backward()  # type: ignore[union-attr]
    nn.utils.clip_grad_norm_(players.text.parameters(), 0.25)
    players.adam.step()
    return [term.item() for term in terms]


# --- AttnGAN and DM-GAN -----------------------------------------------------------------------------------------------


class Players:
    """A generator, a discriminator an image, the frozen image encoder, their optimisers and the average."""

    def __init__(
        self,
        generator: Any,
        discriminators: Sequence[Any],
        encoder: Any,
        rates: tuple[float, float] = (2e-4, 2e-4),
        betas: tuple[float, float] = (0.5, 0.999),
    ) -> None:
        self.generator, self.discriminators, self.encoder = generator, discriminators, encoder
        self.adam = Adam(generator.parameters(), rates[0], betas)
        self.adams = [Adam(_trained(network), rates[1], betas) for network in discriminators]
        self.average = [parameter.data.clone() for parameter in generator.parameters()]


def _trained(network: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


def staged_step(players: Players, batch: Batch, text: Text, latent: Tensor, noise: Tensor) -> dict[str, float]:
    """One step of AttnGAN's or DM-GAN's training; what was minimised, by name."""
    yes = text.sentence.new_ones(len(latent))
    no = torch.zeros_like(yes)
    drawn, _, mean, log_variance = players.generator(latent, noise, text.sentence, text.words, text.padding)
    told = {}
    for number, (network, adam) in enumerate(zip(players.discriminators, players.adams, strict=True)):
        network.zero_grad()
        loss = _discriminator_loss(network, batch.images[number], drawn[number], text.sentence, yes, no)
        loss.backward()
        adam.step()
        told[f"errD{number}"] = loss.item()

    players.generator.zero_grad()
    total: Any = 0.0
    for network, image in zip(players.discriminators, drawn, strict=True):
        features = network(image)
        pair = F.binary_cross_entropy(network.of_pair(features, text.sentence), yes)
        alone = F.binary_cross_entropy(network.of_image(features), yes)
        total = total + (alone + pair)
        (alone + pair).item()
    regions, pooled = players.encoder(drawn[-1])
    by_words = sum(words_loss(regions, text.words, batch)) * MATCHING
    by_sentence = sum(sentence_loss(pooled, text.sentence, batch)) * MATCHING
    kl = -0.5 * torch.mean(1 + log_variance - mean.pow(2) - log_variance.exp())
    total = total + by_words + by_sentence + kl
    total.backward()
    players.adam.step()
    for parameter, average in zip(players.generator.parameters(), players.average, strict=True):
        average.mul_(0.999).add_(parameter.data, alpha=0.001)
    return told | {"errG": total.item(), "kl": kl.item()}


def _discriminator_loss(network: Any, real: Tensor, drawn: Tensor, sentence: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """Real, drawn and wrong pairs; a wrong one is an image with the next one's caption."""
    of_real, of_drawn = network(real), network(drawn.detach())
    right = F.binary_cross_entropy(network.of_pair(of_real, sentence), yes)
    false = F.binary_cross_entropy(network.of_pair(of_drawn, sentence), no)
    wrong = F.binary_cross_entropy(network.of_pair(of_real[:-1], sentence[1:]), no[1:])
    real_alone = F.binary_cross_entropy(network.of_image(of_real), yes)
    drawn_alone = F.binary_cross_entropy(network.of_image(of_drawn), no)
    return (real_alone + right) / 2 + (drawn_alone + false + wrong) / 3


# --- DF-GAN -----------------------------------------------------------------------------------------------------------


def dfgan_step(players: Players, image: Tensor, sentence: Tensor, latent: Tensor) -> dict[str, float]:
    """One step of DF-GAN's training; what was minimised, by name."""
    (network,), (adam,) = players.discriminators, players.adams
    image, sentence = image.requires_grad_(), sentence.requires_grad_()
    features = network(image)
    on_real = network.of_pair(features, sentence)
    real = F.relu(1.0 - on_real).mean()
    wrong = F.relu(1.0 + network.of_pair(torch.cat((features[1:], features[:1])), sentence)).mean()
    drawn = players.generator(latent, sentence)
    fake = F.relu(1.0 + network.of_pair(network(drawn.detach()), sentence)).mean()
    penalty = 2.0 * _penalty(on_real, image, sentence)
    loss = real + (fake + wrong) / 2.0 + penalty
    adam.zero_grad()
    loss.backward()
    adam.step()

    of_generator = -network.of_pair(network(drawn), sentence).mean()
    players.adam.zero_grad()
    of_generator.backward()
    players.adam.step()
    return {"errD": loss.item(), "MA_GP": penalty.item(), "errG": of_generator.item()}


def _penalty(output: Tensor, image: Tensor, sentence: Tensor) -> Tensor:
    """The sixth power of the gradient's norm at real pairs."""
    gradients = torch.autograd.grad(output, (image, sentence), torch.ones_like(output), True, True)
    rows = torch.cat([gradient.view(len(output), -1) for gradient in gradients], 1)
    return rows.square().sum(1).sqrt().pow(6).mean()
