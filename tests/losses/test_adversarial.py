import math

import pytest
import torch

from attngan.losses.adversarial import (
    ADVERSARIAL,
    WRONG_PAIRS,
    Verdict,
    discriminator_loss,
    fake_bce,
    generator_loss,
    hinge_discriminator_loss,
    hinge_generator_loss,
    real_bce,
    summed_discriminator_loss,
    wrong_pairs,
)
from attngan.losses.matching import matching_loss
from attngan.records import ImageFeatures, TextFeatures
from tests.networks.comparison import assert_close, tensors


def sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


def cross_entropy(logits: torch.Tensor, target: int) -> float:
    """-log of the probability of the target, as a loop."""
    losses = [-math.log(sigmoid(x) if target else 1 - sigmoid(x)) for x in logits.double().tolist()]
    return sum(losses) / len(losses)


@pytest.mark.golden
def test_discriminator_loss_equals_the_published_one(golden):
    g = tensors(golden("discriminator_loss"))
    real = Verdict(g["logit_cond_real"], g["logit_uncond_real"])
    fake = Verdict(g["logit_cond_fake"], g["logit_uncond_fake"])
    wrong = Verdict(g["logit_cond_wrong"], g["logit_uncond_real"])
    assert_close(discriminator_loss(real, fake, wrong), g["errD"])
    alone = discriminator_loss(*(verdict._replace(image=None) for verdict in (real, fake, wrong)))
    assert_close(alone, g["errD_cond_only"])


@pytest.mark.golden
def test_generator_objective_equals_the_published_one(golden, golden_notes):
    g, config = tensors(golden("generator_loss")), golden_notes("generator_loss")["config"]
    stages = sorted(name.rpartition("_")[2] for name in g if name.startswith("logit_cond_"))
    adversarial = sum(generator_loss(Verdict(g[f"logit_cond_{i}"], g[f"logit_uncond_{i}"])) for i in stages)
    padding = torch.arange(g["words_embs"].shape[2]) >= g["cap_lens"][:, None]
    matching = matching_loss(
        ImageFeatures(g["region_features"].flatten(2), g["cnn_code"]),
        TextFeatures(g["words_embs"], g["sent_emb"], padding),
        g["class_ids"],
        *(config[f"GAMMA{i}"] for i in (1, 2, 3)),
    )
    for term, name in zip(matching, ("w_loss0", "w_loss1", "s_loss0", "s_loss1"), strict=True):
        assert_close(term, g[name])
    assert_close(adversarial + config["LAMBDA"] * matching.total, g["errG_total"])


@pytest.mark.golden
def test_equals_the_published_sigmoid_form_until_that_saturates(golden):
    g = tensors(golden("bce_saturation"))
    for i, logit in enumerate(g["logit"]):
        ours = {1: real_bce(logit[None]).double(), 0: fake_bce(logit[None]).double()}
        for target, loss in ours.items():
            x = logit.double() if target else -logit.double()
            torch.testing.assert_close(loss, (1 + (-x).exp()).log() if x > -30 else -x, rtol=1e-6, atol=1e-12)
            # torch's own form on logits subtracts: it is off by a rounding of the logit
            rounding = 2**-22 * max(1, abs(float(logit)))
            torch.testing.assert_close(loss, g[f"bce_logits_target{target}"][i].double(), rtol=1e-5, atol=rounding)
            if abs(logit) < 16:
                # a probability is rounded to 2^-24 before its logarithm is taken
                rounding = 2**-23 * max(1.0, math.exp(-x))
                for form in ("bce", "torch03"):
                    torch.testing.assert_close(loss, g[f"{form}_target{target}"][i].double(), rtol=1e-5, atol=rounding)


def verdicts() -> tuple[Verdict, Verdict, Verdict]:
    """On real, drawn and wrong pairs; there may be fewer wrong ones."""
    return Verdict(torch.randn(3), torch.randn(3)), Verdict(torch.randn(3), torch.randn(3)), Verdict(*torch.randn(2, 2))


def of_pairs(*all_three: Verdict) -> list[Verdict]:
    return [verdict._replace(image=None) for verdict in all_three]


def of_images(*all_three: Verdict) -> list[Verdict]:
    """As a discriminator that reads no text judges: there are no wrong pairs."""
    real, fake, _ = (verdict._replace(pair=None) for verdict in all_three)
    return [real, fake, Verdict(None, None)]


