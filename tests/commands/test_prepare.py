import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from attngan.commands.prepare import prepare
from attngan.data.datamodule import TextImageDataModule
from attngan.data.image_cache import ImageCache
from tests.data.conftest import picture, write_cub


@pytest.fixture
def root(tmp_path):
    """A CUB-like data set of 12 training and 6 test images."""
    return write_cub(tmp_path / "data")


@pytest.fixture
def run(tmp_path, capsys):
    """Runs it; returns exit code, report and what was printed."""

    def running(root, **options):
        out = tmp_path / "out"
        options = {"image_size": 32, "processes": 1, **options}
        code = prepare(str(root), out=str(out), **options)
        return code, json.loads((out / "prepare_report.json").read_text()), capsys.readouterr().out

    return running


def test_counts_of_a_good_data_set(root, run, tmp_path):
    code, report, printed = run(root)
    assert code == 0
    assert report["ok"]
    assert report["splits"]["train"] == {
        "images": 12,
        "classes": 4,
        "images_of_class": {"1": 3, "2": 3, "3": 3, "4": 3},
        "captions": 24,
        "captions_an_image": {"fewest": 2, "most": 2},
        "words_a_caption": {"mean": 6.5, "most": 8},
        "captions_longer_than_limit": {"limit": 18, "captions": 0},
        "boxes": 12,
    }
    assert report["splits"]["test"]["classes"] == 2
    assert report["held_out_for_validation"] == {"images": 3, "classes": 1}
    assert not report["cannot_be_used"]
    assert not report["noticed"]
    assert "ready to train" in printed
    assert Image.open(tmp_path / "out" / "prepare_preview.png").size == (4 * 420, 4 * 300)


def test_its_cache_is_the_one_that_training_reads(root, run, monkeypatch):
    _code, report, _printed = run(root)
    assert report["decoding"]["images"] == 18
    monkeypatch.setattr("attngan.data.image_cache.load_pixels", None)
    data = TextImageDataModule(str(root), image_size=32, stages=1, batch_size=2)
    data.setup()
    assert report["vocabulary"]["size"] == len(data.vocabulary)
    _code, report, printed = run(root)
    assert report["decoding"]["images"] == 0
    assert "nothing was decoded" in printed


def test_verifying_finds_and_mends_every_damaged_image(root, run, monkeypatch):
    _code, report, _printed = run(root)
    path = Path(report["caches"]["train"]["file"])
    whole, cache = path.read_bytes(), ImageCache(path)
    content = bytearray(whole)
    for position in (4, 9):
        content[int(cache.table[position]["offset"]) + 7] ^= 32
    path.write_bytes(content)
    monkeypatch.setattr(ImageCache, "spread", lambda self, count=0: [0])  # of a large cache few are looked at
    run(root)
    assert path.read_bytes() == content
    with pytest.warns(UserWarning, match="2 of 12 images are not what was written there, and are decoded again"):
        code, report, _printed = run(root, verify=True)
    assert code == 0
    assert report["decoding"]["images"] == 2
    assert path.read_bytes() == whole
    assert run(root, verify=True)[1]["decoding"]["images"] == 0


def test_what_cannot_be_used_is_named_and_fails(root, run):
    names = [f"00{1 + n // 3}.Bird/bird_{n + 1}" for n in range(5)]
    (root / "images" / f"{names[0]}.jpg").unlink()
    (root / "images" / f"{names[1]}.jpg").write_bytes(b"")
    (root / "text" / f"{names[2]}.txt").write_text("\n")
    (root / "text" / f"{names[3]}.txt").write_bytes(b"M\xf6we\n")
    (root / "text" / f"{names[4]}.txt").write_text("a bird\n\n...\n")
    code, report, printed = run(root)
    assert code == 1
    found = report["cannot_be_used"]
    assert {kind: len(messages) for kind, messages in found.items()} == {
        "missing image": 1,
        "unusable image": 1,
        "no captions": 1,
        "captions not UTF-8": 1,
    }
    for kind, name in zip(
        ["missing image", "unusable image", "no captions", "captions not UTF-8"], names, strict=False
    ):
        assert name in found[kind][0]
        assert name in printed.replace("\n", "")
    assert "2 without a word dropped" in report["noticed"]["blank captions"][0]
    assert "4 image(s) cannot be used" in printed
    assert report["splits"]["train"]["images"] == 8
    code, report, printed = run(root, skip_bad=True)
    assert code == 0
    assert report["cannot_be_used"] == found  # left out, but told
    data = TextImageDataModule(str(root), image_size=32, stages=1, batch_size=2, skip_bad=True)
    with pytest.warns(UserWarning, match="left out"):
        data.setup()
    assert len(data.split("train")) + len(data.split("validation")) == 8


def test_boxes_that_reach_out_are_noticed_and_those_outside_fail(root, run):
    boxes = (root / "bounding_boxes.txt").read_text().splitlines()
    boxes[0] = "1 40.0 5.0 30.0 25.0"  # ten beyond the right edge of 60
    boxes[1] = "2 400.0 5.0 30.0 25.0"
    boxes[2] = "3 30.0 5.0 30.4 25.0"  # rounding
    (root / "bounding_boxes.txt").write_text("\n".join(boxes))
    code, report, _printed = run(root)
    assert code == 1
    (outside,) = report["cannot_be_used"]["unusable image"]
    assert "bird_2.jpg: the box (400.0, 5.0, 30.0, 25.0) keeps nothing" in outside
    reaching = report["noticed"]["box reaches out of its image"]
    assert "bird_1.jpg" in reaching[0]
    assert "reaches 10 px out of 60 x 50" in reaching[0]
    assert not any("bird_3" in message for message in reaching)


