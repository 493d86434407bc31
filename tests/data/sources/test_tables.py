import csv
import io
import json

import numpy as np
import pytest

from attngan.data.findings import Findings
from attngan.data.sources.tables import USUAL, Columns, RowError, captions_of_cell, looks_like_table, read_table


def table(tmp_path, content, name="metadata.csv"):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return tmp_path / name


def rows(file, columns=USUAL, findings=None, captions=True):
    return [(row.image, row.captions) for row in read_table(file, findings or Findings(), columns, captions)]


# Which columns


@pytest.mark.parametrize("image", ["file_name", "image", "Image_Path", " filename "])
@pytest.mark.parametrize("caption", ["text", "caption", "prompt", "Description", "texts"])
def test_usual_names_of_columns(tmp_path, image, caption):
    assert rows(table(tmp_path, f"{caption},{image}\na bird,x.png\n")) == [("x.png", "a bird")]
    line = json.dumps({image: "x.png", caption: "a bird"})
    assert rows(table(tmp_path, line, "metadata.jsonl")) == [("x.png", "a bird")]


def test_our_own_columns_go_before_others(tmp_path):
    file = table(tmp_path, "file_name,image,text,caption,prompt\nx.png,y.png,one,two,three\n")
    assert rows(file) == [("x.png", "one")]


def test_columns_are_chosen(tmp_path):
    file = table(tmp_path, "file_name,path,text,Alt Text,prompt\nx.png,y.png,one,two,three\n")
    assert rows(file, Columns(image="path", caption="alt text")) == [("y.png", "two")]
    with pytest.raises(ValueError, match=r"no column 'words' \(caption_column\); columns found: file_name, path, text"):
        rows(file, Columns(caption="words"))


def test_several_that_may_be_meant_are_asked_about(tmp_path):
    file = table(tmp_path, "image,caption,prompt\nx.png,one,two\n")
    with pytest.raises(ValueError, match="caption and prompt may all hold captions: choose with caption_column"):
        rows(file)
    assert rows(file, Columns(caption="prompt")) == [("x.png", "two")]


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl"])
def test_unknown_columns_are_listed_once(tmp_path, name):
    many = [{"url": f"u{i}", "alt": "a bird"} for i in range(30)]
    if name.endswith("csv"):
        content = "url,alt\n" + "".join(f"{row['url']},{row['alt']}\n" for row in many)
    else:
        content = "\n".join(map(json.dumps, many))
    with pytest.raises(ValueError, match=r"columns found: url, alt") as error:
        rows(table(tmp_path, content, name))
    assert str(error.value).count("columns found") == 1


def test_captions_are_not_asked_for_where_none_are_read(tmp_path):
    assert rows(table(tmp_path, "image,width\nx.png,7\n"), captions=False) == [("x.png", None)]


def test_an_empty_table_is_told(tmp_path):
    with pytest.raises(ValueError, match="columns found: none"):
        rows(table(tmp_path, ""))


# Null beside a value


def test_null_beside_a_value(tmp_path):
    lines = [
        {"file_name": "a.png", "texts": None, "text": "one"},
        {"file_name": "b.png", "texts": ["two"], "text": None, "class": None, "bbox": None, "split": None},
        {"file_name": "c.png", "texts": "", "text": "three", "split": ""},
        {"file_name": "d.png", "text": "four", "class": float("nan")},
    ]
    read = read_table(table(tmp_path, "\n".join(map(json.dumps, lines)), "metadata.jsonl"), Findings(), USUAL)
    assert [row.captions for row in read] == ["one", ["two"], "three", "four"]
    assert not any({"class", "bbox", "split"} & row.values.keys() for row in read)
    assert rows(table(tmp_path, "file_name,texts,text\na.png,,one\nb.png,two,\n")) == [
        ("a.png", "one"),
        ("b.png", "two"),
    ]


# How it is written


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_what_separates_the_columns(tmp_path, delimiter):
    written = io.StringIO()
    csv.writer(written, delimiter=delimiter).writerows([["file_name", "text"], ["a.png", "a bird: red - and blue"]])
    assert rows(table(tmp_path, written.getvalue())) == [("a.png", "a bird: red - and blue")]


def test_commas_in_a_table_of_semicolons_or_tabs_belong_to_the_caption(tmp_path):
    for delimiter, name in ((";", "x.csv"), ("\t", "x.tsv")):
        file = table(tmp_path, f"image{delimiter}caption\na.png{delimiter}red, blue, and green\n", name)
        assert rows(file) == [("a.png", "red, blue, and green")]


