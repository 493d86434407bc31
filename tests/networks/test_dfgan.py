import pytest
import torch
from torch import nn
from torch.nn import functional as F

from attngan.losses.regularizers import matching_aware_gradient_penalty
from attngan.networks.dfgan import Affine, DFGANDiscriminator, DFGANGenerator, DownBlock, TextFusion, UpBlock


def trained(module: nn.Module) -> nn.Module:
    """With weights that are no longer at their start."""
    for p in module.parameters():
        nn.init.normal_(p, 0, 0.3)
    return module


def test_affine_changes_nothing_at_first():
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(Affine(5, 3)(x, torch.randn(2, 5)), x)


def test_affine_is_the_formula():
    affine, x, condition = trained(Affine(5, 3)), torch.randn(2, 3, 4, 4), torch.randn(2, 5)
    changed = affine(x, condition)
    scale, shift = affine.scale(condition), affine.shift(condition)
    for b in range(2):
        for c in range(3):
            torch.testing.assert_close(changed[b, c], scale[b, c] * x[b, c] + shift[b, c])
    assert [type(layer) for layer in affine.scale] == [nn.Linear, nn.ReLU, nn.Linear]


def test_text_fusion_is_two_affine_layers_and_a_convolution():
    fusion, x, condition = trained(TextFusion(5, 3, 2)), torch.randn(2, 3, 4, 4), torch.randn(2, 5)
    first, second = fusion.affines
    expected = F.leaky_relu(second(F.leaky_relu(first(x, condition), 0.2), condition), 0.2)
    torch.testing.assert_close(fusion(x, condition), fusion.conv(expected))


@pytest.mark.parametrize("out", [3, 2])
def test_up_block_is_a_residual_on_the_enlarged_features(out):
    block, x, condition = trained(UpBlock(5, 3, out)), torch.randn(2, 3, 4, 4), torch.randn(2, 5)
    large = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    skip = large if out == 3 else block.shortcut(large)
    expected = skip + block.fusions[1](block.fusions[0](large, condition), condition)
    torch.testing.assert_close(block(x, condition), expected)


@pytest.mark.parametrize("out", [3, 4])
@pytest.mark.parametrize("upsampling", ["nearest", "bilinear"])
def test_blocks_have_the_gradients_of_the_published_order_of_operations(upsampling, out):
    """Published: enlarge first and all else at the full size; in a `DownBlock` the shortcut before the mean."""
    up = trained(UpBlock(5, 3, out, upsampling)).double()
    down = DownBlock(out, 4).double()
    nn.init.constant_(down.weight, 0.7)
    condition = torch.randn(2, 5, dtype=torch.float64)

    def published(x):
        enlarged = F.interpolate(x, scale_factor=2, mode=upsampling)
        residual = enlarged
        for fusion in up.fusions:
            for affine in fusion.affines:
                scale, shift = affine.scale(condition), affine.shift(condition)
                residual = F.leaky_relu(scale[..., None, None] * residual + shift[..., None, None], 0.2)
            residual = fusion.conv(residual)
        x = up.shortcut(enlarged) + residual
        return F.avg_pool2d(down.shortcut(x) if down.widens else x, 2) + down.weight * down.residual(x)

    def ours(x):
        return down(up(x, condition))

    found = []
    for form in (published, ours):
        x = torch.linspace(-1, 1, 2 * 3 * 4 * 4, dtype=torch.float64).view(2, 3, 4, 4).requires_grad_()
        y = form(x)
        learning = [
            *up.parameters(),
            *(p for name, p in down.named_parameters() if down.widens or "shortcut" not in name),
        ]
        found.append([y, *torch.autograd.grad(y.square().sum(), [x, *learning], allow_unused=True)])
    for theirs, mine in zip(*found, strict=True):
        assert (theirs is None) == (mine is None)
        if theirs is not None:
            torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("out", [3, 4])
def test_down_block_is_a_residual_of_weight_zero_at_first(out):
    block, x = DownBlock(3, out), torch.randn(2, 3, 4, 4)
    skip = F.avg_pool2d(x if out == 3 else block.shortcut(x), 2)
    torch.testing.assert_close(block(x), skip)
    nn.init.constant_(block.weight, 0.5)
    torch.testing.assert_close(block(x), skip + 0.5 * block.residual(x))
    assert block.residual(x).shape == (2, out, 2, 2)


def test_generator_has_the_published_widths():
    with torch.device("meta"):
        generator = DFGANGenerator()
    convs = [block.fusions[0].conv for block in generator.blocks]
    assert [(c.in_channels // 32, c.out_channels // 32) for c in convs] == [
        *((8, 8), (8, 8), (8, 8)),
        *((8, 4), (4, 2), (2, 1)),
    ]


def test_discriminator_has_the_published_counts():
    with torch.device("meta"):
        (stage,) = DFGANDiscriminator().stages
    head = [*stage.joint.parameters(), *stage.head.parameters()]
    assert sum(p.numel() for p in stage.encoder.parameters()) == 6_619_206
    assert sum(p.numel() for p in head) == 295_936


def test_a_down_block_that_widens_nothing_leaves_its_shortcut_idle_as_published():
    (stage,) = DFGANDiscriminator(64, 1, 6).stages  # 1, 2, 4, 8, 8 channels
    stage.judge_pair(stage(torch.randn(2, 3, 64, 64)), torch.randn(2, 6)).sum().backward()
    idle = [name for name, p in stage.named_parameters() if p.grad is None]
    assert idle == ["encoder.4.shortcut.weight", "encoder.4.shortcut.bias"]


def test_discriminator_has_one_output():
    discriminator = DFGANDiscriminator(16, 2, 6)
    (stage,) = discriminator.stages
    features = stage(torch.randn(3, 3, 16, 16))
    assert features.shape == (3, 8, 4, 4)
    first, second = (stage.judge_pair(features, torch.randn(3, 6)) for _ in range(2))
    assert first.shape == (3,)
    assert (first - second).abs().min() > 0
    assert stage.judge_image(features) is None
    assert discriminator.resolutions == (16,)


def test_gradient_penalty_reaches_the_weights_of_the_discriminator():
    (stage,) = DFGANDiscriminator(16, 2, 6).stages
    for name, weight in stage.named_parameters():
        if name.endswith("weight") and weight.numel() == 1:
            nn.init.constant_(weight, 0.5)
    images, sentence = torch.randn(3, 3, 16, 16, requires_grad=True), torch.randn(3, 6, requires_grad=True)
    logits = stage.judge_pair(stage(images), sentence)
    matching_aware_gradient_penalty(logits, images, sentence).backward()
    assert all(p.grad is not None for name, p in stage.named_parameters() if name.endswith("residual.0.weight"))
    assert stage.joint[0].weight.grad.abs().max() > 0
    assert all(p.grad.isfinite().all() for p in stage.parameters() if p.grad is not None)


@pytest.mark.parametrize("side", [4, 48])
def test_refuses_a_side_that_no_doubling_reaches(side):
    for network in (DFGANGenerator, DFGANDiscriminator):
        with pytest.raises(ValueError, match=f"side must be 8, 16, .* not {side}"):
            network(side, 2)
