"""A network for style transfer small enough to compute by hand."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from attngan.style_transfer.networks import StyleNetwork


class TwoLayers(StyleNetwork):
    """``fine``: a 3 x 3 convolution; ``coarse``: another one of it at half the size."""

    layers = ("fine", "coarse")
    content_layers = ("fine", "coarse")
    style_layers = ("fine", "coarse")
    style_weight = 10.0
    smoothness_weight = 1.0
    strides = {"fine": 1, "coarse": 2}  # noqa: RUF012 - as the base names it

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.first = nn.Parameter(torch.randn(4, 3, 3, 3, generator=generator).double() / 5)
        self.second = nn.Parameter(torch.randn(6, 4, 3, 3, generator=generator).double() / 6)
        self._freeze()

    def forward(self, image: Float[Tensor, "1 3 height width"], wanted: object) -> dict[str, Tensor]:
        fine = F.conv2d(image, self.first, padding=1).tanh()
        return {"fine": fine, "coarse": F.conv2d(F.avg_pool2d(fine, 2), self.second, padding=1).tanh()}


def picture(seed: int, side: int = 8) -> Float[Tensor, "1 3 side side"]:
    """Random pixels in [-1, 1], float64."""
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1
