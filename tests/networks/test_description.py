import copy
import json
import sys

import pytest
import torch
from torch import nn

from attngan.networks.conditioning import ConditioningAugmentation
from attngan.networks.description import Described, build, describe
from attngan.networks.discriminators import DiscriminatorPyramid, StageDiscriminator
from attngan.networks.fusion import ConcatFusion, WordAttentionFusion
from attngan.networks.image_encoder import ImageEncoder
from attngan.networks.image_trunks import ConvTrunk, InceptionTrunk
from attngan.networks.multistage import AttnGANGenerator, MultiStageGenerator
from attngan.networks.text_encoder import TextEncoder

NETWORKS = {
    "generator": lambda: AttnGANGenerator(
        2, width=2, embed_dim=6, noise_dim=3, condition_dim=4, base_size=8, images="last"
    ),
    "pyramid": lambda: DiscriminatorPyramid((8, 16), width=2, embed_dim=6, norm="spectral"),
    "discriminator": lambda: StageDiscriminator(8, 2, embed_dim=6, unconditional=False),
    "text encoder": lambda: TextEncoder(10, embed_dim=8, word_dim=5, rnn="gru"),
    "image encoder": lambda: ImageEncoder(ConvTrunk(16, width=2), embed_dim=6),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_described_network_is_built_again(name):
    network = NETWORKS[name]()
    description = describe(network)
    rebuilt = build(json.loads(json.dumps(description)))  # nothing but plain values
    assert type(rebuilt) is type(network)
    assert describe(rebuilt) == description
    rebuilt.load_state_dict(network.state_dict())
    assert {k: v.shape for k, v in rebuilt.state_dict().items()} == {
        k: v.shape for k, v in network.state_dict().items()
    }


def test_a_description_goes_through_a_file_of_weights(tmp_path):
    description = describe(NETWORKS["image encoder"]())
    torch.save(description, tmp_path / "description.pt")
    assert torch.load(tmp_path / "description.pt", weights_only=True) == description


def test_defaults_are_written_out():
    """A later version with other defaults must still build the old network."""
    assert describe(TextEncoder(10))["init_args"] == {
        "vocabulary_size": 10,
        "embed_dim": 256,
        "word_dim": 300,
        "rnn": "lstm",
        "dropout": 0.5,
    }


def test_pretrained_weights_are_not_looked_for_again():
    trunk = InceptionTrunk(weights=None)
    trunk.init_args["weights"] = "/where/training/ran/inception.pth"
    description = describe(ImageEncoder(trunk))
    assert description["init_args"]["trunk"]["init_args"]["weights"] is None
    assert isinstance(build(description).trunk, InceptionTrunk)


def test_a_generator_put_together_from_parts_is_built_again():
    """One that is no leaf class: its arguments are networks, and lists of networks."""
    conditioning = ConditioningAugmentation(6, 4)
    fusions = [WordAttentionFusion(2, 6), ConcatFusion(2, 4)]
    generator = MultiStageGenerator([2, 2, 4], 3, conditioning, fusions, base_size=8)
    rebuilt = build(json.loads(json.dumps(describe(generator))))
    assert describe(rebuilt) == describe(generator)
    rebuilt.load_state_dict(generator.state_dict())


def test_a_network_of_parts_that_no_checkpoint_can_hold_is_refused():
    class Own(ConcatFusion):
        def __init__(self, layer: nn.Module) -> None:
            super().__init__(2, 3)

    generator = MultiStageGenerator(2, 3, None, [Own(nn.Linear(1, 1))], base_size=8)
    with pytest.raises(ValueError, match=r"Own's layer is a Linear, which a checkpoint cannot hold: .* plain values"):
        describe(generator)


def test_a_copied_network_is_described_as_its_original():
    network = NETWORKS["image encoder"]()
    assert describe(copy.deepcopy(network)) == describe(network)


def test_a_class_of_a_module_that_nobody_imported_is_refused_and_not_imported():
    assert "this" not in sys.modules
    with pytest.raises(ValueError, match=r"wants the class this\.Zen: import its module .* if you trust it"):
        build({"class_path": "this.Zen", "init_args": {}})
    assert "this" not in sys.modules


@pytest.mark.parametrize("path", ["os.system", "builtins.eval", "torch.nn.Linear", "attngan.records.CaptionedImage"])
def test_what_is_no_described_network_is_refused(path):
    with pytest.raises(ValueError, match=f"{path}, which is not a network of attngan"):
        build({"class_path": path, "init_args": {}})


@pytest.mark.parametrize(
    "path", ["", "AttnGANGenerator", "attngan.networks.multistage.NoSuchGenerator", "attngan.gone.Generator"]
)
def test_an_unknown_class_is_refused_by_name(path):
    with pytest.raises(ValueError, match=f"(wants the class|names) {path}[:,]"):
        build({"class_path": path, "init_args": {}})


class Foreign(Described):
    """Stands for a user's own network."""

    def __init__(self, side: int = 4) -> None:
        super().__init__()
        self.side = side


def test_a_users_own_network_is_built_once_its_module_is_imported():
    assert build(describe(Foreign(7))).side == 7
