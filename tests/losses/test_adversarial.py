import math

import pytest
import torch

from attngan.losses.adversarial import (
    Verdict,
    discriminator_loss,
    fake_bce,
    generator_loss,
    published_wrong_pairs,
    real_bce,
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
    assert_close(discriminator_loss(real, fake, g["logit_cond_wrong"]), g["errD"])
    alone = discriminator_loss(real._replace(image=None), fake._replace(image=None), g["logit_cond_wrong"])
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


def test_discriminator_loss_is_the_formula():
    real, fake = (Verdict(torch.randn(3), torch.randn(3)) for _ in range(2))
    wrong = torch.randn(2)
    expected = (cross_entropy(real.image, 1) + cross_entropy(real.pair, 1)) / 2
    expected += (cross_entropy(fake.image, 0) + cross_entropy(fake.pair, 0) + cross_entropy(wrong, 0)) / 3
    assert discriminator_loss(real, fake, wrong).item() == pytest.approx(expected, rel=1e-5)
    expected = cross_entropy(real.pair, 1) + (cross_entropy(fake.pair, 0) + cross_entropy(wrong, 0)) / 2
    alone = discriminator_loss(Verdict(real.pair, None), Verdict(fake.pair, None), wrong)
    assert alone.item() == pytest.approx(expected, rel=1e-5)


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


def test_a_better_discriminator_and_a_better_generator_have_lower_losses():
    sure, unsure = torch.full((4,), 3.0), torch.zeros(4)
    good = discriminator_loss(Verdict(sure, sure), Verdict(-sure, -sure), -sure)
    assert good < discriminator_loss(Verdict(unsure, unsure), Verdict(unsure, unsure), unsure)
    assert generator_loss(Verdict(sure, sure)) < generator_loss(Verdict(unsure, unsure))


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


def test_published_wrong_pairs_leave_the_last_image_out():
    images, captions = published_wrong_pairs(4)
    assert images.tolist() == [0, 1, 2]
    assert captions.tolist() == [1, 2, 3]
