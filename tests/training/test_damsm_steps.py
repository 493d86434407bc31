"""DAMSM pretraining step by step: as published (golden), and as each argument of `DAMSMModule` says."""

import copy
from dataclasses import dataclass
from inspect import signature
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback, LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from attngan.draws import Draws
from attngan.losses.matching import matching_loss
from attngan.networks.damsm import DAMSM
from attngan.networks.image_trunks import ConvTrunk
from attngan.networks.published import (
    image_encoder_sizes,
    image_encoder_state,
    text_encoder_sizes,
    text_encoder_state,
)
from attngan.networks.published_names import IMAGE_ENCODER, TEXT_ENCODER, published_names
from attngan.records import CaptionBatch, ImageFeatures, TextFeatures, TextImageBatch
from attngan.text.vocabulary import PADDING, Vocabulary
from attngan.training.damsm_module import DAMSMModule
from tests.golden_family import Colours, quiet_trainer
from tests.networks.comparison import assert_close, tensors


class Batches(LightningDataModule):
    def __init__(self, batches: list[TextImageBatch], words: int) -> None:
        super().__init__()
        self.batches = batches
        self.vocabulary = Vocabulary((PADDING, *(f"word{i}" for i in range(1, words))))

    def train_dataloader(self) -> DataLoader[TextImageBatch]:
        return DataLoader(self.batches, batch_size=None)


class Watch(Callback):
    """Puts weights in at the start; keeps losses, gradients before they are clipped, and their norm."""

    def __init__(self, start: Any = None) -> None:
        self.start = start
        self.losses: list[dict[str, float]] = []
        self.gradients: list[dict[str, Tensor]] = []
        self.norms: list[float] = []
        self.initial: DAMSM | None = None

    def on_fit_start(self, trainer, pl_module) -> None:
        if self.start is not None:
            self.start(pl_module.damsm)
        self.initial = copy.deepcopy(pl_module.damsm)

    def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
        self.gradients.append({n: p.grad.clone() for n, p in pl_module.damsm.named_parameters() if p.grad is not None})

    def on_train_batch_end(self, trainer, pl_module, *_) -> None:
        self.losses.append({name: float(value) for name, value in trainer.callback_metrics.items()})
        self.norms.append(float(trainer.callback_metrics["gradient_norm/text"]))


def batch_of(images: Tensor, captions: CaptionBatch, classes: Tensor | None) -> TextImageBatch:
    count = len(images)
    return TextImageBatch((images,), captions, classes, torch.arange(count), torch.zeros(count, dtype=torch.bool))


@pytest.mark.golden
def test_three_steps_equal_the_published_ones(golden, golden_notes):
    arrays, config = golden("damsm_steps"), golden_notes("damsm_steps")["config"]
    g, published_text, published_image = tensors(arrays), tensors(arrays, "T."), tensors(arrays, "E.")
    trunk = Colours(g["images"].shape[-1])
    sizes = text_encoder_sizes(published_text)
    words = sizes.pop("vocabulary_size")
    assert sizes["embed_dim"] == image_encoder_sizes(published_image)["embed_dim"]

    def start(damsm: DAMSM) -> None:
        damsm.text_encoder.load_state_dict(text_encoder_state(published_text))
        damsm.image_encoder.load_state_dict(image_encoder_state(published_image, trunk))

    module = DAMSMModule(
        trunk,
        **sizes,
        dropout=0.0,
        **{f"gamma{i}": config[f"GAMMA{i}"] for i in (1, 2, 3)},
        learning_rate=config["lr"],
        betas=tuple(config["betas"]),
        text_gradient_clip=config["RNN_GRAD_CLIP"],
    )
    captions = CaptionBatch(g["captions"], g["cap_lens"])
    data = Batches([batch_of(images, captions, g["class_ids"]) for images in g["images"]], words)
    watch = Watch(start)
    quiet_trainer(1, watch, precision="32-true").fit(module, data)
    terms = ("words_to_caption", "words_to_image", "sentence_to_caption", "sentence_to_image")
    for step, expected in enumerate(g["losses_w0_w1_s0_s1"]):
        assert_close(torch.tensor([watch.losses[step][f"train/{name}_step"] for name in terms]), expected)
    assert_close(torch.tensor(watch.norms), g["rnn_grad_norm_before_clip"])
    for prefix, encoder, key_map in (
        ("final.T.", module.damsm.text_encoder, TEXT_ENCODER),
        ("final.E.", module.damsm.image_encoder, IMAGE_ENCODER),
    ):
        final = tensors(arrays, prefix)
        assert len(encoder.state_dict()) == len(final)
        for name, weight in encoder.state_dict().items():
            (theirs,) = published_names(name, key_map)
            # Adam divides by the gradient's size: where that is near 0, rounding decides
            assert_close(weight, final[theirs], relative=1e-4)


