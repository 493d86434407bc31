"""Published files, written from golden state dicts or made by hand, as one checkpoint of attngan."""

import pickle
from pathlib import Path

import pytest
import torch

from attngan.checkpoint import load_damsm, read_checkpoint
from attngan.cli import main
from attngan.commands.import_published import import_published
from attngan.networks.damsm import DAMSM
from attngan.networks.published import load_published_generator, load_published_text_encoder
from attngan.records import GeneratorNoise, TextFeatures
from attngan.sampling import Sampler
from tests.golden_family import GoldenRun, noise_of, text_of
from tests.networks.comparison import assert_close, tensors
from tests.networks.test_published import discriminator, generator, image_encoder, projections, text_encoder  # noqa: F401 - a fixture

WORDS = ["<end>", "a", "red", "bird", "with", "blue", "wings", "this", "is", "small", "and"]


@pytest.fixture
def files(tmp_path) -> dict[str, Path]:
    """A published generator, its text encoder and the pickle of its vocabulary; what is to be written."""
    paths = {"generator": "netG_epoch_600.pth", "text_encoder": "text_encoder200.pth", "captions_pickle": "c.pickle"}
    paths = {name: tmp_path / file for name, file in paths.items()}
    torch.save(generator(stages=1), paths["generator"])
    torch.save(text_encoder(words=len(WORDS)), paths["text_encoder"])
    write_vocabulary(paths["captions_pickle"], WORDS)
    return paths | {"out": tmp_path / "imported" / "attngan.ckpt"}


def write_vocabulary(path: Path, words: list[str]) -> None:
    path.write_bytes(pickle.dumps([[], [], dict(enumerate(words)), {word: i for i, word in enumerate(words)}]))


@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
def test_samples_captions(files, tmp_path, capsys, suffix):
    out = files["out"].with_suffix(suffix)
    import_published(**files | {"out": out})
    assert f"written: {out}" in capsys.readouterr().out
    drawn = tmp_path / "samples"
    assert main(["sample", str(out), "a red bird", "this bird is small", "--out", str(drawn), "--device", "cpu"]) == 0
    assert len(list(drawn.glob("0*.png"))) == 2
    sampler = Sampler.load(out, "cpu")
    assert sampler.words("A red (very red) bird!") == ["a", "red", "red", "bird"]  # words it lacks are left out
    assert sampler.word_limit == 25
    theirs = load_published_text_encoder(files["text_encoder"])
    with torch.inference_mode():
        expected = theirs.rnn(theirs.embedding(torch.tensor([[1, 2, 3]])))[0]
    torch.testing.assert_close(sampler.encode(["a red bird"]).words, expected.mT)


@pytest.mark.golden
@pytest.mark.parametrize("mask", ["own", "published"])
def test_draws_the_published_pictures(golden, files, mask):
    g = tensors(golden("g_net_io"))
    torch.save(tensors(golden("g_net_state"), "sd."), files["generator"])
    import_published(**files, padding_mask=mask, word_limit=12)
    sampler = Sampler.load(files["out"], "cpu")
    assert sampler.word_limit == 12
    with torch.inference_mode():
        text = TextFeatures(g["word_embs"], g["sent_emb"], g["mask"])
        drawn = sampler.generator(GeneratorNoise(g["z_code"], g["eps"]), text)
    name = "img64" if mask == "published" else "img64_fixedmask"
    assert_close(drawn.images[0], g[name], relative=1e-4)
    expected = load_published_generator(files["generator"]).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in sampler.generator.state_dict().items())


def test_with_its_image_encoder_it_is_a_damsm(files, tmp_path, image_encoder):  # noqa: F811 - the fixture
    path = tmp_path / "image_encoder200.pth"
    torch.save(image_encoder, path)
    import_published(**files, image_encoder=path)
    damsm = load_damsm(files["out"])
    assert damsm.vocabulary.words == tuple(WORDS)
    assert torch.equal(damsm.image_encoder.pooled_projection.bias, image_encoder["emb_cnn_code.bias"])
    assert damsm.gammas == (4.0, 5.0, 10.0)
    assert Sampler.load(files["out"], "cpu").reads == "captions"


def test_without_its_image_encoder_it_is_none(files):
    import_published(**files)
    with pytest.raises(ValueError, match="a text encoder without its image encoder"):
        DAMSM.build(read_checkpoint(files["out"])["attngan"]["damsm"])


@pytest.mark.parametrize("name", ["generator", "text_encoder", "captions_pickle", "image_encoder"])
def test_a_file_that_is_not_there_is_named(files, tmp_path, name):
    missing = tmp_path / "nowhere.pth"
    with pytest.raises(FileNotFoundError, match=r"there is no .*nowhere\.pth"):
        import_published(**files | {name: missing})


