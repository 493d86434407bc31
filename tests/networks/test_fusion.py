import math

import pytest
import torch

from attngan.networks.attention import PaddingMask
from attngan.networks.fusion import ConcatFusion, MemoryFusion, WordAttentionFusion
from attngan.records import TextFeatures
from tests.networks.comparison import assert_close, tensors


@pytest.mark.golden
@pytest.mark.parametrize(
    ("outputs", "mask", "padded"),
    [("nomask", "own", False), ("mask_official", "published", True), ("mask_fixed", "own", True)],
)
def test_equals_the_published_one(golden, outputs, mask: PaddingMask, padded):
    g = tensors(golden("global_attention"))
    hidden, words = g["input"], g["context"]
    width = hidden.shape[1]
    fusion = WordAttentionFusion(width, words.shape[1], mask)
    fusion.project.load_state_dict({"weight": g["sd.conv_context.weight"].flatten(1)})
    padding = g["mask"] if padded else torch.zeros_like(g["mask"])
    joined, attention = fusion(hidden, TextFeatures(words, words[:, :, 0], padding), torch.zeros(len(hidden), 0))
    assert torch.equal(joined[:, :width], hidden)
    assert_close(joined[:, width:], g[f"out_{outputs}"])
    assert_close(attention, g[f"attn_{outputs}"])


def test_attention_map_stands_where_its_features_stand():
    fusion = WordAttentionFusion(2, 2)
    torch.nn.init.eye_(fusion.project.weight)
    words = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    hidden = torch.zeros(1, 2, 3, 4)
    hidden[0, 1, 2, 3] = 20.0  # this place speaks of the second word
    text = TextFeatures(words, torch.zeros(1, 2), torch.zeros(1, 2, dtype=torch.bool))
    _, attention = fusion(hidden, text, torch.zeros(1, 0))
    assert attention.shape == (1, 2, 3, 4)
    assert attention[0, 1].argmax() == 2 * 4 + 3
    assert attention[0, 1, 2, 3] > 0.99


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def small_batch(lengths: list[int], embed: int = 3, words: int = 4) -> TextFeatures:
    padding = torch.arange(words) >= torch.tensor(lengths)[:, None]
    vectors = torch.randn(len(lengths), embed, words).masked_fill(padding[:, None], 0)
    return TextFeatures(vectors, torch.randn(len(lengths), embed), padding)


def test_concat_fusion_reads_the_condition_at_every_place():
    fusion = ConcatFusion(2, 3).eval()
    hidden, condition = torch.randn(2, 2, 4, 4), torch.randn(2, 3)
    joined, attention = fusion(hidden, None, condition)
    assert attention is None
    assert joined.shape == hidden.shape
    everywhere = torch.stack([torch.stack([condition] * 4, -1)] * 4, -1)
    conv, norm, _ = fusion.joint
    expected = norm(conv(torch.cat([hidden, everywhere], 1)))
    torch.testing.assert_close(joined, expected[:, :2] * expected[:, 2:].sigmoid())
    assert (ConcatFusion(2, 3, "relu")(hidden, None, condition)[0] >= 0).all()


def test_memory_fusion_is_the_formula():
    width, embed, side = 2, 3, 2
    fusion, text = MemoryFusion(width, embed), small_batch([4, 2], embed)
    hidden = torch.randn(2, width, side, side)
    joined, attention = fusion(hidden, text, torch.zeros(2, 0))
    assert joined.shape == (2, 2 * width, side, side)
    assert attention.shape == (2, 4, side, side)

    def layer(conv, vector):
        return (conv.weight.flatten(1) @ vector + conv.bias).relu()

    for b, length in enumerate((4, 2)):
        mean = torch.stack([hidden[b, :, y, x] for y in range(side) for x in range(side)]).mean(0)
        keys, values = [], []
        for t in range(length):
            word = text.words[b, :, t]
            gate = sigmoid(float(fusion.write_word.weight[0] @ word + fusion.write_picture.weight[0] @ mean))
            slot = gate * layer(fusion.from_word, word) + (1 - gate) * layer(fusion.from_picture, mean)
            keys.append(layer(fusion.key, slot))
            values.append(layer(fusion.value, slot))
        for y in range(side):
            for x in range(side):
                place = hidden[b, :, y, x]
                weights = [math.exp(float(place @ key)) for key in keys]
                weights = [w / sum(weights) for w in weights]
                read = sum(w * value for w, value in zip(weights, values, strict=True))
                response = fusion.response.weight.flatten() @ torch.cat([place, read]) + fusion.response.bias
                gate = sigmoid(float(response))
                new = place * (1 - gate) + gate * read
                torch.testing.assert_close(joined[b, :, y, x], torch.cat([new, new]))
                torch.testing.assert_close(attention[b, :length, y, x], torch.tensor(weights))
                assert (attention[b, length:, y, x] == 0).all()


def test_memory_does_not_learn_through_the_mean_of_the_picture():
    fusion = MemoryFusion(2, 3)
    hidden = torch.randn(1, 2, 2, 2, requires_grad=True)
    memory = fusion.write(hidden, torch.randn(1, 3, 4))
    assert memory.shape == (1, 4, 4)
    memory.sum().backward()
    assert hidden.grad is None
    assert fusion.write_picture.weight.grad.abs().max() > 0


@pytest.mark.parametrize(("mask", "independent"), [("own", True), ("published", False)])
def test_memory_fusion_does_not_depend_on_the_rest_of_the_batch(mask: PaddingMask, independent):
    fusion, text, hidden = MemoryFusion(2, 3, mask), small_batch([4, 2]), torch.randn(2, 2, 2, 2)
    none = torch.zeros(2, 0)
    together = fusion(hidden, text, none)[0][1:]
    alone = fusion(hidden[1:], TextFeatures(*(t[1:] for t in text)), none[1:])[0]
    assert torch.allclose(alone, together, atol=1e-6) == independent


def test_memory_fusion_has_the_published_weights():
    fusion = MemoryFusion(64, 256)
    sizes = {name: tuple(p.shape) for name, p in fusion.named_parameters()}
    assert sizes == {
        "write_word.weight": (1, 256),
        "write_picture.weight": (1, 64),
        "from_word.weight": (128, 256, 1),
        "from_word.bias": (128,),
        "from_picture.weight": (128, 64, 1),
        "from_picture.bias": (128,),
        "key.weight": (64, 128, 1),
        "key.bias": (64,),
        "value.weight": (64, 128, 1),
        "value.bias": (64,),
        "response.weight": (1, 128, 1, 1),
        "response.bias": (1,),
    }
