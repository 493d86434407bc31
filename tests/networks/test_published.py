"""Published files are written here from the published names, spelled out by hand, and read by the importer."""

import re
from collections import OrderedDict

import pytest
import torch
from torch import Tensor

from attngan.networks.image_encoder import ImageEncoder
from attngan.networks.image_trunks import ImageTrunk
from attngan.networks.multistage import AttnGANGenerator
from attngan.networks.published import (
    discriminator_sizes,
    discriminator_state,
    generator_sizes,
    generator_state,
    image_encoder_sizes,
    image_encoder_state,
    load_published_discriminator,
    load_published_generator,
    load_published_image_encoder,
    load_published_text_encoder,
    read_published,
    text_encoder_sizes,
    text_encoder_state,
)
from attngan.records import CaptionBatch, GeneratorNoise, TextFeatures
from tests.networks.comparison import assert_close, tensors

Published = dict[str, Tensor]


def norm(name: str, channels: int) -> Published:
    return {
        f"{name}.weight": torch.randn(channels),
        f"{name}.bias": torch.randn(channels),
        f"{name}.running_mean": torch.randn(channels),
        f"{name}.running_var": torch.rand(channels) + 0.5,
        f"{name}.num_batches_tracked": torch.tensor(3),
    }


def generator(
    stages: int = 3,
    width: int = 2,
    residual_blocks: int = 2,
    embed: int = 6,
    z: int = 7,
    c: int = 5,
    dcgan: bool = False,
) -> Published:
    """G_NET, or G_DCGAN: the stages alike, but one image head without a number."""
    w, first = width, 16 * width
    weights = {"ca_net.fc.weight": torch.randn(4 * c, embed), "ca_net.fc.bias": torch.randn(4 * c)}
    weights |= {"h_net1.fc.0.weight": torch.randn(first * 32, c + z), **norm("h_net1.fc.1", first * 32)}
    for i in (1, 2, 3, 4):
        channels = first // 2**i
        weights[f"h_net1.upsample{i}.1.weight"] = torch.randn(2 * channels, 2 * channels, 3, 3)
        weights |= norm(f"h_net1.upsample{i}.2", 2 * channels)
    for stage in range(2, stages + 1):
        net = f"h_net{stage}"
        weights[f"{net}.att.conv_context.weight"] = torch.randn(w, embed, 1, 1)
        for r in range(residual_blocks):
            weights[f"{net}.residual.{r}.block.0.weight"] = torch.randn(4 * w, 2 * w, 3, 3)
            weights |= norm(f"{net}.residual.{r}.block.1", 4 * w)
            weights[f"{net}.residual.{r}.block.3.weight"] = torch.randn(2 * w, 2 * w, 3, 3)
            weights |= norm(f"{net}.residual.{r}.block.4", 2 * w)
        weights[f"{net}.upsample.1.weight"] = torch.randn(2 * w, 2 * w, 3, 3)
        weights |= norm(f"{net}.upsample.2", 2 * w)
    for head in ["img_net"] if dcgan else [f"img_net{i + 1}" for i in range(stages)]:
        weights[f"{head}.img.0.weight"] = torch.randn(3, w, 3, 3)
    return weights


