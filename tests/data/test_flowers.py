import pickle

import pytest

from attngan.data.findings import Findings
from attngan.data.flowers import read_flowers
from attngan.data.sources import read_source
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
