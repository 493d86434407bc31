"""A folder that a source cannot use: which other one fits, or how what lies there is converted."""

import csv
import io
import json
import os
import pickle
import subprocess
import tarfile
import zipfile

import pytest

from attngan.data.datamodule import TextImageDataModule
from attngan.data.findings import Findings
from attngan.data.sources.neighbours import how_to_convert, neighbouring_formats
from attngan.data.sources.registry import SOURCES, read_source
from attngan.data.sources.shards import write_shards
from attngan.data.sources.tables import Columns
from tests.data.conftest import picture, write_cub
from tests.data.sources.test_one_spelling import captions_of, coco, cub, flowers, folder, table

FITTING = {"cub": cub, "coco": coco, "flowers": flowers, "folder": folder}


@pytest.mark.parametrize("asked", ["cub", "coco", "coco2014", "karpathy", "flowers", "flickr", "folder", "shards"])
@pytest.mark.parametrize("fits", FITTING)
def test_the_source_that_fits_is_told(tmp_path, asked, fits):
    if asked == fits or (fits == "cub" and asked.startswith("coco")):  # whose published layout is that of CUB
        pytest.skip("it fits")
    _source, root = FITTING[fits](tmp_path / "x")
    count = sum(map(len, read_source(fits, root).values()))
    findings = Findings()
    try:
        splits = read_source(asked, root, findings)
        told = "; ".join(findings.advice)
        assert not splits
    except (ValueError, FileNotFoundError) as error:
        told = str(error)
    assert f"source {fits} fits: it reads {count} images there" in told


def test_nothing_is_advised_where_one_image_is_wrong(tmp_path):
    root = write_cub(tmp_path / "x")
    next((root / "images").rglob("*.jpg")).unlink()
    with pytest.raises(ValueError, match="1 image") as error:
        read_source("cub", root)
    assert "fits" not in str(error.value)


def test_training_on_the_wrong_source_says_the_right_one(tmp_path):
    _source, root = cub(tmp_path / "x")
    with pytest.raises(ValueError, match="source cub fits: it reads 18 images there"):
        TextImageDataModule(str(root), "folder", image_size=16, stages=1).setup()
    with pytest.raises(FileNotFoundError, match="source flowers fits"):
        TextImageDataModule(str(flowers(tmp_path / "y")[1]), "cub", image_size=16, stages=1).setup()


def test_shards_of_our_own_are_known(tmp_path):
    source, root = folder(tmp_path / "x")
    write_shards(read_source(source, root), tmp_path / "shards")
    with pytest.raises(ValueError, match="source shards fits"):
        read_source("folder", tmp_path / "shards")


# Formats that are not read


def images_and(root, **files):
    root.mkdir()
    for number in range(3):
        picture(number).save(root / f"{number}.jpg")
    for name, content in files.items():
        (root / name).write_bytes(content)
    return root


@pytest.mark.parametrize(
    ("name", "told"),
    [
        *(("train-00000-of-00002.parquet", "pandas"), ("00017.tar", "tar -xf"), ("images.ZIP", "unzip images.ZIP")),
        *(
            ("metadata.json1", "call it metadata.jsonl"),
            ("metadata.json", "json.load"),
            ("a.tar.gz", "tar -xf a.tar.gz"),
        ),
        *(("data-00000.arrow", "source huggingface reads it"), ("birds.7z", "7z x")),
    ],
)
@pytest.mark.parametrize("source", ["folder", "cub"])
def test_what_lies_there_is_named_with_the_way_to_convert_it(tmp_path, name, told, source):
    root = images_and(tmp_path / "x", **{name: b"content"})
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        read_source(source, root)
    assert name in str(error.value)
    assert told in str(error.value)


def test_many_files_of_a_kind_are_told_once(tmp_path):
    root = images_and(tmp_path / "x", **{f"{number:05}.tar": b"x" for number in range(40)})
    assert len(neighbouring_formats(root)) == 1


def test_a_file_as_the_root(tmp_path):
    (tmp_path / "birds.zip").write_bytes(b"PK")
    with pytest.raises(FileNotFoundError, match=r"birds\.zip: is a file: .*unzip birds\.zip"):
        read_source("folder", tmp_path / "birds.zip")
    assert how_to_convert(tmp_path / "birds.txt") is None


