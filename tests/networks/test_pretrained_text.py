"""A pretrained language model as text encoder: against the model itself, frozen and trained, in checkpoints."""

import json
from pathlib import Path

import pytest
import torch

from attngan.checkpoint import open_checkpoint, write_generator
from attngan.errors import InputError, MissingFileError, MissingPackageError
from attngan.networks.damsm import DAMSM
from attngan.networks.description import build, describe
from attngan.networks.image_encoder import ImageEncoder
from attngan.networks.image_trunks import ConvTrunk
from attngan.networks.pretrained_text import PretrainedTextEncoder
from attngan.networks.text_encoder import CaptionEncoder, TextEncoder
from attngan.sampling import Sampler
from attngan.text.language_files import PACKAGES, language_files
from attngan.text.pieces import tokenizer_of
from attngan.text.vocabulary import pad_captions
from tests.language import WIDTH, write_language_model
from tests.tiny import EMBED, gan, write_gan

CAPTIONS = ("a small red jay", "this bird has blue", "yellow", "a black bird with a red crown and a very long tail")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tokenizer_of.cache_clear()
    return write_language_model(tmp_path / "model")


@pytest.fixture
def encoder(folder: Path) -> PretrainedTextEncoder:
    return PretrainedTextEncoder(str(folder), EMBED).eval()


def batch(encoder: CaptionEncoder, captions=CAPTIONS):
    assert encoder.vocabulary is not None
    return pad_captions([encoder.vocabulary.encode(caption) for caption in captions])


def damsm_of(encoder: PretrainedTextEncoder) -> DAMSM:
    assert encoder.vocabulary is not None
    return DAMSM(encoder, ImageEncoder(ConvTrunk(16, 2), EMBED), encoder.vocabulary)


def test_words_and_sentence_are_the_models_own_states_projected(encoder, folder):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    features = encoder(batch(encoder))
    for row, caption in enumerate(CAPTIONS):
        ids = torch.tensor([tokenizer.encode(caption).ids])  # the caption alone, with its marks
        states = encoder.language.network(input_ids=ids).last_hidden_state[0]
        words = encoder.word_projection(states[1:-1])
        count = len(words)
        torch.testing.assert_close(features.words[row, :, :count].mT, words, atol=1e-5, rtol=1e-4)
        assert not features.words[row, :, count:].any()
        assert features.padding[row].tolist() == [False] * count + [True] * (features.padding.shape[1] - count)
        sentence = encoder.sentence_projection(states.mean(0))
        torch.testing.assert_close(features.sentence[row], sentence, atol=1e-5, rtol=1e-4)
    first = PretrainedTextEncoder(str(folder), EMBED, pooling="first").eval()
    pooled = first.language.network(input_ids=ids).last_hidden_state[0, 0]
    torch.testing.assert_close(first(batch(first)).sentence[-1], first.sentence_projection(pooled))


def test_frozen_it_stays_what_it_is_and_no_file_holds_it(encoder):
    encoder.train()
    assert not encoder.language.network.training
    assert {name.partition(".")[0] for name, _ in encoder.named_parameters()} == {
        "word_projection",
        "sentence_projection",
    }
    assert sorted(encoder.state_dict()) == [
        "language._extra_state", "sentence_projection.bias", "sentence_projection.weight",
        "word_projection.bias", "word_projection.weight",
    ]  # fmt: skip
    encoder(batch(encoder)).words.sum().backward()
    assert encoder.word_projection.weight.grad is not None


def test_trained_it_gets_gradients_and_lies_in_the_checkpoint(folder):
    encoder = PretrainedTextEncoder(str(folder), EMBED, frozen=False, dropout=0.0)
    encoder(batch(encoder)).sentence.sum().backward()
    trained = [p for p in encoder.pretrained_weights() if p.grad is not None and p.grad.any()]
    assert len(trained) > 10
    with torch.no_grad():
        for parameter in encoder.pretrained_weights():
            parameter.add_(0.1)
    again = build(describe(encoder), CaptionEncoder)
    again.load_state_dict(encoder.state_dict())
    expected = encoder.eval()(batch(encoder)).words
    assert torch.equal(again.eval()(batch(encoder)).words, expected)


@pytest.mark.parametrize("frozen", [True, False])
def test_through_damsm_generator_checkpoint_and_export_the_picture_stays(folder, tmp_path, frozen):
    damsm = damsm_of(PretrainedTextEncoder(str(folder), EMBED, frozen=frozen))
    path = tmp_path / "damsm.ckpt"
    state = {f"damsm.{name}": value for name, value in damsm.state_dict().items()}
    torch.save({"attngan": {"kind": "damsm", "damsm": damsm.describe()}, "state_dict": state}, path)
    module = gan(path)
    sampler = module.sampler()
    drawn = sampler.draw(CAPTIONS[:1], [0]).images[-1]
    checkpoint = write_gan(tmp_path / "last.ckpt", module)
    opened = open_checkpoint(checkpoint)
    exported = tmp_path / "generator.safetensors"
    write_generator(exported, opened.generator(), opened.caption_reader(), word_limit=12)
    for file in (checkpoint, exported):
        assert torch.equal(Sampler.load(file, "cpu").draw(CAPTIONS[:1], [0]).images[-1], drawn)
    held = [name for name in open_checkpoint(exported).weights if "language.network" in name]
    assert bool(held) is not frozen


