"""Recall at k between images and captions."""

import pytest
import torch

from attngan.metrics.retrieval import recall_at


def one_hot_set(images=6, captions_each=3):
    owner = torch.arange(images).repeat_interleave(captions_each)
    return torch.eye(images), torch.eye(images)[owner], owner


def test_perfect_encoder_finds_everything():
    images, captions, owner = one_hot_set()
    assert set(recall_at(images, captions, owner).values()) == {100.0}


def test_constant_encoder_finds_nothing():
    owner = torch.arange(20).repeat_interleave(2)
    recalls = recall_at(torch.ones(20, 4), torch.ones(40, 4), owner, ks=(1,))
    assert set(recalls.values()) == {0.0}


def test_equals_plain_loops_whatever_the_chunk():
    generator = torch.Generator().manual_seed(0)
    images, captions = torch.randn(12, 5, generator=generator), torch.randn(30, 5, generator=generator)
    owner = torch.cat([torch.arange(12), torch.randint(12, (18,), generator=generator)])
    scores = torch.nn.functional.cosine_similarity(images[:, None], captions[None], dim=-1)
    expected = {}
    for k in (1, 5):
        nearest = [scores[i].argsort(descending=True)[:k].tolist() for i in range(12)]
        expected[f"image_to_text_r{k}"] = 100 * sum(any(owner[c] == i for c in nearest[i]) for i in range(12)) / 12
        nearest = [scores[:, c].argsort(descending=True)[:k].tolist() for c in range(30)]
        expected[f"text_to_image_r{k}"] = 100 * sum(int(owner[c]) in nearest[c] for c in range(30)) / 30
    assert recall_at(images, captions, owner, ks=(1, 5)) == pytest.approx(expected)
    assert recall_at(images, captions, owner, ks=(1, 5), chunk=7) == pytest.approx(expected)


def test_any_caption_of_the_image_is_a_hit():
    images = torch.eye(3)
    captions = torch.cat([torch.eye(3), -torch.eye(3)])  # every image has one good and one useless caption
    recalls = recall_at(images, captions, torch.tensor([0, 1, 2, 0, 1, 2]), ks=(1,))
    assert recalls == {"image_to_text_r1": 100.0, "text_to_image_r1": 50.0}


def test_refuses_nan_and_images_without_captions():
    images, captions, owner = one_hot_set()
    with pytest.raises(ValueError, match="1 of 6 image embeddings are not finite"):
        recall_at(images.index_fill(0, torch.tensor([2]), float("nan")), captions, owner)
    with pytest.raises(ValueError, match="1 of 7 images have no caption"):
        recall_at(torch.eye(7)[:, :6] + 0.1, captions, owner)
    with pytest.raises(ValueError, match="positions"):
        recall_at(images[:5], captions, owner)
