"""What joins two stages of a generator: text is mixed into the features of the stage before."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attngan.networks.attention import PaddingMask, word_attention
from attngan.records import TextFeatures


class WordAttentionFusion(nn.Module):
    """AttnGAN's: each place attends to the words; features and attended words are concatenated (Xu et al. 2018, 3.1).

    Args:
        width: Channels of the features.
        embed_dim: Length of a word's features.
        mask: Whose padding masks a place; see `word_attention`.
    """

    def __init__(self, width: int, embed_dim: int, mask: PaddingMask = "own") -> None:
        super().__init__()
        self.out_channels = 2 * width
        self.mask: PaddingMask = mask
        self.project = nn.Linear(embed_dim, width, bias=False)

    def forward(
        self, hidden: Float[Tensor, "batch width height side"], text: TextFeatures
    ) -> tuple[Float[Tensor, "batch twice height side"], Float[Tensor, "batch words height side"]]:
        words = self.project(text.words.mT).mT
        context, weights = word_attention(hidden.flatten(2), words, text.padding, self.mask)
        attention = weights.mT.unflatten(2, hidden.shape[2:])
        return torch.cat([hidden, context.view_as(hidden)], 1), attention
