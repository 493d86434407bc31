"""Every network of the family beside the numbers that its authors' code computed, in float64.

Tolerances are those of the golden files' notes. DM-GAN's differ: its published spectral norm is half a power iteration
behind torch's, and iterates in eval mode too.
"""

from itertools import pairwise
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from attngan.losses.adversarial import ADVERSARIAL, Verdict
from attngan.losses.matching import matching_loss
from attngan.losses.regularizers import color_consistency, kl_divergence, matching_aware_gradient_penalty
from attngan.networks.stackgan import StackGANStage2Generator
from attngan.records import GeneratedImages, TextFeatures
from tests.golden_family import (
    RECIPES,
    GoldenRun,
    Trained,
    Translated,
    double,
    noise_of,
    real_images,
    text_of,
    train_golden,
)
from tests.networks.comparison import assert_close

pytestmark = pytest.mark.golden

EXACT = 1e-10
STORED_IN_FLOAT32 = 1e-6
#: AttnGAN's forward is compared in tests/networks.
VARIANTS = [variant for variant in RECIPES if variant != "attngan"]


@pytest.fixture(params=VARIANTS)
def run(request, golden, golden_notes) -> GoldenRun:
    return GoldenRun(request.param, golden, golden_notes)


def statistics(images: Tensor) -> Tensor:
    """Mean and mean of squares of each channel, as the files keep them."""
    return torch.stack([images.mean((2, 3)), images.square().mean((2, 3))], -1)


def thinned(maps: Tensor, like: Tensor) -> Tensor:
    step = maps.shape[-1] // like.shape[-1]
    return maps[:, :, ::step, ::step]


def drawn_by(run: GoldenRun, mode: str) -> tuple[Translated, GeneratedImages, dict[str, Tensor]]:
    """The generator with its golden weights, what it draws in this mode, and what stood in between."""
    io, generator = run.arrays("forward"), run.generator()
    network, between = generator.network.double(), {}
    network.train(mode != "eval")
    if mode == "train" and isinstance(network, StackGANStage2Generator):
        network.stage1.train()  # the published trainer leaves it in this mode, ours does not
    for number, stage in enumerate(getattr(network, "stages", []), 2):
        for part in ("key", "value"):
            if hasattr(stage.fusion, part):
                name = f"memory_{part}{number}"
                getattr(stage.fusion, part).register_forward_hook(
                    lambda *hooked, name=name: between.__setitem__(name, hooked[-1].relu())
                )
    if isinstance(network, StackGANStage2Generator):
        network.stage1.register_forward_hook(lambda *hooked: between.__setitem__("stage1_image", hooked[-1].images[-1]))
    with torch.no_grad():
        return generator, network(noise_of(io), text_of(io)), between


def modes(io: dict[str, Tensor]) -> list[str]:
    found = {name.partition(".")[0] for name in io if name.partition(".")[2].startswith(("image", "mu"))}
    return sorted(found - {"loss"}) or [""]  # DF-GAN has no batch norm: one mode is the other


def test_generators_draw_the_published_pictures(run):
    io = run.arrays("forward")
    for mode in modes(io):
        generator, drawn, between = drawn_by(run, mode)
        mine = {
            name.removeprefix(f"{mode}."): t for name, t in io.items() if name.startswith(f"{mode}." if mode else "")
        }
        expected = {name: t for name, t in mine.items() if name.startswith("image")}
        compared = set()
        for side, image in zip(generator.network.image_sizes, drawn.images, strict=True):
            (stats,) = (n for n in expected if n.endswith("_stats") and n in (f"image{side}_stats", "image_stats"))
            (pixels,) = (n for n in expected if n.startswith(stats.removesuffix("stats") + "s") and n != stats)
            assert_close(statistics(image), expected[stats], EXACT)
            assert_close(thinned(image, expected[pixels]), expected[pixels], STORED_IN_FLOAT32)
            compared |= {stats, pixels}
        assert compared == expected.keys()
        assert ("mu" in mine) == (drawn.mean is not None)
        if drawn.mean is not None:
            assert_close(drawn.mean, mine["mu"], EXACT)
            assert_close(drawn.log_variance, mine["logvar"], EXACT)
        maps = sorted(name for name in mine if name.startswith("attention"))
        for name, attention in zip(maps, drawn.attention, strict=True):
            assert_close(thinned(attention, mine[name]), mine[name], STORED_IN_FLOAT32)
        stood = [name for name in mine if name.startswith(("memory_key", "memory_value", "stage1_image"))]
        assert len(stood) == len(between)
        for name in stood:
            value = between[name.partition("_s2")[0]]
            assert_close(thinned(value, mine[name]) if value.ndim == 4 else value, mine[name], STORED_IN_FLOAT32)


