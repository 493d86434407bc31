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
from tests.networks.comparison import assert_close, tensors
from tests.networks.test_published import generator, image_encoder, projections, text_encoder  # noqa: F401 - a fixture

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
