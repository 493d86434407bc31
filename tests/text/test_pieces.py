"""Tokenizers of language models: pieces, ids, what is unknown, and how a checkpoint finds them again."""

import importlib.util
import sys

import pytest

from attngan.data.encoding import check_vocabulary
from attngan.errors import InputError, MissingFileError, MissingPackageError
from attngan.text.language_files import PACKAGES, language_files
from attngan.text.pieces import PieceTokenizer, tokenizer_of
from attngan.text.vocabulary import Vocabulary
from tests.language import WORDS, write_language_model


@pytest.fixture
def folder(tmp_path):
    return write_language_model(tmp_path / "model")


@pytest.fixture
def vocabulary(folder):
    return Vocabulary.from_captions(("other words altogether",), PieceTokenizer(language_files(str(folder))))


def test_captions_become_pieces_and_every_word_has_some(vocabulary):
    assert vocabulary.tokenizer("A red jay") == ["a", "red", "j", "##a", "##y"]
    ids = vocabulary.encode("A red jay")
    assert vocabulary.words_of(ids) == ["a", "red", "j", "##a", "##y"]
    assert ids[:2] == [4 + WORDS.index("a"), 4 + WORDS.index("red")]
    assert vocabulary.unknown_words("a bird of any kind") == []
    assert len(vocabulary.encode("red " * 30)) == 30  # whatever its file says of truncation and padding


def test_what_has_no_piece_is_unknown_by_its_own_name(vocabulary):
    assert vocabulary.unknown_words("a red 鳥 bird") == ["鳥"]
    assert vocabulary.encode("a 鳥")[1] == vocabulary.words.index("[UNK]")
    assert not vocabulary.knows_any("鳥 鸟")
    assert vocabulary.knows_any("鳥 bird")


def test_the_marks_around_a_caption_are_known_and_come_into_none(vocabulary):
    tokenizer = vocabulary.tokenizer
    assert vocabulary.words_of([*tokenizer.before, *tokenizer.after]) == ["[CLS]", "[SEP]"]
    assert not {*tokenizer.before, *tokenizer.after} & {*vocabulary.encode("a bird")}


def test_it_fits_any_captions_and_comes_back_from_its_description(vocabulary, folder):
    check_vocabulary(vocabulary, [["any"], ["captions"]], "data", 10)
    described = vocabulary.to_dict()
    assert described["words"] is None
    assert described["tokenizer"]["pretrained"] == str(folder)
    assert Vocabulary.from_dict(described) == vocabulary


def test_another_tokenizer_in_its_place_is_refused(vocabulary, folder):
    described = vocabulary.to_dict()
    text = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text(text.replace('"yellow"', '"orange"'))
    tokenizer_of.cache_clear()
    with pytest.raises(InputError, match=r"split by another tokenizer\.json"):
        Vocabulary.from_dict(described)


def test_what_is_not_there_is_told(folder, tmp_path, monkeypatch):
    with pytest.raises(MissingFileError, match=r"name a folder with config\.json"):
        language_files(str(tmp_path / "nowhere"))
    (folder / "model.safetensors").unlink()
    with pytest.raises(MissingFileError, match=r"model\.safetensors: no such file"):
        language_files(str(folder)).sha256("model.safetensors")
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match="is no tokenizer"):
        PieceTokenizer(language_files(str(folder)))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"attngan\[language\]"):
        language_files(next(iter(PACKAGES)))


def test_without_the_package_the_extra_is_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MissingPackageError, match=r"attngan\[language\]"):
        PieceTokenizer(language_files(str(folder)))


def test_a_checkpoint_asks_no_hub(monkeypatch, tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(MissingFileError, match="a checkpoint downloads nothing: get it with `hf download some/model"):
        Vocabulary.from_dict({"words": None, "tokenizer": {"pretrained": "some/model", "sha256": "0"}, "min_count": 1})