def test_running_statistics_after_one_forward(run):
    io = run.arrays("forward")
    after = {name: t for name, t in io.items() if name.startswith("train.after.")}
    if not after:
        pytest.skip("not among this variant's files")
    generator, _, _ = drawn_by(run, "train")
    known = {name.removeprefix("train.after.") for name in after}
    ours = {n: t for n, t in generator.network.state_dict().items() if "running" in n}
    published = generator.published(ours, run.state)
    for name in known:
        assert_close(published[name], after[f"train.after.{name}"], EXACT)


def read_by_discriminators(run: GoldenRun, drawn: GeneratedImages, text: TextFeatures | None) -> Tensor | None:
    if text is None:
        return None
    return drawn.mean if run.variant.startswith("stackgan") else text.sentence


def verdicts(
    run: GoldenRun, stage: int, discriminator: Translated, images: tuple[Tensor, ...], drawn: GeneratedImages
) -> dict[str, Verdict]:
    """Of one discriminator on real, drawn and wrong pairs, as the variant's published code pairs them."""
    io, network = run.arrays("forward"), discriminator.network
    sentence = read_by_discriminators(run, drawn, text_of(io))
    features = {"real": network(images[stage]), "fake": network(drawn.images[stage])}
    judged = {
        kind: Verdict(None if sentence is None else network.judge_pair(f, sentence), network.judge_image(f))
        for kind, f in features.items()
    }
    if sentence is None:
        return judged | {"wrong": Verdict(None, None)}
    if "wrong_image_of_caption" in io:
        rows, captions = io["wrong_image_of_caption"], torch.arange(len(sentence))
    elif run.variant == "dfgan":
        captions = torch.arange(len(sentence))
        rows = captions.roll(-1)
    else:
        captions = torch.arange(1, len(sentence))
        rows = captions - 1
    wrong = features["real"][rows]
    return judged | {"wrong": Verdict(network.judge_pair(wrong, sentence[captions]), network.judge_image(wrong))}


def loaded_discriminators(run: GoldenRun, training: bool) -> list[Translated]:
    module, stages = run.discriminators()
    module.double().train(training)
    return stages


def logits_of(run: GoldenRun, io: dict[str, Tensor], stage: int, mode: str) -> dict[tuple[str, str], Tensor]:
    """The published logits: (real, fake or wrong; pair or image) -> numbers."""
    if run.variant == "dfgan":
        names = {"real": "logit.real", "fake": "logit.fake", "wrong": "logit.mis"}
        return {(kind, "pair"): io[name] for kind, name in names.items()}
    prefix = f"D{stage}.{mode}." if any(name.startswith("D0.") for name in io) else f"D.{mode}."
    heads = [(kind, head) for kind in ("real", "fake", "wrong") for head in ("pair", "image")]
    return {(kind, head): io[f"{prefix}{kind}_{head}"] for kind, head in heads if f"{prefix}{kind}_{head}" in io}


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_discriminators_give_the_published_logits(run, mode):
    io = run.arrays("forward")
    generator, drawn, _ = drawn_by(run, "train" if "train" in modes(io) else "")
    images = real_images(io, generator.network.image_sizes)
    spectral = run.variant == "dmgan"
    for stage, discriminator in enumerate(loaded_discriminators(run, mode == "train")):
        expected = logits_of(run, io, stage, mode)
        assert expected
        with torch.no_grad():
            ours = verdicts(run, stage, discriminator, images, drawn)
        for (kind, head), logits in expected.items():
            tolerance = STORED_IN_FLOAT32 if spectral and mode == "eval" else EXACT
            assert_close(getattr(ours[kind], head), logits, tolerance)


