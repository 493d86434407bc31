"""Generators that read no text, or precomputed embeddings: sampled, exported and refused by the same commands."""

import numpy as np
import pytest
import torch

import attngan
from attngan.checkpoint import ENTRY, read_checkpoint
from attngan.cli import main
from attngan.networks.discriminators import DiscriminatorPyramid
from attngan.networks.multistage import StackGANPlusPlusGenerator
from attngan.networks.stackgan import StackGANGenerator, StackGANStage2Generator
from attngan.records import TextFeatures
from attngan.sampling import WORD_LIMIT, Sampler, sample_noise
from attngan.text.vocabulary import Vocabulary
from attngan.training.gan_module import GANModule
from tests.test_sampling import drawn, grey
from tests.tiny import CAPTIONS, EMBED, SIDES, gan, write_damsm, write_gan

CONDITION = 4


def plus_plus(embed_dim, folder):
    """A checkpoint of a StackGAN++ without DAMSM, untrained; the weights are large enough for its inputs to show."""
    torch.manual_seed(2)
    of_generator = {"stages": 2, "width": 4, "noise_dim": 4, "condition_dim": CONDITION, "residual_blocks": 1}
    generator = StackGANPlusPlusGenerator(**of_generator, embed_dim=embed_dim, base_size=SIDES[0])
    read = None if embed_dim is None else CONDITION
    condition = "sentence" if embed_dim is None else "mean"
    module = GANModule(generator, DiscriminatorPyramid(SIDES, 2, read), None, matching=0.0, condition=condition)
    for parameter in module.ema.generator.parameters():
        parameter.data.mul_(2)
    return write_gan(folder / "last.ckpt", module)


@pytest.fixture(scope="module")
def without_text(tmp_path_factory):
    return plus_plus(None, tmp_path_factory.mktemp("none"))


@pytest.fixture(scope="module")
def of_embeddings(tmp_path_factory):
    return plus_plus(EMBED, tmp_path_factory.mktemp("embeddings"))


def command(checkpoint, out, *options):
    return main(["sample", str(checkpoint), *options, "--out", str(out), "--device", "cpu"])


# --- without text -----------------------------------------------------------------------------------------------------


def test_a_generator_without_text_draws_as_many_as_asked(without_text, tmp_path, capsys):
    sampler = Sampler.load(without_text, "cpu")
    assert (sampler.reads, sampler.attends, sampler.vocabulary) == ("nothing", False, None)
    assert command(without_text, tmp_path, "--count", "11", "--batch_size", "4", "--attention") == 0
    assert drawn(tmp_path) == [*(f"{i:05d}.png" for i in range(11)), "grid.png"]
    expected = ((sampler.draw(None, [9]).images[-1][0] + 1) * 127.5).permute(1, 2, 0).flatten()
    assert (grey(tmp_path / "00009.png") - expected).abs().max() <= 1
    assert (grey(tmp_path / "00009.png") - grey(tmp_path / "00010.png")).abs().max() > 3
    assert "no attention maps" in capsys.readouterr().err
    images, attention = attngan.sample(without_text, samples_per_caption=3, device="cpu")
    assert images.shape == (3, 3, SIDES[-1], SIDES[-1])
    assert attention == [()] * 3


@pytest.mark.parametrize("options", [["a red bird"], ["--interpolate", "a", "b"], ["--file", "captions.txt"]])
def test_captions_for_a_generator_without_text_are_refused(without_text, tmp_path, capsys, options):
    assert command(without_text, tmp_path / "out", *options) == 1
    assert "trained without text" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="trained without text"):
        attngan.sample(without_text, CAPTIONS[:1], device="cpu")


def test_count_is_for_those_without_text(of_embeddings, tmp_path, capsys):
    assert command(of_embeddings, tmp_path, "--count", "3") == 1
    assert "--samples-per-caption" in capsys.readouterr().err


# --- precomputed embeddings -------------------------------------------------------------------------------------------