# --- each argument ----------------------------------------------------------------------------------------------------

EPOCHS, BATCH, WORDS = 3, 6, 20
BASE: dict[str, Any] = {
    "embed_dim": 8,
    "word_dim": 5,
    "dropout": 0.0,
    "gamma1": 3.0,
    "gamma2": 4.0,
    "gamma3": 9.0,
    "learning_rate": 3e-3,
    "betas": (0.6, 0.98),
    "learning_rate_decay": 0.5,
    "text_gradient_clip": 0.05,
}
CASES: dict[str, dict[str, Any]] = {
    "embed_dim": {"embed_dim": 12},
    "word_dim": {"word_dim": 7},
    "rnn": {"rnn": "gru"},
    "dropout": {"dropout": 0.5},
    "image_dropout": {"image_dropout": 0.4},
    "gamma1": {"gamma1": 6.0},
    "gamma2": {"gamma2": 2.0},
    "gamma3": {"gamma3": 5.0},
    "words_weight": {"words_weight": 0.3},
    "sentence_weight": {"sentence_weight": 0.3},
    "words_within": {"words_within": 4},
    "learning_rate": {"learning_rate": 1e-3},
    "learning_rate_fall": {"learning_rate_fall": 0.7},
    "weight_decay": {"weight_decay": 0.5},
    "betas: first": {"betas": (0.0, 0.98)},
    "betas: second": {"betas": (0.6, 0.9)},
    "learning_rate_decay": {"learning_rate_decay": 0.9},
    "learning_rate_decay: not below a tenth": {"learning_rate_decay": 0.05},
    "text_gradient_clip": {"text_gradient_clip": 0.02},
    "text_gradient_clip: none that bites": {"text_gradient_clip": 1e6},
    "adam": {"adam": "reset"},
}


@dataclass(frozen=True)
class Outcome:
    gradients: list[Tensor]
    weights: list[Tensor]