def test_a_picture_does_not_depend_on_what_is_drawn_beside_it(encoder):
    alone, beside = encoder(batch(encoder, CAPTIONS[:1])), encoder(batch(encoder))
    torch.testing.assert_close(alone.sentence[0], beside.sentence[0], atol=1e-6, rtol=1e-5)


def test_other_weights_in_their_place_are_refused_and_so_is_their_absence(encoder, folder, tmp_path):
    damsm = damsm_of(encoder)
    state = {f"damsm.{name}": value for name, value in damsm.state_dict().items()}
    path = tmp_path / "damsm.ckpt"
    torch.save({"attngan": {"kind": "damsm", "damsm": damsm.describe()}, "state_dict": state}, path)
    assert torch.equal(open_checkpoint(path).damsm().text_encoder(batch(encoder)).words, encoder(batch(encoder)).words)
    write_language_model(folder, seed=1)
    with pytest.raises(InputError, match=r"captions were read by .* put the files of the former in its place"):
        open_checkpoint(path).damsm()
    (folder / "config.json").unlink()
    with pytest.raises(MissingFileError, match=r"damsm.ckpt: .*config.json: no such file"):
        open_checkpoint(path).damsm()


def test_files_of_no_model_are_refused(folder, monkeypatch):
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text("[]")
    with pytest.raises(InputError, match="no description of a model"):
        PretrainedTextEncoder(str(folder))
    (folder / "config.json").write_text(json.dumps({"model_type": "nonsense", "hidden_size": WIDTH}))
    with pytest.raises(InputError, match="no model that transformers knows"):
        PretrainedTextEncoder(str(folder))
    (folder / "config.json").write_text(json.dumps(json.loads(config) | {"intermediate_size": 25}))
    with pytest.raises(InputError, match="of another shape"):
        PretrainedTextEncoder(str(folder))
    (folder / "config.json").write_text(json.dumps(json.loads(config) | {"vocab_size": 10**9}))
    with pytest.raises(InputError, match=r"many more than model\.safetensors"):
        PretrainedTextEncoder(str(folder))
    (folder / "config.json").write_text(config)
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:-400] + b"x")
    with pytest.raises(InputError, match="no whole safetensors file"):
        PretrainedTextEncoder(str(folder))
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(MissingPackageError, match=r"attngan\[language\]"):
        PretrainedTextEncoder(str(folder))


def test_too_many_pieces_are_told_of(encoder):
    with pytest.raises(InputError, match=r"has 60 pieces, .* reads 38"):
        encoder(batch(encoder, ["red " * 60]))


def test_a_recurrent_encoder_does_not_start_from_it(encoder, folder):
    assert encoder.vocabulary is not None
    recurrent = TextEncoder(len(encoder.vocabulary), EMBED, 8)
    with pytest.raises(InputError, match=r"set model\.text_encoder"):
        recurrent.start_from(encoder, encoder.vocabulary, encoder.vocabulary, "x.ckpt")
    other = PretrainedTextEncoder(str(folder), EMBED).eval()
    other.start_from(encoder, encoder.vocabulary, encoder.vocabulary, "x.ckpt")
    assert torch.equal(other(batch(encoder)).words, encoder(batch(encoder)).words)


def test_the_sentence_model_of_the_package_reads_as_its_own_library_does():
    pytest.importorskip("all_minilm_l6_v2")
    pytest.importorskip("transformers")
    encoder = PretrainedTextEncoder().eval()
    files = language_files(next(iter(PACKAGES)))
    captions = ["a small red bird", "this kookaburra has a thick bill"]
    vocabulary = encoder.vocabulary
    assert vocabulary is not None
    assert vocabulary.unknown_words(captions[1]) == []
    found = encoder.language(*(lambda b: (b.ids, b.padding))(batch(encoder, captions)))[1]
    assert json.loads(files.read("config.json"))["hidden_size"] == found.shape[1] == 384
    near, far = encoder.language(*(lambda b: (b.ids, b.padding))(batch(encoder, ["a tiny scarlet bird", "a truck"])))[1]
    cosine = torch.nn.functional.cosine_similarity
    assert cosine(found[0], near, dim=0) > cosine(found[0], far, dim=0) + 0.3
