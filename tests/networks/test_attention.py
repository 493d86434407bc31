import math

import pytest
import torch

from attngan.networks.attention import word_attention
from tests.networks.comparison import assert_close, region_attention, tensors


def features(batch: int = 3, embed: int = 4, regions: int = 6, words: int = 5) -> tuple[torch.Tensor, ...]:
    """Query or regions, words, and padding after 5, 3 and 1 words."""
    lengths = torch.tensor([5, 3, 1])[:batch]
    return (
        torch.randn(batch, embed, regions),
        torch.randn(batch, embed, words),
        torch.arange(words) >= lengths[:, None],
    )


def softmax(values: list[float]) -> list[float]:
    exponentials = [math.exp(v) for v in values]
    return [e / sum(exponentials) for e in exponentials]


@pytest.mark.golden
@pytest.mark.parametrize("name", ["func_attention_g4", "func_attention_g5"])
def test_region_attention_equals_the_published_one(golden, golden_notes, name):
    g, gamma1 = tensors(golden(name)), golden_notes(name)["config"]["gamma1"]
    words, context = g["query"].requires_grad_(), g["context"].requires_grad_()
    own = torch.arange(len(words))  # the published function pairs image i with caption i
    none = torch.zeros(len(words), words.shape[2], dtype=torch.bool)
    attended, weights = region_attention(context.flatten(2), words, none, gamma1)
    attended, weights = attended[own, :, own], weights[own, :, own].mT
    assert_close(attended, g["weighted_context"])
    assert_close(weights, g["attn"].flatten(2))
    ((attended * g["cot_weighted_context"]).sum() + (weights * g["cot_attn"].flatten(2)).sum()).backward()
    assert_close(words.grad, g["grad_query"])
    assert_close(context.grad, g["grad_context"])


def test_region_attention_is_the_formula():
    regions, words, padding = features()
    context, weights = region_attention(regions, words, padding, gamma1=3.0)
    for image in range(3):
        for caption in range(3):
            length = int((~padding[caption]).sum())
            spoken = [
                softmax([float(regions[image, :, r] @ words[caption, :, t]) for t in range(length)]) for r in range(6)
            ]
            for t in range(length):
                alpha = softmax([3.0 * spoken[r][t] for r in range(6)])
                expected = sum(alpha[r] * regions[image, :, r] for r in range(6))
                torch.testing.assert_close(weights[image, :, caption, t], torch.tensor(alpha))
                torch.testing.assert_close(context[image, :, caption, t], expected)


def test_region_attention_sums_to_one_over_regions():
    regions, words, padding = features()
    _, weights = region_attention(regions, words, padding)
    torch.testing.assert_close(weights.sum(1), torch.ones(3, 3, 5))


def test_padded_words_have_no_part_in_region_attention():
    regions, words, padding = features()
    context, weights = region_attention(regions, words, padding)
    other = words.masked_fill(padding[:, None], 7.0)
    context_other, weights_other = region_attention(regions, other, padding)
    real = ~padding
    torch.testing.assert_close(context.permute(2, 3, 0, 1)[real], context_other.permute(2, 3, 0, 1)[real])
    torch.testing.assert_close(weights.permute(2, 3, 0, 1)[real], weights_other.permute(2, 3, 0, 1)[real])


@pytest.mark.parametrize("mask", ["own", "published"])
def test_word_attention_is_the_formula(mask):
    query, words, padding = features()
    context, weights = word_attention(query, words, padding, mask)
    for b in range(3):
        for r in range(6):
            masks = b if mask == "own" else (b * 6 + r) % 3
            seen = [t for t in range(5) if not padding[masks, t]]
            expected = torch.zeros(5)
            expected[seen] = torch.tensor(softmax([float(query[b, :, r] @ words[b, :, t]) for t in seen]))
            torch.testing.assert_close(weights[b, r], expected)
            torch.testing.assert_close(context[b, :, r], sum(expected[t] * words[b, :, t] for t in range(5)))


def test_word_attention_reads_other_values_by_the_same_weights():
    query, words, padding = features()
    values = torch.randn(3, 7, 5)
    context, weights = word_attention(query, words, padding, values=values)
    assert torch.equal(weights, word_attention(query, words, padding)[1])
    for b in range(3):
        for r in range(6):
            torch.testing.assert_close(context[b, :, r], sum(weights[b, r, t] * values[b, :, t] for t in range(5)))


def test_padding_gets_no_attention():
    query, words, padding = features()
    _, weights = word_attention(query, words, padding)
    assert (weights.mT[padding] == 0).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, 6))


def test_published_mask_attends_to_padding():
    query, words, padding = features()
    _, weights = word_attention(query, words, padding, "published")
    assert (weights.mT[padding] > 0).any()


def test_what_stands_at_padded_positions_has_no_effect():
    query, words, padding = features()
    context, _ = word_attention(query, words, padding)
    context_other, _ = word_attention(query, words.masked_fill(padding[:, None], 9.0), padding)
    assert torch.equal(context, context_other)


@pytest.mark.parametrize(("mask", "independent"), [("own", True), ("published", False)])
def test_attention_does_not_depend_on_the_rest_of_the_batch(mask, independent):
    query, words, padding = features()
    together, _ = word_attention(query, words, padding, mask)
    alone = torch.cat([word_attention(query[i, None], words[i, None], padding[i, None], mask)[0] for i in range(3)])
    assert torch.allclose(together, alone, atol=1e-6) == independent


def test_both_masks_agree_where_all_captions_have_one_length():
    query, words, _ = features()
    padding = (torch.arange(5) >= 3).expand(3, 5)
    own, _ = word_attention(query, words, padding, "own")
    published, _ = word_attention(query, words, padding, "published")
    assert torch.equal(own, published)