def written_out(damsm: DAMSM, batches: list[TextImageBatch], given: dict[str, Any], draws_seed: int) -> Outcome:
    """The pretraining of the paper's code, with the arguments of `DAMSMModule`."""
    a = {name: p.default for name, p in signature(DAMSMModule).parameters.items()} | given
    damsm.train()
    parameters, gradients, step = [*damsm.parameters()], [], 0
    adam = torch.optim.Adam(parameters, a["learning_rate"], betas=a["betas"])
    for epoch in range(EPOCHS):
        if a["adam"] == "reset":
            adam = torch.optim.Adam(parameters, a["learning_rate"], betas=a["betas"])
        for batch in batches:
            rate = a["learning_rate"] * max(a["learning_rate_decay"] ** epoch, 0.1)
            if a["learning_rate_fall"]:
                rate *= min(1.0, max(0.02, (1 - step / (EPOCHS * len(batches))) / a["learning_rate_fall"]))
            for group in adam.param_groups:
                group["lr"] = rate
            draws = Draws(draws_seed, step + 1, range(BATCH))
            text = damsm.text_encoder(batch.captions, draws)
            trunk = damsm.image_encoder.trunk(batch.images[-1])
            trunk = type(trunk)(*(draws.dropout(part, a["image_dropout"]) for part in trunk))
            image, gammas = damsm.image_encoder.project(trunk), [a[f"gamma{i}"] for i in (1, 2, 3)]
            of_words = torch.zeros(())
            size = a["words_within"] or BATCH
            for first in range(0, BATCH, size):
                group = slice(first, first + size)
                mine = ImageFeatures(*(x[group] for x in image)), TextFeatures(*(x[group] for x in text))
                classes = None if batch.classes is None else batch.classes[group]
                terms = matching_loss(*mine, classes, *gammas)
                of_words = of_words + sum(terms[:2]) * len(mine[0].pooled) / BATCH
            of_sentences = sum(matching_loss(image, text, batch.classes, *gammas)[2:])
            loss = a["words_weight"] * of_words + a["sentence_weight"] * of_sentences
            adam.zero_grad()
            loss.backward()
            gradients += [p.grad.clone() for p in parameters]
            of_text = [p.grad for p in damsm.text_encoder.parameters()]
            norm = torch.cat([g.flatten() for g in of_text]).norm()
            for gradient in of_text:
                gradient.mul_(min(1.0, a["text_gradient_clip"] / (float(norm) + 1e-6)))
            with torch.no_grad():
                for parameter in parameters:
                    if parameter.ndim > 1:
                        parameter.mul_(1 - rate * a["weight_decay"])
            adam.step()
            step += 1
    return Outcome(gradients, [value.clone() for value in damsm.state_dict().values()])


def trained(given: dict[str, Any], batches: list[TextImageBatch]) -> tuple[Outcome, Outcome]:
    """By the module, and written out, from the same weights."""
    torch.manual_seed(2)
    module, watch = DAMSMModule(ConvTrunk(16, 2), **given), Watch()
    data = Batches(batches, WORDS)
    quiet_trainer(EPOCHS, watch).fit(module, data)
    ours = Outcome([g for step in watch.gradients for g in step.values()], [*module.damsm.state_dict().values()])
    return ours, written_out(watch.initial, batches, given, module.draws_seed)


@pytest.fixture
def batches() -> list[TextImageBatch]:
    torch.manual_seed(0)
    captions = CaptionBatch(torch.randint(1, WORDS, (BATCH, 5)), torch.tensor([5, 2, 4, 3, 5, 1]))
    classes = torch.tensor([0, 1, 0, 2, 1, 0])  # other captions of an image's class must not count as wrong
    return [batch_of(torch.rand(BATCH, 3, 16, 16).double() * 2 - 1, captions, classes) for _ in range(2)]


@pytest.fixture(scope="module")
def base_outcome() -> dict[str, Outcome]:
    return {}


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(
        a.shape == b.shape and torch.allclose(a, b, rtol=1e-7, atol=1e-10) for a, b in zip(one, other, strict=False)
    )


@pytest.mark.parametrize("case", ["as it is", *CASES])
def test_the_step_is_the_formula_and_the_argument_counts(batches, base_outcome, case):
    ours, expected = trained(BASE | CASES.get(case, {}), batches)
    assert len(ours.gradients) == len(expected.gradients) > 0
    for mine, right in zip([*ours.gradients, *ours.weights], [*expected.gradients, *expected.weights], strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-7, atol=1e-10)
    if "base" not in base_outcome:
        base_outcome["base"] = trained(BASE, batches)[0]
    assert same(ours.weights, base_outcome["base"].weights) == (case == "as it is")


def test_classes_count(batches):
    without = [batch._replace(classes=None) for batch in batches]
    ours, expected = trained(BASE, without)
    assert same(ours.weights, expected.weights)
    assert not same(ours.weights, trained(BASE, batches)[0].weights)


def test_every_argument_has_a_case():
    elsewhere = {"image_trunk", "keep_features", "kept_image_size"}  # test_damsm_module.py
    elsewhere |= {"accumulate", "clip"}  # test_descent.py
    elsewhere |= {"text_encoder", "pretrained_rate"}  # commands/test_text_encoders.py
    assert {case.partition(":")[0] for case in CASES} | elsewhere == set(signature(DAMSMModule).parameters)