def test_the_same_image_in_two_splits_is_noticed(root, run):
    train, test = root / "images" / "001.Bird" / "bird_1.jpg", root / "images" / "006.Bird" / "bird_17.jpg"
    shutil.copy(train, test)  # the same file, but another box
    saved_again = root / "images" / "006.Bird" / "bird_16.jpg"
    original = root / "images" / "001.Bird" / "bird_1.jpg"
    content = original.read_bytes()
    saved_again.write_bytes(content[:2] + b"\xff\xfe\x00\x07hello" + content[2:])  # same pixels, other bytes
    code, report, _printed = run(root)
    assert code == 0
    messages = report["noticed"]["same image in two splits"]
    assert len(messages) == 2
    assert any("bird_1.jpg (train)" in m and "bird_17.jpg (test)" in m for m in messages)
    assert any("bird_1.jpg (train)" in m and "bird_16.jpg (test)" in m for m in messages)


def test_long_captions_and_unknown_words_are_counted(root, run):
    (root / "text" / "001.Bird" / "bird_1.txt").write_text("word " * 10_000)
    (root / "text" / "006.Bird" / "bird_16.txt").write_text("strange strange words")
    _code, report, _printed = run(root, captions_per_image=1)
    assert report["splits"]["train"]["words_a_caption"]["most"] == 10_000
    assert report["splits"]["train"]["captions_longer_than_limit"] == {"limit": 18, "captions": 1}
    words = report["vocabulary"]
    assert words["unknown_in_test"][0] == "strange"
    # 5 test images with "bird N of class C": N and sometimes C are unknown
    assert 0.2 < words["unknown_share_of_test_words"] < 0.7


def test_a_folder_of_ones_own(tmp_path, run):
    root = tmp_path / "mine"
    root.mkdir()
    for number in range(20):
        picture(number).save(root / f"{number} [red].png")
        (root / f"{number} [red].txt").write_text(f"[bold]picture {number}[/] 🐦 鳥")
    code, report, _printed = run(root, source="folder")
    assert code == 0
    assert sum(split["images"] for split in report["splits"].values()) == 20


def test_nothing_to_train_on(root, run):
    for path in (root / "images").glob("00[1-4]*/*.jpg"):
        path.unlink()
    code, report, _printed = run(root, skip_bad=True)
    assert code == 1
    assert report["reasons_to_fail"] == ["there is no image to train on"]


def test_interrupted_it_says_so_and_goes_on(root, run, monkeypatch, capsys, tmp_path):
    from attngan.data import image_cache

    real, left = image_cache.load_pixels, [5]

    def interrupted(*arguments):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(image_cache, "load_pixels", interrupted)
    assert prepare(str(root), image_size=32, processes=1, out=str(tmp_path)) == 130
    assert "goes on where this one was" in capsys.readouterr().out
    monkeypatch.undo()
    _code, report, _printed = run(root)
    assert report["decoding"]["images"] == 13


def test_a_folder_that_is_no_data_set(tmp_path, run):
    with pytest.raises(FileNotFoundError, match="no list of images"):
        run(tmp_path)


@pytest.mark.real
def test_real_coco(real_coco, run, tmp_path):
    code, report, _printed = run(real_coco, source="coco", cache_dir=str(tmp_path / "cache"), image_size=64)
    assert code == 0
    assert report["splits"]["train"]["captions"] == 385
    assert report["splits"]["test"]["images"] == 141
    assert not report["noticed"]


# What it says of other people's data sets


def test_unreadable_captions_are_not_called_images_alone(tmp_path, run):
    (tmp_path / "x").mkdir()
    for number in range(3):
        picture(number).save(tmp_path / "x" / f"{number}.jpg")
        (tmp_path / "x" / f"{number}.txt").write_bytes("grüner Vogel".encode("cp1252"))
    code, report, printed = run(tmp_path / "x", source="folder")
    assert code == 1
    assert "images alone" not in printed
    assert len(report["cannot_be_used"]["captions not UTF-8"]) == 3
    assert "line 1 is not UTF-8 (byte 0xfc)" in " ".join(printed.split())
    code, report, printed = run(tmp_path / "x", source="folder", captions_per_image=0)
    assert code == 0
    assert "images alone: no caption is read (captions_per_image 0)" in printed


def test_the_wrong_source_says_which_one_fits(root, run):
    code, report, printed = run(root, source="folder")
    assert code == 1
    assert "there is no image to train on; source cub fits: it reads 18 images there" in report["reasons_to_fail"]
    assert "source cub fits" in printed


def test_columns_and_what_was_passed_over(tmp_path, run):
    (tmp_path / "x" / ".ipynb_checkpoints").mkdir(parents=True)
    rows = ["image;alt;caption"]
    for number in range(12):
        picture(number).save(tmp_path / "x" / f"{number}.JPG")
        rows.append(f"{number}.JPG;red, blue bird {number};a file")
    (tmp_path / "x" / "birds.csv").write_text("\n".join(rows))
    code, report, printed = run(tmp_path / "x", source="folder", caption_column="alt")
    assert code == 0
    assert report["vocabulary"]["most_frequent"][:3] == ["bird", "blue", "red"]
    assert "hidden, passed over: 1" in printed


def test_folders_from_the_home_folder(root, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert prepare(f"~/{root.name}", image_size=32, processes=1, out="~/told", cache_dir="~/kept") == 0
    assert (tmp_path / "told" / "prepare_report.json").is_file()
    assert list((tmp_path / "kept").glob("cub-train-*.cache"))
