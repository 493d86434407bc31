import copy

import pytest
import torch
from torch import nn

from attngan.networks.multistage import StackGANPlusPlusGenerator
from attngan.networks.stackgan import StackGANGenerator, StackGANStage2Generator
from attngan.records import GeneratorNoise, TextFeatures


def stage1() -> StackGANGenerator:
    return StackGANGenerator(2, embed_dim=6, noise_dim=3, condition_dim=5, base_size=8)


def stage2() -> StackGANStage2Generator:
    return StackGANStage2Generator(stage1(), 4, embed_dim=6, condition_dim=4, residual_blocks=1)


def sentences(batch: int = 3) -> TextFeatures:
    return TextFeatures.of_sentences(torch.randn(batch, 6))


def test_stage_1_has_the_published_widths():
    """8 x GF channels at 4 px, halved at each doubling: GF / 2 at 64 px."""
    with torch.device("meta"):
        generator = StackGANGenerator(width=192)
    ups = [block[1] for block in generator.stem.upsample]
    assert [(conv.in_channels, conv.out_channels) for conv in ups] == [(1536, 768), (768, 384), (384, 192), (192, 96)]
    assert not any(type(m).__name__ == "GLU" for m in generator.modules())


def test_stage_1_of_another_size():
    generator = StackGANGenerator(width=4, embed_dim=6, base_size=32)
    assert generator.stem.linear.out_features == 8 * 4 * 16
    assert generator.heads[0][0].in_channels == 4
    assert generator.image_sizes == [32]


@pytest.mark.parametrize(("arguments", "told"), [({"base_size": 12}, "base_size must be"), ({"width": 1}, "halved 4")])
def test_stage_1_refuses_what_cannot_be_halved(arguments, told):
    with pytest.raises(ValueError, match=told):
        StackGANGenerator(**arguments)


def test_weights_start_as_published():
    for generator in (StackGANGenerator(32, 6), StackGANStage2Generator(stage1(), 32, 6)):
        weights = torch.cat([m.weight.flatten() for m in generator.modules() if isinstance(m, nn.Conv2d)])
        assert weights.std().item() == pytest.approx(0.02, rel=0.05)


def test_stage_2_reads_the_picture_of_stage_1():
    generator = stage2().eval()
    seen = []
    generator.encoder.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    noise, text = generator.draw_noise(3), sentences()
    image = generator(noise, text).images[0]
    assert image.shape == (3, 3, 32, 32)
    own = GeneratorNoise(noise.latent, noise.condition[:, 4:])  # what follows stage II's own four numbers
    expected = generator.stage1(own, text).images[0]
    assert torch.equal(seen[0], expected)


def test_stage_2_has_a_conditioning_augmentation_and_noise_of_its_own():
    generator, text = stage2().eval(), sentences()
    noise = GeneratorNoise(torch.zeros(3, 3), torch.zeros(3, 9))
    drawn = generator(noise, text)
    mine, log_variance = generator.conditioning.linear(text.sentence).relu().chunk(2, 1)
    torch.testing.assert_close(drawn.mean, mine)
    torch.testing.assert_close(drawn.log_variance, log_variance)


def test_stage_1_stays_as_it_is():
    generator = stage2()
    before = copy.deepcopy(generator.stage1.state_dict())
    assert not any(p.requires_grad for p in generator.stage1.parameters())
    for mode in (True, False, True):
        generator.train(mode)
        assert not any(m.training for m in generator.stage1.modules())
        assert generator.encoder.training == mode
    optimizer = torch.optim.SGD(generator.parameters(), 0.1)
    generator(generator.draw_noise(3), sentences()).images[0].square().sum().backward()
    optimizer.step()
    assert all(p.grad is None for p in generator.stage1.parameters())
    assert all(torch.equal(value, before[name]) for name, value in generator.stage1.state_dict().items())
    assert generator.stage1.state_dict()["stem.norm.num_batches_tracked"] == 0


def test_stage_2_builds_on_any_generator_of_the_same_sentences():
    first = StackGANPlusPlusGenerator(2, 4, 6, 3, 5, base_size=8)
    generator = StackGANStage2Generator(first, 4, 6, 4)
    assert generator.image_sizes == [64]
    assert generator(generator.draw_noise(2), sentences(2)).images[0].shape == (2, 3, 64, 64)


@pytest.mark.parametrize("embed_dim", [5, None])
def test_stage_2_refuses_a_stage_1_of_other_sentences(embed_dim):
    first = StackGANPlusPlusGenerator(1, 4, embed_dim, 3, base_size=8)
    with pytest.raises(ValueError, match=f"stage I reads sentence embeddings of {embed_dim} numbers, stage II of 6"):
        StackGANStage2Generator(first, 4, 6)


def test_stage_2_refuses_a_width_that_has_no_quarter():
    with pytest.raises(ValueError, match="multiple of 4, not 6"):
        StackGANStage2Generator(stage1(), 6, 6)


def test_checkpoint_keys_stay_as_they_are():
    """Old checkpoints must stay loadable: a change here needs a translation of old keys."""
    parts = list(dict.fromkeys(name.rpartition(".")[0] for name in stage2().state_dict()))
    assert [name for name in parts if not name.startswith("stage1.")] == [
        "conditioning.linear",
        *(f"encoder.{i}" for i in (0, 2, 3, 5, 6)),
        *(f"fusion.joint.{i}" for i in (0, 1)),
        *(f"residual.0.block.{i}" for i in (0, 1, 3, 4)),
        *(f"upsample.{block}.{i}" for block in range(4) for i in (1, 2)),
        "head.0",
    ]
    assert [name.removeprefix("stage1.") for name in parts if name.startswith("stage1.")] == list(
        dict.fromkeys(name.rpartition(".")[0] for name in stage1().state_dict())
    )
