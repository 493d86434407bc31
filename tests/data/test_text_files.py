import os

import pytest

from attngan.data.text_files import EncodingError, lines_of, read_json, read_text
from attngan.errors import InputError, MissingFileError


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])  # the last one with its mark
def test_encodings_that_say_what_they_are(tmp_path, encoding):
    (tmp_path / "x").write_bytes("ein grüner Vogel 🐦\r\nzwei".encode(encoding))
    assert read_text(tmp_path / "x") == "ein grüner Vogel 🐦\r\nzwei"


@pytest.mark.parametrize(("encoding", "byte"), [("latin-1", "0xe8"), ("cp1250", "0xe8"), ("mac-roman", "0x8f")])
def test_other_encodings_are_told_with_file_and_line(tmp_path, encoding, byte):
    text = "a bird\n\nun oiseau\nprès d'un arbre\n" if encoding != "cp1250" else "a bird\n\nx\nčerný pták\n"
    (tmp_path / "list.txt").write_bytes(text.encode(encoding))
    with pytest.raises(EncodingError, match=rf"list\.txt: line 4 is not UTF-8 \(byte {byte}\).*iconv"):
        read_text(tmp_path / "list.txt")


def test_a_torn_utf_16_file(tmp_path):
    (tmp_path / "x").write_bytes("bird".encode("utf-16")[:-1])
    with pytest.raises(EncodingError, match="is not UTF-16"):
        read_text(tmp_path / "x")


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "gone", tmp_path / ("x" * 300)):
        with pytest.raises((InputError, MissingFileError), match=str(path)):
            read_text(path)


def test_line_ends():
    assert lines_of("a\nb\r\nc\rd\u2028e\x0bf") == ["a", "b", "c", "d\u2028e\x0bf"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": 1,\n "b" 2}', "line 2, column 6: not JSON"),
        ("[" * 100_000, "not JSON"),
        ("9" * 10_000, "not JSON"),
        ("", "line 1"),
    ],
)
def test_json_that_cannot_be_read(tmp_path, content, message):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(InputError, match=rf"x\.json.*{message}"):
        read_json(tmp_path / "x.json")
