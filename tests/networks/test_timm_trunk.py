"""Trunks of timm: their maps are the network's own, weights come from a file, and what cannot be had is told."""

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from attngan.errors import InputError, MissingFileError, MissingPackageError
from attngan.networks.description import build, describe
from attngan.networks.image_encoder import ImageEncoder
from attngan.networks.projected import ProjectedDiscriminators
from attngan.networks.timm_trunk import TimmTrunk

timm = pytest.importorskip("timm")
MODELS = {"test_efficientnet": (16, 8, 4, 2), "test_resnet": (16, 8, 4, 2), "test_vit": (4,)}


def weights_of(model: str, path: Path, **arguments) -> Path:
    torch.manual_seed(3)
    save_file(timm.create_model(model, num_classes=7, **arguments).state_dict(), path)
    return path


@pytest.mark.parametrize("model", list(MODELS))
def test_it_gives_what_the_network_gives_of_the_images_that_it_expects(model: str, tmp_path: Path) -> None:
    sized = {"img_size": 64} if "vit" in model else {}
    trunk = TimmTrunk(model, str(weights_of(model, tmp_path / "w.safetensors", **sized)), 64)
    torch.manual_seed(3)
    network = timm.create_model(model, num_classes=7, **sized).eval()
    told = timm.data.resolve_model_data_config(network)
    images = torch.rand(2, 3, 64, 64)
    mean, std = (torch.tensor(told[name]).view(3, 1, 1) for name in ("mean", "std"))
    levels, features = trunk.pyramid(images * 2 - 1)
    last, maps = network.forward_intermediates((images - mean) / std)
    expected = network.forward_head(last, pre_logits=True)
    torch.testing.assert_close(features.pooled, expected, atol=1e-5, rtol=1e-4)
    assert trunk.pyramid_sides == MODELS[model] == tuple(level.shape[2] for level in levels)
    assert trunk.pyramid_channels == tuple(level.shape[1] for level in levels)
    assert (trunk.region_channels, trunk.pooled_channels) == (features.regions.shape[1], features.pooled.shape[1])
    assert features.regions.shape[2] == 4  # stride 16
    torch.testing.assert_close(levels[-1], maps[-1], atol=1e-5, rtol=1e-4)
    assert not any(p.requires_grad for p in trunk.parameters())


def test_a_checkpoint_holds_its_weights_and_needs_no_file(tmp_path: Path) -> None:
    path = weights_of("test_efficientnet", tmp_path / "w.safetensors")
    encoder = ImageEncoder(TimmTrunk("test_efficientnet", str(path), 64), 8).eval()
    path.unlink()
    again = build(describe(encoder), ImageEncoder).eval()
    again.load_state_dict(encoder.state_dict())
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    assert torch.equal(again(images).regions, encoder(images).regions)


def test_discriminators_look_through_it(tmp_path: Path) -> None:
    trunk = TimmTrunk("test_resnet", str(weights_of("test_resnet", tmp_path / "w.safetensors")), 64)
    discriminators = ProjectedDiscriminators(trunk, (16,), width=4, embed_dim=6)
    stage = discriminators.stages[0]
    images = torch.rand(2, 3, 16, 16).requires_grad_()
    logits = stage.judge_pair(stage(*stage.extract(images).levels), torch.randn(2, 6))
    logits.sum().backward()
    assert images.grad.abs().sum() > 0
    assert not any("network" in name for name in discriminators.state_dict())
    assert "file w.safetensors" in stage.frozen.identity


def test_what_cannot_be_had_is_told_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"has no model 'resnet51': did you mean .*resnet"):
        TimmTrunk("resnet51")
    with pytest.raises(MissingFileError, match="no weights of timm's test_resnet at"):
        TimmTrunk("test_resnet", str(tmp_path / "w.safetensors"))
    path = weights_of("test_efficientnet", tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=r"w.safetensors \(timm's test_resnet\): the weights do not fit"):
        TimmTrunk("test_resnet", str(path))

    def unreachable(*_: object, **__: object) -> None:
        raise FileNotFoundError("cannot find the requested files")

    monkeypatch.setattr(timm, "create_model", unreachable)
    with pytest.raises(MissingFileError, match=r"could not be had .* name a file of them"):
        TimmTrunk("test_resnet")
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingPackageError, match=r"attngan\[timm\]"):
        TimmTrunk("test_resnet")
