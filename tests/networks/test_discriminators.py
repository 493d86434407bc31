import pytest
import torch
from torch import nn

from attngan.networks.discriminators import DiscriminatorPyramid, StageDiscriminator
from attngan.networks.published import discriminator_sizes, discriminator_state
from attngan.networks.published_names import ATTNGAN_DISCRIMINATOR, published_names
from tests.networks.comparison import assert_close, tensors


@pytest.mark.golden
@pytest.mark.parametrize("side", [64, 128, 256])
def test_equals_the_published_one(golden, side):
    """The published network ends in a sigmoid, ours before it."""
    g = tensors(golden(f"d_net{side}"))
    published = {name.removeprefix("sd."): t for name, t in g.items() if name.startswith("sd.")}
    discriminator = StageDiscriminator(**discriminator_sizes(published))
    discriminator.load_state_dict(discriminator_state(published))
    images = g["x_uint8"].float() / 127.5 - 1
    for mode in ("eval", "train"):
        discriminator.train(mode == "train")
        features = discriminator(images)
        assert_close(features, g[f"features_{mode}"])
        assert_close(discriminator.judge_pair(features, g["cond"]).sigmoid(), g[f"cond_prob_{mode}"])
        assert_close(discriminator.judge_image(features).sigmoid(), g[f"uncond_prob_{mode}"])
    running = {name: t for name, t in discriminator.state_dict().items() if "running" in name}
    after = {name: t for name, t in g.items() if name.startswith("after_train.")}
    assert len(running) == len(after)
    for name, statistics in running.items():
        (expected,) = (
            after[f"after_train.{n}"]
            for n in published_names(name, ATTNGAN_DISCRIMINATOR)
            if f"after_train.{n}" in after
        )
        assert_close(statistics, expected)


@pytest.mark.parametrize(
    ("side", "width", "count"),
    [
        *((64, 64, 6_313_730), (128, 64, 19_424_002), (256, 64, 71_858_946)),  # CUB
        *((64, 96, 13_304_450), (128, 96, 42_800_258), (256, 96, 160_774_274)),  # COCO
    ],
)
def test_has_as_many_parameters_as_the_published_one(side, width, count):
    with torch.device("meta"):
        discriminator = StageDiscriminator(side, width)
    assert sum(p.numel() for p in discriminator.parameters()) == count


@pytest.mark.parametrize("side", [8, 16, 32, 64, 128])
def test_any_resolution_ends_at_four_by_four(side):
    discriminator = StageDiscriminator(side, width=2, embed_dim=6)
    features = discriminator(torch.randn(2, 3, side, side))
    assert features.shape[2:] == (4, 4)
    assert features.shape[1] <= 8 * 2
    assert discriminator.judge_pair(features, torch.randn(2, 6)).shape == (2,)
    assert discriminator.judge_image(features).shape == (2,)


@pytest.mark.parametrize("side", [4, 48, 100])
def test_refuses_a_resolution_that_no_halving_brings_to_four(side):
    with pytest.raises(ValueError, match=f"resolution must be 8, 16, .* not {side}"):
        StageDiscriminator(side)


def test_the_sentence_counts_for_the_pair_and_not_for_the_image():
    discriminator = StageDiscriminator(16, width=2, embed_dim=6).eval()
    features = discriminator(torch.randn(2, 3, 16, 16))
    first, second = (discriminator.judge_pair(features, torch.randn(2, 6)) for _ in range(2))
    assert (first - second).abs().min() > 1e-4
    assert torch.equal(discriminator.judge_image(features), discriminator.judge_image(features))


def test_without_the_head_for_images_alone():
    discriminator = StageDiscriminator(16, width=2, embed_dim=6, unconditional=False)
    assert discriminator.judge_image(discriminator(torch.randn(2, 3, 16, 16))) is None
    assert not any(name.startswith("unconditional") for name in discriminator.state_dict())


def test_spectral_norm_takes_the_place_of_every_batch_norm():
    discriminator = StageDiscriminator(16, width=2, embed_dim=6, norm="spectral")
    assert not any(isinstance(m, nn.BatchNorm2d) for m in discriminator.modules())
    convs = [m for m in discriminator.modules() if isinstance(m, nn.Conv2d)]
    heads = {discriminator.conditional_head, discriminator.unconditional_head}
    for conv in convs:
        assert nn.utils.parametrize.is_parametrized(conv, "weight") == (conv not in heads)


def test_weights_start_as_published():
    discriminator = StageDiscriminator(16, width=2, embed_dim=6)
    rows = discriminator.joint[0].weight.flatten(1)
    torch.testing.assert_close(rows @ rows.T, torch.eye(len(rows)), atol=1e-5, rtol=0)
    norms = torch.cat([m.weight for m in discriminator.modules() if isinstance(m, nn.BatchNorm2d)])
    assert 0 < (norms - 1).abs().max() < 0.2


def test_pyramid_has_one_for_each_resolution():
    pyramid = DiscriminatorPyramid([8, 16], width=2, embed_dim=6)
    assert pyramid.resolutions == (8, 16)
    for side, discriminator in zip(pyramid.resolutions, pyramid.stages, strict=True):
        assert discriminator(torch.randn(1, 3, side, side)).shape[2:] == (4, 4)


def norm(name: str) -> list[str]:
    return [f"{name}.{part}" for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")]


HEADS = [f"{head}_head.{part}" for head in ("conditional", "unconditional") for part in ("weight", "bias")]


def test_checkpoint_keys_stay_as_they_are():
    """Old checkpoints must stay loadable: a change here needs a translation of old keys."""
    assert list(DiscriminatorPyramid([16], width=2, embed_dim=6).state_dict()) == [
        f"stages.0.{name}"
        for name in (
            *(*HEADS, "encoder.0.0.weight", "encoder.1.0.weight", *norm("encoder.1.1")),
            *("joint.0.weight", *norm("joint.1")),
        )
    ]


def test_checkpoint_keys_with_spectral_norm_stay_as_they_are():
    def spectral(name: str) -> list[str]:
        return [f"{name}.parametrizations.weight.{part}" for part in ("original", "0._u", "0._v")]

    convs = ("encoder.0.0", "joint.0")
    assert set(StageDiscriminator(8, width=2, embed_dim=6, norm="spectral").state_dict()) == {
        *HEADS,
        *(f"{conv}.bias" for conv in convs),
        *(key for conv in convs for key in spectral(conv)),
    }