def test_discriminator_loss_is_the_formula():
    real, fake, wrong = verdicts()
    expected = (cross_entropy(real.image, 1) + cross_entropy(real.pair, 1)) / 2
    expected += (cross_entropy(fake.image, 0) + cross_entropy(fake.pair, 0) + cross_entropy(wrong.pair, 0)) / 3
    assert discriminator_loss(real, fake, wrong).item() == pytest.approx(expected, rel=1e-5)
    expected = cross_entropy(real.pair, 1) + (cross_entropy(fake.pair, 0) + cross_entropy(wrong.pair, 0)) / 2
    assert discriminator_loss(*of_pairs(real, fake, wrong)).item() == pytest.approx(expected, rel=1e-5)
    expected = cross_entropy(real.image, 1) + cross_entropy(fake.image, 0)
    assert discriminator_loss(*of_images(real, fake, wrong)).item() == pytest.approx(expected, rel=1e-5)


def test_summed_discriminator_loss_is_the_formula():
    real, fake, wrong = verdicts()
    expected = cross_entropy(real.image, 1) + cross_entropy(real.pair, 1)
    expected += cross_entropy(fake.image, 0) + cross_entropy(fake.pair, 0)
    expected += cross_entropy(wrong.image, 1) + cross_entropy(wrong.pair, 0)  # the wrong pair's image is a real one
    assert summed_discriminator_loss(real, fake, wrong).item() == pytest.approx(expected, rel=1e-5)
    expected = cross_entropy(real.image, 1) + cross_entropy(fake.image, 0)
    assert summed_discriminator_loss(*of_images(real, fake, wrong)).item() == pytest.approx(expected, rel=1e-5)


def hinge(logits: torch.Tensor, target: int) -> float:
    """How far logits are on the wrong side of a margin of 1, as a loop."""
    return sum(max(0.0, 1 - target * x) for x in logits.tolist()) / len(logits)


def test_hinge_loss_is_the_formula():
    real, fake, wrong = of_pairs(*verdicts())
    expected = hinge(real.pair, 1) + (hinge(fake.pair, -1) + hinge(wrong.pair, -1)) / 2
    assert hinge_discriminator_loss(real, fake, wrong).item() == pytest.approx(expected, rel=1e-5)
    assert hinge_generator_loss(fake).item() == pytest.approx(-sum(fake.pair.tolist()) / 3, rel=1e-5)
    real, fake, wrong = of_images(*verdicts())
    expected = hinge(real.image, 1) + hinge(fake.image, -1)
    assert hinge_discriminator_loss(real, fake, wrong).item() == pytest.approx(expected, rel=1e-5)
    assert hinge_generator_loss(fake).item() == pytest.approx(-sum(fake.image.tolist()) / 3, rel=1e-5)


def test_hinge_loss_leaves_alone_what_is_beyond_the_margin():
    real, fake, wrong = torch.tensor([[2.0, 0.5], [-2.0, -0.5], [-1.5, 0.0]]).requires_grad_()
    loss = hinge_discriminator_loss(*(Verdict(logits, None) for logits in (real, fake, wrong)))
    gradients = torch.autograd.grad(loss, (real, fake, wrong))
    assert [gradient.tolist() for gradient in gradients] == [[0.0, -0.5], [0.0, 0.25], [0.0, 0.25]]


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_every_adversarial_loss(name):
    """Trains all the logits that it reads, in float32 at least; a better player has a lower loss."""
    loss = ADVERSARIAL[name]
    for heads in (lambda *all_three: all_three, of_pairs, of_images):
        real, fake, wrong = heads(*verdicts())
        logits = [head.requires_grad_() for verdict in (real, fake, wrong) for head in verdict if head is not None]
        value = loss.discriminator(real, fake, wrong)
        assert value.shape == ()
        value.backward()
        unread = [wrong.image] if name != "bce sum" and wrong.image is not None else []
        assert [head.grad is None for head in logits] == [any(head is u for u in unread) for head in logits]
        drawn = [head for head in fake if head is not None]
        for gradient in torch.autograd.grad(loss.generator(fake), drawn):
            assert (gradient < 0).all()  # a higher logit is better
        sure = [Verdict(*(None if h is None else s * torch.ones(3) for h in v)) for v, s in ((real, 1), (fake, -1))]
        sure.append(Verdict(*(None if h is None else s * torch.ones(2) for h, s in zip(wrong, (-1, 1), strict=True))))
        unsure = [Verdict(*(None if h is None else 0 * h for h in v)) for v in (real, fake, wrong)]
        assert loss.discriminator(*sure) < loss.discriminator(*unsure)
        for dtype, expected in ((torch.bfloat16, torch.float32), (torch.float64, torch.float64)):
            cast = [Verdict(*(None if h is None else h.to(dtype) for h in v)) for v in (real, fake, wrong)]
            assert loss.discriminator(*cast).dtype == loss.generator(cast[1]).dtype == expected