def test_losses_equal_the_published_terms(run):
    io, config = run.arrays("forward"), run.config("forward")
    generator, drawn, _ = drawn_by(run, "train" if "train" in modes(io) else "")
    images = real_images(io, generator.network.image_sizes)
    adversarial = ADVERSARIAL["hinge" if run.variant == "dfgan" else "bce"]
    terms: dict[str, Tensor] = {}
    for_generator = []
    with torch.no_grad():
        if drawn.mean is not None:
            terms["loss.kl"] = kl_divergence(drawn.mean, drawn.log_variance)
        for number, (lower, higher) in enumerate(pairwise(drawn.images), 1):
            terms[f"colour.{number}"] = color_consistency(lower, higher)
        for stage, discriminator in enumerate(loaded_discriminators(run, True)):
            ours = verdicts(run, stage, discriminator, images, drawn)
            name = f"loss.errD{stage}" if f"loss.errD{stage}" in io else "loss.errD"
            terms[name] = adversarial.discriminator(ours["real"], ours["fake"], ours["wrong"])
            for_generator.append(adversarial.generator(ours["fake"]))
        terms["loss.errG"] = torch.stack(for_generator).sum()
        if "SMOOTH" in config:
            smooth = config["SMOOTH"]
            gammas = smooth["GAMMA1"], smooth["GAMMA2"], smooth["GAMMA3"]
            damsm, text = run.damsm(gammas).double(), text_of(io)
            match = matching_loss(damsm.image_encoder(drawn.images[-1]), text, io["class_ids"], *gammas)
            for name, value in zip(("words0", "words1", "sent0", "sent1"), match, strict=True):
                terms[f"loss.{name}"] = value
            terms["loss.errG_without_kl"] = terms["loss.errG"] + smooth["LAMBDA"] * match.total
    expected = {name: t for name, t in io.items() if name.startswith("loss.") and t.ndim == 0}
    for number in (1, 2):
        if f"colour.like_mu{number}_unweighted" in io:
            unweighted = (io[f"colour.like_{what}{number}_unweighted"] for what in ("mu", "cov"))
            expected[f"colour.{number}"] = sum(unweighted)
    if run.variant == "dfgan":
        real, wrong, fake = (expected[f"loss.errD_{kind}"] for kind in ("real", "mis", "fake"))
        expected["loss.errD"] = real + (wrong + fake) / 2
    compared = expected.keys() & terms.keys()
    assert compared >= {name for name in expected if not name.startswith(("loss.errD_", "loss.MA_GP"))}
    for name in compared:
        assert_close(terms[name], expected[name], EXACT)


def test_dfgans_penalty_and_its_gradients(golden, golden_notes):
    run = GoldenRun("dfgan", golden, golden_notes)
    io = run.arrays("forward")
    (discriminator,) = loaded_discriminators(run, True)
    network = discriminator.network
    (image,) = real_images(io, [run.config("forward")["imsize"]])
    sentence = double(io["sentence"]).requires_grad_()
    logits = network.judge_pair(network(image.requires_grad_()), sentence)
    penalty = 2 * matching_aware_gradient_penalty(logits, image, sentence)  # the published factor is in its term
    assert_close(penalty, io["loss.MA_GP"], EXACT)
    names, parameters = zip(*network.named_parameters(), strict=True)
    gradients = torch.autograd.grad(penalty, parameters, allow_unused=True)
    ours = {name: g for name, g in zip(names, gradients, strict=True) if g is not None}
    published = discriminator.published(ours, run.state)
    expected = {n.removeprefix("grad_of_MA_GP."): t for n, t in io.items() if n.startswith("grad_of_MA_GP.")}
    assert published.keys() == expected.keys()
    for name, gradient in published.items():
        total, norm = expected[name].tolist()
        assert float(gradient.sum()) == pytest.approx(total, abs=EXACT * norm)
        assert float(gradient.norm()) == pytest.approx(norm, rel=EXACT)


