"""What the matching loss compares: nothing where every item of a batch is of one class."""

import json

import pytest
import torch
from PIL import Image

from attngan.cli import main
from attngan.training.rivals import Rivals, require_rivals
from tests.tiny import damsm_recipe, write_recipe


def test_batches_without_rivals_are_counted_and_an_epoch_of_them_is_refused():
    rivals = Rivals()
    assert rivals.tell() is None
    rivals.add(torch.tensor([3, 3, 3]), 3)
    rivals.add(torch.tensor([3, 3, 4]), 3)
    rivals.add(None, 2)  # without classes every other item is a rival
    rivals.add(None, 1)
    assert "in 2 of 4 batches" in rivals.tell()
    rivals.add(torch.tensor([1, 2]), 2)
    assert rivals.tell() is None
    rivals.add(torch.tensor([1, 1]), 2)
    with pytest.raises(ValueError, match=r"in 1 of 1 batches .*data\.batch_size"):
        rivals.tell()


def test_a_batch_of_one_has_none():
    require_rivals(2)
    with pytest.raises(ValueError, match=r"data\.batch_size is 1"):
        require_rivals(1)


def as_classes(root, classes: int, tmp_path):
    """Pictures with a table; of so many classes, one picture of each class after the other."""
    rows = []
    for i in range(24):
        Image.new("RGB", (20, 20), (10 * i, 80, 200)).save(root / f"{i}.png")
        split = "train" if i < 16 else "validation" if i < 20 else "test"
        rows.append({"file_name": f"{i}.png", "text": f"a bird number {i}", "class": i % classes, "split": split})
    (root / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    recipe = damsm_recipe(root, tmp_path / "run")
    recipe["data"] |= {"source": "folder", "batch_size": 4}
    return ["pretrain", "--config", str(write_recipe(tmp_path / "recipe.yaml", recipe))]


def test_one_class_for_all_images_counts_as_none(tmp_path, capsys, monkeypatch):
    """Every pair would be left out of the loss as true of both images."""
    (tmp_path / "data").mkdir()
    losses = []
    real = torch.nn.functional.cross_entropy
    monkeypatch.setattr("attngan.losses.matching.F.cross_entropy", lambda *a: losses.append(real(*a)) or losses[-1])
    with pytest.warns(UserWarning, match="one class for all images, taken as none"):
        assert main(as_classes(tmp_path / "data", 1, tmp_path)) == 0
    assert min(float(loss) for loss in losses) > 0.1  # of a softmax over four or more
    data = str(tmp_path / "data")
    assert main(["prepare", data, "--source", "folder", "--image_size", "16", "--out", str(tmp_path)]) == 0
    assert "one class for all images" in capsys.readouterr().out
    assert "all 16 of train: 0" in (tmp_path / "prepare_report.json").read_text()


def test_an_epoch_whose_batches_are_each_of_one_class_is_refused(tmp_path, capsys, monkeypatch):
    (tmp_path / "data").mkdir()
    arguments = as_classes(tmp_path / "data", 2, tmp_path)

    def pairs(order, epoch, start):
        """Each image with the next one of its class."""
        return iter([[(epoch, i), (epoch, i + 2)] for i in (0, 1, 4, 5, 8, 9, 12, 13)][start:])

    monkeypatch.setattr("attngan.data.loader.EpochOrder._batches", pairs)
    assert main([*arguments, "--data.batch_size", "2", "--trainer.limit_val_batches", "0"]) == 1
    assert "in 8 of 8 batches all images were of one class" in capsys.readouterr().err