def test_embeddings_are_drawn_one_picture_a_row(of_embeddings, tmp_path):
    rows = np.random.default_rng(0).normal(size=(3, EMBED)).astype(np.float64)
    np.save(tmp_path / "rows.npy", rows)
    sampler = Sampler.load(of_embeddings, "cpu")
    assert sampler.reads == "embeddings"
    options = ["--embeddings", str(tmp_path / "rows.npy"), "--samples_per_caption", "2", "--seed", "5"]
    assert command(of_embeddings, tmp_path / "out", *options) == 0
    names = [f"{row:05d}_{number:03d}.png" for row in range(3) for number in range(2)]
    assert drawn(tmp_path / "out") == [*names, "grid.png"]
    given = torch.from_numpy(rows).float()
    expected = ((sampler.draw(given[2:], [1], seed=5).images[-1][0] + 1) * 127.5).permute(1, 2, 0).flatten()
    assert (grey(tmp_path / "out" / "00002_001.png") - expected).abs().max() <= 1
    assert torch.equal(
        sampler.draw_features(TextFeatures.of_sentences(given), [0, 1, 2]).images[-1],
        sampler.draw(given, [0, 1, 2]).images[-1],
    )
    images, _ = attngan.sample(of_embeddings, given, device="cpu")
    assert (images[0] - images[1]).abs().max() > 0.01  # the same noise, another sentence


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.zeros((2, EMBED + 1), np.float32), f"embeddings of {EMBED} numbers"),
        (np.zeros(EMBED, np.float32), "one embedding a row"),
        (np.zeros((0, EMBED), np.float32), "one embedding a row"),
        (np.zeros((2, EMBED), np.int64), "floating-point"),
        (np.full((2, EMBED), np.nan, np.float32), "not finite"),
        (np.array([{}, {}], object), "not an array of numbers"),
    ],
)
def test_embeddings_of_another_kind_are_refused(of_embeddings, tmp_path, capsys, content, message):
    np.save(tmp_path / "rows.npy", content, allow_pickle=True)
    assert command(of_embeddings, tmp_path / "out", "--embeddings", str(tmp_path / "rows.npy")) == 1
    assert message in capsys.readouterr().err


def test_what_is_given_must_be_what_is_read(of_embeddings, tmp_path, capsys):
    assert command(of_embeddings, tmp_path, "a red bird") == 1
    assert "precomputed sentence embeddings" in capsys.readouterr().err
    assert command(of_embeddings, tmp_path, "--embeddings", str(tmp_path / "none.npy")) == 1
    assert "none.npy" in capsys.readouterr().err
    with pytest.raises(ValueError, match="there are none to draw"):
        Sampler.load(of_embeddings, "cpu").draw(None, [0])
    captioned = write_gan(
        tmp_path / "gan.ckpt", gan(write_damsm(tmp_path / "damsm.ckpt", Vocabulary.from_captions(CAPTIONS)))
    )
    np.save(tmp_path / "rows.npy", np.zeros((1, EMBED), np.float32))
    assert command(captioned, tmp_path, "--embeddings", str(tmp_path / "rows.npy")) == 1
    assert "its own text encoder" in capsys.readouterr().err
    with pytest.raises(ValueError, match="its own text encoder"):
        Sampler.load(captioned, "cpu").draw(torch.zeros(1, EMBED), [0])


# --- all of them ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["without_text", "of_embeddings"])
def test_an_exported_generator_of_any_kind_draws_the_same(kind, request, tmp_path):
    checkpoint = request.getfixturevalue(kind)
    out = tmp_path / "small.safetensors"
    assert main(["export", str(checkpoint), str(out)]) == 0
    assert {name.split(".")[0] for name in read_checkpoint(out)["state_dict"]} == {"ema"}
    before, after = Sampler.load(checkpoint, "cpu"), Sampler.load(out, "cpu")
    assert after.reads == before.reads
    text = None if kind == "without_text" else torch.ones(2, EMBED)
    assert torch.equal(after.draw(text, [0, 1]).images[-1], before.draw(text, [0, 1]).images[-1])


def test_the_second_stage_gets_noise_for_both(tmp_path):
    stage1 = StackGANGenerator(width=8, embed_dim=EMBED, noise_dim=4, condition_dim=CONDITION, base_size=8)
    generator = StackGANStage2Generator(stage1, width=8, embed_dim=EMBED, condition_dim=6, residual_blocks=1)
    given = []
    generator.register_forward_pre_hook(lambda module, inputs: given.append(inputs[0]))
    Sampler(generator).draw(torch.ones(2, EMBED), [3, 4], seed=1)
    (noise,) = given
    expected = sample_noise([3, 4], 4, CONDITION + 6, seed=1)
    assert torch.equal(noise.latent, expected.latent)
    assert torch.equal(noise.condition, expected.condition)


def test_the_word_limit_is_the_checkpoints(tmp_path):
    module = gan(write_damsm(tmp_path / "damsm.ckpt", Vocabulary.from_captions(CAPTIONS)))
    long = " ".join(["small"] * 30)
    for limit in (None, 20):
        module.word_limit = limit
        sampler = Sampler.load(write_gan(tmp_path / "gan.ckpt", module), "cpu")
        assert sampler.word_limit == (limit or WORD_LIMIT)
        assert len(sampler.words(long)) == sampler.word_limit
        assert sampler.encode([long]).words.shape[2] == sampler.word_limit
    assert main(["export", str(tmp_path / "gan.ckpt"), str(tmp_path / "small.safetensors")]) == 0
    assert Sampler.load(tmp_path / "small.safetensors", "cpu").word_limit == 20
    contents = torch.load(tmp_path / "gan.ckpt", weights_only=True)
    del contents[ENTRY]["word_limit"]  # as in checkpoints of before
    torch.save(contents, tmp_path / "old.ckpt")
    assert Sampler.load(tmp_path / "old.ckpt", "cpu").word_limit == WORD_LIMIT