# --- three training steps ---------------------------------------------------------------------------------------------

RUNS = {
    **{variant: (variant, "steps") for variant in RECIPES},
    "stackgan_stage2_stage1_eval": ("stackgan_stage2", "steps_stage1_eval"),
}
PENALISED = "dfgan"


class Tolerances(NamedTuple):
    """Relative ones, of README_family.md."""

    losses: float = 1e-8
    gradients: float = 1e-8
    weights: float = 1e-6
    elements: float = 1e-6


def tolerances(variant: str, network: int = 0, step: int = 0) -> Tolerances:
    if variant == PENALISED:
        return Tolerances(1e-10, 1e-10, 1e-8, 1e-8)
    if variant != "dmgan":
        return Tolerances()
    of_weights = (1e-6, 1e-6) if network == 0 else (1e-5, 1e-4)
    return Tolerances(1e-8 if step == 0 else 1e-6, 1e-5, *of_weights)


@pytest.fixture(scope="module", params=RUNS)
def trained(request, golden, golden_notes, tmp_path_factory) -> tuple[str, Trained]:
    variant, part = RUNS[request.param]
    with pytest.MonkeyPatch.context() as patch:
        if (variant, part) == ("stackgan_stage2", "steps"):
            # the published trainer leaves stage I in training mode; ours does not, and that is all that differs
            patch.setattr(StackGANStage2Generator, "train", torch.nn.Module.train)
        run = GoldenRun(variant, golden, golden_notes)
        return variant, train_golden(run, part, tmp_path_factory.mktemp(variant), patch)


def test_losses_are_the_published_ones_at_each_step(trained):
    variant, t = trained
    losses, io = t.recorder.losses, t.io
    expected = {}
    for stage, side in enumerate(t.module.generator.image_sizes):
        of_stage = io.get(f"loss64_errD{stage}", io.get("loss64_errD"))
        expected[f"discriminator_{side}/loss"] = of_stage
        if "loss64_MA_GP" in io:
            expected[f"discriminator_{side}/loss"] = of_stage - io["loss64_MA_GP"]
            expected[f"discriminator_{side}/gradient_penalty"] = io["loss64_MA_GP"] / t.arguments["gradient_penalty"]
    weight = t.arguments.get("kl", 1.0)
    kl = io["loss64_kl_weighted"] / weight if "loss64_kl_weighted" in io else io.get("loss64_kl")
    whole = io["loss64_errG"]
    if kl is not None:
        expected["generator/kl"] = kl
        if variant.startswith("stackgan_"):  # there errG is without it
            whole = whole + weight * kl
    expected["generator/loss"] = whole
    for name, values in expected.items():
        for step, value in enumerate(values.tolist()):
            assert losses[step][name] == pytest.approx(value, rel=tolerances(variant, step=step).losses), (name, step)


