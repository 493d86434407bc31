"""Each argument of `GANModule`: three steps with it equal the papers' formulas written out here, and differ without it.

Nothing of attngan/losses is used in the formulas but the DAMSM's matching loss, which has tests of its own.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import fields
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attngan.draws import Draws
from attngan.losses.matching import matching_loss
from attngan.losses.regularizers import R1
from attngan.networks.discriminators import DiscriminatorPyramid
from attngan.networks.multistage import StackGANPlusPlusGenerator
from attngan.records import CaptionBatch, TextFeatures, TextImageBatch
from attngan.text.vocabulary import Vocabulary
from attngan.training.augmentation import POLICIES, binomial_blur
from attngan.training.gan_module import GANModule
from attngan.training.generator_ema import EMA
from attngan.training.rates import Rates
from tests.tiny import CAPTIONS, EMBED, SIDES, write_damsm

STEPS, BATCH, CONDITION = 3, 5, 4
EPOCH, DONE = 5, 0.8  # where the run is

#: What the cases begin with: every term is there, with a weight that is not 1.
BASE: dict[str, Any] = {
    "matching": 3.0,
    "kl": 2.0,
    "color_consistency": 5.0,
    "rates": Rates(1e-3, 2e-3, (0.6, 0.99)),
    "ema": EMA(0.7),
}

CASES: dict[str, dict[str, Any]] = {
    "adversarial: summed": {"adversarial": "bce sum"},
    "adversarial: hinge": {"adversarial": "hinge"},
    "condition: mean": {"condition": "mean"},
    "condition: detached mean": {"condition": "detached mean"},
    "matching": {"matching": 7.0},
    "matching: none": {"matching": 0.0},
    "matching_blur": {"matching_blur": True},
    "kl": {"kl": 3.0},
    "kl: none": {"kl": 0.0},
    "color_consistency": {"color_consistency": 50.0},
    "color_consistency: none": {"color_consistency": 0.0},
    "gradient_penalty": {"gradient_penalty": 2.0},
    "gradient_penalty: another weight": {"gradient_penalty": 3.5},
    "r1: weight": {"r1": R1(weight=3.0, every=1)},
    "r1: every": {"r1": R1(weight=3.0, every=2)},
    "r1: only at the first of the steps": {"r1": R1(weight=3.0)},
    "r1 and gradient_penalty": {"r1": R1(weight=3.0, every=1), "gradient_penalty": 2.0},
    "wrong_pairs: attngan": {"wrong_pairs": "attngan"},
    "wrong_pairs: dfgan": {"wrong_pairs": "dfgan"},
    "wrong_pairs: stackgan": {"wrong_pairs": "stackgan"},
    "matching_captions": {"matching_captions": 7},
    "augment": {"augment": 0.25},
    "augment: policies": {"augment": {"translation": 0.25, "cutout": 0.5}},
    "rates: generator": {"rates": Rates(3e-3, 2e-3, (0.6, 0.99))},
    "rates: discriminator": {"rates": Rates(1e-3, 5e-3, (0.6, 0.99))},
    "rates: first beta": {"rates": Rates(1e-3, 2e-3, (0.0, 0.99))},
    "rates: second beta": {"rates": Rates(1e-3, 2e-3, (0.6, 0.9))},
    "rates: fall": {"rates": Rates(1e-3, 2e-3, (0.6, 0.99), fall=0.5)},
    "rates: halved_every": {"rates": Rates(1e-3, 2e-3, (0.6, 0.99), halved_every=2)},
    "ema: decay": {"ema": EMA(0.4)},
    "ema: none": {"ema": EMA(0.0)},
    "ema: warmup": {"ema": EMA(0.7, warmup=True)},
    "ema: buffers": {"ema": EMA(0.7, buffers="published")},
}

# --- the formulas -----------------------------------------------------------------------------------------------------

Logits = tuple[Tensor | None, Tensor | None]  # on pairs, on images alone


def pairs(rule: str, lengths: list[int], classes: list[int]) -> tuple[list[int], list[int]]:
    """Positions of images and of captions that are not theirs."""
    size = len(lengths)
    if rule == "dfgan":
        return [(i + 1) % size for i in range(size)], list(range(size))
    order = sorted(range(size), key=lambda i: -lengths[i]) if rule == "attngan" else list(range(size))
    if rule in ("attngan", "stackgan"):
        return order[:-1], order[1:]
    by_class = sorted(range(size), key=lambda i: classes[i])
    largest = max(classes.count(c) for c in classes)
    return by_class, [by_class[(i + largest) % size] for i in range(size)]


def real_terms(kind: str, logits: Logits) -> list[Tensor]:
    if kind == "hinge":
        return [torch.clamp(1 - x, min=0).mean() for x in logits if x is not None]
    return [F.binary_cross_entropy_with_logits(x, torch.ones_like(x)) for x in logits if x is not None]


def fake_term(kind: str, x: Tensor) -> Tensor:
    return torch.clamp(1 + x, min=0).mean() if kind == "hinge" else F.binary_cross_entropy_with_logits(x, x * 0)


def discriminators_loss(kind: str, real: Logits, fake: Logits, wrong: Logits) -> Tensor:
    """Both heads are there."""
    (on_pair, on_image), (fake_pair, fake_image) = real_terms(kind, real), (fake_term(kind, x) for x in fake)
    wrong_pair = fake_term(kind, wrong[0])
    if kind == "bce":
        return (on_pair + on_image) / 2 + (fake_pair + fake_image + wrong_pair) / 3
    if kind == "bce sum":
        (_, wrong_image) = real_terms(kind, wrong)
        return on_pair + on_image + fake_pair + fake_image + wrong_pair + wrong_image
    return on_pair + (fake_pair + wrong_pair) / 2 + on_image + fake_image


def colours(images: Tensor) -> tuple[Tensor, Tensor]:
    pixels = images.flatten(2)
    mean = pixels.mean(2, keepdim=True)
    return mean[:, :, 0], torch.stack([(p @ p.T) / p.shape[1] for p in pixels - mean])


class WrittenOut:
    """The training that `GANModule` should do, on copies of its networks."""

    def __init__(self, module: GANModule, arguments: dict[str, Any]) -> None:
        self.generator, self.damsm = copy.deepcopy(module.generator), module.damsm
        self.draws_seed = module.draws_seed
        self.stages = [copy.deepcopy(stage) for stage in module.discriminators.stages]
        self.a = {name: p.default for name, p in signature(GANModule).parameters.items()} | arguments
        rates: Rates = self.a["rates"]
        factor = 1.0
        if rates.fall:
            factor *= min(1.0, max(0.02, (1 - DONE) / rates.fall))
        if rates.halved_every:
            factor *= 0.5 ** (EPOCH // rates.halved_every)
        self.players = [
            torch.optim.Adam(self.generator.parameters(), rates.generator * factor, betas=rates.betas),
            *(torch.optim.Adam(d.parameters(), rates.discriminator * factor, betas=rates.betas) for d in self.stages),
        ]
        self.average = copy.deepcopy(self.generator)
        self.gradients: list[list[Tensor]] = []
        self.earlier: list[tuple[Tensor, ...]] = []

    def seen(self, images: Tensor) -> Tensor:
        """Augmented, by the random numbers that come next in the step."""
        policies = self.a["augment"] if isinstance(self.a["augment"], dict) else {"shift": self.a["augment"]}
        for name, strength in policies.items():
            images = POLICIES[name](images, strength, self.draws) if strength else images
        return images

    def judge(self, stage: int, images: Tensor, sentence: Tensor) -> tuple[Logits, Tensor]:
        features = self.stages[stage](images)
        return (self.stages[stage].judge_pair(features, sentence), self.stages[stage].judge_image(features)), features

    def descend(self, player: int, loss: Tensor, network: nn.Module) -> None:
        self.players[player].zero_grad()
        gradients = torch.autograd.grad(loss, list(network.parameters()), allow_unused=True)
        self.gradients.append([g for g in gradients if g is not None])
        for parameter, gradient in zip(network.parameters(), gradients, strict=True):
            parameter.grad = gradient
        self.players[player].step()

    def discriminators_step(self, stage: int, step: int, batch: TextImageBatch, drawn: Tensor, read: Tensor) -> None:
        a, r1 = self.a, self.a["r1"]
        images, sentence = batch.images[stage].clone().requires_grad_(), read.detach().clone().requires_grad_()
        real, features = self.judge(stage, self.seen(images), sentence)
        fake, _ = self.judge(stage, drawn.detach(), sentence)
        rows, captions = pairs(a["wrong_pairs"], batch.captions.lengths.tolist(), batch.classes.tolist())
        wrong = self.stages[stage].judge_pair(features[rows], sentence[captions]), real[1][rows]
        loss = discriminators_loss(a["adversarial"], real, fake, wrong)
        if r1.weight and step % r1.every == 0:
            (slope,) = torch.autograd.grad((real[0] + real[1]).sum(), images, create_graph=True)
            loss = loss + r1.every * r1.weight / 2 * sum(s.square().sum() for s in slope) / BATCH
        if a["gradient_penalty"]:
            slopes = torch.autograd.grad(real[0].sum(), (images, sentence), create_graph=True)
            norms = [torch.cat([part[i].flatten() for part in slopes]).norm() for i in range(BATCH)]
            loss = loss + a["gradient_penalty"] * sum(norm**6 for norm in norms) / BATCH
        self.descend(1 + stage, loss, self.stages[stage])

    def step(self, step: int, batch: TextImageBatch) -> None:
        a = self.a
        self.draws = Draws(self.draws_seed, step, range(BATCH))
        noise = self.generator.draw_noise(self.draws)
        with torch.no_grad():
            text: TextFeatures = self.damsm.text_encoder(batch.captions)
        fake = self.generator(noise, text)
        read = {"sentence": text.sentence, "mean": fake.mean, "detached mean": fake.mean.detach()}[a["condition"]]
        seen = [self.seen(images) for images in fake.images]  # once a step, for both players
        for stage, drawn in enumerate(seen):
            self.discriminators_step(stage, step, batch, drawn, read)
        loss = torch.zeros(())
        for stage, drawn in enumerate(seen):
            logits, _ = self.judge(stage, drawn, read)
            if a["adversarial"] == "hinge":
                loss = loss - logits[0].mean() - logits[1].mean()
            else:
                loss = loss + sum(real_terms("bce", logits))
        variance = fake.log_variance.exp()
        loss = loss + a["kl"] * ((fake.mean**2 + variance - fake.log_variance - 1) / 2).mean()
        (mean_below, covariance_below), (mean, covariance) = colours(fake.images[0].detach()), colours(fake.images[1])
        distance = (mean - mean_below).square().mean() + 5 * (covariance - covariance_below).square().mean()
        loss = loss + a["color_consistency"] * distance
        if a["matching"]:
            shown = binomial_blur(fake.images[-1]) if a["matching_blur"] else fake.images[-1]
            captions, classes = self.beside_earlier_captions(text, batch.classes)
            terms = matching_loss(self.damsm.image_encoder(shown), captions, classes, *self.damsm.gammas)
            loss = loss + a["matching"] * sum(terms)
        self.descend(0, loss, self.generator)
        self.follow(step)

    def beside_earlier_captions(self, text: TextFeatures, classes: Tensor) -> tuple[TextFeatures, Tensor]:
        """The batch's captions, and after them the last ones of the batches before."""
        kept = self.earlier[-self.a["matching_captions"] :] if self.a["matching_captions"] else []
        self.earlier += list(zip(*text, classes, strict=True))
        if not kept:
            return text, classes
        rows = [*zip(*text, classes, strict=True), *kept]
        longest = max(words.shape[1] for words, *_ in rows)
        return (
            TextFeatures(
                torch.stack([F.pad(words, (0, longest - words.shape[1])) for words, *_ in rows]),
                torch.stack([sentence for _, sentence, *_ in rows]),
                torch.stack([F.pad(padding, (0, longest - len(padding)), value=True) for *_, padding, _ in rows]),
            ),
            torch.stack([row[-1] for row in rows]),
        )

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """One step of the moving average."""
        ema: EMA = self.a["ema"]
        decay = min(ema.decay, (1 + step) / (10 + step)) if ema.warmup else ema.decay
        for mine, live in zip(self.average.parameters(), self.generator.parameters(), strict=True):
            mine.copy_(decay * mine + (1 - decay) * live)
        kept = decay if ema.buffers == "averaged" else 0.0
        for mine, live in zip(self.average.buffers(), self.generator.buffers(), strict=True):
            mine.copy_(kept * mine + (1 - kept) * live if live.is_floating_point() else live)

    def result(self) -> list[Tensor]:
        networks = [self.generator, *self.stages, self.average]
        return [*(g for step in self.gradients for g in step), *(v for n in networks for v in n.state_dict().values())]


