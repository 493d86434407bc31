"""What of a caption is not read is said: words beyond the limit, letters without a word, clauses without spaces."""

import json

import pytest
from PIL import Image

from attngan import sample
from attngan.cli import main
from attngan.errors import tell_without_effect
from attngan.text.tokenizer import Tokenizer, is_unspaced
from tests.tiny import CAPTIONS, put_in_place_of_the_shipped


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A generator that reads 12 words of a caption."""
    return put_in_place_of_the_shipped(tmp_path / "root", monkeypatch)


def drawn(arguments, tmp_path, capsys):
    assert main(["sample", *arguments, "--out", str(tmp_path / "out")]) == 0
    return capsys.readouterr().err


def test_how_many_words_were_read_is_said(shipped, tmp_path, capsys):
    long = " ".join([CAPTIONS[0]] * 4)
    assert "caption 2: the first 12 of its 32 words are read" in drawn([CAPTIONS[0], long], tmp_path, capsys)
    assert "words are read" not in drawn([CAPTIONS[0]], tmp_path, capsys)
    assert "the first 12 of its 32" in drawn(["--interpolate", CAPTIONS[0], long], tmp_path, capsys)
    with pytest.warns(UserWarning, match="the first 12 of its 32 words are read"):
        sample([long])


def test_a_clause_without_spaces_is_told(shipped, tmp_path, capsys):
    assert "no spaces between words" in drawn(["a red bird 一只红色的小鸟有黄色的肚子"], tmp_path, capsys)


@pytest.mark.parametrize(
    ("caption", "unspaced"),
    [
        ("一只红色的鸟", True),
        ("赤い鳥が木の枝にとまっている", True),
        ("นกสีแดงตัวเล็กบนกิ่งไม้", True),
        ("一只 红色 的 鸟", False),
        ("маленькая красная птица", False),
        ("ein Rotkehlchenweibchen", False),
        ("a bird (鳥)", False),
    ],
)
def test_scripts_without_spaces(caption, unspaced):
    assert is_unspaced(caption) is unspaced


def test_letters_that_a_tokenizer_leaves_out():
    assert Tokenizer("published").left_out("café à la 鳥, naïve") == "éà鳥ï"
    assert Tokenizer("published").left_out("plain - words…") == ""
    assert Tokenizer("words").left_out("café à la 鳥") == ""


@pytest.mark.parametrize(
    ("tokenizer", "caption", "told"),
    [
        ("published", "ein kleiner Vögel größe {}", "captions with letters that the tokenizer leaves out"),
        ("words", "一只红色的小鸟有黄色的肚子{}", "captions without spaces between words"),
    ],
)
def test_prepare_tells_of_captions_that_it_cannot_read(tmp_path, tokenizer, caption, told):
    root = tmp_path / "data"
    root.mkdir()
    for i in range(20):
        Image.new("RGB", (20, 20), (9 * i, 0, 0)).save(root / f"{i}.png")
        (root / f"{i}.txt").write_text(caption.format(i))
    main(
        [
            "prepare",
            str(root),
            "--source",
            "folder",
            "--image_size",
            "16",
            "--tokenizer",
            tokenizer,
            "--out",
            str(tmp_path),
        ]
    )
    report = json.loads((tmp_path / "prepare_report.json").read_text())
    assert len({**report["noticed"], **report["cannot_be_used"]}[told]) == 20


def test_settings_without_effect_are_told_by_name():
    with pytest.warns(UserWarning, match=r"since model\.x is 0: model\.a = 1, model\.b = \[2\]"):
        tell_without_effect("model.x is 0", "model.", a=(1, 0), b=([2], None), c=(3, 3))


def test_options_of_sample_that_do_nothing_are_told(shipped, tmp_path, capsys):
    with pytest.warns(UserWarning, match="--interpolate is not given: --steps = 3"):
        drawn([CAPTIONS[0], "--steps", "3"], tmp_path, capsys)