def test_excel_says_what_separates(tmp_path):
    assert rows(table(tmp_path, "sep=;\r\nimage;caption\r\na.png;a bird\r\n")) == [("a.png", "a bird")]


def test_spaces_after_separators(tmp_path):
    file = table(tmp_path, 'image, caption\na.png, "a bird, red"\nb.png, blue\n')
    assert rows(file) == [("a.png", "a bird, red"), ("b.png", "blue")]


def test_flickr30k_quotes_nothing(tmp_path):
    content = 'image_name| comment_number| comment\n1.jpg| 0| " Quoted " at the start .\n1.jpg| 1| A 6" fish .\n'
    assert rows(table(tmp_path, content)) == [("1.jpg", '" Quoted " at the start .'), ("1.jpg", 'A 6" fish .')]


def test_utf_16_as_excel_writes_it(tmp_path):
    file = table(tmp_path, "image\tcaption\na.png\tein grüner Vogel\n".encode("utf-16"), "x.tsv")
    assert rows(file) == [("a.png", "ein grüner Vogel")]


@pytest.mark.parametrize(
    ("bad", "line"),
    [
        ({3: 'b.png,"say \\"so\\" twice"'}, 3),
        ({7: 'b.png,"never closed'}, 7),
        ({2: 'b.png,"one\ntwo\nthree"', 3: 'c.png,"x" y'}, 5),  # the row before it has three lines
    ],
)
def test_a_malformed_row_is_told_with_the_line_that_it_begins_in(tmp_path, bad, line):
    content = "\n".join(["file_name,text", *(bad.get(number, f"{number}.png,a bird") for number in range(2, 12))])
    with pytest.raises(ValueError, match=rf"metadata\.csv, line {line}: .*written twice"):
        rows(table(tmp_path, content))


def test_rows_know_the_line_that_they_begin_in(tmp_path):
    file = table(tmp_path, 'file_name,text\n\na.png,"one\ntwo"\n\nb.png,three\n')
    read = read_table(file, Findings(), USUAL)
    assert [row.where.rpartition(" ")[2] for row in read] == ["3", "6"]


def test_looks_like_a_table(tmp_path):
    assert looks_like_table(table(tmp_path, "image,caption\nx.jpg,a dog\n", "captions.txt"))
    assert not looks_like_table(table(tmp_path, "a dog, with an image\n", "captions.txt"))
    assert not looks_like_table(table(tmp_path, b"\xff\xfe\x00", "captions.txt"))
    assert not looks_like_table(table(tmp_path, "", "captions.txt"))


# Several captions in one cell

MANY = ["it's a red bird", 'a "blue" one', "grün, mit Schnabel", "back\\slash [and] (brackets)"]


@pytest.mark.parametrize(
    "cell",
    [
        *(MANY, tuple(MANY), str(MANY), str(tuple(MANY)), f"  {MANY}  ", json.dumps(MANY)),
        *(
            str(np.array(MANY)),
            str(np.array(MANY, dtype=object)),
            repr(np.array(MANY)),
            repr(np.array(MANY, dtype=object)),
        ),
        json.dumps(MANY, indent=1),
    ],
)
def test_lists_as_python_json_and_numpy_write_them(cell):
    assert captions_of_cell(cell, several=True) == MANY
    assert captions_of_cell(cell, several=False) == MANY


def test_one_caption_in_a_list():
    assert captions_of_cell("['a red bird']", several=False) == ["a red bird"]
    assert captions_of_cell("('a red bird',)", several=False) == ["a red bird"]
    assert captions_of_cell("[]", several=True) == []


@pytest.mark.parametrize(
    "text", ["[SKS] a photo", "(a) bird", '("quoted" first) then more', "'quoted' bird", "a ['list']"]
)
def test_brackets_in_a_caption_make_no_list(text):
    assert captions_of_cell(text, several=False) == [text]


def test_line_breaks_separate_captions_where_several_are_meant():
    assert captions_of_cell("one\r\ntwo", several=True) == ["one", "two"]
    assert captions_of_cell("one\r\ntwo", several=False) == ["one two"]


@pytest.mark.parametrize(
    "cell", ["['one', 'two", "['one' ... 'nine']", "['one', None]", "['one', 2]", "['a' + 'b']", 7, [1], {"a": 1}]
)
def test_lists_that_are_not_whole_are_told(cell):
    with pytest.raises(RowError):
        captions_of_cell(cell, several=True)


def test_a_long_cell_takes_no_time():
    with pytest.raises(RowError):
        captions_of_cell("['x' " + " " * 200_000, several=True)
    with pytest.raises(RowError):
        captions_of_cell("['" + "\\'" * 200_000, several=True)
