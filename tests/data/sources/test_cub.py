import pickle
import shutil

import numpy as np
import pytest

from attngan.data.findings import Findings
from attngan.data.sources.cub import read_cub
from attngan.data.sources.registry import read_source


def test_reads_names_captions_classes_and_boxes(make_cub):
    root = make_cub()
    images = read_cub(root, "train")
    assert [image.name for image in images] == (root / "train" / "filenames.txt").read_text().split()
    assert len(images) == 12
    assert images[4].captions == ("bird 5 of class 2", "this is a photo of word2 number 1")
    assert images[4].class_id == 2
    assert images[4].box == (10.0, 5.0, 30.0, 26.0)
    assert images[4].path == root / "images" / "002.Bird" / "bird_5.jpg"
    assert {image.class_id for image in read_cub(root, "test")} == {5, 6}


def test_images_may_lie_one_folder_deeper_and_no_folder_needs_a_name(make_cub):
    a, b = make_cub("birds"), make_cub("x", inner="CUB_200_2011")
    (b / "CUB_200_2011").rename(b / "whatever")
    plain = [(i.name, i.captions, i.class_id, i.box) for i in read_cub(a, "train")]
    assert [(i.name, i.captions, i.class_id, i.box) for i in read_cub(b, "train")] == plain


def test_published_metadata(make_cub):
    """filenames.pickle, class_info.pickle and captions.pickle instead of text."""
    root = make_cub()
    as_text = {split: read_cub(root, split) for split in ("train", "test")}
    words: dict[str, int] = {"<end>": 0}
    captions = {}
    for split, images in as_text.items():
        ids = [[words.setdefault(word, len(words)) for word in c.split()] for i in images for c in i.captions]
        captions[split] = ids
        (root / split / "filenames.txt").unlink()
        (root / split / "filenames.pickle").write_bytes(pickle.dumps([i.name for i in images], protocol=0))
        numbers = [np.int64(image.class_id) for image in images]
        (root / split / "class_info.pickle").write_bytes(pickle.dumps(numbers, protocol=0))
    by_id = {number: word for word, number in words.items()}
    (root / "captions.pickle").write_bytes(pickle.dumps([captions["train"], captions["test"], by_id, words]))
    shutil.rmtree(root / "text")
    (root / "image_class_labels.txt").unlink()
    assert {split: read_cub(root, split) for split in ("train", "test")} == as_text
    (root / "captions.pickle").write_bytes(pickle.dumps([captions["train"][:-1], captions["test"], by_id, words]))
    with pytest.raises(ValueError, match="do not go evenly over the 12 images"):
        read_cub(root, "train")


def test_captions_belong_to_their_image_even_when_a_file_is_short(make_cub):
    root = make_cub()
    before = read_cub(root, "train")
    (root / "text" / f"{before[3].name}.txt").write_text("only one here\n")
    after = read_cub(root, "train")
    assert after[3].captions == ("only one here",)
    assert after[:3] == before[:3]
    assert after[4:] == before[4:]


@pytest.mark.parametrize(
    ("content", "captions"),
    [
        (b"one bird\r\ntwo birds\r\n", ("one bird", "two birds")),
        (b"one bird\rtwo birds", ("one bird", "two birds")),
        (b"\xef\xbb\xbfone bird\n", ("one bird",)),
        ("eine Möwe\u2028am Meer\n鳥 🐦\n".encode(), ("eine Möwe\u2028am Meer", "鳥 🐦")),
        (b"  spaces\t \n", ("spaces",)),
        (b"word " * 10_000, (("word " * 10_000).strip(),)),
    ],
)
def test_caption_files_of_all_kinds(make_cub, content, captions):
    root = make_cub()
    name = read_cub(root, "train")[2].name
    (root / "text" / f"{name}.txt").write_bytes(content)
    findings = Findings()
    assert read_cub(root, "train", findings)[2].captions == captions
    assert not findings.bad
    assert not findings.notes


@pytest.mark.parametrize(
    ("content", "note", "captions"),
    [
        (b"a bird\n\n   \n...\nanother\n\n\n", "3 without a word dropped", ("a bird", "another")),
        ("🐦🐦\na bird".encode(), "1 without a word dropped", ("a bird",)),
        (b"a\0bird\nb", "NUL bytes", ("a bird", "b")),
    ],
)
def test_what_is_dropped_from_a_caption_file_is_counted(make_cub, content, note, captions):
    root = make_cub()
    name = read_cub(root, "train")[2].name
    (root / "text" / f"{name}.txt").write_bytes(content)
    findings = Findings()
    assert read_cub(root, "train", findings)[2].captions == captions
    ((message,),) = findings.notes.values()
    assert note in message
    assert f"{name}.txt" in message


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("no image", "missing image"),
        ("no captions", "no such caption file"),
        ("empty captions", "no caption with a word in it"),
        ("latin-1", r"line 2 is not UTF-8"),
        ("no box", "no bounding box"),
    ],
)
def test_an_image_that_cannot_be_used_is_named_and_left_out_only_on_demand(make_cub, damage, message):
    root = make_cub()
    before = read_cub(root, "train")
    bad = before[5]
    text = root / "text" / f"{bad.name}.txt"
    if damage == "no image":
        bad.path.unlink()
    elif damage == "no captions":
        text.unlink()
    elif damage == "empty captions":
        text.write_text("\n\n")
    elif damage == "latin-1":
        text.write_bytes("a bird\neine Möwe\n".encode("latin-1"))
    else:
        boxes = (root / "bounding_boxes.txt").read_text().splitlines()
        (root / "bounding_boxes.txt").write_text("\n".join(boxes[:5] + boxes[6:]))
    with pytest.raises(ValueError, match=rf"(?s)1 image .*{message}.*skip_bad") as error:
        read_cub(root, "train")
    assert bad.name in str(error.value)
    findings = Findings()
    assert read_cub(root, "train", findings) == before[:5] + before[6:]
    assert findings.bad_count == 1


