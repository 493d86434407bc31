"""What one source takes its neighbour takes: the same odd spellings of names and files through every source."""

import json
import os
import pickle

import numpy as np
import pytest

from attngan.data.datamodule import TextImageDataModule
from attngan.data.findings import Findings
from attngan.data.images import load_image
from attngan.data.sources.registry import read_source
from tests.data.conftest import picture, write_cub


def captions_of(splits):
    return {image.name: image.captions for own in splits.values() for image in own}


def cub(root):
    return "cub", write_cub(root)


def coco(root):
    (root / "annotations").mkdir(parents=True)
    for folder, split in (("train2017", "train"), ("val2017", "test")):
        (root / folder).mkdir()
        names = [f"{number:03}" for number in range(4 if split == "train" else 2)]
        for number, name in enumerate(names):
            picture(number).save(root / folder / f"{name}.jpg")
        content = {
            "images": [{"id": name, "file_name": f"{name}.jpg"} for name in names],
            "annotations": [{"image_id": name, "caption": f"caption {name}"} for name in names],
        }
        (root / "annotations" / f"captions_{folder}.json").write_text(json.dumps(content))
    return "coco", root


def flowers(root):
    for label in (1, 2, 3):
        folder = root / "text_c10" / f"class_{label:05}"
        folder.mkdir(parents=True)
        (root / "jpg").mkdir(exist_ok=True)
        for number in (1, 2):
            stem = f"image_{10 * label + number:05}"
            picture(number).save(root / "jpg" / f"{stem}.jpg")
            (folder / f"{stem}.txt").write_text(f"flower {stem}\n")
    (root / "trainclasses.txt").write_text("class_00001\nclass_00002\n")
    (root / "testclasses.txt").write_text("class_00003\n")
    return "flowers", root


def folder(root):
    for number in range(6):
        place = root / ("train" if number < 4 else "test")
        place.mkdir(parents=True, exist_ok=True)
        picture(number).save(place / f"{number}.jpg")
        (place / f"{number}.txt").write_text(f"bird {number}\n")
    return "folder", root


def table(root):
    root.mkdir()
    rows = []
    for number in range(6):
        picture(number).save(root / f"{number}.jpg")
        split = "train" if number < 4 else "test"
        rows.append(json.dumps({"file_name": f"{number}.jpg", "text": f"bird {number}", "split": split}))
    (root / "metadata.jsonl").write_text("\n".join(rows))
    return "folder", root


LAYOUTS = [cub, coco, flowers, folder, table]


@pytest.fixture(params=LAYOUTS, ids=lambda layout: layout.__name__)
def data(request, tmp_path):
    """A data set: its source, its folder and its captions."""
    source, root = request.param(tmp_path / "data set")
    return source, root, captions_of(read_source(source, root))


def rename(root, pattern, suffix):
    for path in list(root.rglob(pattern)):
        path.rename(path.with_suffix(suffix))


@pytest.mark.parametrize("suffix", [".JPG", ".Jpg", ".jPeG", ".PNG", ".webp", ".bmp"])
def test_suffixes_of_images(data, suffix):
    source, root, before = data
    if (
        suffix.lower() == ".jpg"
        or source == "flowers"
        or (source == "folder" and not (root / "metadata.jsonl").exists())
    ):
        rename(root, "*.jpg", suffix)
    elif source == "cub":
        (root / "images.txt").unlink()  # says what the files are called
        for name in ("bounding_boxes.txt", "image_class_labels.txt"):
            (root / name).unlink()
        rename(root, "*.jpg", suffix)
    else:
        pytest.skip("its lists say the suffix")
    assert captions_of(read_source(source, root)) == before


@pytest.mark.parametrize("suffix", [".TXT", ".Txt", ".caption", ".CAPTION"])
@pytest.mark.parametrize("layout", [cub, flowers, folder])
def test_suffixes_of_captions(tmp_path, layout, suffix):
    source, root = layout(tmp_path / "x")
    before = captions_of(read_source(source, root))
    for path in list(root.rglob("*.txt")):
        if (path.name[0] in "b01234567" and path.parent != root) or path.name.startswith("image_0"):
            path.rename(path.with_suffix(suffix))
    assert captions_of(read_source(source, root)) == before


def change_names(root, change):
    """Rewrites the names in the lists of a data set; ``change`` gets a name and the folder that it starts from."""
    for path in root.glob("*/filenames.txt"):
        path.write_text("\n".join(change(name, root / "images") for name in path.read_text().split("\n") if name))
    for path in root.glob("annotations/captions_*.json"):
        content = json.loads(path.read_text())
        for image in content["images"]:
            image["file_name"] = change(image["file_name"], root / path.stem.removeprefix("captions_"))
        path.write_text(json.dumps(content))
    for path in root.glob("metadata.jsonl"):
        rows = [json.loads(line) for line in path.read_text().split("\n")]
        path.write_text("\n".join(json.dumps({**row, "file_name": change(row["file_name"], root)}) for row in rows))


