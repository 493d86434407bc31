"""Protocols: what each fixes, and that a score bears a protocol's name only when nothing was left out."""

import dataclasses
import json
from types import SimpleNamespace

import pytest

from attngan.evaluation.protocols import CLASSIFIER, PROTOCOLS, departures, score_name
from attngan.extractors.named import EXTRACTORS


def extractor_of(protocol, **changes):
    given = {
        "base_name": protocol.extractor,
        "resize": protocol.resize,
        "precision": protocol.precision,
        "kind": CLASSIFIER if protocol.extractor == CLASSIFIER else "network",
        "facts": {"split": protocol.split},
    }
    return SimpleNamespace(**{**given, **changes})


def done(protocol, extractor=None, **changes):
    given = {
        "images": protocol.scored,
        "split": protocol.split,
        "truncation": protocol.truncation,
        "splits": protocol.splits,
        "seed": protocol.seed,
    }
    return departures.__wrapped__(protocol, extractor or extractor_of(protocol), **{**given, **changes})


@pytest.fixture(autouse=True)
def _unchecked(monkeypatch):
    """A namespace stands for an extractor."""
    if not hasattr(departures, "__wrapped__"):
        departures.__wrapped__ = departures


def test_the_published_ones_are_there_with_what_they_fix():
    assert set(PROTOCOLS) == {"attngan", "dmgan", "dfgan", "stackgan", "quick"}
    p = PROTOCOLS
    assert [p[name].images for name in ("attngan", "dmgan", "dfgan", "stackgan")] == [30_000] * 4
    assert (p["attngan"].extractor, p["attngan"].splits, p["attngan"].resize) == ("inception-tf", 10, "tensorflow")
    assert (p["dmgan"].resize, p["dmgan"].batch) == ("pil", 50)
    assert (p["dfgan"].truncation, p["dfgan"].resize, p["dfgan"].reference) == (0.88, "bilinear", "augmented")
    assert p["dfgan"].reference_images == 30_000
    assert (p["stackgan"].extractor, p["stackgan"].splits) == (CLASSIFIER, 10)
    assert p["quick"].split == "validation"
    for protocol in PROTOCOLS.values():
        assert protocol.extractor in (*EXTRACTORS, CLASSIFIER)
        assert protocol.precision == "float32"
        json.dumps(protocol.description())


@pytest.mark.parametrize("name", list(PROTOCOLS))
def test_done_as_it_says_is_completed(name):
    assert done(PROTOCOLS[name]) == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"images": 2933}, "images 2933 instead of 30000"),
        ({"seed": 1}, "seed 1 instead of 0"),
        ({"splits": 1}, "splits 1 instead of 10"),
        ({"truncation": 0.5}, "truncation 0.5 instead of None"),
        ({"split": "train"}, "split train instead of test"),
    ],
)
def test_each_departure_is_named(changes, reason):
    found = done(PROTOCOLS["attngan"], **changes)
    assert len(found) == 1
    assert reason in found[0]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"base_name": "efficientnet-lite0"}, "extractor efficientnet-lite0 instead of inception-tf"),
        ({"resize": "antialias"}, "resize filter antialias instead of tensorflow"),
        ({"precision": "bf16"}, "precision bf16 instead of float32"),
    ],
)
def test_another_extractor_is_a_departure(changes, reason):
    protocol = PROTOCOLS["attngan"]
    assert done(protocol, extractor_of(protocol, **changes)) == [reason]


def test_stackgan_wants_a_classifier_of_the_test_classes():
    protocol = PROTOCOLS["stackgan"]
    assert "instead of a classifier" in done(protocol, extractor_of(protocol, kind="network"))[0]
    assert "train classes instead of the test" in done(protocol, extractor_of(protocol, facts={"split": "train"}))[0]


def test_a_last_partial_batch_is_drawn_and_dropped():
    stackgan = PROTOCOLS["stackgan"]
    assert (stackgan.images, stackgan.scored) == (30_000, 29_952)
    assert PROTOCOLS["dmgan"].whole_batches(2_933) == 2_900
    assert PROTOCOLS["attngan"].whole_batches(2_933) == 2_933
    assert done(stackgan, images=30_000) == ["images 30000 instead of 29952"]


def test_no_extractor_is_no_departure_but_everything_else_is():
    found = departures(PROTOCOLS["attngan"], None, 50, "test", None, 10, 3)
    assert found == ["images 50 instead of 30000", "seed 3 instead of 0"]


def test_names():
    attngan, stackgan = PROTOCOLS["attngan"], PROTOCOLS["stackgan"]
    assert score_name("fid", 30_000, "inception-tf", attngan, True) == "fid_30k_attngan"
    assert score_name("fid", 2933, "efficientnet-lite0", attngan, False) == "fid_2933_efficientnet-lite0"
    assert score_name("fid", 2933, "efficientnet-lite0", None, False) == "fid_2933_efficientnet-lite0"
    assert score_name("is", 30_000, "cub-test50-lite0", stackgan, True) == "is_30k_stackgan_cub-test50-lite0"
    odd = dataclasses.replace(attngan, images=1234)
    assert score_name("is", 1234, "x", odd, True) == "is_1234_attngan"
