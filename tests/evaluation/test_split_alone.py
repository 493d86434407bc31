"""Scores need the files of the split that is scored, and no others."""

import shutil

import pytest

from attngan.evaluation.scored_images import read_split


def test_a_split_is_read_where_the_others_are_not_there(toy_root, tmp_path):
    whole = read_split(toy_root, "cub", "test", 16)
    alone = shutil.copytree(toy_root, tmp_path / "alone", ignore=shutil.ignore_patterns(".attngan_cache", "train"))
    kept = {image.path.relative_to(toy_root) for image in whole.images}
    for path in [*alone.rglob("*.png"), *alone.rglob("*.jpg")]:
        if path.relative_to(alone) not in kept:
            path.unlink()
    split = read_split(alone, "cub", "test", 16)
    assert [image.name for image in split.images] == [image.name for image in whole.images]
    assert split.captions == whole.captions
    assert not list(alone.rglob("*train*.cache"))
    with pytest.raises(FileNotFoundError):
        read_split(alone, "cub", "train", 16)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_what_validates_is_no_training_image(toy_root, split):
    here = {image.name for image in read_split(toy_root, "cub", split, 16).images}
    other = {
        image.name for image in read_split(toy_root, "cub", {"train": "validation"}.get(split, "train"), 16).images
    }
    assert here
    assert not here & other