def test_generator_loss_is_the_formula():
    fake = Verdict(torch.randn(3), torch.randn(3))
    expected = cross_entropy(fake.pair, 1) + cross_entropy(fake.image, 1)
    assert generator_loss(fake).item() == pytest.approx(expected, rel=1e-5)
    assert generator_loss(fake._replace(image=None)).item() == pytest.approx(cross_entropy(fake.pair, 1), rel=1e-5)


def test_a_logit_far_off_still_has_a_gradient():
    """Where the published form on sigmoids has none left."""
    logits = torch.tensor([-40.0, -120.0], requires_grad=True)
    real_bce(logits).backward()
    torch.testing.assert_close(logits.grad, torch.tensor([-0.5, -0.5]))
    published = torch.tensor([-120.0], requires_grad=True)
    torch.nn.functional.binary_cross_entropy(published.sigmoid(), torch.ones(1)).backward()
    assert published.grad == 0


def test_half_precision_logits_are_reduced_in_float32():
    logits = torch.full((3,), -12.125, dtype=torch.bfloat16)
    assert real_bce(logits).dtype == torch.float32
    assert real_bce(logits).item() == pytest.approx(12.125 + math.log1p(math.exp(-12.125)), rel=1e-6)


@pytest.mark.parametrize("batch", [2, 3, 5, 8])
@pytest.mark.parametrize("number_of_classes", [1, 2, 3, 5])
def test_wrong_pairs_meet_another_class_where_that_is_possible(batch, number_of_classes):
    for seed in range(20):
        classes = torch.randint(number_of_classes, (batch,), generator=torch.Generator().manual_seed(seed))
        wrong = wrong_pairs(batch, classes)
        assert sorted(wrong.tolist()) == list(range(batch))  # each caption once, so each image once
        assert (wrong != torch.arange(batch)).all()
        if 2 * int(classes.bincount().max()) <= batch:
            assert (classes[wrong] != classes).all()


def test_wrong_pairs_with_a_class_of_more_than_half_the_batch_are_still_not_their_own():
    wrong = wrong_pairs(4, torch.tensor([7, 7, 2, 7]))
    assert sorted(wrong.tolist()) == [0, 1, 2, 3]
    assert (wrong != torch.arange(4)).all()


def test_wrong_pairs_without_classes():
    assert wrong_pairs(4).tolist() == [1, 2, 3, 0]
    assert wrong_pairs(2).tolist() == [1, 0]


@pytest.mark.parametrize("classes", [None, torch.tensor([3])])
def test_a_batch_of_one_has_no_wrong_pair(classes):
    with pytest.raises(ValueError, match="use a batch_size of 2 or more"):
        wrong_pairs(1, classes)


def test_each_published_rule_pairs_as_its_code_does():
    lengths, classes = torch.tensor([3, 9, 5, 9]), torch.tensor([1, 1, 2, 3])
    pairs = {
        name: list(zip(*(part.tolist() for part in rule(lengths, classes)), strict=True))
        for name, rule in WRONG_PAIRS.items()
    }
    assert pairs["attngan"] == [(1, 3), (3, 2), (2, 0)]  # (image, caption): longest first, the last image has none
    assert pairs["stackgan"] == [(0, 1), (1, 2), (2, 3)]
    assert pairs["dfgan"] == [(1, 0), (2, 1), (3, 2), (0, 3)]
    for name in ("other class", "stackgan++"):
        assert (
            sorted(image for image, _ in pairs[name]) == sorted(caption for _, caption in pairs[name]) == [0, 1, 2, 3]
        )
        assert all(classes[image] != classes[caption] for image, caption in pairs[name])


@pytest.mark.parametrize("rule", WRONG_PAIRS)
@pytest.mark.parametrize("classes", [None, torch.tensor([3])])
def test_no_rule_has_a_wrong_pair_in_a_batch_of_one(rule, classes):
    with pytest.raises(ValueError, match="use a batch_size of 2 or more"):
        WRONG_PAIRS[rule](torch.tensor([4]), classes)
