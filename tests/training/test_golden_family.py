"""Every network of the family beside the numbers that its authors' code computed, in float64.

Tolerances are those of the golden files' notes. DM-GAN's differ: its published spectral norm is half a power iteration
behind torch's, and iterates in eval mode too.
"""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from attngan.losses.adversarial import ADVERSARIAL, Verdict
from attngan.losses.matching import matching_loss
from attngan.losses.regularizers import color_consistency, kl_divergence, matching_aware_gradient_penalty
from attngan.networks.stackgan import StackGANStage2Generator
from attngan.records import GeneratedImages, TextFeatures
from tests.golden_family import RECIPES, GoldenRun, Translated, double, noise_of, real_images, text_of
from tests.networks.comparison import assert_close

pytestmark = pytest.mark.golden

EXACT = 1e-10
STORED_IN_FLOAT32 = 1e-6
VARIANTS = list(RECIPES)


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