# --- the module -------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _in_float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def batch() -> TextImageBatch:
    images = tuple(torch.rand(BATCH, 3, side, side) * 2 - 1 for side in SIDES)
    captions = CaptionBatch(torch.randint(1, 20, (BATCH, 6)), torch.tensor([4, 5, 3, 6, 4]))
    classes = torch.tensor([0, 0, 1, 2, 1])  # the next caption is of the same class, at times
    return TextImageBatch(images, captions, classes, torch.arange(BATCH), torch.zeros(BATCH, dtype=torch.bool))


@pytest.fixture(scope="module")
def damsm(tmp_path_factory) -> Path:
    return write_damsm(tmp_path_factory.mktemp("damsm") / "damsm.ckpt", Vocabulary.from_captions(CAPTIONS))


@pytest.fixture
def made(damsm, monkeypatch) -> Callable[[dict[str, Any]], tuple[GANModule, list[list[Tensor]]]]:
    """A module that steps without a trainer, always from the same weights, and the gradients at its updates."""

    def make(arguments: dict[str, Any]) -> tuple[GANModule, list[list[Tensor]]]:
        torch.manual_seed(1)
        read = EMBED if arguments.get("condition", "sentence") == "sentence" else CONDITION
        generator = StackGANPlusPlusGenerator(2, 4, EMBED, 4, CONDITION, 1, SIDES[0])
        module = GANModule(generator, DiscriminatorPyramid(SIDES, 2, read), damsm, **arguments).double().train()
        optimizers = module.configure_optimizers()
        monkeypatch.setattr(module, "optimizers", lambda: optimizers)
        monkeypatch.setattr(module, "manual_backward", lambda loss: loss.backward())
        for name in ("log", "log_dict"):
            monkeypatch.setattr(module, name, lambda *_, **__: None)
        monkeypatch.setattr(GANModule, "trainer", type("OneDevice", (), {"world_size": 1, "log_every_n_steps": 1})())
        monkeypatch.setattr(GANModule, "current_epoch", EPOCH)
        monkeypatch.setattr("attngan.training.gan_module.share_done", lambda *_: DONE)
        gradients: list[list[Tensor]] = []
        for optimizer in optimizers:
            optimizer.register_step_pre_hook(
                lambda o, *_: gradients.append(
                    [p.grad.clone() for group in o.param_groups for p in group["params"] if p.grad is not None]
                )
            )
        return module, gradients

    return make


