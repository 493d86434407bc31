import csv
import json
import shutil

import pytest
from PIL import Image

from attngan.data.datamodule import TextImageDataModule
from attngan.data.findings import Findings
from attngan.data.sources.folder import read_folder
from attngan.data.splits import class_numbers, split_by_hash
from tests.data.conftest import picture


@pytest.fixture
def pictures(tmp_path):
    """Twelve images, half of them in a folder of their own, without captions."""
    root = tmp_path / "my pictures"
    (root / "more").mkdir(parents=True)
    for number in range(12):
        picture(number).save(root / ("more" if number % 2 else "") / f"image {number}.png")
    return root


def names(root):
    return sorted(path.relative_to(root).with_suffix("").as_posix() for path in root.rglob("*.png"))


def jsonl(root, rows, name="metadata.jsonl"):
    (root / name).write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))


def captions_of(images):
    return {image.name: image.captions for own in images.values() for image in own}


def test_text_beside_each_image(pictures):
    for name in names(pictures):
        (pictures / f"{name}.txt").write_text(f"first of {name}\r\nsecond of {name}\r\n", newline="")
    images = read_folder(pictures)
    assert captions_of(images) == {name: (f"first of {name}", f"second of {name}") for name in names(pictures)}
    assert all(split_by_hash(image.name) == split for split, own in images.items() for image in own)
    assert {(image.class_id, image.box) for own in images.values() for image in own} == {(None, None)}


def test_metadata_jsonl_with_everything(pictures):
    rows = [
        {"file_name": "image 0.png", "text": "one", "class": "finch", "bbox": [1, 2, 30, 20.5], "split": "train"},
        {"file_name": "more/image 1.png", "texts": ["two", "zwei"], "class": "crow", "split": "validation"},
        {"file_name": "image 2.png", "text": "three", "class": "crow", "split": "test", "extra": {"ignored": 1}},
    ]
    jsonl(pictures, rows)
    findings = Findings()
    images = read_folder(pictures, findings)
    assert captions_of(images) == {"image 0": ("one",), "more/image 1": ("two", "zwei"), "image 2": ("three",)}
    assert {split: [image.class_id for image in own] for split, own in images.items()} == {
        "train": [1],
        "validation": [0],
        "test": [0],
    }
    assert images["train"][0].box == (1.0, 2.0, 30.0, 20.5)
    assert images["test"][0].box is None
    assert len(findings.notes["images without metadata"]) == 9
    assert not findings.bad


@pytest.mark.parametrize("name", ["metadata.csv", "captions.csv"])
def test_csv_with_the_same_columns(pictures, name):
    with (pictures / name).open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", "text", "class", "bbox", "split"])
        writer.writerow(["image 0.png", 'red, with a "bill"', "7", "1 2 30 20", "train"])
        writer.writerow(["image 0.png", "another\ncaption", "7", "1 2 30 20", "train"])
        writer.writerow(["more/image 1.png", "two", "9", "[1, 2, 30, 20]", "val"])
        writer.writerow(["image 2.png", "鳥 🐦", "9", "", "test"])
    images = read_folder(pictures, Findings())
    assert captions_of(images) == {
        "image 0": ('red, with a "bill"', "another caption"),
        "more/image 1": ("two",),
        "image 2": ("鳥 🐦",),
    }
    assert images["train"][0].class_id == 7
    assert images["train"][0].box == images["validation"][0].box == (1.0, 2.0, 30.0, 20.0)
    assert images["test"][0].box is None


