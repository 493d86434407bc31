"""Precomputed sentence embeddings: each goes with its own caption, whatever was left out, loaded or resumed."""

import json
import os
import pickle

import numpy as np
import pytest
import torch

from attngan.commands.prepare import prepare
from attngan.data.datamodule import TextImageDataModule
from attngan.data.findings import Findings
from attngan.data.sentence_embeddings import open_embeddings, places_in_file
from attngan.data.sources.cub import read_cub
from attngan.data.sources.file_lists import read_file_list
from attngan.data.sources.registry import read_source
from tests.data.conftest import picture, write_cub

PUBLISHED = "{split}/char-CNN-RNN-embeddings.pickle"
CAPTIONS, DIMENSIONS = 2, 6


def embedding(name: str, number: int) -> np.ndarray:
    """Tells image and caption; what a caption's embedding must be."""
    return np.random.default_rng([number, *name.encode()]).normal(size=DIMENSIONS).astype(np.float32)


def names_of(root, split):
    return (root / split / "filenames.txt").read_text().split()


def array(names, captions=CAPTIONS):
    return np.stack([[embedding(name, number) for number in range(captions)] for name in names])


@pytest.fixture
def cub(tmp_path):
    """Captions that tell image and number: "bird 3 first" and "bird 3 second"; embeddings of them as published."""
    root = write_cub(tmp_path / "birds", train_classes=6, test_classes=2)
    for split in ("train", "test"):
        for name in names_of(root, split):
            stem = name.split("_")[1]
            (root / "text" / f"{name}.txt").write_text(f"bird {stem} first\nbird {stem} second\n")
        content = [own.astype(np.float32) for own in array(names_of(root, split))]
        (root / split / "char-CNN-RNN-embeddings.pickle").write_bytes(pickle.dumps(content, protocol=2))
    return root


def ready(root, source="cub", **options):
    options = {"image_size": 32, "stages": 1, "batch_size": 4, "workers": 0, "text_embeddings": PUBLISHED, **options}
    data = TextImageDataModule(str(root), source, **options)
    data.setup()
    return data


def assert_its_own(data, split, batch):
    """Every embedding is that of the caption which the batch has."""
    for row, index in enumerate(batch.indices.tolist()):
        words = data.vocabulary.words_of(batch.captions.ids[row, : batch.captions.lengths[row]].tolist())
        image = data.split(split).images[index]
        number = [caption.split()[-1] for caption in image.captions].index(words[-1])
        assert (batch.embedding[row].numpy() == embedding(image.name, number)).all()


@pytest.mark.parametrize("workers", [0, 2])
def test_goes_with_the_caption_that_was_chosen(cub, workers):
    data = ready(cub, workers=workers)
    loader = data.train_dataloader()
    chosen = set()
    for epoch in range(3):
        loader.sampler.set_epoch(epoch)
        for batch in loader:
            assert batch.embedding.shape == (4, DIMENSIONS)
            assert batch.embedding.dtype == torch.float32
            assert_its_own(data, "train", batch)
            chosen |= {tuple(ids) for ids in batch.captions.ids[:, 2:].tolist()}
            assert data.on_after_batch_transfer(batch).embedding is batch.embedding
    assert len(chosen) == 2  # both captions were chosen
    for split, batches in (("validation", data.val_dataloader()), ("test", data.test_dataloader())):
        for batch in batches:
            assert_its_own(data, split, batch)


def test_workers_give_the_same(cub):
    for a, b in zip(ready(cub).train_dataloader(), ready(cub, workers=2).train_dataloader(), strict=True):
        assert (a.embedding == b.embedding).all()
        assert (a.captions.ids == b.captions.ids).all()


def test_of_all_captions_in_the_order_of_encoded_captions(cub):
    data = ready(cub)
    captions, owner = data.encoded_captions("test")
    values = data.caption_embeddings("test")
    assert values.shape == (len(owner), DIMENSIONS) == (6 * CAPTIONS, DIMENSIONS)
    names = [data.split("test").images[index].name for index in owner.tolist()]
    expected = [embedding(name, number % CAPTIONS) for number, name in enumerate(names)]
    assert (values.numpy() == np.stack(expected)).all()
    assert len(captions.ids) == len(values)


def test_images_that_are_left_out_shift_nothing(cub):
    names = names_of(cub, "train")
    (cub / "images" / f"{names[0]}.jpg").unlink()
    (cub / "images" / f"{names[4]}.jpg").write_bytes(b"")
    (cub / "text" / f"{names[7]}.txt").unlink()
    with pytest.warns(UserWarning, match="left out"):
        data = ready(cub, skip_bad=True, validation="published", batch_size=3)
    assert len(data.split("train")) == len(names) - 3
    for batch in data.train_dataloader():
        assert_its_own(data, "train", batch)