def stepped(made, batch: TextImageBatch, arguments: dict[str, Any]) -> tuple[list[Tensor], WrittenOut]:
    """Gradients and states after the module's steps, and the same written out."""
    module, gradients = made(arguments)
    expected = WrittenOut(module, arguments)
    for step in range(STEPS):
        module.training_step(batch, step)
        expected.step(step, batch)
    networks = [module.generator, *module.discriminators.stages, module.ema.generator]
    states = [value for network in networks for value in network.state_dict().values()]
    # the module updates the discriminators first, as the formulas do
    return [*(g for update in gradients for g in update), *states], expected


def close(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) and all(
        a.shape == b.shape and torch.allclose(a.double(), b.double(), rtol=1e-6, atol=1e-9)
        for a, b in zip(one, other, strict=True)
    )


@pytest.fixture
def as_written_out(made, batch) -> Callable[[dict[str, Any]], list[Tensor]]:
    def check(arguments: dict[str, Any]) -> list[Tensor]:
        ours, expected = stepped(made, batch, arguments)
        theirs = expected.result()
        assert len(ours) == len(theirs)
        for number, (mine, right) in enumerate(zip(ours, theirs, strict=True)):
            torch.testing.assert_close(mine, right, rtol=1e-6, atol=1e-9, msg=lambda m, n=number: f"{n}: {m}")
        return ours

    return check