def discriminator(side: int = 64, width: int = 2, embed: int = 6, unconditional: bool = True) -> Published:
    w = width

    def block(name: str, first: int, channels_in: int, channels: int, kernel: int) -> Published:
        conv = {f"{name}.{first}.weight": torch.randn(channels, channels_in, kernel, kernel)}
        return conv | norm(f"{name}.{first + 1}", channels)

    weights = {"img_code_s16.0.weight": torch.randn(w, 3, 4, 4)}
    for first, channels in ((2, 2 * w), (5, 4 * w), (8, 8 * w)):
        weights |= block("img_code_s16", first, channels // 2, channels, 4)
    if side >= 128:
        weights |= block("img_code_s32", 0, 8 * w, 16 * w, 4)
    if side == 128:
        weights |= block("img_code_s32_1", 0, 16 * w, 8 * w, 3)
    if side == 256:
        weights |= block("img_code_s64", 0, 16 * w, 32 * w, 4)
        weights |= block("img_code_s64_1", 0, 32 * w, 16 * w, 3) | block("img_code_s64_2", 0, 16 * w, 8 * w, 3)
    weights |= block("COND_DNET.jointConv", 0, 8 * w + embed, 8 * w, 3)
    for head in ["UNCOND_DNET", "COND_DNET"] if unconditional else ["COND_DNET"]:
        weights |= {
            f"{head}.outlogits.0.weight": torch.randn(1, 8 * w, 4, 4),
            f"{head}.outlogits.0.bias": torch.randn(1),
        }
    return weights


def text_encoder(gates: int = 4, words: int = 11, word_dim: int = 5, half: int = 3) -> Published:
    weights = {"encoder.weight": torch.randn(words, word_dim)}
    for direction in ("", "_reverse"):
        weights[f"rnn.weight_ih_l0{direction}"] = torch.randn(gates * half, word_dim)
        weights[f"rnn.weight_hh_l0{direction}"] = torch.randn(gates * half, half)
        weights[f"rnn.bias_ih_l0{direction}"] = torch.randn(gates * half)
        weights[f"rnn.bias_hh_l0{direction}"] = torch.randn(gates * half)
    return weights


def projections(embed: int = 6, regions: int = 768, pooled: int = 2048) -> Published:
    return {
        "emb_features.weight": torch.randn(embed, regions, 1, 1),
        "emb_cnn_code.weight": torch.randn(embed, pooled),
        "emb_cnn_code.bias": torch.randn(embed),
    }


@pytest.fixture(scope="module")
def image_encoder() -> Published:
    """CNN_ENCODER: torchvision's Inception-v3 without its classifiers, and two projections."""
    from torchvision.models import inception_v3

    weights = inception_v3(weights=None, init_weights=False).state_dict()
    return {k: v for k, v in weights.items() if not k.startswith(("AuxLogits.", "fc."))} | projections()


KINDS = {
    "generator": (lambda: generator(stages=2, residual_blocks=1), generator_state),
    "dcgan generator": (lambda: generator(stages=2, residual_blocks=0, dcgan=True), generator_state),
    "discriminator 64": (discriminator, discriminator_state),
    "discriminator 128": (lambda: discriminator(128), discriminator_state),
    "discriminator 256": (lambda: discriminator(256), discriminator_state),
    "text encoder": (text_encoder, text_encoder_state),
}


@pytest.mark.parametrize(
    ("sizes", "dcgan"),
    [
        ({"stages": 3, "width": 2, "residual_blocks": 2}, False),
        ({"stages": 2, "width": 4, "residual_blocks": 3}, False),
        ({"stages": 1, "width": 2, "residual_blocks": 0}, False),
        ({"stages": 3, "width": 2, "residual_blocks": 0}, True),
    ],
)
def test_sizes_of_a_generator(sizes, dcgan):
    published = generator(**sizes, embed=6, z=7, c=5, dcgan=dcgan)
    other = {"embed_dim": 6, "noise_dim": 7, "condition_dim": 5, "base_size": 64}
    assert generator_sizes(published) == {**sizes, **other, "images": "last" if dcgan else "every stage"}
    AttnGANGenerator(**generator_sizes(published)).load_state_dict(generator_state(published))


@pytest.mark.parametrize("side", [64, 128, 256])
@pytest.mark.parametrize("unconditional", [True, False])
def test_sizes_of_a_discriminator(side, unconditional):
    published = discriminator(side, width=3, embed=6, unconditional=unconditional)
    assert discriminator_sizes(published) == {
        "resolution": side,
        "width": 3,
        "embed_dim": 6,
        "unconditional": unconditional,
    }
    assert len(discriminator_state(published)) == len(published)


@pytest.mark.parametrize(("gates", "rnn"), [(4, "lstm"), (3, "gru")])
def test_sizes_of_a_text_encoder(gates, rnn):
    published = text_encoder(gates, words=11, word_dim=5, half=3)
    assert text_encoder_sizes(published) == {"vocabulary_size": 11, "embed_dim": 6, "word_dim": 5, "rnn": rnn}


def test_a_cell_of_other_gates_is_refused():
    with pytest.raises(ValueError, match=r"neither an LSTM .* nor a GRU"):
        text_encoder_sizes(text_encoder(gates=1))


@pytest.mark.parametrize("kind", KINDS)
def test_every_tensor_arrives(kind):
    make, state_of = KINDS[kind]
    published = make()
    arrived = sorted(tuple(t.flatten().tolist()) for t in state_of(published).values())
    assert arrived == sorted(tuple(t.flatten().tolist()) for t in published.values())


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module.", "module._orig_mod."])
@pytest.mark.parametrize("kind", KINDS)
def test_the_prefixes_of_wrappers_are_dropped(kind, prefix):
    make, state_of = KINDS[kind]
    published = make()
    wrapped = state_of({f"{prefix}{name}": tensor for name, tensor in published.items()})
    assert wrapped.keys() == state_of(published).keys()


@pytest.mark.parametrize(
    "within",
    [
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": {"netG": state, "netD": discriminator(), "netC": {}}, "optimizers": {}},
        lambda state: {"netG": state, "netD": discriminator()},
        lambda state: {"model": {"state_dict": state}},
        lambda state: {"model": state},
    ],
)
def test_a_state_dict_within_entries_is_found(tmp_path, within):
    published = generator(stages=1)
    torch.save(within({f"module.{name}": tensor for name, tensor in published.items()}), tmp_path / "state.pth")
    found = read_published(tmp_path / "state.pth")
    assert found.keys() == published.keys()
    assert all(torch.equal(tensor, published[name]) for name, tensor in found.items())


def test_entries_without_the_network_are_named(tmp_path):
    torch.save({"model": {"netD": discriminator(), "epoch": 3}}, tmp_path / "state.pth")
    with pytest.raises(
        ValueError, match=r"state\.pth, entry 'model', holds no state dict.*entries netD, epoch; weights lie in netD"
    ):
        read_published(tmp_path / "state.pth")
    assert read_published(tmp_path / "state.pth", "netD").keys() == discriminator().keys()


def test_shapes_that_cannot_be_are_refused():
    published = generator(stages=1)
    published["h_net1.fc.0.weight"] = torch.zeros(
        published["h_net1.fc.0.weight"].shape[0], 3
    )  # fewer than the condition
    with pytest.raises(ValueError, match=r"do not go together.*'noise_dim': -2"):
        generator_state(published)


@pytest.mark.parametrize("kind", KINDS)
def test_files_older_than_the_counter_of_batches(kind):
    """AttnGAN was published for PyTorch 0.3, whose batch norm kept no ``num_batches_tracked``."""
    make, state_of = KINDS[kind]
    published = make()
    old = state_of({name: t for name, t in published.items() if not name.endswith("num_batches_tracked")})
    assert old.keys() == state_of(published).keys()
    assert all(t == 0 for name, t in old.items() if name.endswith("num_batches_tracked"))


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_key_is_named(kind):
    make, state_of = KINDS[kind]
    with pytest.raises(ValueError, match=r"not a name of the published network: rnn\.weight_ih_l1$"):
        state_of(make() | {"rnn.weight_ih_l1": torch.zeros(2)})


@pytest.mark.parametrize("kind", KINDS)
def test_each_missing_key_is_named(kind):
    make, state_of = KINDS[kind]
    published = make()
    for name in published:
        if not name.endswith("num_batches_tracked"):
            with pytest.raises(ValueError, match=rf"lacks .*{re.escape(name)}"):
                state_of({other: tensor for other, tensor in published.items() if other != name})


@pytest.mark.parametrize("kind", KINDS)
def test_a_shape_that_does_not_fit_is_named(kind):
    make, state_of = KINDS[kind]
    published = make()
    name = next(n for n in reversed(published) if n.endswith("weight"))
    with pytest.raises(ValueError, match=name.replace(".", r"\.")):
        state_of(published | {name: torch.zeros(2, 3, 1, 1, 1)})


def test_another_networks_file_says_what_it_is_or_lacks():
    with pytest.raises(ValueError, match=r"no published generator that is known .*: it is a discriminator of AttnGAN"):
        generator_state(discriminator())
    with pytest.raises(ValueError, match=r"no published discriminator .*: it is a generator of AttnGAN"):
        discriminator_state(generator())
    with pytest.raises(ValueError, match="it is a text encoder"):
        generator_state(text_encoder())
    with pytest.raises(ValueError, match="it is an image encoder"):
        generator_state(projections())
    with pytest.raises(ValueError, match=r"its names are layer1\.weight$"):
        generator_state({"layer1.weight": torch.zeros(2)})
    with pytest.raises(ValueError, match=r"lacks encoder\.weight"):
        text_encoder_state(projections())
    with pytest.raises(ValueError, match=r"lacks emb_features\.weight"):
        image_encoder_state(text_encoder())


def test_image_encoder_with_inception(image_encoder, tmp_path):
    torch.save(OrderedDict(image_encoder), tmp_path / "image_encoder.pth")
    encoder = load_published_image_encoder(tmp_path / "image_encoder.pth")
    assert not any(module.training for module in encoder.modules())
    assert not any(p.requires_grad for p in encoder.trunk.parameters())
    assert encoder.pooled_projection.weight.requires_grad
    state = encoder.state_dict()
    assert len(state) == len(image_encoder)
    assert torch.equal(
        state["trunk.network.Mixed_7c.branch_pool.bn.running_var"], image_encoder["Mixed_7c.branch_pool.bn.running_var"]
    )
    assert torch.equal(state["region_projection.weight"], image_encoder["emb_features.weight"])
    assert torch.equal(state["pooled_projection.bias"], image_encoder["emb_cnn_code.bias"])
    with torch.inference_mode():
        assert encoder(torch.zeros(1, 3, 64, 64)).regions.shape == (1, 6, 17 * 17)


def test_image_encoder_without_a_weight_of_inception(image_encoder):
    name = "Mixed_6e.branch1x1.conv.weight"
    with pytest.raises(ValueError, match=r"lacks Mixed_6e\.branch1x1\.conv\.weight$"):
        image_encoder_state({n: t for n, t in image_encoder.items() if n != name})
    with pytest.raises(ValueError, match=r"not a name of the published network: fc\.weight$"):
        image_encoder_state(image_encoder | {"fc.weight": torch.zeros(1)})


class Colours(ImageTrunk):
    input_size, region_channels, pooled_channels = 4, 3, 3


def test_image_encoder_with_another_trunk():
    published = projections(6, 3, 3)
    encoder = ImageEncoder(Colours(), **image_encoder_sizes(published))
    encoder.load_state_dict(image_encoder_state(published, encoder.trunk))
    assert torch.equal(encoder.region_projection.weight, published["emb_features.weight"])


@pytest.mark.parametrize("legacy", [False, True])
def test_a_published_generator_draws(tmp_path, legacy):
    published = generator()
    path = tmp_path / "netG_epoch_600.pth"
    torch.save(OrderedDict(published), path, _use_new_zipfile_serialization=not legacy)
    network = load_published_generator(path, padding_mask="published")
    assert not network.training
    assert all(p.requires_grad for p in network.parameters())
    assert network.stages[0].fusion.mask == "published"
    padding = torch.zeros(2, 4, dtype=torch.bool)
    with torch.inference_mode():
        drawn = network(network.draw_noise(2), TextFeatures(torch.randn(2, 6, 4), torch.randn(2, 6), padding))
    assert [i.shape[-1] for i in drawn.images] == [64, 128, 256]
    assert all(i.isfinite().all() for i in drawn.images)


def test_published_discriminator_and_text_encoder_from_files(tmp_path):
    torch.save(discriminator(128), tmp_path / "netD1.pth")
    torch.save(text_encoder(), tmp_path / "text_encoder200.pth")
    network = load_published_discriminator(tmp_path / "netD1.pth")
    features = network(torch.randn(2, 3, 128, 128))
    assert network.judge_pair(features, torch.randn(2, 6)).shape == (2,)
    encoder = load_published_text_encoder(tmp_path / "text_encoder200.pth")
    assert not encoder.training
    assert encoder(CaptionBatch(torch.tensor([[3, 4]]), torch.tensor([2]))).words.shape == (1, 6, 2)


@pytest.mark.golden
def test_a_published_file_draws_the_published_picture(golden, tmp_path):
    g = tensors(golden("g_net_io"))
    torch.save(tensors(golden("g_net_state"), "sd."), tmp_path / "netG.pth")
    network = load_published_generator(tmp_path / "netG.pth", padding_mask="published")
    with torch.inference_mode():
        text = TextFeatures(g["word_embs"], g["sent_emb"], g["mask"])
        drawn = network(GeneratorNoise(g["z_code"], g["eps"]), text)
    assert_close(drawn.images[0], g["img64"], relative=1e-4)  # test_multistage.py compares all, and closely


@pytest.mark.golden
def test_networks_of_a_published_training_step(golden, golden_notes):
    arrays, sizes = golden("train_step_state"), golden_notes("train_step_state")["config"]
    g = tensors(arrays, "G.")
    assert generator_sizes(g)["residual_blocks"] == sizes["R_NUM"]
    assert generator_sizes(g)["width"] == sizes["GF_DIM"]
    assert len(generator_state(g)) == len(g)
    for i, side in enumerate((64, 128, 256)[: sizes["BRANCH_NUM"]]):
        d = tensors(arrays, f"D{i}.")
        assert discriminator_sizes(d) == {
            "resolution": side,
            "width": sizes["DF_DIM"],
            "embed_dim": sizes["EMBEDDING_DIM"],
            "unconditional": True,
        }
        assert len(discriminator_state(d)) == len(d)
    e = tensors(arrays, "E.")
    assert len(image_encoder_state(e, Colours())) == len(e)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no published checkpoint at .*netG_epoch_600\.pth"):
        load_published_generator(tmp_path / "netG_epoch_600.pth")


def test_the_file_is_named_where_a_key_is_wrong(tmp_path):
    published = generator()
    del published["h_net3.upsample.1.weight"]
    torch.save(published, tmp_path / "netG.pth")
    with pytest.raises(ValueError, match=r"netG\.pth: the published network lacks h_net3\.upsample\.1\.weight"):
        load_published_generator(tmp_path / "netG.pth")


class Bomb:
    def __reduce__(self) -> tuple:
        return (print, ("code of the file ran",))


def test_no_code_of_a_file_runs(tmp_path, capsys):
    torch.save({"ca_net.fc.weight": Bomb()}, tmp_path / "bomb.pth")
    with pytest.raises(ValueError, match=r"bomb\.pth cannot be read as a file of weights"):
        load_published_generator(tmp_path / "bomb.pth")
    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut off"])
def test_a_file_that_is_no_checkpoint_is_named(tmp_path, content):
    (tmp_path / "netG.pth").write_bytes(content)
    with pytest.raises(ValueError, match=r"netG\.pth cannot be read as a file of weights"):
        read_published(tmp_path / "netG.pth")


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [1, 2], torch.zeros(2)])
def test_a_file_of_something_else_is_named(tmp_path, content):
    torch.save(content, tmp_path / "netG.pth")
    with pytest.raises(ValueError, match=r"netG\.pth holds no state dict"):
        read_published(tmp_path / "netG.pth")