def test_many_bad_images_are_counted_and_the_first_ones_named(make_cub):
    root = make_cub(images=20)
    for image in read_cub(root, "train"):
        image.path.unlink()
    with pytest.raises(ValueError, match=r"(?s)80 images .*and 70 more"):
        read_cub(root, "train")


def test_an_image_listed_twice_is_taken_once_and_told(make_cub):
    root = make_cub()
    before = read_cub(root, "train")
    with (root / "train" / "filenames.txt").open("a") as file:
        file.write(before[0].name)
    findings = Findings()
    assert read_cub(root, "train", findings) == before
    assert list(findings.notes) == ["listed twice"]


def test_names_that_leave_the_folder_are_refused(make_cub):
    root = make_cub()
    with (root / "train" / "filenames.txt").open("a") as file:
        file.write("../../etc/passwd\n/etc/passwd\n")
    with pytest.raises(ValueError, match=r"(?s)2 images.*name outside the data set"):
        read_cub(root, "train")


def test_without_boxes_and_labels_whole_images_without_classes(make_cub):
    root = make_cub()
    for table in ("images", "bounding_boxes", "image_class_labels"):
        (root / f"{table}.txt").unlink()
    images = read_cub(root, "train")
    assert len(images) == 12
    assert {(image.box, image.class_id) for image in images} == {(None, None)}


@pytest.mark.parametrize(
    ("remove", "message"),
    [("train", "no list of images"), ("images", "images/ is looked for"), ("text", "no captions: neither")],
)
def test_missing_folders_are_named(make_cub, remove, message):
    root = make_cub()
    shutil.rmtree(root / remove)
    with pytest.raises(FileNotFoundError, match=message):
        read_cub(root, "train")


@pytest.mark.parametrize("line", ["3 1.0 2.0", "3 a b c d", "1 1 1 1 1"])
def test_malformed_tables_are_named(make_cub, line):
    root = make_cub()
    with (root / "bounding_boxes.txt").open("a") as file:
        file.write(line.replace("3", "99") if "a b" not in line else line)
    if "a b" in line:
        boxes = [own for own in (root / "bounding_boxes.txt").read_text().splitlines() if own.split()[0] != "3"]
        (root / "bounding_boxes.txt").write_text("\n".join([*boxes, line]))
    with pytest.raises(ValueError, match=r"bounding_boxes\.txt"):
        read_cub(root, "train")


def test_a_hostile_file_list_runs_nothing(make_cub):
    root = make_cub()
    (root / "train" / "filenames.pickle").write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    with pytest.raises(ValueError, match=r"filenames\.pickle: .*nothing was run"):
        read_cub(root, "train")


def test_sources_are_chosen_by_name(make_cub, tmp_path):
    root = make_cub()
    assert read_source("cub", root) == {split: read_cub(root, split) for split in ("train", "test")}
    with pytest.raises(ValueError, match="no data source 'birds': choose one of cub, coco"):
        read_source("birds", root)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        read_source("cub", tmp_path / "absent")


@pytest.mark.real
def test_real_cub(real_cub):
    findings = Findings()
    train, test = read_cub(real_cub, "train", findings), read_cub(real_cub, "test", findings)
    assert (len(train), len(test)) == (8854, 2933)
    assert not {image.class_id for image in train} & {image.class_id for image in test}
    assert {len(image.captions) for image in train} == {10}
    assert findings.bad_count == 1
    assert "058.Pigeon_Guillemot/Pigeon_Guillemot_0081_40339" in findings.bad["missing image"][0]
    with pytest.raises(ValueError, match="Pigeon_Guillemot_0081_40339"):
        read_cub(real_cub, "train")


def test_toy_birds_are_read_like_cub(toy_root):
    train, test = read_cub(toy_root, "train"), read_cub(toy_root, "test")
    assert len(train) == 64
    assert len(test) == 24
    assert all(len(image.captions) == 10 and image.box for image in train)
    assert len({image.class_id for image in train}) == 8
