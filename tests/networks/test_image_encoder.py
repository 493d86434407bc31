import torch

from attngan.networks.image_encoder import ImageEncoder
from attngan.networks.image_trunks import ConvTrunk, ImageTrunk
from attngan.records import TrunkFeatures


def tiny() -> ImageEncoder:
    return ImageEncoder(ConvTrunk(input_size=16, width=2), embed_dim=6)


def test_projects_each_region_and_the_pooled_vector():
    encoder = tiny()
    regions, pooled = torch.randn(2, 8, 2, 3), torch.randn(2, 16)
    features = encoder.project(TrunkFeatures(regions, pooled))
    weight = encoder.region_projection.weight[:, :, 0, 0]
    for r in range(2):
        for c in range(3):
            torch.testing.assert_close(features.regions[:, :, 3 * r + c], regions[:, :, r, c] @ weight.T)
    linear = encoder.pooled_projection
    torch.testing.assert_close(features.pooled, pooled @ linear.weight.T + linear.bias)


def test_takes_images_of_any_size():
    encoder = tiny()
    for side in (16, 12, 40):
        features = encoder(torch.rand(2, 3, side, side) * 2 - 1)
        assert features.regions.shape == (2, 6, 4)
        assert features.pooled.shape == (2, 6)


def test_projections_start_within_a_tenth():
    encoder = ImageEncoder(ConvTrunk(16, 8), embed_dim=64)
    for weight in (encoder.region_projection.weight, encoder.pooled_projection.weight):
        assert 0.09 < weight.abs().max() <= 0.1


def test_only_the_projections_of_a_frozen_trunk_are_trained():
    encoder = tiny()
    encoder.trunk.freeze()
    trained = {name for name, parameter in encoder.named_parameters() if parameter.requires_grad}
    assert trained == {"region_projection.weight", "pooled_projection.weight", "pooled_projection.bias"}
    before = {name: t.clone() for name, t in encoder.trunk.state_dict().items()}
    encoder.train()
    encoder(torch.randn(2, 3, 16, 16)).pooled.sum().backward()
    assert all(torch.equal(before[name], t) for name, t in encoder.trunk.state_dict().items())
    assert encoder.pooled_projection.weight.grad is not None


def test_gradients_pass_through_a_frozen_trunk_to_the_image():
    encoder = tiny()
    encoder.trunk.freeze()
    images = torch.randn(2, 3, 16, 16, requires_grad=True)
    encoder(images).pooled.sum().backward()
    assert images.grad is not None
    assert (images.grad.flatten(1).abs().max(1).values > 0).all()


def norm(name: str) -> list[str]:
    return [f"{name}.{part}" for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")]


def test_checkpoint_keys_stay_as_they_are():
    """Old checkpoints must stay loadable: a change here needs a translation of old keys."""
    blocks = ("trunk.to_regions.0", "trunk.to_regions.1", "trunk.to_regions.2", "trunk.to_regions.3", "trunk.to_pooled")
    assert list(tiny().state_dict()) == [
        *(key for block in blocks for key in (f"{block}.0.weight", *norm(f"{block}.1"))),
        *("region_projection.weight", "pooled_projection.weight", "pooled_projection.bias"),
    ]


def test_a_trunk_needs_features_and_sizes_and_nothing_else():
    class Colours(ImageTrunk):
        input_size, region_channels, pooled_channels = 4, 3, 3

        def features(self, images: torch.Tensor) -> TrunkFeatures:
            return TrunkFeatures(images, images.mean((2, 3)))

    features = ImageEncoder(Colours(), embed_dim=5)(torch.randn(2, 3, 9, 9))
    assert features.regions.shape == (2, 5, 16)
