"""The probe's training: it repeats itself, reads combinations it never saw, and keeps colours when it augments."""

import json
from pathlib import Path

import pytest
import torch

from attngan.toy_birds import probe_training as module
from attngan.toy_birds.captions import COLOURS, PARTS
from attngan.toy_birds.colour_truth import ColourTruth
from attngan.toy_birds.dataset import draw_toy_birds
from attngan.toy_birds.probe_training import train_probe

NAMES = list(COLOURS)


def test_augmentation_keeps_colours() -> None:
    """Blur, noise and light may change a red image a little, but not to another colour of the ten."""
    red = torch.tensor(COLOURS["red"], dtype=torch.uint8)[:, None, None].expand(16, 3, 38, 38)
    pictures = module._augmented(red, 32)
    assert pictures.shape == (16, 3, 32, 32)
    assert pictures.abs().max() <= 1
    seen = (pictures.mean((2, 3)) + 1) * 127.5
    palette = torch.tensor(list(COLOURS.values()), dtype=torch.float32)
    assert (torch.cdist(seen, palette).argmin(1) == NAMES.index("red")).all()


def test_training_needs_drawn_birds(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"attributes\.json.*draw_toy_birds"):
        train_probe(tmp_path)


def test_training_repeats_itself_and_counts_what_it_has_not_seen(toy_root: Path) -> None:
    arguments = {"size": 32, "epochs": 1, "more_birds": 8, "progress": False}
    before = torch.get_rng_state()
    probe, accuracy = train_probe(toy_root, **arguments)
    assert torch.equal(torch.get_rng_state(), before)
    assert train_probe(toy_root, **arguments)[0].sha256 == probe.sha256
    assert train_probe(toy_root, **arguments, seed=1)[0].sha256 != probe.sha256
    assert not probe.training
    images = json.loads((toy_root / "attributes.json").read_text())["images"]
    test_captions = [caption for image in images if image["split"] == "test" for caption in image["captions"]]
    assert sum(accuracy.new_classes.named.values()) == sum(len(caption["named"]) for caption in test_captions)
    assert 0 < sum(accuracy.held_out.named.values()) < sum(accuracy.new_classes.named.values())  # 8 images and 24
    assert accuracy.percentages()["new_classes"] == accuracy.new_classes.percent


def test_a_little_training_beats_guessing(toy_root: Path) -> None:
    _, accuracy = train_probe(toy_root, size=32, epochs=12, batch_size=32, more_birds=300, progress=False)
    assert accuracy.new_classes.percent > 25  # guessing: about 10


@pytest.mark.slow
def test_the_probe_reads_combinations_it_never_saw(tmp_path: Path) -> None:
    root = draw_toy_birds(tmp_path / "birds", progress=False)
    _, accuracy = train_probe(root, progress=False)
    assert accuracy.held_out.percent > 95
    assert accuracy.new_classes.percent > 95
    assert min(accuracy.new_classes.percent_of.values()) > 90
    assert accuracy.classes > 95
    assert 5 < accuracy.mismatched.percent < 13


def test_percentages_are_flat_and_complete() -> None:
    truth = ColourTruth(dict.fromkeys(PARTS, 4), {**dict.fromkeys(PARTS, 2), "body": 4})
    accuracy = module.ProbeAccuracy(truth, truth, truth, classes=75.0)
    percentages = accuracy.percentages()
    assert percentages["held_out"] == 62.5
    assert percentages["mismatched_body"] == 100
    assert percentages["classes"] == 75
    assert len(percentages) == 3 + 3 * len(PARTS) + 1
