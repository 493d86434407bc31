import json

import pytest

from attngan.data.findings import Findings
from attngan.data.sources.coco import read_coco
from attngan.data.sources.registry import read_source
from tests.data.conftest import picture


@pytest.fixture
def coco(tmp_path):
    """A COCO-like folder with two splits and a function that rewrites the training annotations."""
    root = tmp_path / "any name"
    (root / "annotations").mkdir(parents=True)
    for split, count in (("train2017", 4), ("val2017", 2)):
        (root / split).mkdir()
        images, annotations = [], []
        for number in range(1, count + 1):
            picture(number).save(root / split / f"{number:012}.jpg")
            images.append({"id": number, "file_name": f"{number:012}.jpg", "width": 60, "height": 50})
            annotations += [
                {"id": 10 * number + k, "image_id": number, "caption": f"caption {k} of {number}"} for k in (1, 2)
            ]
        # the captions of an image are not neighbours in COCO's files
        content = {"images": images, "annotations": sorted(annotations, key=lambda a: a["id"] % 10)}
        (root / "annotations" / f"captions_{split}.json").write_text(json.dumps(content))
    return root


def edit(root, change):
    path = root / "annotations" / "captions_train2017.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_reads_images_and_captions_without_classes(coco):
    images = read_coco(coco, "train")
    assert [image.name for image in images] == [f"{number:012}" for number in range(1, 5)]
    assert images[2].captions == ("caption 1 of 3", "caption 2 of 3")
    assert images[2].class_id is None
    assert images[2].box is None
    assert len(read_coco(coco, "test")) == 2


@pytest.mark.parametrize("place", ["images/train2017", "images", "pictures"])
def test_images_may_lie_elsewhere(coco, place):
    before = read_coco(coco, "train")
    (coco / place).parent.mkdir(exist_ok=True)
    (coco / "train2017").rename(coco / place)
    assert [(i.name, i.captions) for i in read_coco(coco, "train")] == [(i.name, i.captions) for i in before]


def test_editions(coco):
    for split in ("train", "val"):
        (coco / "annotations" / f"captions_{split}2014.json").write_text('{"images": [], "annotations": []}')
    with pytest.raises(ValueError, match=r"several editions.*coco2014"):
        read_coco(coco, "train")
    assert len(read_source("coco2017", coco)["train"]) == 4
    assert read_source("coco2014", coco) == {}


def test_line_breaks_inside_a_caption(coco):
    edit(coco, lambda content: content["annotations"][0].update(caption="two\nlines \n"))
    assert read_coco(coco, "train")[0].captions[0] == "two lines"


def test_a_missing_image_is_named_and_shifts_nothing(coco):
    before = read_coco(coco, "train")
    before[1].path.unlink()
    with pytest.raises(ValueError, match=r"(?s)1 image .*000000000002\.jpg"):
        read_coco(coco, "train")
    assert read_coco(coco, "train", Findings()) == [before[0], *before[2:]]


def test_the_first_image_missing_does_not_hide_the_folder(coco):
    before = read_coco(coco, "train")
    before[0].path.unlink()
    assert read_coco(coco, "train", Findings()) == before[1:]


def test_duplicate_ids(coco):
    before = read_coco(coco, "train")

    def twice(content):
        content["images"].append({"id": 1, "file_name": "000000000002.jpg"})
        content["images"].append({"id": 99, "file_name": "000000000002.jpg"})
        content["annotations"].append({"id": 11, "image_id": 2, "caption": "an impostor"})
        content["annotations"].append({"id": 500, "image_id": 777, "caption": "of nobody"})

    edit(coco, twice)
    findings = Findings()
    assert read_coco(coco, "train", findings) == before
    assert len(findings.bad["duplicate id"]) == 2
    assert len(findings.notes["duplicate id"]) == 1
    assert len(findings.notes["caption of no image"]) == 1


def test_an_image_without_captions(coco):
    edit(coco, lambda content: content.update(annotations=[a for a in content["annotations"] if a["image_id"] != 2]))
    with pytest.raises(ValueError, match=r"000000000002\.jpg: no caption"):
        read_coco(coco, "train")


def test_names_that_leave_the_folder(coco):
    edit(coco, lambda content: content["images"][0].update(file_name="../../secret.jpg"))
    with pytest.raises(ValueError, match="outside the data set"):
        read_coco(coco, "train")


@pytest.mark.parametrize("content", ["not json", "[]", '{"images": [{"id": 1}], "annotations": []}', "{}"])
def test_other_files_are_refused_by_name(coco, content):
    (coco / "annotations" / "captions_train2017.json").write_text(content)
    with pytest.raises(ValueError, match=r"captions_train2017\.json: not a COCO caption file"):
        read_coco(coco, "train")


def test_missing_annotations_are_named(coco):
    (coco / "annotations" / "captions_val2017.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"captions_val2017\.json"):
        read_coco(coco, "test")


def test_published_metadata_layout(make_cub):
    """The published coco metadata: file lists, text and images/, but no boxes and no classes."""
    root = make_cub()
    for table in ("images", "bounding_boxes", "image_class_labels"):
        (root / f"{table}.txt").unlink()
    images = read_source("coco", root)
    assert len(images["train"]) == 12
    assert images["train"][0].captions[0] == "bird 1 of class 1"


@pytest.mark.real
def test_real_coco(real_coco):
    train, test = read_coco(real_coco, "train"), read_coco(real_coco, "test")
    assert (len(train), len(test)) == (77, 141)
    assert {len(image.captions) for image in train} == {5}
