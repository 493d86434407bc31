import json

import pytest

from attngan.data.datamodule import TextImageDataModule
from attngan.data.findings import Findings
from attngan.data.sources.karpathy import read_karpathy
from attngan.data.sources.registry import read_source
from tests.data.conftest import picture


@pytest.fixture
def karpathy(tmp_path):
    """Two images of each of his splits, in the folders of COCO 2014, and a function that writes the file."""
    root = tmp_path / "coco"
    images = []
    for number, split in enumerate(["train", "restval", "val", "test"] * 2):
        folder = "train2014" if split == "train" else "val2014"
        (root / folder).mkdir(parents=True, exist_ok=True)
        name = f"COCO_{folder}_{number:012}.jpg"
        picture(number).save(root / folder / name)
        sentences = [{"raw": f"caption {k} of\n{number} ", "tokens": ["caption"], "sentid": k} for k in range(5)]
        images.append(
            {
                "filepath": folder,
                "filename": name,
                "split": split,
                "cocoid": number,
                "imgid": number,
                "sentences": sentences,
            }
        )
    (root / "dataset_coco.json").write_text(json.dumps({"images": images, "dataset": "coco"}))
    return root


def edit(root, change):
    content = json.loads((root / "dataset_coco.json").read_text())
    change(content)
    (root / "dataset_coco.json").write_text(json.dumps(content))


def test_reads_splits_and_captions(karpathy):
    images = read_karpathy(karpathy)
    assert {split: [image.path.stem[-2:] for image in own] for split, own in images.items()} == {
        "train": ["00", "01", "04", "05"],
        "validation": ["02", "06"],
        "test": ["03", "07"],
    }
    first = images["train"][0]
    assert first.name == "train2014/COCO_train2014_000000000000"
    assert first.captions == tuple(f"caption {k} of 0" for k in range(5))
    assert (first.class_id, first.box) == (None, None)


def test_source_coco_reads_it_where_there_are_no_annotations(karpathy):
    assert read_source("coco", karpathy) == read_source("karpathy", karpathy) == read_karpathy(karpathy)


@pytest.mark.parametrize("place", ["images", "."])
def test_images_may_lie_elsewhere(karpathy, place):
    """In a folder around those that the file names, or all together in one."""
    before = read_karpathy(karpathy)
    if place == "images":
        (karpathy / "images").mkdir()
        for folder in ("train2014", "val2014"):
            (karpathy / folder).rename(karpathy / "images" / folder)
    else:
        (karpathy / "all").mkdir()
        for path in sorted(karpathy.glob("*2014/*.jpg")):
            path.rename(karpathy / "all" / path.name)
    after = read_karpathy(karpathy)
    assert {s: [i.captions for i in own] for s, own in after.items()} == {
        s: [i.captions for i in own] for s, own in before.items()
    }


def test_flickr_has_no_folders(karpathy):
    for path in sorted(karpathy.glob("*2014/*.jpg")):
        path.rename(karpathy / path.name)
    edit(karpathy, lambda content: [image.pop("filepath") for image in content["images"]])
    (karpathy / "dataset_coco.json").rename(karpathy / "dataset_flickr8k.json")
    assert [len(own) for own in read_karpathy(karpathy).values()] == [4, 2, 2]


def test_what_is_wrong_with_one_image_is_told_and_leaves_the_others(karpathy):
    def spoil(content):
        content["images"][0]["filename"] = "gone.jpg"
        content["images"][1]["sentences"] = [{"raw": "..."}, {"raw": None}]
        content["images"][2]["filename"] = "../../../secret.jpg"
        content["images"][4] = dict(content["images"][5])

    edit(karpathy, spoil)
    findings = Findings()
    images = read_karpathy(karpathy, findings)
    assert [len(own) for own in images.values()] == [1, 1, 2]
    assert set(findings.bad) == {"missing image", "no captions", "name outside the data set", "duplicate id"}


@pytest.mark.parametrize(
    "content",
    [
        *("[]", '{"images": 7}', '{"images": [7]}', '{"images": [{"filename": "x.jpg"}]}', "{", '{"annotations": []}'),
        '{"images": [{"filename": "x.jpg", "split": "dev", "sentences": []}]}',
        '{"images": [{"filename": 1, "split": "val", "sentences": []}]}',
    ],
)
def test_other_files_are_refused_by_name(karpathy, content):
    (karpathy / "dataset_coco.json").write_text(content)
    with pytest.raises(ValueError, match=r"dataset_coco\.json.*: not "):
        read_karpathy(karpathy)


def test_through_the_data_module(karpathy):
    data = TextImageDataModule(str(karpathy), "karpathy", image_size=32, stages=1, batch_size=2, workers=0)
    data.setup()
    assert [len(data.split(name)) for name in ("train", "validation", "test")] == [4, 2, 2]
