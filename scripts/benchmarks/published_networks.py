"""The published networks in plain eager PyTorch, written from the papers and from what their code is known to do.

They are the measure that ours are held against, so nothing here is tuned: gated units are written out as a product,
attention transposes and copies as the published code does, heads end in a sigmoid. Parameters have the names of our
networks, so that one state dict fills both (spectral norm's apart).
"""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Gate(nn.Module):
    """The first half of the channels times the sigmoid of the second half."""

    def forward(self, x: Tensor) -> Tensor:
        half = x.shape[1] // 2
        return x[:, :half] * torch.sigmoid(x[:, half:])


def conv3x3(in_channels: int, out_channels: int, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=bias)


def gated(in_channels: int, out_channels: int) -> list[nn.Module]:
    return [conv3x3(in_channels, 2 * out_channels), nn.BatchNorm2d(2 * out_channels), Gate()]


def enlarge(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), *gated(in_channels, out_channels))


def spread(vector: Tensor, side: int) -> Tensor:
    """A vector repeated at each place of a feature map."""
    return vector.view(*vector.shape, 1, 1).repeat(1, 1, side, side)


class TextEncoder(nn.Module):
    """Captions sorted by length, longest first, to words' and sentences' features."""

    def __init__(self, vocabulary: int, embed: int = 256, word: int = 300, dropout: float = 0.5) -> None:
        super().__init__()
        self.embed = embed
        self.embedding, self.dropout = nn.Embedding(vocabulary, word), nn.Dropout(dropout)
        self.rnn = nn.LSTM(word, embed // 2, batch_first=True, bidirectional=True)

    def forward(self, ids: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        shown = self.dropout(self.embedding(ids))
        packed = nn.utils.rnn.pack_padded_sequence(shown, lengths.tolist(), batch_first=True)
        output, (last, _) = self.rnn(packed)
        words = nn.utils.rnn.pad_packed_sequence(output, batch_first=True)[0].transpose(1, 2)
        return words, last.transpose(0, 1).contiguous().view(-1, self.embed)


class InceptionTrunk(nn.Module):
    """Inception-v3 as torchvision lays it out: images of 299 px to 17 x 17 regions and a pooled vector."""

    def __init__(self, weights: dict[str, Tensor] | None = None) -> None:
        super().__init__()
        from torchvision.models import inception_v3

        net = inception_v3(weights=None, init_weights=False, transform_input=False)
        if weights is not None:
            net.load_state_dict(weights)
        net.requires_grad_(False)
        self.to_regions = nn.Sequential(
            *(net.Conv2d_1a_3x3, net.Conv2d_2a_3x3, net.Conv2d_2b_3x3, nn.MaxPool2d(3, 2)),
            *(net.Conv2d_3b_1x1, net.Conv2d_4a_3x3, nn.MaxPool2d(3, 2)),
            *(net.Mixed_5b, net.Mixed_5c, net.Mixed_5d, net.Mixed_6a),
            *(net.Mixed_6b, net.Mixed_6c, net.Mixed_6d, net.Mixed_6e),
        )
        self.to_pooled = nn.Sequential(net.Mixed_7a, net.Mixed_7b, net.Mixed_7c, nn.AvgPool2d(8), nn.Flatten())

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        regions = self.to_regions(F.interpolate(images, (299, 299), mode="bilinear", align_corners=True))
        return regions, self.to_pooled(regions)


class ImageEncoder(nn.Module):
    """A trunk and the two projections into the joint embedding."""

    def __init__(self, trunk: Any, regions: int = 768, pooled: int = 2048, embed: int = 256) -> None:
        super().__init__()
        self.trunk = trunk
        self.region_projection = nn.Conv2d(regions, embed, 1, bias=False)
        self.pooled_projection = nn.Linear(pooled, embed)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        regions, pooled = self.trunk(images)
        return self.region_projection(regions), self.pooled_projection(pooled)


# --- generators that grow over stages ---------------------------------------------------------------------------------


class Conditioning(nn.Module):
    """The sentence as a Gaussian, and a draw from it."""

    def __init__(self, embed: int, condition: int) -> None:
        super().__init__()
        self.condition = condition
        self.linear, self.gate = nn.Linear(embed, 4 * condition), Gate()

    def forward(self, sentence: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        coded = self.gate(self.linear(sentence))
        mean, log_variance = coded[:, : self.condition], coded[:, self.condition :]
        return log_variance.mul(0.5).exp() * noise + mean, mean, log_variance


class Stem(nn.Module):
    def __init__(self, in_dim: int, width: int, side: int) -> None:
        super().__init__()
        times = (side // 4).bit_length() - 1
        channels = [width << (times - step) for step in range(times + 1)]
        self.linear = nn.Linear(in_dim, 2 * channels[0] * 16, bias=False)
        self.norm, self.gate = nn.BatchNorm1d(2 * channels[0] * 16), Gate()
        self.upsample = nn.Sequential(*(enlarge(a, b) for a, b in pairwise(channels)))

    def forward(self, code: Tensor) -> Tensor:
        return self.upsample(self.gate(self.norm(self.linear(code))).view(len(code), -1, 4, 4))


class Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        block = [*gated(channels, channels), conv3x3(channels, channels), nn.BatchNorm2d(channels)]
        self.block = nn.Sequential(*block)

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x).add_(x)


def look_up(hidden: Tensor, keys: Tensor, values: Tensor, padding: Tensor) -> tuple[Tensor, Tensor]:
    """Each place reads the values of the words whose keys fit; the mask's rows as the published code repeats them."""
    batch, _, height, side = hidden.shape
    places = height * side
    rows = hidden.view(batch, -1, places).transpose(1, 2).contiguous()
    scores = torch.bmm(rows, keys).view(batch * places, -1)
    scores.data.masked_fill_(padding.repeat(places, 1), -torch.inf)
    weights = scores.softmax(1).view(batch, places, -1).transpose(1, 2).contiguous()
    read = torch.bmm(values, weights)
    return read.view(batch, -1, height, side), weights.view(batch, -1, height, side)


class WordAttention(nn.Module):
    """AttnGAN's joint of two stages."""

    def __init__(self, width: int, embed: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(embed, width, 1, bias=False)

    def forward(self, hidden: Tensor, words: Tensor, padding: Tensor) -> tuple[Tensor, Tensor]:
        source = self.project(words.unsqueeze(3)).squeeze(3)
        read, attention = look_up(hidden, source, source, padding)
        return torch.cat((hidden, read), 1), attention


class Memory(nn.Module):
    """DM-GAN's joint of two stages."""

    def __init__(self, width: int, embed: int) -> None:
        super().__init__()
        self.write_word, self.write_picture = nn.Linear(embed, 1, bias=False), nn.Linear(width, 1, bias=False)
        self.from_word, self.from_picture = nn.Conv1d(embed, 2 * width, 1), nn.Conv1d(width, 2 * width, 1)
        self.key, self.value = nn.Conv1d(2 * width, width, 1), nn.Conv1d(2 * width, width, 1)
        self.response = nn.Conv2d(2 * width, 1, 1)

    def forward(self, hidden: Tensor, words: Tensor, padding: Tensor) -> tuple[Tensor, Tensor]:
        count = words.shape[2]
        picture = F.avg_pool2d(hidden, hidden.shape[2]).detach().squeeze(3)  # (batch, width, 1)
        by_word = self.write_word(words.transpose(1, 2).contiguous()).transpose(1, 2).contiguous()
        by_picture = self.write_picture(picture.transpose(1, 2).contiguous()).repeat(1, 1, count)
        gate = torch.sigmoid(by_word + by_picture)
        whole = self.from_picture(picture.repeat(1, 1, count)).relu()
        memory = self.from_word(words).relu() * gate + whole * (1 - gate)
        read, attention = look_up(hidden, self.key(memory).relu(), self.value(memory).relu(), padding)
        response = torch.sigmoid(self.response(torch.cat((hidden, read), 1)))
        mixed = hidden * (1 - response) + response * read
        return torch.cat((mixed, mixed), 1), attention


class Stage(nn.Module):
    def __init__(self, fusion: nn.Module, width: int, blocks: int) -> None:
        super().__init__()
        self.fusion = fusion
        self.residual = nn.Sequential(*(Residual(2 * width) for _ in range(blocks)))
        self.upsample = enlarge(2 * width, width)

    def forward(self, hidden: Tensor, words: Tensor, padding: Tensor) -> tuple[Tensor, Tensor]:
        joined, attention = self.fusion(hidden, words, padding)
        return self.upsample(self.residual(joined)), attention


class StagedGenerator(nn.Module):
    """AttnGAN's generator, or DM-GAN's: an image a stage, the attention maps, the Gaussian's mean and log variance."""

    def __init__(
        self,
        fusion: type[WordAttention] | type[Memory] = WordAttention,
        width: int = 32,
        embed: int = 256,
        noise: int = 100,
        condition: int = 100,
        blocks: int = 2,
        side: int = 64,
        stages: int = 3,
    ) -> None:
        super().__init__()
        self.noise, self.condition = noise, condition
        self.conditioning = Conditioning(embed, condition)
        self.stem = Stem(condition + noise, width, side)
        self.stages = nn.ModuleList(Stage(fusion(width, embed), width, blocks) for _ in range(stages - 1))
        self.heads = nn.ModuleList(nn.Sequential(conv3x3(width, 3), nn.Tanh()) for _ in range(stages))

    def forward(
        self, latent: Tensor, noise: Tensor, sentence: Tensor, words: Tensor, padding: Tensor
    ) -> tuple[list[Tensor], list[Tensor], Tensor, Tensor]:
        condition, mean, log_variance = self.conditioning(sentence, noise)
        hidden = self.stem(torch.cat((condition, latent), 1))
        images, maps = [self.heads[0](hidden)], []
        for stage, head in zip(self.stages, list(self.heads)[1:], strict=True):
            hidden, attention = stage(hidden, words, padding)
            images.append(head(hidden))
            maps.append(attention)
        return images, maps, mean, log_variance


# --- their discriminators ---------------------------------------------------------------------------------------------


class SpectralNorm(nn.Module):
    """A convolution whose weight is divided by its largest singular value, by one power iteration a forward pass."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.stride, self.padding = conv.stride, conv.padding
        self.original, self.bias = conv.weight, conv.bias
        matrix = conv.weight.flatten(1)
        self.u, self.v = (nn.Parameter(self._unit(torch.randn(n)), requires_grad=False) for n in matrix.shape)

    def forward(self, x: Tensor) -> Tensor:
        matrix = self.original.view(len(self.original), -1)
        self.v.data = self._unit(torch.mv(matrix.data.t(), self.u.data))
        self.u.data = self._unit(torch.mv(matrix.data, self.v.data))
        sigma = self.u.dot(matrix.mv(self.v))
        weight = self.original / sigma.expand_as(self.original)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding)

    @staticmethod
    def _unit(vector: Tensor) -> Tensor:
        return vector / (vector.norm() + 1e-12)


class StageDiscriminator(nn.Module):
    """An image to 4 x 4 features; probabilities for pairs of features and sentences, and for features alone."""

    def __init__(self, side: int, width: int = 64, embed: int = 256, spectral: bool = False) -> None:
        super().__init__()
        channels = [3, *(width << step for step in range((side // 4).bit_length() - 1))]
        convs = [nn.Conv2d(a, b, 4, 2, 1, bias=spectral) for a, b in pairwise(channels)]
        while channels[-1] > 8 * width:
            channels.append(channels[-1] // 2)
            convs.append(conv3x3(2 * channels[-1], channels[-1], spectral))
        last = channels[-1]

        def block(conv: nn.Conv2d, first: bool = False) -> nn.Sequential:
            if spectral:
                return nn.Sequential(SpectralNorm(conv), nn.LeakyReLU(0.2, inplace=True))
            norm = [] if first else [nn.BatchNorm2d(conv.out_channels)]
            return nn.Sequential(conv, *norm, nn.LeakyReLU(0.2, inplace=True))

        self.encoder = nn.Sequential(*(block(conv, conv is convs[0]) for conv in convs))
        self.joint = block(conv3x3(last + embed, last, spectral))
        self.conditional_head, self.unconditional_head = (nn.Conv2d(last, 1, 4, 4) for _ in range(2))

    def forward(self, images: Tensor) -> Tensor:
        return self.encoder(images)

    def of_pair(self, features: Tensor, sentence: Tensor) -> Tensor:
        joined = torch.cat((features, spread(sentence, 4)), 1)
        return torch.sigmoid(self.conditional_head(self.joint(joined))).view(-1)

    def of_image(self, features: Tensor) -> Tensor:
        return torch.sigmoid(self.unconditional_head(features)).view(-1)


# --- DF-GAN -----------------------------------------------------------------------------------------------------------


class Affine(nn.Module):
    def __init__(self, condition: int, channels: int) -> None:
        super().__init__()
        self.scale, self.shift = (
            nn.Sequential(nn.Linear(condition, channels), nn.ReLU(), nn.Linear(channels, channels)) for _ in range(2)
        )
        for network, start in ((self.scale, 1.0), (self.shift, 0.0)):
            nn.init.zeros_(network[2].weight)
            nn.init.constant_(network[2].bias, start)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift = (network(condition)[..., None, None].expand(x.shape) for network in (self.scale, self.shift))
        return scale * x + shift


class TextFusion(nn.Module):
    def __init__(self, condition: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.affines = nn.ModuleList(Affine(condition, in_channels) for _ in range(2))
        self.conv = conv3x3(in_channels, out_channels, bias=True)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        for affine in self.affines:
            x = F.leaky_relu(affine(x, condition), 0.2, inplace=True)
        return self.conv(x)


class UpBlock(nn.Module):
    def __init__(self, condition: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.fusions = nn.ModuleList(TextFusion(condition, a, out_channels) for a in (in_channels, out_channels))
        same = in_channels == out_channels
        self.shortcut = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        x = F.interpolate(x, scale_factor=2)
        return self.shortcut(x) + self.fusions[1](self.fusions[0](x, condition), condition)


def widths_up_to(side: int, width: int) -> list[int]:
    """Channels at the full side, half of it ... 4 px."""
    return [width * min(1 << step, 8) for step in range((side // 4).bit_length())]


class DFGANGenerator(nn.Module):
    def __init__(self, side: int = 256, width: int = 32, embed: int = 256, noise: int = 100) -> None:
        super().__init__()
        self.noise = noise
        channels = widths_up_to(side, width)[::-1]
        self.linear = nn.Linear(noise, channels[0] * 16)
        self.blocks = nn.ModuleList(UpBlock(noise + embed, a, b) for a, b in pairwise(channels))
        self.head = nn.Sequential(nn.LeakyReLU(0.2, inplace=True), conv3x3(channels[-1], 3, bias=True), nn.Tanh())

    def forward(self, latent: Tensor, sentence: Tensor) -> Tensor:
        hidden, condition = self.linear(latent).view(len(latent), -1, 4, 4), torch.cat((latent, sentence), 1)
        for block in self.blocks:
            hidden = block(hidden, condition)
        return self.head(hidden)


class DownBlock(nn.Module):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            *(nn.Conv2d(in_channels, out_channels, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True)),
            *(conv3x3(out_channels, out_channels), nn.LeakyReLU(0.2, inplace=True)),
        )
        self.shortcut, self.widens = nn.Conv2d(in_channels, out_channels, 1), in_channels != out_channels
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        skip = self.shortcut(x) if self.widens else x
        return F.avg_pool2d(skip, 2) + self.weight * self.residual(x)


class DFGANDiscriminator(nn.Module):
    def __init__(self, side: int = 256, width: int = 32, embed: int = 256) -> None:
        super().__init__()
        channels = widths_up_to(side, width)
        first = conv3x3(3, width, bias=True)
        self.encoder = nn.Sequential(first, *(DownBlock(a, b) for a, b in pairwise(channels)))
        joint = conv3x3(channels[-1] + embed, 2 * width)
        self.joint = nn.Sequential(joint, nn.LeakyReLU(0.2, inplace=True))
        self.head = nn.Conv2d(2 * width, 1, 4, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        return self.encoder(images)

    def of_pair(self, features: Tensor, sentence: Tensor) -> Tensor:
        return self.head(self.joint(torch.cat((features, spread(sentence, 4)), 1)))