def unpacked(told, root):
    """Does what the message tells for tar files, once it is seen to be that and nothing else."""
    loop = 'for shard in *.tar; do tar -xf "$shard"; done'
    assert f"cd {root} && {loop}" in told
    subprocess.run(["bash", "-c", loop], cwd=root, check=True)


def test_shards_of_img2dataset_are_read_once_they_are_unpacked(tmp_path):
    root = tmp_path / "x"
    root.mkdir()
    for shard in range(2):
        with tarfile.open(root / f"{shard:05}.tar", "w") as tar:
            for number in range(3):
                key, image = f"{shard:05}{number:04}", io.BytesIO()
                picture(number).save(image, "JPEG")
                for kind, content in (
                    ("jpg", image.getvalue()),
                    ("txt", f"a bird {key}".encode()),
                    ("json", json.dumps({"caption": f"a bird {key}", "status": "success"}).encode()),
                ):
                    member = tarfile.TarInfo(f"{key}.{kind}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
        (root / f"{shard:05}.parquet").write_bytes(b"PAR1")
        (root / f"{shard:05}_stats.json").write_text("{}")
    with pytest.raises(ValueError, match="img2dataset") as error:
        read_source("folder", root)
    unpacked(str(error.value), root)
    assert captions_of(read_source("folder", root))["000010002"] == ("a bird 000010002",)
    assert len(captions_of(read_source("folder", root))) == 6


def test_an_archive_beside_the_table_is_read_once_it_is_unpacked(tmp_path):
    root = images_and(tmp_path / "x")
    rows = [json.dumps({"file_name": f"{number}.jpg", "text": "a bird"}) for number in range(3)]
    (root / "metadata.jsonl").write_text("\n".join(rows))
    with zipfile.ZipFile(root / "images.zip", "w") as archive:
        for number in range(3):
            archive.write(root / f"{number}.jpg", f"{number}.jpg")
            (root / f"{number}.jpg").unlink()
    findings = Findings()
    assert read_source("folder", root, findings) == {}
    assert "unzip images.zip" in findings.advice[0]
    with zipfile.ZipFile(root / "images.zip") as archive:  # what unzip does
        archive.extractall(root)
    assert len(captions_of(read_source("folder", root))) == 3


def test_a_list_of_objects_is_converted_by_the_line_that_is_told(tmp_path, monkeypatch):
    root = images_and(tmp_path / "x")
    content = [{"image": f"{number}.jpg", "caption": f"bird {number}"} for number in range(3)]
    (root / "metadata.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"metadata\.json is no table") as error:
        read_source("folder", root)
    program = str(error.value).partition('python -c "')[2].partition('"')[0]
    assert program.startswith("import json; open('metadata.jsonl', 'w')")
    monkeypatch.chdir(root)
    exec(program)
    assert captions_of(read_source("folder", root)) == {str(n): (f"bird {n}",) for n in range(3)}


# Columns


def test_columns_are_options_of_training_and_of_nothing_else(tmp_path):
    root = images_and(tmp_path / "x")
    rows = [["name", "words"], *([f"{number}.jpg", f"bird {number}"] for number in range(3))]
    with (root / "captions.csv").open("w") as file:
        csv.writer(file).writerows(rows)
    with pytest.raises(ValueError, match="columns found: name, words"):
        read_source("folder", root)
    data = TextImageDataModule(
        str(root), "folder", image_size=16, stages=1, image_column="name", caption_column="words", workers=0
    )
    data.setup()
    assert {own.captions[0] for s in ("train", "validation") for own in data.split(s).images} <= {
        f"bird {number}" for number in range(3)
    }
    with pytest.raises(ValueError, match="are of source folder and huggingface, not of cub"):
        read_source("cub", root, columns=Columns(image="name"))
    with pytest.raises(ValueError, match="no table whose columns could be chosen"):
        read_source("folder", images_and(tmp_path / "y"), columns=Columns(image="name"))


def test_a_table_two_folders_down_and_images_in_a_folder_beside_it(tmp_path):
    inner = tmp_path / "x" / "a" / "b"
    images_and_parent = inner / "images"
    images_and_parent.mkdir(parents=True)
    for number in range(3):
        picture(number).save(images_and_parent / f"{number}.jpg")
    (inner / "Metadata.CSV").write_text("image,caption\n" + "".join(f"{n}.jpg,bird {n}\n" for n in range(3)))
    assert captions_of(read_source("folder", tmp_path / "x")) == {f"a/b/images/{n}": (f"bird {n}",) for n in range(3)}


# Flowers without lists


def test_flowers_without_lists_get_a_split_that_is_stated(tmp_path):
    _source, root = flowers(tmp_path / "x")
    everything = captions_of(read_source("flowers", root))
    for path in root.glob("*classes.txt"):
        path.unlink()
    findings = Findings()
    splits = read_source("flowers", root, findings)
    assert captions_of(splits) == everything
    classes = {split: {image.class_id for image in own} for split, own in splits.items()}
    assert not classes["train"] & classes["test"]
    assert len(classes["test"]) == 1
    note = findings.notes["no lists of the splits"][0]
    assert "of 3 classes 1" in note
    assert next(iter(splits["test"])).name.split("/")[0] in note
    assert read_source("flowers", root) == splits  # always the same one
    (root / "trainclasses.txt").write_text("class_00001\n")
    with pytest.raises(FileNotFoundError, match=r"trainclasses\.txt is there, but not the list of the other split"):
        read_source("flowers", root)


def test_one_class_of_flowers_without_lists(tmp_path):
    _source, root = flowers(tmp_path / "x")
    for path in root.glob("*classes.txt"):
        path.unlink()
    for name in ("class_00002", "class_00003"):
        for path in (root / "text_c10" / name).iterdir():
            os.replace(path, root / "text_c10" / "class_00001" / path.name)
    assert [len(own) for own in read_source("flowers", root).values()] == [5, 1]


# Broken files of the published kinds


@pytest.mark.parametrize(
    "content", [7, [], ([1], [2]), ([[1]], [[1]], {}), ([[[]]], 1, 2, 3), {"a": 1}, ([["x"]], [["x"]], {1: "a"})]
)
def test_captions_pickles_of_other_content_are_told(tmp_path, content):
    _source, root = cub(tmp_path / "x")
    (root / "text").rename(root / "gone")
    (root / "captions.pickle").write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match=r"captions\.pickle"):
        read_source("cub", root)


@pytest.mark.parametrize("content", [7, [[1]], ["x"] * 12, [None] * 12, [10**30] * 12, {"a": 1}])
def test_class_pickles_of_other_content_are_told(tmp_path, content):
    _source, root = cub(tmp_path / "x")
    (root / "image_class_labels.txt").unlink()
    (root / "train" / "class_info.pickle").write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match=r"class_info\.pickle"):
        read_source("cub", root)


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("bounding_boxes.txt", "3 1 2 nan 4", r"bounding_boxes\.txt, line 3: .*not finite"),
        ("bounding_boxes.txt", "3 1 2 x 4", r"bounding_boxes\.txt, line 3: could not convert"),
        ("bounding_boxes.txt", "3 1 2", r"bounding_boxes\.txt, line 3: expected a number and 4 field"),
        ("image_class_labels.txt", "3 one", r"image_class_labels\.txt, line 3: invalid literal"),
        ("image_class_labels.txt", f"3 {10**30}", r"image_class_labels\.txt, line 3: class .*64 bits"),
        ("images.txt", "3 ../../x.jpg", r"images\.txt, line 3: .*leads out of the folder"),
        ("images.txt", "2 001.Bird/bird_3.jpg", r"images\.txt, line 3: image number given twice"),
    ],
)
def test_malformed_lines_of_cub_are_told_with_file_and_line(tmp_path, name, line, message):
    _source, root = cub(tmp_path / "x")
    lines = (root / name).read_text().splitlines()
    (root / name).write_text("\n".join([*lines[:2], line, *lines[3:]]))
    with pytest.raises(ValueError, match=message):
        read_source("cub", root)


def test_every_source_is_named_in_the_help():
    for page in (TextImageDataModule.__doc__, __import__("attngan.commands.prepare", fromlist=["x"]).prepare.__doc__):
        assert all(name in page for name in SOURCES if name != "shards")


def test_captions_beside_a_table(tmp_path):
    """Where there is a table, text files beside the images are not looked at."""
    _source, root = table(tmp_path / "x")
    before = captions_of(read_source("folder", root))
    (root / "0.txt").write_text("another caption\n")
    assert captions_of(read_source("folder", root)) == before
