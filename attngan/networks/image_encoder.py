"""Pixels to features: the image half of the DAMSM (Xu et al. 2018, section 3.2)."""

from jaxtyping import Float
from torch import Tensor, nn

from attngan.networks.description import Described
from attngan.networks.image_trunks import ImageTrunk
from attngan.records import ImageFeatures, TrunkFeatures


class ImageEncoder(Described):
    """Projects a trunk's feature map and pooled vector into the joint text-image embedding.

    Args:
        trunk: The image network; frozen ones stay so, and only the two projections are trained.
        embed_dim: Length of the joint embedding.
    """

    def __init__(self, trunk: ImageTrunk, embed_dim: int = 256) -> None:
        super().__init__()
        self.embed_dim = embed_dim
        self.trunk = trunk
        self.region_projection = nn.Conv2d(trunk.region_channels, embed_dim, 1, bias=False)
        self.pooled_projection = nn.Linear(trunk.pooled_channels, embed_dim)
        nn.init.uniform_(self.region_projection.weight, -0.1, 0.1)
        nn.init.uniform_(self.pooled_projection.weight, -0.1, 0.1)

    def project(self, features: TrunkFeatures) -> ImageFeatures:
        return ImageFeatures(
            self.region_projection(features.regions).flatten(2), self.pooled_projection(features.pooled)
        )

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> ImageFeatures:
        """Features of images in [-1, 1]."""
        return self.project(self.trunk(images))
