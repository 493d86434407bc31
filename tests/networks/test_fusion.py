import pytest
import torch

from attngan.networks.attention import PaddingMask
from attngan.networks.fusion import WordAttentionFusion
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
