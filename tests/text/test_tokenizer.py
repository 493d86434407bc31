import subprocess
import sys
from importlib.metadata import version

import pytest

from attngan.text.tokenizer import Tokenizer, fold_accents

NLTK = tuple(int(part) for part in version("nltk").split(".")[:2])


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("A small bird with a red-crown, and white belly.", "a small bird with a red crown and white belly"),
        ("Café-coloured NAÏVE bird", "cafe coloured naive bird"),
        ("cafe\u0301 with a combining accent", "cafe with a combining accent"),
        ("the İstanbul straße bird", "the istanbul straße bird"),
        ("10m² ½ ﬁnch", "10m2 1 2 finch"),
        ("bird\ufffd\ufffdwith", "bird with"),
        ("🐦 bird 1\ufe0f\u20e3", "bird 1"),
        ("中文 bird 鳥", "中文 bird 鳥"),
        ("ガラス", "ガラス"),
        ("snake_case tab\tseparated\r", "snake_case tab separated"),
    ],
)
def test_words_are_lower_cased_with_accents_folded(caption, words):
    assert Tokenizer()(caption) == words.split()


@pytest.mark.parametrize("caption", ["", "   ", "...!!! ???", "🐦🐦"])
def test_captions_without_words_give_none(caption):
    assert Tokenizer()(caption) == []
    assert Tokenizer("published")(caption) == []


def test_folding_leaves_letters_of_other_scripts_alone():
    assert fold_accents("हिन्दी が 한글") == "हिन्दी が 한글"
    assert fold_accents("plain") == "plain"


def test_one_emoji_glued_to_a_word_does_not_make_another_word():
    assert Tokenizer()("bird\u200d") == ["bird"]


def test_nltk_is_loaded_only_when_it_is_used():
    uses = "t.Tokenizer('published')('café'); t.Tokenizer()('a bird')"
    code = f"import sys, attngan.text.tokenizer as t; {uses}; print('nltk' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "False"


def test_plain_captions_have_the_words_that_nltk_finds():
    from nltk.tokenize import RegexpTokenizer

    of_nltk = RegexpTokenizer(r"\w+")
    every = "".join(map(chr, range(128)))
    for caption in (every, every[::-1], "a _b c-d 1.5 e'f", *(f"a{letter}b" for letter in every)):
        assert Tokenizer()(caption) == of_nltk.tokenize(caption.lower())


def test_another_name_is_refused():
    with pytest.raises((ValueError, TypeError), match="'spacy'"):  # TypeError: the shape checker of the tests is first
        Tokenizer("spacy")  # type: ignore[arg-type]


@pytest.mark.golden
def test_published_tokens(golden_notes):
    notes = golden_notes("tokenizer_dictionary")
    for split in ("train", "test"):
        assert _published_tokens(notes, notes[f"{split}_files"], Tokenizer("published")) == notes[f"tokens_{split}"]


@pytest.mark.golden
@pytest.mark.skipif(NLTK < (3, 10), reason="nltk before 3.10 splits as plain re does")
def test_what_nltk_gives_today_is_what_it_gave_when_this_was_written(golden_notes):
    """Pins nltk's behaviour: if this fails, the words of our own vocabularies may have changed with nltk."""
    from nltk.tokenize import RegexpTokenizer

    class ThroughNltk(Tokenizer):
        def __call__(self, caption: str) -> list[str]:
            words = RegexpTokenizer(r"\w+").tokenize(caption.replace("\ufffd\ufffd", " ").lower())
            return [ascii for word in words if (ascii := word.encode("ascii", "ignore").decode())]

    notes = golden_notes("tokenizer_dictionary")
    for split in ("train", "test"):
        expected = notes[f"tokens_{split}_nltk3_10"]
        assert _published_tokens(notes, notes[f"{split}_files"], ThroughNltk()) == expected


@pytest.mark.skipif(NLTK < (3, 10), reason="nltk before 3.10 splits as plain re does")
def test_nltk_keeps_vowel_signs_inside_words():
    assert Tokenizer()("हिन्दी") == ["हिन्दी"]


def _published_tokens(notes, files, tokenizer):
    """As the published reader goes through its files, without its shift: a caption without words is not counted."""
    tokens = []
    for name in files:
        kept = [caption for caption in notes["raw_files"][name] if any(c.isalnum() or c == "_" for c in caption)]
        tokens += [tokenizer(caption) for caption in kept[: notes["embeddings_num"]]]
    return tokens