@pytest.mark.parametrize("texts", ['["a", "b"]', "a\nb"])
def test_csv_with_several_captions_in_a_field(pictures, texts):
    with (pictures / "metadata.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["file_name", "texts"], ["image 0.png", texts]])
    assert captions_of(read_folder(pictures, Findings())) == {"image 0": ("a", "b")}


def test_metadata_in_folders_and_windows_separators(pictures):
    jsonl(pictures / "more", [{"file_name": "image 1.png", "text": "one"}])
    assert captions_of(read_folder(pictures, Findings())) == {"more/image 1": ("one",)}
    jsonl(pictures, [{"file_name": "more\\image 3.png", "text": "three"}])
    assert captions_of(read_folder(pictures, Findings())) == {"more/image 1": ("one",), "more/image 3": ("three",)}


def test_split_folders_are_splits_only_where_every_image_lies_in_one(tmp_path):
    root = tmp_path / "x"
    for number, split in enumerate(["train", "val", "test", "test"]):
        (root / split).mkdir(parents=True, exist_ok=True)
        picture(number).save(root / split / f"{number}.png")
        (root / split / f"{number}.txt").write_text("a bird")
    images = read_folder(root)
    assert {split: len(own) for split, own in images.items()} == {"train": 1, "validation": 1, "test": 2}
    shutil.copy(root / "train" / "0.png", root / "9.png")
    (root / "9.txt").write_text("a bird")
    images = read_folder(root)
    assert all(split_by_hash(image.name) == split for split, own in images.items() for image in own)


def test_splits_by_hash_are_stable_and_about_80_10_10():
    names = [f"image_{number}" for number in range(2000)]
    counts = {split: sum(split_by_hash(n) == split for n in names) for split in ("train", "validation", "test")}
    assert 1540 < counts["train"] < 1660
    assert 150 < counts["validation"] < 250
    assert [split_by_hash(name) for name in ("e", "f", "h")] == ["train", "validation", "validation"]


def test_class_numbers():
    assert class_numbers(["7", 3, "12"]) == {"7": 7, 3: 3, "12": 12}
    assert class_numbers(["crow", "finch", "albatross"]) == {"albatross": 0, "crow": 1, "finch": 2}
    assert class_numbers(["1", "1a", "2"]) == {"1": 0, "1a": 1, "2": 2}


def test_classes_count_only_where_every_image_has_one(pictures):
    jsonl(pictures, [{"file_name": f"image {n}.png", "text": "x", **({"class": 3} if n else {})} for n in (0, 2, 4)])
    findings = Findings()
    images = read_folder(pictures, findings)
    assert {image.class_id for own in images.values() for image in own} == {None}
    assert len(findings.notes["images without a class"]) == 1


def test_a_missing_image_and_a_missing_caption_are_named(pictures):
    for name in names(pictures)[1:]:
        (pictures / f"{name}.txt").write_text("a bird")
    (pictures / "stray.txt").write_text("of nothing")
    with pytest.raises(ValueError, match=r"(?s)1 image .*image 0\.txt: no such caption file"):
        read_folder(pictures)
    findings = Findings()
    assert len(captions_of(read_folder(pictures, findings))) == 11
    assert "stray" in findings.notes["captions of no image"][0]
    jsonl(pictures, [{"file_name": "image 0.png", "text": "x"}, {"file_name": "gone.png", "text": "y"}])
    with pytest.raises(ValueError, match=r"(?s)1 image .*missing image: .*line 2: no file .*gone\.png"):
        read_folder(pictures)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{not json", "line 1: not JSON"),
        ('["a"]', "not a JSON object"),
        ({"text": "x"}, "no file_name"),
        ({"file_name": "image 0.png"}, "neither text nor texts"),
        ({"file_name": "image 0.png", "text": 7}, "text must be one caption"),
        ({"file_name": "image 0.png", "texts": ["x", None]}, "text must be one caption"),
        ({"file_name": "image 0.png", "text": "..."}, "no caption with a word"),
        ({"file_name": "../secret.png", "text": "x"}, "leads out of the folder"),
        ({"file_name": "/etc/secret.png", "text": "x"}, "leads out of the folder"),
        ({"file_name": "C:\\secret.png", "text": "x"}, "leads out of the folder"),
        ({"file_name": "image 0.png", "text": "x", "bbox": [1, 2, 3]}, "bbox must be four numbers"),
        ({"file_name": "image 0.png", "text": "x", "bbox": [1, 2, 0, 3]}, "has no area"),
        ('{"file_name": "image 0.png", "text": "x", "bbox": [1, 2, NaN, 3]}', "has no area"),
        ({"file_name": "image 0.png", "text": "x", "split": "somewhere"}, "split must be"),
        ({"file_name": "image 0.png", "text": "x", "class": [1]}, "class must be"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_malformed_rows_are_named_and_leave_the_others_alone(pictures, row, message):
    good = {"file_name": "image 2.png", "text": "good"}
    jsonl(pictures, [row, "", good])
    with pytest.raises(ValueError, match=message):
        read_folder(pictures)
    findings = Findings()
    assert captions_of(read_folder(pictures, findings)) == {"image 2": ("good",)}
    assert findings.bad_count == 1


def test_rows_given_twice(pictures):
    good = {"file_name": "image 2.png", "text": "good", "class": 1}
    jsonl(pictures, [good, good, {**good, "text": "more"}])
    findings = Findings()
    assert captions_of(read_folder(pictures, findings)) == {"image 2": ("good", "more")}
    assert len(findings.notes["row given twice"]) == 1
    jsonl(pictures, [good, {**good, "text": "more", "class": 2}])
    with pytest.raises(ValueError, match="contradicting rows"):
        read_folder(pictures)


def test_two_images_of_one_name_are_not_confused(pictures):
    for name in names(pictures):
        (pictures / f"{name}.txt").write_text("a bird")
    picture(99).convert("RGB").save(pictures / "image 0.jpg")
    with pytest.raises(ValueError, match="two images of one name"):
        read_folder(pictures)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no captions: neither metadata.jsonl"),
        ({"metadata.jsonl": "", "metadata.csv": ""}, "which one is meant"),
        ({"a.csv": "file_name,text", "b.csv": "file_name,text"}, "several CSV files"),
        ({"metadata.csv": "picture,words\nx,y\n"}, r"columns file_name and text .*found: picture, words"),
        ({"metadata.csv": b"file_name,text\nimage 0.png,M\xf6we\n"}, "not UTF-8"),
        ({"metadata.csv": 'file_name,text\nimage 0.png,"open\n'}, r"metadata\.csv, line"),
        ({"metadata.csv": "file_name,text\nimage 0.png,a bird, red\n"}, "must stand in quotation marks"),
    ],
)
def test_ambiguous_or_broken_folders_are_told(pictures, files, message):
    for name, content in files.items():
        (pictures / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message):
        read_folder(pictures)


def test_a_folder_without_images(tmp_path):
    with pytest.raises(ValueError, match="no images"):
        read_folder(tmp_path)


def test_nul_bytes_in_a_csv(pictures):
    (pictures / "metadata.csv").write_bytes(b"file_name,text\nimage 0.png,a\0bird\n")
    findings = Findings()
    assert captions_of(read_folder(pictures, findings)) == {"image 0": ("a bird",)}
    assert list(findings.notes["NUL bytes in captions"])


def test_hidden_files_and_our_own_cache_are_no_images(pictures):
    for name in names(pictures):
        (pictures / f"{name}.txt").write_text("a bird")
    for hidden in (".attngan_cache/x.png", "__MACOSX/image 0.png", "more/._image 1.png"):
        (pictures / hidden).parent.mkdir(exist_ok=True)
        Image.new("RGB", (5, 5)).save(pictures / hidden)
    assert len(captions_of(read_folder(pictures))) == 12


def test_through_the_data_module(pictures):
    rows = [
        {"file_name": name + ".png", "text": f"caption {name}", "split": "test" if number > 9 else "train"}
        for number, name in enumerate(names(pictures))
    ]
    jsonl(pictures, rows)
    data = TextImageDataModule(str(pictures), "folder", image_size=32, stages=1, batch_size=3, workers=0)
    data.setup()
    assert [len(data.split(name)) for name in ("train", "validation", "test")] == [9, 1, 2]
    batch = next(iter(data.train_dataloader()))
    for ids, index in zip(batch.captions.ids, batch.indices, strict=True):
        image = data.split("train").images[int(index)]
        assert " ".join(data.vocabulary.words_of(ids.tolist())) == image.captions[0]


def test_a_data_sets_own_validation_split_is_used(pictures):
    splits = ["train"] * 8 + ["validation"] * 3 + ["test"]
    jsonl(
        pictures,
        [{"file_name": f"{n}.png", "text": "x", "split": s} for n, s in zip(names(pictures), splits, strict=True)],
    )
    data = TextImageDataModule(str(pictures), "folder", image_size=32, stages=1, batch_size=3, workers=0)
    data.setup()
    assert [len(data.split(name)) for name in ("train", "validation", "test")] == [8, 3, 1]
