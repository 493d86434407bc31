"""The benchmark's published forms compute what the authors' code computed: they are no straw men."""

from typing import Any

import pytest
import torch
from benchmarks import published_networks as networks
from benchmarks import published_steps as steps
from torch import Tensor, nn
from torch.nn import functional as F

from attngan.networks.published import image_encoder_state, text_encoder_sizes, text_encoder_state
from tests.golden_family import Colours, GoldenRun, real_images
from tests.networks.comparison import assert_close, tensors

pytestmark = pytest.mark.golden


def colours(images: Tensor) -> tuple[Tensor, Tensor]:
    """The golden runs' image network."""
    return F.adaptive_avg_pool2d(images, 17), images.mean((2, 3))


def filled(network: nn.Module, state: dict[str, Tensor]) -> nn.Module:
    """With the weights of one of our networks, whose names it has; spectral norm's are translated."""
    own, normed = network.state_dict(), "parametrizations.weight"
    renamed = {n.replace(f"{normed}.original", "original").replace(f"{normed}.0._", ""): v for n, v in state.items()}
    assert renamed.keys() == own.keys()
    network.load_state_dict({name: value.view_as(own[name]) for name, value in renamed.items()})
    return network.double().train()


def encoder_of(state: dict[str, Tensor]) -> nn.Module:
    ours = image_encoder_state(tensors(state, "E."), Colours())
    encoder = networks.ImageEncoder(colours, 3, 3, len(ours["pooled_projection.bias"]))
    encoder.load_state_dict(ours)
    return encoder


def staged_players(run: GoldenRun, config: dict[str, Any]) -> steps.Players:
    memory = run.variant == "dmgan"
    embed = config.get("EMBEDDING_DIM", config.get("TEXT.EMBEDDING_DIM"))
    generator = networks.StagedGenerator(
        networks.Memory if memory else networks.WordAttention,
        width=config["GF_DIM"],
        embed=embed,
        noise=config["Z_DIM"],
        condition=config["CONDITION_DIM"],
        blocks=config["R_NUM"],
    )
    module, _ = run.discriminators()
    discriminators = [
        filled(networks.StageDiscriminator(side, config["DF_DIM"], embed, spectral=memory), stage.state_dict())
        for side, stage in zip((64, 128, 256), module.stages, strict=True)
    ]
    encoder = encoder_of(run.state).double()
    rate = config["lr"]
    return steps.Players(
        filled(generator, run.generator().network.state_dict()),
        discriminators,
        encoder.requires_grad_(False),
        (rate, rate),
        tuple(config["betas"]),
    )


@pytest.mark.parametrize("variant", ["attngan", "dmgan"])
def test_staged_steps(variant, golden, golden_notes):
    run = GoldenRun(variant, golden, golden_notes)
    io, config = run.arrays("steps"), run.config("steps")
    players = staged_players(run, config)
    batch = steps.Batch(real_images(io, (64, 128, 256)), io["cap_lens"], io["class_ids"])
    text = steps.Text(io["words_embs"].double(), io["sent_emb"].double(), io["mask"])
    for number in range(3):
        told = steps.staged_step(players, batch, text, io["z"][number].double(), io["eps"][number].double())
        for name, value in told.items():
            expected = float(io[f"loss64_{name}"][number])
            assert value == pytest.approx(expected, rel=1e-8), (number, name)
        norm = torch.cat([p.grad.flatten() for p in players.generator.parameters()]).norm()
        assert float(norm) == pytest.approx(float(io["grad_norm_G64"][number]), rel=1e-8)


def test_dfgan_steps(golden, golden_notes):
    run = GoldenRun("dfgan", golden, golden_notes)
    io, config = run.arrays("steps"), run.config("steps")
    module, _ = run.discriminators()
    players = steps.Players(
        filled(
            networks.DFGANGenerator(config["imsize"], config["nf"], config["cond_dim"], config["z_dim"]),
            run.generator().network.state_dict(),
        ),
        [
            filled(
                networks.DFGANDiscriminator(config["imsize"], config["nf"], config["cond_dim"]),
                module.stages[0].state_dict(),
            )
        ],
        None,
        (config["lr_G"], config["lr_D"]),
        tuple(config["betas"]),
    )
    (image,) = real_images(io, [config["imsize"]])
    for number in range(3):
        told = steps.dfgan_step(players, image.detach(), io["sentence"].double(), io["z"][number].double())
        for name, value in told.items():
            assert value == pytest.approx(float(io[f"loss64_{name}"][number]), rel=1e-10), (number, name)


def test_damsm_steps(golden, golden_notes):
    arrays, config = golden("damsm_steps"), golden_notes("damsm_steps")["config"]
    g, of_text = tensors(arrays), tensors(arrays, "T.")
    sizes = text_encoder_sizes(of_text)
    text = networks.TextEncoder(sizes["vocabulary_size"], sizes["embed_dim"], sizes["word_dim"], dropout=0.0)
    text.load_state_dict(text_encoder_state(of_text))
    players = steps.DAMSMPlayers(text, encoder_of(g), config["lr"])
    for images, expected in zip(g["images"], g["losses_w0_w1_s0_s1"], strict=True):
        batch = steps.Batch([images], g["cap_lens"], g["class_ids"])
        assert_close(torch.tensor(steps.damsm_step(players, g["captions"], batch)), expected)
    for weight, theirs in ((text.embedding.weight, "encoder.weight"), (text.rnn.weight_hh_l0, "rnn.weight_hh_l0")):
        assert_close(weight, g[f"final.T.{theirs}"], relative=1e-4)


@pytest.mark.parametrize("name", ["words_loss_dup_class", "words_loss_no_class", "words_loss_uniq_class"])
def test_words_loss_and_its_gradients(name, golden, golden_notes):
    g, config = tensors(golden(name)), golden_notes(name)["config"]
    gammas = [config[f"GAMMA{number}"] for number in (1, 2, 3)]
    regions, words = g["img_features"].requires_grad_(), g["words_emb"].requires_grad_()
    terms = steps.words_loss(regions, words, steps.Batch([], g["cap_lens"], g.get("class_ids")), gammas)
    assert_close(torch.stack(terms), torch.stack([g["loss0"], g["loss1"]]))
    sum(terms).backward()
    assert_close(regions.grad, g["grad_img_features"])
    assert_close(words.grad, g["grad_words_emb"])
