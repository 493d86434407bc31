import pickle
import shutil

import numpy as np
import pytest
from scipy.io import savemat

from attngan.data.findings import Findings
from attngan.data.sources.flowers import read_flowers
from attngan.data.sources.registry import read_source
from tests.data.conftest import picture


@pytest.fixture
def flowers(tmp_path):
    """Five classes of three images, the first three to train on."""
    root = tmp_path / "oxford"
    (root / "jpg").mkdir(parents=True)
    number = 0
    for label in range(1, 6):
        (root / "text_c10" / f"class_{label:05}").mkdir(parents=True)
        for _ in range(3):
            number += 1
            picture(number).save(root / "jpg" / f"image_{number:05}.jpg")
            text = "\n".join(f"flower {number} caption {k}" for k in range(10))
            (root / "text_c10" / f"class_{label:05}" / f"image_{number:05}.txt").write_text(text)
    (root / "trainvalclasses.txt").write_text("class_00001\nclass_00002\nclass_00003\n")
    (root / "testclasses.txt").write_text("class_00004\nclass_00005\n")
    return root


def test_reads_by_class_lists(flowers):
    images = read_flowers(flowers)
    assert {split: len(own) for split, own in images.items()} == {"train": 9, "test": 6}
    image = images["train"][4]
    assert image.name == "class_00002/image_00005"
    assert image.path == flowers / "jpg" / "image_00005.jpg"
    assert image.captions == tuple(f"flower 5 caption {k}" for k in range(10))
    assert image.class_id == 2
    assert read_source("flowers", flowers) == images


def test_a_validation_list_makes_a_validation_split(flowers):
    (flowers / "trainvalclasses.txt").unlink()
    (flowers / "trainclasses.txt").write_text("class_00001\nclass_00002\n")
    (flowers / "valclasses.txt").write_text("class_00003\n")
    images = read_flowers(flowers)
    assert {split: len(own) for split, own in images.items()} == {"train": 6, "validation": 3, "test": 6}


def test_published_file_lists(flowers):
    before = read_flowers(flowers)
    for split, own in before.items():
        (flowers / split).mkdir()
        names = [f"jpg/{image.path.stem}" for image in own]
        (flowers / split / "filenames.pickle").write_bytes(pickle.dumps(names, protocol=0))
    (flowers / "trainvalclasses.txt").unlink()
    assert read_flowers(flowers) == before


def test_other_folder_names(flowers):
    before = read_flowers(flowers)
    (flowers / "text_c10").rename(flowers / "words")
    (flowers / "jpg").rename(flowers / "images")
    assert [(i.name, i.captions) for i in read_flowers(flowers)["test"]] == [
        (i.name, i.captions) for i in before["test"]
    ]


@pytest.mark.parametrize(
    ("damage", "kind"),
    [
        (lambda root: (root / "jpg" / "image_00002.jpg").unlink(), "missing image"),
        (lambda root: (root / "text_c10" / "class_00001" / "image_00002.txt").unlink(), "missing captions"),
        (lambda root: (root / "text_c10" / "class_00001" / "image_00002.txt").write_text(""), "no captions"),
    ],
)
def test_what_is_missing_is_named_and_shifts_nothing(flowers, damage, kind):
    before = read_flowers(flowers)
    damage(flowers)
    with pytest.raises(ValueError, match=rf"(?s)1 image .*{kind}: .*image_00002"):
        read_flowers(flowers)
    findings = Findings()
    assert read_flowers(flowers, findings)["train"] == before["train"][:1] + before["train"][2:]
    assert list(findings.bad) == [kind]


def test_classes_in_no_list_are_counted(flowers):
    (flowers / "testclasses.txt").write_text("class_00004\n")
    findings = Findings()
    assert len(read_flowers(flowers, findings)["test"]) == 3
    assert len(findings.notes["in no split"]) == 3


def test_wrong_lists_are_told(flowers):
    (flowers / "testclasses.txt").write_text("class_00004\nclass_00077\n")
    with pytest.raises(ValueError, match=r"testclasses\.txt: .*class_00077"):
        read_flowers(flowers)
    (flowers / "testclasses.txt").write_text("class_00003\n")
    with pytest.raises(ValueError, match="in another list too"):
        read_flowers(flowers)
    (flowers / "testclasses.txt").unlink()
    with pytest.raises(FileNotFoundError, match="no splits"):
        read_flowers(flowers)


