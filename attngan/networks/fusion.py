"""What joins two stages of a generator: text is mixed into the features of the stage before."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attngan.errors import InputError
from attngan.networks.attention import PaddingMask, word_attention
from attngan.networks.blocks import Activation, conv_block, tile
from attngan.networks.description import Described
from attngan.records import TextFeatures

Features = Float[Tensor, "batch width height side"]
Condition = Float[Tensor, "batch condition"]
Attention = Float[Tensor, "batch words height side"]


class Fusion(Described):
    """Base of what joins two stages.

    Called with the features, the text and the condition, it gives features of ``out_channels`` and, where it
    ``attends`` to words, its attention map (else None).
    """

    out_channels: int
    attends: bool


class ConcatFusion(Fusion):
    """StackGAN's: the condition at every place, concatenated with the features, brought back to their width.

    (Zhang et al. 2018, section 4.1; stage II of Zhang et al. 2017.)

    Args:
        width: Channels of the features.
        condition_dim: Length of the condition.
        activation: Activation after the joint convolution.
    """

    attends = False

    def __init__(self, width: int, condition_dim: int, activation: Activation = "glu") -> None:
        super().__init__()
        self.out_channels = width
        self.joint = conv_block(width + condition_dim, width, activation)

    def forward(
        self, hidden: Features, text: TextFeatures | None, condition: Condition
    ) -> tuple[Float[Tensor, "batch out height side"], None]:
        return self.joint(torch.cat([hidden, tile(condition, hidden)], 1)), None


class WordAttentionFusion(Fusion):
    """AttnGAN's: each place attends to the words; features and attended words are concatenated (Xu et al. 2018, 3.1).

    Args:
        width: Channels of the features.
        embed_dim: Length of a word's features.
        mask: Whose padding masks a place; see `word_attention`.
    """

    attends = True

    def __init__(self, width: int, embed_dim: int, mask: PaddingMask = "own") -> None:
        super().__init__()
        self.out_channels = 2 * width
        self.mask: PaddingMask = mask
        self.project = nn.Linear(embed_dim, width, bias=False)

    def forward(
        self, hidden: Features, text: TextFeatures, condition: Condition
    ) -> tuple[Float[Tensor, "batch twice height side"], Attention]:
        words = self.project(words_of(text).mT).mT
        context, attention = attend(hidden, words, words, text, self.mask)
        return torch.cat([hidden, context], 1), attention


class MemoryFusion(Fusion):
    """DM-GAN's: a memory of the words, written anew for each picture, which each place reads (Zhu et al. 2019, 3.2).

    A gate decides for each word how much of it, and how much of the picture's mean features, goes into its slot of the
    memory; places address the slots by their keys and read their values; a second gate decides how much of what a
    place read takes the place of its features.

    Args:
        width: Channels of the features.
        embed_dim: Length of a word's features.
        mask: Whose padding masks a place; see `word_attention`.
    """

    attends = True

    def __init__(self, width: int, embed_dim: int, mask: PaddingMask = "own") -> None:
        super().__init__()
        self.out_channels = 2 * width
        self.mask: PaddingMask = mask
        self.write_word = nn.Linear(embed_dim, 1, bias=False)  # A of the paper
        self.write_picture = nn.Linear(width, 1, bias=False)  # B
        self.from_word = nn.Conv1d(embed_dim, 2 * width, 1)
        self.from_picture = nn.Conv1d(width, 2 * width, 1)
        self.key = nn.Conv1d(2 * width, width, 1)
        self.value = nn.Conv1d(2 * width, width, 1)
        self.response = nn.Conv2d(2 * width, 1, 1)

    def forward(
        self, hidden: Features, text: TextFeatures, condition: Condition
    ) -> tuple[Float[Tensor, "batch twice height side"], Attention]:
        memory = self.write(hidden, words_of(text))
        keys, values = self.key(memory).relu(), self.value(memory).relu()
        read, attention = attend(hidden, keys, values, text, self.mask)
        gate = self.response(torch.cat([hidden, read], 1)).sigmoid()  # (batch, 1, height, side)
        hidden = hidden * (1 - gate) + read * gate
        # the published code doubles the result so: the residual blocks are as wide as AttnGAN's
        return torch.cat([hidden, hidden], 1), attention

    def write(self, hidden: Features, words: Float[Tensor, "batch embed words"]) -> Float[Tensor, "batch twice words"]:
        """The memory: one slot a word."""
        picture = hidden.mean((2, 3)).detach()  # no gradient goes back through the mean, as in the published code
        gate = (self.write_word(words.mT).mT + self.write_picture(picture)[:, :, None]).sigmoid()  # (batch, 1, words)
        memory: Tensor = (
            gate * self.from_word(words).relu() + (1 - gate) * self.from_picture(picture[:, :, None]).relu()
        )
        return memory


def words_of(text: TextFeatures) -> Float[Tensor, "batch embed words"]:
    """The words' features, for a fusion that cannot do without."""
    if text.words.shape[2] == 0:
        raise InputError(
            "this generator attends to words and was given none: precomputed sentence embeddings have no words; "
            "name a DAMSM with model.damsm, or train a generator that reads sentences alone (StackGAN, StackGAN++, "
            "DF-GAN)"
        )
    return text.words


def attend(
    hidden: Features,
    keys: Float[Tensor, "batch width words"],
    values: Float[Tensor, "batch width words"],
    text: TextFeatures,
    mask: PaddingMask,
) -> tuple[Features, Attention]:
    """`word_attention` of each place of a feature map; what was read and the weights, as maps."""
    context, weights = word_attention(hidden.flatten(2), keys, text.padding, mask, values)
    return context.view_as(hidden), weights.mT.unflatten(2, hidden.shape[2:])