def test_gradients_are_the_published_ones_at_each_update(trained):
    variant, t = trained
    of_discriminators = t.io["grad_norm_D64"].reshape(len(t.io["grad_norm_G64"]), -1)
    norms = [t.io["grad_norm_G64"], *of_discriminators.T]
    for number, (network, expected) in enumerate(zip(t.networks, norms, strict=True)):
        tolerance = tolerances(variant).gradients
        assert t.recorder.gradient_norms[number] == pytest.approx(expected.tolist(), rel=tolerance), number
        if not any(name.startswith("grad0.") for name in t.io):
            continue  # of AttnGAN's first files
        prefix = "generator." if number == 0 else f"discriminators.stages.{number - 1}."
        first = {name.removeprefix(prefix): g for name, g in t.recorder.first_gradients[number].items()}
        ours = network.published(first, {name.removeprefix("grad0.") for name in t.io})
        own = tuple(f"grad0.{prefix}" for prefix in ([network.prefix] if network.prefix else ["C.", "D."]))
        assert {f"grad0.{name}" for name in ours} == {name for name in t.io if name.startswith(own)}
        for name, gradient in ours.items():
            total, norm = t.io[f"grad0.{name}"].tolist()
            # a gradient that is 0 but for rounding is measured by the network's
            near = tolerance * max(norm, 1e-4 * float(expected[0]))
            assert float(gradient.sum()) == pytest.approx(total, abs=near), name
            assert float(gradient.norm()) == pytest.approx(norm, abs=near), name


def test_learning_rates_are_the_published_ones(trained):
    _, t = trained
    expected = t.io["lr"].tolist() if "lr" in t.io else [t.arguments["rates"].generator] * len(t.io["z"])
    assert t.recorder.learning_rates == pytest.approx(expected, rel=1e-12)


def assert_sum_and_norm(tensor: Tensor, expected: Tensor, tolerance: float, name: str) -> None:
    total, norm = expected.tolist()
    assert float(tensor.norm()) == pytest.approx(norm, rel=tolerance), name
    # a sum may cancel to nothing: it is as exact as its terms
    assert float(tensor.sum()) == pytest.approx(total, abs=tolerance * float(tensor.abs().sum())), name


def test_weights_end_as_the_published_ones(trained):
    variant, t = trained
    for number, network in enumerate(t.networks):
        tolerance = tolerances(variant, network=number)
        known = {name.removeprefix("final64.") for name in t.io}
        state = {n: v for n, v in network.network.state_dict().items() if not n.endswith("num_batches_tracked")}
        ours = network.published(state, known)
        own = tuple(f"final64.{prefix}" for prefix in ([network.prefix] if network.prefix else ["C.", "D."]))
        assert {f"final64.{name}" for name in ours} == {name for name in t.io if name.startswith(own)}
        for name, weight in ours.items():
            if name.endswith(("weight_u", "weight_v")):
                assert_sum_and_norm(weight, t.io[f"final64.{name}"], 1e-2, name)
            elif "running" in name:
                # of discriminators they depend on the order in which heads are asked, and nothing reads them
                if number == 0:
                    assert_sum_and_norm(weight, t.io[f"final64.{name}"], tolerance.weights, name)
            else:
                assert_sum_and_norm(weight, t.io[f"final64.{name}"], tolerance.weights, name)
                first = t.io.get(f"first64.{name}", weight.flatten()[:0])
                near = tolerance.elements * float(weight.abs().max())
                assert weight.flatten()[: len(first)].tolist() == pytest.approx(first.tolist(), abs=near), name


def test_the_moving_average_ends_as_the_published_one(trained):
    variant, t = trained
    average, live = t.module.ema.generator, t.module.generator
    expected = {name.removeprefix("ema64."): v for name, v in t.io.items() if name.startswith("ema64.")}
    if not expected:  # none is published: it is the generator itself
        assert all(torch.equal(a, b) for a, b in zip(average.parameters(), live.parameters(), strict=True))
        return
    ours = t.networks[0].published(dict(average.named_parameters()), set(t.io) | {f"G.{name}" for name in expected})
    assert {name.removeprefix("G.") for name in ours} == expected.keys()
    for name, weight in ours.items():
        assert_sum_and_norm(weight, expected[name.removeprefix("G.")], tolerances(variant).weights, name)
    for a, b in zip(average.buffers(), live.buffers(), strict=True):
        assert torch.equal(a, b)
