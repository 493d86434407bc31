"""The networks' layers against the networks themselves, and what is said where weights are missing or wrong."""

from pathlib import Path

import pytest
import torch
from torch import nn

from attngan.errors import InputError, MissingFileError
from attngan.networks.image_trunks import EfficientNetLiteTrunk
from attngan.style_transfer.networks import VGG19, EfficientNetLite, style_network

IMAGE = torch.rand(1, 3, 64, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture(scope="module")
def vgg_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights by torchvision's names, without the classifier."""
    from torchvision.models import vgg19

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("vgg") / "vgg19.pth"
    state = vgg19(weights=None, init_weights=False).features.state_dict()
    torch.save({f"features.{name}": value for name, value in state.items()}, path)
    return path


@pytest.mark.parametrize("pooling", ["max", "avg"])
def test_vggs_layers_are_its_rectified_convolutions(vgg_weights: Path, pooling: str) -> None:
    network = VGG19(vgg_weights, pooling)  # type: ignore[arg-type]
    found = network(IMAGE, ["relu1_2", "relu2_1", "relu4_2"])
    assert list(found) == ["relu1_2", "relu2_1", "relu4_2"]
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = ((IMAGE + 1) / 2 - mean[:, None, None]) / deviation[:, None, None]
    by_hand, pool = {}, {"max": nn.MaxPool2d(2), "avg": nn.AvgPool2d(2)}[pooling]
    layers = list(network.convolutions)
    for position, layer in enumerate(layers[:23]):
        x = pool(x) if isinstance(layer, nn.MaxPool2d) else torch.relu(x) if isinstance(layer, nn.ReLU) else layer(x)
        by_hand[position] = x.clone()
    # torchvision's indices of these ReLUs
    for name, position in {"relu1_2": 3, "relu2_1": 6, "relu4_2": 22}.items():
        torch.testing.assert_close(found[name], by_hand[position])
        assert found[name].shape[2] == 64 // network.strides[name]
    assert not any(weight.requires_grad for weight in network.parameters())


def test_lites_layers_are_those_of_its_pyramid() -> None:
    network, trunk = EfficientNetLite("lite0"), EfficientNetLiteTrunk("lite0")
    square = IMAGE[..., :48, :]
    found = network(square, network.layers)
    levels, _ = trunk.pyramid(square)
    for name, level in zip(list(found)[1:], levels, strict=True):
        torch.testing.assert_close(found[name], level)
    for name, level in found.items():
        assert level.shape[2] == pytest.approx(48 / network.strides[name], abs=0.5)
    assert set(network(IMAGE, ["stride8"])) == {"stride8"}


def test_gradients_reach_the_image() -> None:
    image = IMAGE.clone().requires_grad_(True)
    EfficientNetLite("lite0")(image, ["stride16"])["stride16"].square().sum().backward()
    assert image.grad is not None
    assert image.grad.abs().mean() > 0


def test_missing_and_wrong_weights_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingFileError, match=r"nowhere.pth; --network efficientnet-lite0 works without a download"):
        VGG19(tmp_path / "nowhere.pth")
    (tmp_path / "page.pth").write_text("<html>")
    with pytest.raises(InputError, match=r"page.pth cannot be read"):
        VGG19(tmp_path / "page.pth")
    torch.save({"features.0.weight": torch.zeros(64, 3, 5, 5)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"features.0.weight is of shape \(64, 3, 5, 5\), it should be"):
        VGG19(tmp_path / "other.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(InputError, match="no state dict"):
        VGG19(tmp_path / "list.pth")

    def offline(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("torchvision.models.VGG19_Weights.get_state_dict", offline)
    with pytest.raises(MissingFileError, match=r"vgg19-dcbb9e9d.pth is not there, and downloading it failed"):
        VGG19()


def test_options_of_vgg_are_refused_for_others(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--weights and --pooling are those of vgg19"):
        style_network("efficientnet-lite0", None, "avg")
