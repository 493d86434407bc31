"""Colour truth: counted as by hand; the probe reloads as the same."""

import hashlib
import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from attngan.toy_birds.captions import COLOURS, PARTS
from attngan.toy_birds.colour_probe import ColourProbe, is_colour_probe
from attngan.toy_birds.colour_truth import captions_of_other_classes, colour_truth

NAMES = list(COLOURS)


def small_probe() -> ColourProbe:
    classes = torch.tensor([[0, 1, 2, 3], [4, 5, 6, 7], [0, 5, 2, 9]])
    return ColourProbe(["a", "b", "c"], classes, width=4, size=32).eval()


def probe_that_always_sees(**colours: str) -> ColourProbe:
    probe = small_probe()
    with torch.no_grad():
        probe.class_head.colour_head.weight.zero_()
        for part, colour in colours.items():
            probe.class_head.colour_head.bias[PARTS.index(part), NAMES.index(colour)] = 9
    return probe


def test_counts_named_colours_only() -> None:
    probe = probe_that_always_sees(body="red", wing="blue", belly="white", crown="black")
    captions = [
        "a red bird with yellow wings",  # body right, wing wrong
        "this bird has blue wings and a white breast",  # both right
        "a bird with a long orange bill",  # names no colour that counts
        "its crown is red",  # wrong
    ]
    truth = colour_truth(probe, torch.zeros(4, 3, 16, 16), captions, batch_size=3)
    assert truth.named == {"body": 1, "wing": 2, "belly": 1, "crown": 1}
    assert truth.correct == {"body": 1, "wing": 1, "belly": 1, "crown": 0}
    assert truth.percent == pytest.approx(60)
    assert truth.percent_of == {"body": 100, "wing": 50, "belly": 100, "crown": 0}


def test_truths_of_batches_add_up() -> None:
    probe = probe_that_always_sees(body="red", wing="blue", belly="white", crown="black")
    captions = ["a red bird with grey wings", "a green bird", "black cap and white belly"]
    images = torch.zeros(3, 3, 32, 32)
    whole = colour_truth(probe, images, captions)
    parts = [colour_truth(probe, images[i : i + 1], captions[i : i + 1]) for i in range(3)]
    assert parts[0] + parts[1] + parts[2] == whole


def test_captions_without_colours_give_no_percentage() -> None:
    truth = colour_truth(small_probe(), torch.zeros(1, 3, 32, 32), ["a bird"])
    assert math.isnan(truth.percent)
    assert truth.named == dict.fromkeys(PARTS, 0)


def test_one_caption_an_image() -> None:
    with pytest.raises(ValueError, match="2 images and 1 captions"):
        colour_truth(small_probe(), torch.zeros(2, 3, 32, 32), ["a red bird"])


def test_a_class_is_as_likely_as_its_colours_together() -> None:
    probe = small_probe()
    output = probe(torch.rand(5, 3, 32, 32) * 2 - 1)
    assert output.colours.shape == (5, len(PARTS), len(COLOURS))
    for image in range(5):
        for number, colours in enumerate(probe.class_head.colours.tolist()):
            expected = 0.0
            for part, colour in enumerate(colours):
                scores = output.colours[image, part].tolist()
                expected += scores[colour] - math.log(sum(math.exp(score) for score in scores))
            assert output.classes[image, number].item() == pytest.approx(expected, abs=1e-4)


def test_an_image_is_seen_alike_at_another_size_and_in_another_batch() -> None:
    probe = small_probe()
    images = torch.nn.functional.interpolate(torch.rand(3, 3, 4, 4) * 2 - 1, (32, 32), mode="bilinear")
    large = torch.nn.functional.interpolate(images, (128, 128), mode="nearest")
    assert torch.allclose(probe(large).colours, probe(images).colours, atol=2e-3)
    assert torch.allclose(probe(images[1:2]).colours, probe(images).colours[1:2], atol=1e-5)


def test_a_saved_probe_is_the_same_probe(tmp_path: Path) -> None:
    probe = small_probe()
    file = tmp_path / "new" / "probe.safetensors"
    probe.save(file)
    loaded = ColourProbe.load(file)
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    for before, after in zip(probe(images), loaded(images), strict=True):
        assert torch.equal(before, after)
    assert loaded.class_names == ("a", "b", "c")
    assert not loaded.training
    assert not any(p.requires_grad for p in loaded.parameters())
    assert loaded.sha256 == probe.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


def test_other_files_are_no_probe(tmp_path: Path) -> None:
    save_file(
        {"weight": torch.zeros(2)}, tmp_path / "other.safetensors", metadata={"attngan": json.dumps({"kind": "x"})}
    )
    (tmp_path / "broken.safetensors").write_bytes(b"not tensors")
    for name in ("other", "broken"):
        assert not is_colour_probe(tmp_path / f"{name}.safetensors")
        with pytest.raises(ValueError, match=f"{name}.safetensors is no colour probe"):
            ColourProbe.load(tmp_path / f"{name}.safetensors")
    with pytest.raises(FileNotFoundError, match=r"absent\.safetensors"):
        ColourProbe.load(tmp_path / "absent.safetensors")


def test_mismatched_captions_come_from_other_classes() -> None:
    captions = [[f"{number} first", f"{number} second"] for number in (0, 0, 0, 0, 1, 2)]
    classes = [0, 0, 0, 0, 1, 2]
    chosen = captions_of_other_classes(captions, classes, seed=3)
    assert all(caption[0] != str(number) for caption, number in zip(chosen, classes, strict=True))
    assert chosen == captions_of_other_classes(captions, classes, seed=3)
    assert any(chosen != captions_of_other_classes(captions, classes, seed) for seed in range(5))
    with pytest.raises(ValueError, match="at least two classes"):
        captions_of_other_classes(captions[:4], classes[:4], seed=0)
