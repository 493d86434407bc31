"""CLIP as a scorer: a small model with random weights from a local file."""

import json

import pytest
import torch

from attngan.evaluation.scorers import ClipScorer
from tests.commands.test_evaluate import run

CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


@pytest.fixture
def tiny_clip(tmp_path):
    open_clip = pytest.importorskip("open_clip")
    (tmp_path / "tiny-clip.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(tmp_path / "tiny-clip.json")
    torch.manual_seed(0)
    torch.save(open_clip.create_model("tiny-clip").state_dict(), tmp_path / "tiny.pt")
    return "tiny-clip", tmp_path / "tiny.pt"


def test_clip_scores_come_with_real_and_shuffled(tmp_path, toy_root, sampler, tiny_clip):
    result = run(tmp_path, toy_root, metrics=["clip"], clip=tiny_clip[0], clip_weights=tiny_clip[1], count=60)
    label = f"60_clip-tiny-clip-{result['clip']['sha256'][:8]}"
    expected = {f"{kind}_{label}{suffix}" for kind in ("clip_score", "clip_r_precision") for suffix in SUFFIXES}
    assert set(result["scores"]) == expected
    assert all(score["value"] <= 100 for score in result["scores"].values())


SUFFIXES = ("", "_of_real_images", "_of_shuffled_captions")


def test_images_and_captions_share_an_embedding(tiny_clip):
    scorer = ClipScorer(*tiny_clip)
    images = torch.randint(0, 256, (3, 3, 50, 40), dtype=torch.uint8)
    known, captions = scorer.encode(["a red bird", "a blue bird"])
    assert known == [0, 1]
    assert scorer.outputs(images)["clip"].shape == (3, 16)
    assert captions.shape == (2, 16)
    assert not torch.equal(captions[0], captions[1])


def test_missing_weights_or_model_are_named(tmp_path, toy_root, sampler):
    pytest.importorskip("open_clip")
    with pytest.raises(FileNotFoundError, match=r"no CLIP weights at .*nowhere\.pt"):
        ClipScorer("ViT-B-32", tmp_path / "nowhere.pt")
    with pytest.raises(ValueError, match="--clip_weights"):
        run(tmp_path, toy_root, metrics=["clip"])
