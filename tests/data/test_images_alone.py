"""captions_per_image 0: images without any text, from any source; any folder of images will do."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from attngan.commands.prepare import prepare
from attngan.data.datamodule import TextImageDataModule
from attngan.data.findings import Findings
from attngan.data.images import load_pixels, shorter_side
from attngan.data.sources.folder import read_folder
from attngan.data.sources.registry import read_source
from attngan.records import TextImageBatch
from attngan.text.vocabulary import Vocabulary
from tests.data.conftest import picture, write_cub


@pytest.fixture
def photos(tmp_path):
    """Thirty images in a folder and folders in it, and nothing else."""
    root = tmp_path / "holiday"
    for number in range(30):
        path = root / ("" if number % 3 else "more/deeper") / f"photo {number}.{'png' if number % 2 else 'jpg'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(number).save(path)
    return root


def ready(root, source="folder", **options):
    options = {"image_size": 32, "stages": 2, "batch_size": 4, "workers": 0, **options}
    data = TextImageDataModule(str(root), source, captions_per_image=0, **options)
    data.setup()
    return data


def test_a_plain_folder_trains(photos):
    data = ready(photos)
    assert sum(len(data.split(split)) for split in ("train", "validation", "test")) == 30
    batches = list(data.train_dataloader())
    assert len(batches) == len(data.split("train")) // 4
    for batch in batches:
        assert batch.captions.ids.shape == (4, 0)
        assert batch.captions.lengths.tolist() == [0] * 4
        assert batch.captions.padding.shape == (4, 0)
        whole = data.on_after_batch_transfer(batch)
        assert isinstance(whole, TextImageBatch)
        assert [tuple(image.shape) for image in whole.images] == [(4, 3, 16, 16), (4, 3, 32, 32)]
        assert whole.classes is None
        assert whole.embedding is None
    (batch,) = [b for b in data.test_dataloader()][:1]
    image = data.split("test").images[0]
    assert image.captions == ()
    pixels = load_pixels(image.path, None, shorter_side(32))
    top, left = (pixels.shape[0] - 32) // 2, (pixels.shape[1] - 32) // 2
    assert (batch.pixels[0].permute(1, 2, 0).numpy() == pixels[top : top + 32, left : left + 32]).all()


def test_the_vocabulary_has_no_word(photos):
    data = ready(photos)
    assert data.vocabulary.words == ("<end>", "<unk>")
    assert Vocabulary.from_dict(data.vocabulary.to_dict()) == data.vocabulary
    captions, owner = data.encoded_captions("train")
    assert captions.ids.shape == (0, 0)
    assert owner.shape == (0,)
    assert len(ready(photos, tokenizer="published").vocabulary) == 1


@pytest.mark.parametrize("given", [["a bird of a kind"], []])
@pytest.mark.parametrize("published", [True, False])
def test_a_checkpoint_that_reads_captions_is_refused(photos, given, published):
    data = ready(photos)
    tokens = [caption.split() for caption in given]
    vocabulary = Vocabulary.in_published_order(tokens) if published else Vocabulary.from_captions(given)
    with pytest.raises(ValueError, match="captions_per_image is 0"):
        data.use_vocabulary(vocabulary)


def test_workers_and_epochs(photos):
    none, two = ready(photos), ready(photos, workers=2)
    loaders = none.train_dataloader(), two.train_dataloader()
    epochs = []
    for epoch in range(2):
        for loader in loaders:
            loader.sampler.set_epoch(epoch)
        pairs = list(zip(*loaders, strict=True))
        assert all((a.pixels == b.pixels).all() and (a.indices == b.indices).all() for a, b in pairs)
        epochs.append(torch.cat([a.indices for a, _ in pairs]).tolist())
    assert epochs[0] != epochs[1]


def test_without_text_the_same_crops_as_with_it(tmp_path):
    """Captions draw from the same generator, after crop and mirror."""
    root = write_cub(tmp_path / "birds")
    options = {"image_size": 32, "stages": 1, "batch_size": 4, "workers": 0}
    with_text = TextImageDataModule(str(root), **options)
    with_text.setup()
    for mine, theirs in zip(ready(root, "cub", stages=1).train_dataloader(), with_text.train_dataloader(), strict=True):
        assert (mine.pixels == theirs.pixels).all()
        assert (mine.classes == theirs.classes).all()


def test_two_images_that_differ_in_their_suffix_only(tmp_path):
    picture(1).save(tmp_path / "a.jpg")
    picture(2).save(tmp_path / "a.png")
    names = [image.name for own in read_folder(tmp_path, captions=False).values() for image in own]
    assert sorted(names) == ["a", "a.png"]


def test_metadata_still_tells_class_box_and_split(tmp_path):
    for number in range(3):
        picture(number).save(tmp_path / f"{number}.png")
    rows = [
        {"file_name": f"{n}.png", "class": n, "bbox": [1, 2, 30, 20], "split": ["train", "test", "validation"][n]}
        for n in range(3)
    ]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    images = read_folder(tmp_path, captions=False)
    assert {split: [(i.name, i.class_id, i.box) for i in own] for split, own in images.items()} == {
        split: [(str(n), n, (1.0, 2.0, 30.0, 20.0))] for n, split in enumerate(["train", "test", "validation"])
    }
    (tmp_path / "metadata.jsonl").rename(tmp_path / "unused")
    (tmp_path / "metadata.csv").write_text("file_name,split\n0.png,train\n1.png,test\n")
    findings = Findings()
    images = read_folder(tmp_path, findings, captions=False)
    assert [len(images[split]) for split in ("train", "test", "validation")] == [1, 1, 0]
    assert not findings.bad


def test_captions_are_neither_needed_nor_read(tmp_path):
    """Every source, without its captions and with captions that could not be used."""
    root = write_cub(tmp_path / "birds")
    before = read_source("cub", root)
    for damage in (lambda: next((root / "text").glob("*/*.txt")).write_bytes(b"\xff"), lambda: delete(root / "text")):
        damage()
        findings = Findings()
        alone = read_source("cub", root, findings, captions=False)
        assert not findings.bad
        for split, images in alone.items():
            assert [(i.name, i.path, i.class_id, i.box) for i in images] == [
                (i.name, i.path, i.class_id, i.box) for i in before[split]
            ]
            assert {image.captions for image in images} == {()}


def delete(folder):
    shutil.rmtree(folder)


def test_coco_without_annotations(tmp_path):
    (tmp_path / "annotations").mkdir()
    for split, official in (("train", "train2017"), ("test", "val2017")):
        (tmp_path / official).mkdir()
        picture(1).save(tmp_path / official / f"{split}.jpg")
        content = {"images": [{"id": 1, "file_name": f"{split}.jpg"}], "annotations": []}
        (tmp_path / "annotations" / f"captions_{official}.json").write_text(json.dumps(content))
    findings = Findings()
    images = read_source("coco", tmp_path, findings, captions=False)
    assert {split: [image.captions for image in own] for split, own in images.items()} == {"train": [()], "test": [()]}
    assert not findings.bad


def test_precomputed_embeddings_make_no_sense_then(photos):
    with pytest.raises(ValueError, match="text_embeddings are of captions"):
        ready(photos, text_embeddings="{split}.npy")
    with pytest.raises(ValueError, match="captions_per_image is -1: 0 means none"):
        TextImageDataModule(str(photos), "folder", captions_per_image=-1).setup()


# attngan prepare


def run(root, out, **options):
    options = {"image_size": 32, "processes": 1, "source": "folder", "captions_per_image": 0, **options}
    code = prepare(str(root), out=str(out), **options)
    return code, json.loads((out / "prepare_report.json").read_text())


def test_prepare_checks_and_caches_a_plain_folder(photos, tmp_path, capsys, monkeypatch):
    code, report = run(photos, tmp_path / "out")
    assert code == 0
    printed = capsys.readouterr().out
    assert "images alone" in printed
    assert "per image" not in printed  # no columns of zeros
    assert "ready to train" in printed
    assert sum(own["images"] for own in report["splits"].values()) == 30
    assert {own["captions"] for own in report["splits"].values()} == {0}
    assert Image.open(tmp_path / "out" / "prepare_preview.png").size == (4 * 420, 4 * 230)
    monkeypatch.setattr("attngan.data.image_cache.load_pixels", None)  # training decodes nothing again
    assert len(ready(photos).split("train")) == report["splits"]["train"]["images"]


def test_prepare_names_what_is_no_image(photos, tmp_path):
    (photos / "photo 1.png").write_bytes(b"")
    code, report = run(photos, tmp_path / "out")
    assert code == 1
    assert "photo 1.png: the file is empty" in report["cannot_be_used"]["unusable image"][0]
    assert run(photos, tmp_path / "out", skip_bad=True)[0] == 0
    with pytest.warns(UserWarning, match="unusable image: 1"):
        data = ready(photos, skip_bad=True)
    assert sum(len(data.split(split)) for split in ("train", "validation", "test")) == 29


def test_with_captions_wanted_a_plain_folder_says_how(photos, tmp_path):
    with pytest.raises(ValueError, match="images alone are read with captions_per_image 0"):
        run(photos, tmp_path / "out", captions_per_image=10)


def test_shards_of_images_alone(photos, tmp_path, capsys):
    shards = tmp_path / "shards"
    assert run(photos, tmp_path / "out", shards=str(shards), shard_images=6)[0] == 0
    data = ready(shards, "shards", batch_size=3)
    batches = list(data.train_dataloader())
    assert {tuple(batch.captions.ids.shape) for batch in batches} == {(3, 0)}
    names = {image.name for image in ready(photos).split("train").images}
    seen = {data.split("train").images[index].name for batch in batches for index in batch.indices.tolist()}
    assert seen <= names
    assert len(seen) == 3 * len(batches)
    with pytest.raises(ValueError, match=r"train\.jsonl, line 1: no captions"):
        TextImageDataModule(str(shards), "shards", 32, 1, 3, workers=0).setup()


@pytest.mark.real
def test_real_birds_as_a_plain_folder(real_cub, tmp_path):
    """Eight classes of CUB's own photographs, copied without anything that says what they are."""
    (images,) = [path for path in real_cub.rglob("images") if path.is_dir()]
    root = tmp_path / "pictures of something"
    for folder in sorted(images.iterdir())[:8]:
        shutil.copytree(folder, root / folder.name)
    count = len(list(root.rglob("*.jpg")))
    assert count > 300
    code, report = run(root, tmp_path / "out", image_size=64)
    assert code == 0
    assert not report["cannot_be_used"]
    assert sum(own["images"] for own in report["splits"].values()) == count
    data = ready(root, image_size=64, stages=1, batch_size=16)
    shares = np.array([len(data.split(split)) for split in ("train", "validation", "test")]) / count
    assert np.abs(shares - [0.8, 0.1, 0.1]).max() < 0.06
    batch = data.on_after_batch_transfer(next(iter(data.train_dataloader())))
    assert batch.images[0].shape == (16, 3, 64, 64)
    assert batch.images[0].std() > 0.2  # photographs, not one colour
