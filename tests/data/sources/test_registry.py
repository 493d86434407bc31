"""The same toy birds through every source, each in its own layout."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch

from attngan.data.datamodule import TextImageDataModule
from attngan.data.sources.cub import read_cub
from attngan.data.sources.shards import write_shards
from attngan.data.splits import SPLIT_NAMES


@pytest.fixture
def birds(toy_root):
    """The birds by split, without their boxes, which not every source has."""
    return {split: read_cub(toy_root, split)[:12] for split in ("train", "test")}


def items(birds):
    return [(split, image) for split, images in birds.items() for image in images]


def flat(image):
    return image.name.replace("/", "-")


def as_text_files(birds, root):
    for split, image in items(birds):
        (root / split).mkdir(parents=True, exist_ok=True)
        shutil.copy(image.path, root / split / f"{flat(image)}.jpg")
        (root / split / f"{flat(image)}.txt").write_text("\n".join(image.captions))
    return "folder"


def as_jsonl(birds, root):
    root.mkdir()
    with (root / "metadata.jsonl").open("w") as file:
        for split, image in items(birds):
            shutil.copy(image.path, root / f"{flat(image)}.jpg")
            row = {"file_name": f"{flat(image)}.jpg", "texts": image.captions, "class": image.class_id, "split": split}
            file.write(json.dumps(row) + "\n")
    return "folder"


def as_csv(birds, root):
    root.mkdir()
    with (root / "captions.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", "text", "split", "class"])
        for split, image in items(birds):
            shutil.copy(image.path, root / f"{flat(image)}.jpg")
            writer.writerows([f"{flat(image)}.jpg", caption, split, image.class_id] for caption in image.captions)
    return "folder"


def as_coco(birds, root):
    (root / "annotations").mkdir(parents=True)
    for split, official in (("train", "train2017"), ("test", "val2017")):
        (root / official).mkdir()
        images, annotations = [], []
        for number, image in enumerate(birds[split]):
            shutil.copy(image.path, root / official / f"{flat(image)}.jpg")
            images.append({"id": number, "file_name": f"{flat(image)}.jpg"})
            annotations += [{"image_id": number, "caption": caption} for caption in image.captions]
        content = {"images": images, "annotations": annotations}
        (root / "annotations" / f"captions_{official}.json").write_text(json.dumps(content))
    return "coco"


def as_flowers(birds, root):
    (root / "jpg").mkdir(parents=True)
    lists = {"train": "trainvalclasses.txt", "test": "testclasses.txt"}
    for split, image in items(birds):
        text = root / "text_c10" / f"class_{image.class_id:05}" / f"{flat(image)}.txt"
        text.parent.mkdir(parents=True, exist_ok=True)
        text.write_text("\n".join(image.captions))
        shutil.copy(image.path, root / "jpg" / f"{flat(image)}.jpg")
        with (root / lists[split]).open("a") as file:
            file.write(f"{text.parent.name}\n")
    return "flowers"


def as_cub(birds, root):
    for split, image in items(birds):
        for place in (root / "images" / f"{image.name}.jpg", root / "text" / f"{image.name}.txt", root / split / "x"):
            place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(image.path, root / "images" / f"{image.name}.jpg")
        (root / "text" / f"{image.name}.txt").write_text("\n".join(image.captions))
        with (root / split / "filenames.txt").open("a") as file:
            file.write(f"{image.name}\n")
    return "cub"


def as_shards(birds, root):
    splits = {split: [_without_box(image) for image in images] for split, images in birds.items()}
    write_shards(splits, root, images_a_shard=4)
    return "shards"


def _without_box(image):
    return type(image)(image.name, image.path, image.captions, image.class_id, None)


@pytest.mark.parametrize("layout", [as_cub, as_coco, as_flowers, as_text_files, as_jsonl, as_csv, as_shards])
def test_the_same_birds_come_out(birds, tmp_path, layout):
    source = layout(birds, tmp_path / "data")
    data = TextImageDataModule(
        str(tmp_path / "data"), source, image_size=32, stages=2, batch_size=4, workers=0, validation="published"
    )
    data.setup()
    for split, images in birds.items():
        by_name = {flat(image): image for image in images}
        read = data.split(split).images
        assert sorted(_stem(image.name) for image in read) == sorted(by_name)
        for image in read:
            assert image.captions == by_name[_stem(image.name)].captions
        pixels = torch.cat(list(data.full_images(split, 32)))
        for image, own in zip(read, pixels, strict=True):
            reference = _centre(by_name[_stem(image.name)].path)
            assert (own == reference).all()
        if layout not in (as_coco, as_text_files, as_cub):  # which have no classes, or no label file here
            groups = {}
            for image in read:
                groups.setdefault(image.class_id, set()).add(by_name[_stem(image.name)].class_id)
            assert all(len(originals) == 1 for originals in groups.values())
            assert len(groups) == len({image.class_id for image in images})
    assert sum(len(batch.indices) for batch in data.train_dataloader()) == 12


def _stem(name: str) -> str:
    """The image's own name: folders of splits and classes that a layout added taken off."""
    parts = name.split("/")
    return "-".join(part for part in parts if part not in SPLIT_NAMES and not part.startswith("class_"))


def _centre(path: Path) -> torch.Tensor:
    from attngan.data.images import load_pixels, shorter_side

    pixels = load_pixels(path, None, shorter_side(32))
    top, left = (pixels.shape[0] - 32) // 2, (pixels.shape[1] - 32) // 2
    return torch.from_numpy(pixels[top : top + 32, left : left + 32].copy()).permute(2, 0, 1)