# Oxford's own files


def write_mat(root, labels, trnid, valid, tstid):
    savemat(root / "imagelabels.mat", {"labels": np.array([labels], dtype=np.uint8)})
    savemat(root / "setid.mat", {key: np.array([ids]) for key, ids in
                                 (("trnid", trnid), ("valid", valid), ("tstid", tstid))})  # fmt: skip


@pytest.fixture
def official(flowers):
    """As above, with the files that come with Oxford's images: every class in every split."""
    write_mat(flowers, [1 + number // 3 for number in range(15)], range(1, 15, 3), range(2, 15, 3), range(3, 16, 3))
    return flowers


def test_oxfords_splits_where_asked_for(official):
    images = read_source("flowers_official", official)
    assert [image.path.stem for image in images["validation"]] == [f"image_{number:05}" for number in range(2, 15, 3)]
    assert {split: [image.class_id for image in own] for split, own in images.items()} == {
        split: [1, 2, 3, 4, 5] for split in ("train", "validation", "test")
    }
    assert images["train"][1].captions[0] == "flower 4 caption 0"
    disjoint = read_source("flowers", official)  # what text-to-image papers use comes first
    assert {image.class_id for image in disjoint["train"]} == {1, 2, 3}
    assert {image.class_id for image in disjoint["test"]} == {4, 5}


def test_oxfords_splits_where_there_are_no_others(official):
    for name in ("trainvalclasses.txt", "testclasses.txt"):
        (official / name).unlink()
    assert read_source("flowers", official) == read_source("flowers_official", official)
    (official / "setid.mat").unlink()
    with pytest.raises(FileNotFoundError, match=r"setid\.mat"):
        read_source("flowers_official", official)


def test_as_downloaded_without_captions(official):
    """Images and Oxford's two files only: classes come from imagelabels.mat."""
    before = read_source("flowers_official", official)
    shutil.rmtree(official / "text_c10")
    (official / "trainvalclasses.txt").unlink()
    (official / "testclasses.txt").unlink()
    alone = read_flowers(official, captions=False)
    assert {split: [(i.name, i.class_id, i.captions) for i in own] for split, own in alone.items()} == {
        split: [(i.name, i.class_id, ()) for i in own] for split, own in before.items()
    }
    (official / "imagelabels.mat").unlink()
    assert {i.class_id for own in read_flowers(official, captions=False).values() for i in own} == {None}
    with pytest.raises(FileNotFoundError, match="no captions"):
        read_flowers(official)


def test_a_caption_in_the_folder_of_another_class_is_named(official):
    folder = official / "text_c10"
    (folder / "class_00001" / "image_00002.txt").rename(folder / "class_00002" / "image_00002.txt")
    with pytest.raises(ValueError, match=r"1 image (?s:.*)contradicting classes: class_00002/image_00002: class 1 in"):
        read_flowers(official)


def test_two_caption_files_of_one_image_are_named(flowers):
    folder = flowers / "text_c10"
    (folder / "class_00002" / "image_00002.txt").write_text("another flower")
    with pytest.raises(ValueError, match=r"two caption files: .*class_00001/image_00002\.txt"):
        read_flowers(flowers)


def test_an_image_of_the_lists_that_is_not_there_is_named(official):
    (official / "jpg" / "image_00004.jpg").unlink()
    (official / "text_c10" / "class_00002" / "image_00004.txt").unlink()
    with pytest.raises(ValueError, match=r"1 image (?s:.*)missing image: image_00004: in the lists of the splits"):
        read_source("flowers_official", official)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: (root / "setid.mat").write_bytes(b"no MATLAB file"), r"setid\.mat: not a MATLAB file with trnid"),
        (lambda root: (root / "setid.mat").write_bytes((root / "setid.mat").read_bytes()[:200]), r"setid\.mat: not a"),
        (lambda root: savemat(root / "setid.mat", {"other": [1]}), r"setid\.mat: not a MATLAB file with trnid"),
        (lambda root: savemat(root / "imagelabels.mat", {"labels": [1.5]}), "other things than whole numbers"),
        (lambda root: write_mat(root, [1], [1, 2], [2], [3]), r"setid\.mat: image 2 is in train and in validation"),
    ],
)
def test_damaged_files_of_oxford_are_named(official, damage, message):
    damage(official)
    with pytest.raises(ValueError, match=message):
        read_source("flowers_official", official)