@pytest.fixture(scope="module")
def base_outcome() -> list[list[Tensor]]:
    return []


@pytest.mark.parametrize("case", ["as it is", *CASES])
def test_the_step_is_the_formula_and_the_argument_counts(as_written_out, made, batch, base_outcome, case):
    outcome = as_written_out(BASE | CASES.get(case, {}))
    if not base_outcome:
        base_outcome.append(stepped(made, batch, BASE)[0])
    assert close(outcome, base_outcome[0]) == (case == "as it is")


def test_every_argument_has_a_case():
    tried = {name for change in CASES.values() for name in change}
    elsewhere = {"generator", "discriminators", "damsm", "matching_pass", "compile"}  # test_gan_module.py
    elsewhere |= {"accumulate", "clip"}  # test_descent.py
    assert tried | elsewhere == set(signature(GANModule).parameters)
    for group in (Rates, EMA, R1):
        assert {f.name for f in fields(group)} <= {case.partition(": ")[2] for case in CASES} | {"betas"}


@pytest.mark.parametrize("case", ["wrong_pairs: attngan", "wrong_pairs: dfgan", "wrong_pairs: stackgan"])
def test_wrong_pairs_of_another_class_are_the_default(made, batch, case):
    """The batch has pairs that the published rules take, and that are of one class."""
    rows, captions = pairs(CASES[case]["wrong_pairs"], batch.captions.lengths.tolist(), batch.classes.tolist())
    assert any(batch.classes[i] == batch.classes[c] for i, c in zip(rows, captions, strict=True))
    rows, captions = pairs("other class", batch.captions.lengths.tolist(), batch.classes.tolist())
    assert all(batch.classes[i] != batch.classes[c] for i, c in zip(rows, captions, strict=True))