def test_captions_that_are_left_out_shift_nothing(cub):
    """A caption without a word that the vocabulary knows goes; the next one keeps its embedding."""
    name = names_of(cub, "train")[0]
    (cub / "text" / f"{name}.txt").write_text("中文\nbird 1 second\n")
    with pytest.warns(UserWarning, match="captions without a known word: 1"):
        data = ready(cub, tokenizer="published", validation="published")
    assert data.split("train").captions.count(0) == 1
    batch = data.split("train").__getitems__([(epoch, 0) for epoch in range(5)])
    assert (batch.embedding.numpy() == embedding(name, 1)).all()


@pytest.mark.parametrize("write", [np.save, lambda path, values: np.save(path, np.asfortranarray(values))])
def test_an_array_of_ones_own(tmp_path, write):
    """For a folder, in the order of its images."""
    root = tmp_path / "mine"
    root.mkdir()
    for number in range(40):
        picture(number).save(root / f"{number:02}.png")
        (root / f"{number:02}.txt").write_text(f"picture {number}\nalso {number}\n")
    for split, images in read_source("folder", root).items():
        write(tmp_path / f"{split}.npy", array([image.name for image in images]).astype(np.float16))
    (root / "05.png").write_bytes(b"")
    with pytest.warns(UserWarning, match="unusable image: 1"):
        data = ready(root, "folder", text_embeddings=str(tmp_path / "{split}.npy"), skip_bad=True)
    seen = 0
    for split in ("train", "validation", "test"):
        values, (_captions, owner) = data.caption_embeddings(split), data.encoded_captions(split)
        for row, index in enumerate(owner.tolist()):
            name = data.split(split).images[index].name
            assert (values[row].numpy() == embedding(name, row % 2).astype(np.float16)).all()
            seen += 1
    assert seen == 39 * 2


def test_only_the_first_captions_may_have_embeddings(cub):
    """COCO has five to seven captions an image, its published embeddings five."""
    for split in ("train", "test"):
        for name in names_of(cub, split):
            with (cub / "text" / f"{name}.txt").open("a") as file:
                file.write("a third one\n")
    data = ready(cub, captions_per_image=2)
    for batch in data.train_dataloader():
        assert_its_own(data, "train", batch)
    with pytest.raises(ValueError, match=r"(?s)other number of embeddings: .*2 embeddings in .*pickle, 3 captions"):
        ready(cub, captions_per_image=10)


def test_an_image_with_fewer_captions_than_embeddings_is_named(cub):
    name = names_of(cub, "train")[3]
    (cub / "text" / f"{name}.txt").write_text("bird 4 second\n")  # the first was lost: whose embedding would it get?
    with pytest.raises(ValueError, match=rf"(?s)1 image .*{name.split('/')[1]}\.jpg: 2 embeddings .*, 1 captions"):
        ready(cub)
    with pytest.warns(UserWarning, match="other number of embeddings: 1"):
        data = ready(cub, skip_bad=True, validation="published")
    assert name not in {image.name for image in data.split("train").images}
    for batch in data.train_dataloader():
        assert_its_own(data, "train", batch)


def test_other_counts_of_images_are_told_with_both(cub):
    names = names_of(cub, "train")
    content = list(array(names[:-1]))
    (cub / "train" / "char-CNN-RNN-embeddings.pickle").write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match=r"embeddings\.pickle: embeddings of 17 images, but the list of .* has 18"):
        ready(cub)


def test_the_list_of_another_order_or_of_bare_names(cub, tmp_path):
    """Flowers' published list names images by another folder, and in an order of its own."""
    root = tmp_path / "flowers"
    (root / "jpg").mkdir(parents=True)
    stems = [f"image_{number:05}" for number in range(1, 13)]
    for number, stem in enumerate(stems):
        picture(number).save(root / "jpg" / f"{stem}.jpg")
        text = root / "text_c10" / f"class_{1 + number % 4:05}" / f"{stem}.txt"
        text.parent.mkdir(parents=True, exist_ok=True)
        text.write_text(f"flower {number} first\nflower {number} second\n")
    for split, own in (("train", stems[8:] + stems[:4]), ("test", stems[4:8])):
        (root / split).mkdir()
        (root / split / "filenames.pickle").write_bytes(pickle.dumps([f"jpg/{stem}" for stem in own]))
        (root / split / "char-CNN-RNN-embeddings.pickle").write_bytes(pickle.dumps(list(array(own))))
    data = ready(root, "flowers", validation="published")
    for batch in data.train_dataloader():
        for row, index in enumerate(batch.indices.tolist()):
            image = data.split("train").images[index]
            words = data.vocabulary.words_of(batch.captions.ids[row].tolist())
            number = list(image.captions).index(" ".join(words))
            assert (batch.embedding[row].numpy() == embedding(image.path.stem, number).astype(np.float32)).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": 1}, "a list with an array"),
        ([], "a list with an array"),
        ([np.zeros((2, 4)), [1, 2]], "image 1: not an array"),
        ([np.zeros((2, 4)), np.zeros((3, 4))], r"image 1 has an array of \(3, 4\), the first image one of \(2, 4\)"),
        ([np.zeros((2, 4), dtype=int)], "image 0: not an array"),
    ],
)
def test_pickles_of_other_things(tmp_path, content, message):
    path = tmp_path / "x.pickle"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match=rf"x\.pickle: .*{message}"):
        open_embeddings(path, tmp_path / "scratch")