SPELLINGS = {
    "absolute": lambda name, folder: f"{folder}/{name}",
    "from the home folder": lambda name, folder: f"~/{folder.relative_to(os.environ['HOME'])}/{name}",
    "with backslashes": lambda name, _folder: f".\\{name}".replace("/", "\\"),
    "with detours": lambda name, folder: f"../{folder.name}/./{name}",
    "with a suffix in another case": lambda name, _folder: f"{name.removesuffix('.jpg')}.JPG",
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("layout", [cub, coco, table])
def test_spellings_of_names(tmp_path, monkeypatch, layout, spelling):
    monkeypatch.setenv("HOME", str(tmp_path))
    source, root = layout(tmp_path / "x")
    before = captions_of(read_source(source, root))
    change_names(root, SPELLINGS[spelling])
    assert captions_of(read_source(source, root)) == before


@pytest.mark.parametrize(
    "kind",
    [
        *(list, tuple, np.array, lambda names: np.array(names, dtype=object), lambda names: list(np.array(names))),
        *(lambda names: [name.encode() for name in names], lambda names: np.array(names).astype("S")),
        lambda names: [f"{name}.jpg" for name in names],
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("layout", [cub, flowers])
def test_sequences_of_names(tmp_path, layout, kind, protocol):
    source, root = layout(tmp_path / "x")
    before = captions_of(read_source(source, root))
    splits = {split: [image.name for image in own] for split, own in read_source(source, root).items()}
    for path in [*root.glob("*/filenames.txt"), *root.glob("*classes.txt")]:
        path.unlink()
    for split in ("train", "test"):
        (root / split).mkdir(exist_ok=True)
        (root / split / "filenames.pickle").write_bytes(pickle.dumps(kind(splits[split]), protocol=protocol))
    assert captions_of(read_source(source, root)) == before


@pytest.mark.parametrize("content", [7, {"a": 1}, "abc", [1, 2], ["x", None], np.zeros((2, 2)), np.array([["a"]])])
def test_what_is_no_sequence_of_names(tmp_path, content):
    source, root = cub(tmp_path / "x")
    (root / "train" / "filenames.pickle").write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match=r"filenames\.pickle: not a list of image names"):
        read_source(source, root)


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_other_encodings_name_file_and_line(tmp_path, layout, encoding):
    """In every text file of every layout; an image's own captions as a finding, a list of the data set as an error."""
    source, root = layout(tmp_path / "x")
    for path in [path for path in sorted(root.rglob("*")) if path.suffix in (".txt", ".jsonl", ".json")]:
        good = path.read_bytes()
        path.write_bytes(good.rstrip(b"\n") + "\ncafé\n".encode(encoding))
        line = good.rstrip(b"\n").count(b"\n") + 2
        with pytest.raises(ValueError, match=rf"{path.name}: line {line} is not UTF-8 \(byte 0xe9\)"):
            read_source(source, root)
        path.write_bytes(good)


def test_hidden_folders_and_fifos_are_no_part_of_any_data_set(data):
    source, root, before = data
    for place in [root, *(path for path in root.rglob("*") if path.is_dir())]:
        (place / ".ipynb_checkpoints").mkdir()
        picture(1).save(place / ".ipynb_checkpoints" / "x-checkpoint.jpg")
        (place / ".ipynb_checkpoints" / "x-checkpoint.txt").write_text("a bird\n")
        os.mkfifo(place / "pipe.jpg")
        os.mkfifo(place / "pipe.txt")
        (place / "loop").symlink_to(".")
    findings = Findings()
    assert captions_of(read_source(source, root, findings)) == before
    assert not findings.bad


def test_an_image_that_is_a_fifo_is_named(data):
    source, root, _before = data
    path = sorted(root.rglob("*.jpg"))[0]
    path.unlink()
    os.mkfifo(path)
    if source == "folder" and not (root / "metadata.jsonl").exists():  # nothing lists it
        findings = Findings()
        read_source(source, root, findings)
        assert findings.notes["no regular file, passed over"] == [str(path)]
        return
    with pytest.raises(ValueError, match=rf"{path.stem}(.jpg)? is no regular file"):
        read_source(source, root)


def test_the_whole_data_set_through_a_link(data, tmp_path):
    source, root, before = data
    (tmp_path / "link").symlink_to(root)
    assert captions_of(read_source(source, tmp_path / "link")) == before
    for inner in [path for path in root.iterdir() if path.is_dir()]:
        (tmp_path / "far").mkdir(exist_ok=True)
        inner.rename(tmp_path / "far" / inner.name)
        inner.symlink_to(tmp_path / "far" / inner.name)
    assert captions_of(read_source(source, root)) == before


def test_a_root_from_the_home_folder(data, tmp_path, monkeypatch):
    source, root, before = data
    monkeypatch.setenv("HOME", str(tmp_path))
    assert captions_of(read_source(source, f"~/{root.name}")) == before
    data = TextImageDataModule(f"~/{root.name}", source, image_size=16, stages=1, batch_size=2, cache_dir="~/cache")
    data.setup()
    assert list((tmp_path / "cache").glob("*.cache"))
    image = data.split("train").images[0]
    assert load_image(image.path).size == (60, 50)