def test_files_that_do_not_belong_together(files, tmp_path, image_encoder):  # noqa: F811 - the fixture
    path = tmp_path / "other"
    torch.save(text_encoder(words=len(WORDS), half=4), path)
    with pytest.raises(ValueError, match=r"netG_epoch_600\.pth reads sentences of 6 numbers, .*other gives 8"):
        import_published(**files | {"text_encoder": path})
    torch.save(image_encoder | projections(5), path)
    with pytest.raises(ValueError, match=r"other gives features of 5 numbers, .*text_encoder200\.pth of 6"):
        import_published(**files, image_encoder=path)
    write_vocabulary(path, WORDS[:-1])
    with pytest.raises(ValueError, match=r"other has 10 words, .*text_encoder200\.pth 11"):
        import_published(**files | {"captions_pickle": path})
    assert not files["out"].exists()


def test_another_name_of_what_is_written_is_refused(files, tmp_path):
    with pytest.raises(ValueError, match=r"attngan\.pth: the checkpoint's name ends in \.ckpt or \.safetensors"):
        import_published(**files | {"out": tmp_path / "attngan.pth"})


# --- the family -------------------------------------------------------------------------------------------------------

RECOGNISED = {
    "stackgan_stage1": "StackGAN stage I's generator: it reads sentences of 6 numbers and draws 64 px",
    "stackgan_stage2": "StackGAN stage II's generator: it reads sentences of 6 numbers and draws 256 px",
    "stackganpp": "StackGAN++'s generator: it reads sentences of 6 numbers and draws 64 and 128 and 256 px",
    "stackganpp_uncond": "StackGAN++'s generator: it reads no text and draws 64 and 128 and 256 px",
    "dmgan": "DM-GAN's generator: it reads sentences of 6 numbers and draws 64 and 128 and 256 px",
    "attndcgan": "AttnDCGAN's generator: it reads sentences of 6 numbers and draws 256 px",
    "dfgan": "DF-GAN's generator: it reads sentences of 6 numbers and draws 64 px",
}


@pytest.mark.golden
@pytest.mark.parametrize("variant", RECOGNISED)
def test_every_generator_of_the_family_is_recognised_and_draws(golden, golden_notes, files, capsys, variant):
    run = GoldenRun(variant, golden, golden_notes)
    published = {f"module.{n.removeprefix('G.')}": t for n, t in run.state.items() if n.startswith("G.")}
    within = {"model": {"netG": published, "netD": {}}, "epoch": 600} if variant == "dfgan" else published
    torch.save(within, files["generator"])
    io = run.arrays("forward")
    text = text_of(io)
    encoders = {name: files[name] for name in ("text_encoder", "captions_pickle") if "words_embs" in io}
    attends = {"padding_mask": "published"} if encoders else {}
    width = 6 if text is None else text.sentence.shape[1]
    torch.save(text_encoder(words=len(WORDS), half=width // 2), files["text_encoder"])
    import_published(generator=files["generator"], out=files["out"], **encoders, **attends)
    assert RECOGNISED[variant].replace("of 6 numbers", f"of {width} numbers") in capsys.readouterr().out
    sampler = Sampler.load(files["out"], "cpu")
    assert sampler.reads == ("nothing" if text is None else "captions" if encoders else "embeddings")
    with torch.inference_mode():
        drawn = sampler.generator.double()(noise_of(io), text)
    prefix = "eval." if any(name.startswith("eval.") for name in io) else ""
    stored = {name: t for name, t in io.items() if name.startswith(f"{prefix}image") and "_s" in name}
    for image in drawn.images:
        side = image.shape[-1]
        (name,) = (n for n in stored if n.endswith("_stats") and (f"image{side}_" in n or "image_" in n))
        means = torch.stack([image.mean((2, 3)), image.square().mean((2, 3))], -1)
        assert_close(means, stored[name], relative=1e-10)
    asked = 2 if text is None else ["a red bird"] * 2 if encoders else torch.zeros(2, sampler.generator.embed_dim)
    sampler.generator.float()
    pictures = sampler.draw(None if text is None else asked, [0, 1]).images[-1]
    assert pictures.isfinite().all()


def test_what_a_generator_needs_or_cannot_use_is_said(files):
    torch.save(generator(stages=2), files["generator"])
    with pytest.raises(ValueError, match=r"attends to words: name its text_encoder and captions_pickle"):
        import_published(files["generator"], files["out"])
    with pytest.raises(ValueError, match=r"captions_pickle is of no use without text_encoder"):
        import_published(files["generator"], files["out"], captions_pickle=files["captions_pickle"])
    with pytest.raises(ValueError, match="image_encoder is the other half of text_encoder"):
        import_published(files["generator"], files["out"], image_encoder=files["text_encoder"])


@pytest.mark.golden
def test_a_generator_without_text_is_given_none(files, golden, golden_notes):
    run = GoldenRun("stackganpp_uncond", golden, golden_notes)
    torch.save({n.removeprefix("G."): t for n, t in run.state.items() if n.startswith("G.")}, files["generator"])
    with pytest.raises(ValueError, match="reads no text: leave text_encoder and captions_pickle out"):
        import_published(**files)
    with pytest.raises(ValueError, match="padding_mask is of generators that attend to words"):
        import_published(files["generator"], files["out"], padding_mask="published")


def test_a_discriminator_is_no_generator(files):
    torch.save(discriminator(), files["generator"])
    with pytest.raises(
        ValueError, match=r"netG_epoch_600\.pth: this is no published generator .*discriminator of AttnGAN"
    ):
        import_published(**files)