class RunsCode:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def test_a_pickle_that_tries_to_run_code_runs_nothing(tmp_path):
    path = tmp_path / "x.pickle"
    path.write_bytes(pickle.dumps([np.zeros((2, 4)), RunsCode(tmp_path / "was_run")]))
    with pytest.raises(ValueError, match="nothing was run"):
        open_embeddings(path, tmp_path / "scratch")
    assert not (tmp_path / "was_run").exists()


@pytest.mark.parametrize(
    "values", [np.zeros((3, 4)), np.zeros((3, 4, 2), dtype=int), np.zeros((0, 2, 4)), np.array([[["x"]]], dtype=object)]
)
def test_arrays_of_another_form(tmp_path, values):
    np.save(tmp_path / "x.npy", values, allow_pickle=True)
    with pytest.raises(ValueError, match=r"x\.npy: (embeddings are one array|not an array)"):
        open_embeddings(tmp_path / "x.npy", tmp_path)


def test_files_that_are_none(cub, tmp_path):
    (tmp_path / "x.npy").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"x\.npy: not an array"):
        open_embeddings(tmp_path / "x.npy", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"train/other\.pickle: no such file of sentence embeddings"):
        ready(cub, text_embeddings="{split}/other.pickle")
    with pytest.raises(ValueError, match=r"one file for the splits train, test: write \{split\}"):
        ready(cub, text_embeddings="train/char-CNN-RNN-embeddings.pickle")


def test_a_pickle_is_read_once_and_again_when_it_changes(tmp_path, monkeypatch):
    from attngan.data import sentence_embeddings as module

    read = []
    real = module.read_published_pickle
    monkeypatch.setattr(module, "read_published_pickle", lambda path: read.append(path) or real(path))
    path, scratch = tmp_path / "x.pickle", tmp_path / "scratch"
    path.write_bytes(pickle.dumps([np.ones((2, 4))]))
    for _ in range(2):
        assert (open_embeddings(path, scratch).values == 1).all()
    assert len(read) == 1
    path.write_bytes(pickle.dumps([np.ones((2, 4)) * 2, np.ones((2, 4))]))
    assert (open_embeddings(path, scratch).values[0] == 2).all()
    assert len(read) == 2
    assert len(list(scratch.iterdir())) == 1  # what is stale is not kept


def test_goes_to_worker_processes_by_name_only(cub):
    data = ready(cub)
    file = data.split("train").embeddings.file
    assert len(pickle.dumps(file)) < 500
    assert (pickle.loads(pickle.dumps(file)).values == file.values).all()


def test_prepare_checks_them(cub, tmp_path, capsys):
    options = {"image_size": 32, "processes": 1, "out": str(tmp_path / "out"), "text_embeddings": PUBLISHED}
    assert prepare(str(cub), **options) == 0
    assert "embeddings of train: 18 images, 2 captions each, 6 dimensions" in capsys.readouterr().out
    report = json.loads((tmp_path / "out" / "prepare_report.json").read_text())
    assert report["text_embeddings"] == {"train": [18, 2, 6], "test": [6, 2, 6]}
    name = names_of(cub, "train")[3]
    (cub / "text" / f"{name}.txt").write_text("bird 4 second\n")
    assert prepare(str(cub), **options) == 1
    assert "other number of embeddings" in capsys.readouterr().out
    content = array(names_of(cub, "train"))
    content[5, 1, 3] = np.nan
    (cub / "train" / "char-CNN-RNN-embeddings.pickle").write_bytes(pickle.dumps(list(content)))
    with pytest.raises(ValueError, match="the embedding of image 5, caption 1 is not finite"):
        prepare(str(cub), **options)


@pytest.mark.real
def test_on_the_real_file_list(real_cub, tmp_path):
    """8,855 embeddings in the order of the published list; the one image that is missing shifts none."""
    names = read_file_list(real_cub / "train")
    np.save(tmp_path / "x.npy", np.zeros((len(names), 10, 1), np.float16))
    findings = Findings()
    images = read_cub(real_cub, "train", findings)
    file = open_embeddings(tmp_path / "x.npy", tmp_path)
    places = places_in_file(file, real_cub, "train", images, 10, findings)
    assert len(images) == len(places) == 8854
    assert all(names[place] == name for name, place in places.items())
    assert list(findings.bad) == ["missing image"]
    (gap,) = set(range(8855)) - set(places.values())
    assert 0 < gap < 8854  # had places been counted from the images that are there, all behind it would be wrong
