import contextlib
import functools
import http.server
import io
import json
import shutil
import tarfile
import threading
from itertools import pairwise

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import webdataset
from pytorch_lightning.callbacks import ModelCheckpoint

from attngan.data import streaming as streaming_module
from attngan.data.datamodule import TextImageDataModule
from attngan.data.images import load_pixels, shorter_side
from attngan.data.shards import ShardStream, read_shards, write_shards
from attngan.data.sources import read_source
from attngan.data.streaming import StreamOrder
from attngan.prepare import prepare
from tests.data.conftest import write_cub


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """A folder with a CUB-like data set, its shards and what `attngan prepare` printed when it wrote them.

    36 training images in eight shards (the last one smaller), 4 to validate on, 8 to test on.
    """
    folder = tmp_path_factory.mktemp("shards")
    cub = write_cub(folder / "birds", train_classes=10, test_classes=2, images=4)
    options = {"image_size": 32, "processes": 1, "out": str(folder / "out")}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert prepare(str(cub), shards=str(folder / "shards"), shard_images=5, **options) == 0
    (folder / "printed").write_text(printed.getvalue())
    return folder


@pytest.fixture
def cub(written, tmp_path):
    return shutil.copytree(written / "birds", tmp_path / "birds")


@pytest.fixture
def shards(written, tmp_path):
    return shutil.copytree(written / "shards", tmp_path / "shards")


def test_how_to_train_with_them_is_told(written):
    assert "train with data.source: shards" in (written / "printed").read_text()


def streaming(root, **options):
    options = {"image_size": 32, "stages": 2, "batch_size": 3, "workers": 0, "shuffle_buffer": 7, **options}
    data = TextImageDataModule(str(root), "shards", **options)
    data.setup()
    return data


def test_what_is_written_is_what_is_read(cub, shards, tmp_path):
    files = {split: {i.name: i for i in own} for split, own in read_source("cub", cub).items()}
    splits, stream, held_out = read_shards(shards, tmp_path / "scratch")
    assert held_out
    assert {split: len(own) for split, own in splits.items()} == {"train": 36, "validation": 4, "test": 8}
    assert len({image.class_id for image in splits["validation"]}) == 1
    for split, images in splits.items():
        for image in images:
            original = files["test" if split == "test" else "train"][image.name]
            assert (image.captions, image.class_id, image.box) == (original.captions, original.class_id, original.box)
            if split != "train":
                assert image.path.read_bytes() == original.path.read_bytes()
    streamed = list(stream.in_order())
    assert [position for position, _content in streamed] == list(range(36))
    for position, content in streamed:
        assert content == files["train"][splits["train"][position].name].path.read_bytes()
    # neighbours in a shard are of many classes: the stream is shuffled only a little
    assert len({image.class_id for image in splits["train"][:5]}) > 2


def test_the_tar_files_are_webdataset(shards):
    with tarfile.open(shards / "train-000000.tar") as tar:
        names = tar.getnames()
        description = json.load(tar.extractfile(names[1]))
    assert names[:4] == ["000000000.jpg", "000000000.json", "000000001.jpg", "000000001.json"]
    assert len(names) == 10
    assert set(description) == {"name", "texts", "class", "bbox"}


def test_the_webdataset_package_reads_them(cub, shards):
    """All eight shards through the library itself: the same images, captions, classes and boxes."""
    originals = {image.name: image for image in read_source("cub", cub)["train"]}
    files = [str(path) for path in sorted(shards.glob("train-*.tar"))]
    samples = list(webdataset.WebDataset(files, shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == [f"{number:09}" for number in range(36)]
    for sample in samples:
        description = json.loads(sample["json"])
        original = originals[description["name"]]
        assert sample["jpg"] == original.path.read_bytes()
        assert tuple(description["texts"]) == original.captions
        assert (description["class"], tuple(description["bbox"])) == (original.class_id, original.box)
    (decoded,) = webdataset.WebDataset(files[-1:], shardshuffle=False).decode("pil").to_tuple("jpg", "json")
    assert decoded[0].size == (60, 50)
    assert decoded[1] == json.loads(samples[-1]["json"])


def test_vocabulary_and_splits_are_those_of_the_folder(cub, shards):
    folder = TextImageDataModule(str(cub), image_size=32, stages=2, batch_size=3, workers=0)
    folder.setup()
    data = streaming(shards)
    assert data.vocabulary == folder.vocabulary
    for split in ("train", "validation", "test"):
        assert {i.name for i in data.split(split).images} == {i.name for i in folder.split(split).images}
    for mine, theirs in zip(data.test_dataloader(), folder.test_dataloader(), strict=True):
        assert (mine.pixels == theirs.pixels).all()
        assert (mine.captions.ids == theirs.captions.ids).all()


def test_an_epoch_streams_every_image_with_its_own_pixels(shards):
    data = streaming(shards)
    loader = data.train_dataloader()
    orders = []
    for epoch in range(2):
        loader.sampler.set_epoch(epoch)
        batches = list(loader)
        assert len(batches) == len(loader) == 12
        orders.append([index for batch in batches for index in batch.indices.tolist()])
        assert sorted(orders[-1]) == list(range(36))
    assert orders[0] != orders[1]
    batch = batches[0]
    contents = dict(data.split("train").stream.in_order())
    dataset = data.split("train")
    for row, index in enumerate(batch.indices.tolist()):
        image = dataset.images[index]
        pixels = load_pixels(contents[index], image.box, shorter_side(32))
        alone = dataset.batch([(1, index)], [pixels])
        assert (alone.pixels[0] == batch.pixels[row]).all()
        assert batch.classes[row] == image.class_id
    assert [tuple(image.shape) for image in data.on_after_batch_transfer(batch).images] == [
        (3, 3, 16, 16),
        (3, 3, 32, 32),
    ]


@pytest.fixture
def lanes(monkeypatch):
    """Lanes also for a few images: eight shards go into as many lanes as is said."""
    monkeypatch.setattr(streaming_module, "BATCHES_A_LANE", 1)

    def use(count):
        monkeypatch.setattr(streaming_module, "LANES", count)

    return use


def batches_of(shards, workers=0, **options):
    return [(b.indices.tolist(), b.pixels, b.captions.ids) for b in streaming(shards, workers=workers, **options)
            .train_dataloader()]  # fmt: skip


@pytest.mark.parametrize(("count", "workers"), [(1, 2), (3, 1), (3, 2), (5, 4)])
def test_the_number_of_workers_changes_nothing(shards, lanes, count, workers):
    lanes(count)
    whole = batches_of(shards, batch_size=2)
    seen = [index for indices, _pixels, _ids in whole for index in indices]
    assert len(set(seen)) == len(seen) >= 36 - count
    other = batches_of(shards, workers, batch_size=2)
    assert [indices for indices, _pixels, _ids in other] == [indices for indices, _pixels, _ids in whole]
    for (_, pixels, ids), (_, expected, expected_ids) in zip(other, whole, strict=True):
        assert (pixels == expected).all()
        assert (ids == expected_ids).all()


def test_lanes_of_unequal_length_give_all_their_batches(shards, lanes):
    """Eight shards in three lanes: the lane with two shards is done before the others."""
    lanes(3)
    order = StreamOrder([5] * 7 + [1], 2, seed=0)
    assert [order.shards_of(0, lane) for lane in range(3)] == [[0, 3, 6], [1, 4, 7], [2, 5]]
    assert order.turns() == [0, 1, 2] * 5 + [0, 0]
    assert len(order) == 17


def test_few_images_make_few_lanes():
    """A lane's images that do not fill its last batch are left out of the epoch: that must stay a small part."""
    assert StreamOrder([5] * 8, 3, seed=0).lanes == 1
    assert StreamOrder([1000] * 83, 14, seed=0).lanes == 8
    assert StreamOrder([1000] * 83, 14, seed=0, world=16).lanes == 5
    images = 14 * len(StreamOrder([1000] * 83, 14, seed=0))
    assert images > 0.998 * 83_000


@pytest.mark.parametrize(("count", "workers"), [(1, 0), (3, 0), (3, 2)])
def test_starts_inside_an_epoch(shards, lanes, count, workers):
    lanes(count)
    whole = [indices for indices, _pixels, _ids in batches_of(shards, batch_size=2)]
    for start in (0, 4, 16, 17) if not workers else (4,):
        resumed = streaming(shards, workers=workers, batch_size=2).train_dataloader()
        resumed.load_state_dict({"epoch": 0, "batches": start, "order": resumed.sampler.depends_on()})
        assert [batch.indices.tolist() for batch in resumed] == whole[start:]


def test_the_buffer_mixes(shards, lanes):
    """With a buffer of one image a lane's shards come one after the other, with a large one mixed."""
    lanes(1)

    def runs(buffer):
        indices = [i for own, _pixels, _ids in batches_of(shards, shuffle_buffer=buffer, batch_size=1) for i in own]
        return sum(a // 5 == b // 5 for a, b in pairwise(indices))

    assert runs(1) > 20 > runs(100)


def test_devices_read_shards_of_their_own(lanes):
    lanes(3)
    counts = [5] * 7 + [1]
    for world in (1, 2, 3, 8):
        if world == 8:
            counts = [5] * 8
        orders = [StreamOrder(counts, 3, seed=0, rank=rank, world=world) for rank in range(world)]
        assert len({len(order) for order in orders}) == 1
        read = [order.shards_of(order.rank, lane) for order in orders for lane in range(order.lanes)]
        assert sorted(shard for own in read for shard in own) == list(range(8))
        assert all(own for own in read)
        for order in orders:
            assert len(order.turns()) == len(order)
    with pytest.raises(ValueError, match="3 shards for 4 devices"):
        StreamOrder([5, 5, 5], 1, seed=0, rank=0, world=4)
    with pytest.raises(ValueError, match="do not fill a batch of 9"):
        StreamOrder([5, 5, 5], 9, seed=0, rank=0, world=3)


class Watcher(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 1)
        self.seen = []

    def training_step(self, batch, number):
        self.seen.append((self.current_epoch, number, tuple(batch.indices.tolist()), float(batch.images[0].sum())))
        return self.layer(batch.images[-1].mean((2, 3))).square().mean()

    def validation_step(self, batch, number): ...

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("every", [{"every_n_epochs": 1, "save_on_train_epoch_end": True}, {"every_n_train_steps": 5}])
def test_training_resumes(shards, tmp_path, every):
    def train(**options):
        model = Watcher()
        saver = ModelCheckpoint(tmp_path / "saved", filename="{step}", save_top_k=-1, **every)
        trainer = pl.Trainer(
            max_epochs=2,
            accelerator="cpu",
            logger=False,
            callbacks=[saver],
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(model, TextImageDataModule(str(shards), "shards", 32, 2, 3, workers=0), **options)
        return model

    whole = train()
    first = min((tmp_path / "saved").glob("*.ckpt"), key=lambda path: int(path.stem.split("=")[1]))
    steps = int(first.stem.split("=")[1])
    assert train(ckpt_path=first).seen == whole.seen[steps:]


@pytest.mark.filterwarnings("ignore")
def test_training_resumes_with_other_workers_in_the_middle_of_an_epoch(shards, lanes, tmp_path):
    lanes(3)

    def train(workers, **options):
        model = Watcher()
        saver = ModelCheckpoint(tmp_path / "saved", filename="{step}", save_top_k=-1, every_n_train_steps=7)
        trainer = pl.Trainer(
            max_epochs=1,
            accelerator="cpu",
            logger=False,
            callbacks=[saver],
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(model, TextImageDataModule(str(shards), "shards", 32, 2, 2, workers=workers), **options)
        return model.seen

    whole = train(0)
    assert len(whole) == 17
    assert train(2, ckpt_path=tmp_path / "saved" / "step=7.ckpt") == whole[7:]


def test_single_pixels_of_a_stream_are_those_of_the_files(cub, shards):
    data = streaming(shards)
    dataset = data.split("train")
    files = {image.name: image for image in read_source("cub", cub)["train"]}

    def expected(index):
        file = files[dataset.images[index].name]
        return load_pixels(file.path, file.box, shorter_side(32))

    for index in (0, 4, 5, 35):
        assert (dataset.pixels(index) == expected(index)).all()
    tail = list(dataset.all_pixels(start=23))
    assert len(tail) == 13
    assert all((pixels == expected(index)).all() for index, pixels in enumerate(tail, start=23))
    assert list(dataset.all_pixels(start=36)) == []
    cached = data.split("test")
    assert (cached.pixels(3) == cached.cache[3]).all()
    assert [(a == cached.cache[3 + n]).all() for n, a in enumerate(cached.all_pixels(start=3))] == [True] * 5


def test_full_images_of_a_stream_are_in_the_splits_order(cub, shards):
    data = streaming(shards)
    images = torch.cat(list(data.full_images("train", 24, batch_size=7)))
    assert images.shape == (36, 3, 24, 24)
    files = {image.name: image for image in read_source("cub", cub)["train"]}
    for index in (0, 17, 35):
        file = files[data.split("train").images[index].name]
        pixels = load_pixels(file.path, file.box, shorter_side(24))
        top, left = (pixels.shape[0] - 24) // 2, (pixels.shape[1] - 24) // 2
        assert (images[index].permute(1, 2, 0).numpy() == pixels[top : top + 24, left : left + 24]).all()


@pytest.fixture
def served(shards):
    """The shards over HTTP, and the paths that were asked for."""
    asked = []

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_arguments):
            asked.append(self.path)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(shards)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("workers", [0, 2])
def test_over_http(shards, served, tmp_path, monkeypatch, workers):
    pytest.importorskip("aiohttp")
    address, asked = served
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    remote, local = streaming(address, workers=workers), streaming(shards, workers=workers)
    for mine, theirs in zip(remote.train_dataloader(), local.train_dataloader(), strict=True):
        assert (mine.pixels == theirs.pixels).all()
    assert sum(len(batch.indices) for batch in remote.test_dataloader()) == 8
    asked.clear()
    streaming(address)
    assert not any("test" in path and path.endswith(".tar") for path in asked)  # fetched once


def test_any_address_that_fsspec_reaches(shards):
    import fsspec

    memory = fsspec.filesystem("memory")
    for path in shards.iterdir():
        memory.pipe(f"/shards/{path.name}", path.read_bytes())
    _index, stream, _held_out = read_shards("memory://shards", shards)
    assert len(list(stream.in_order())) == 36


def test_a_connection_that_breaks_is_taken_up_again(shards, monkeypatch):
    from attngan.data import shards as module

    whole = list(read_shards(shards, shards)[1].in_order())
    real = module._open
    opened = []

    class Breaking(io.BytesIO):
        def read(self, size=-1):
            if self.tell() > 9_000:
                raise OSError("connection reset")
            return super().read(size)

    def sometimes_breaking(address):
        opened.append(address)
        return Breaking(real(address).read()) if len(opened) % 2 else real(address)

    monkeypatch.setattr(module, "_open", sometimes_breaking)
    stream = ShardStream(str(shards), *_files_and_starts(shards))
    assert list(stream.in_order()) == whole
    assert len(opened) > 8
    monkeypatch.setattr(module, "_open", lambda address: Breaking(real(address).read()))
    with pytest.raises(ValueError, match=r"train-000000\.tar: cannot be read: connection reset"):
        list(stream.in_order())


def _files_and_starts(shards):
    entries = json.loads((shards / "index.json").read_text())["splits"]["train"]
    starts = np.cumsum([0, *(entry["images"] for entry in entries)]).tolist()
    return tuple(entry["file"] for entry in entries), tuple(starts)


def tar_of(path, members):
    with tarfile.open(path, "w") as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


@pytest.mark.parametrize("name", ["../000000000.jpg", "/000000000.jpg", "a/../../b.jpg", "000000000.py.jpg", "x"])
def test_names_that_lead_out_are_refused_and_nothing_is_unpacked(shards, tmp_path, name):
    tar_of(shards / "test-000000.tar", [(tarfile.TarInfo(name), b"evil")])
    before = {path for path in tmp_path.rglob("*")}
    with pytest.raises(ValueError, match=r"test-000000\.tar: .*nothing was unpacked"):
        streaming(shards, cache_dir=str(tmp_path / "fresh"))
    new = {path for path in tmp_path.rglob("*")} - before
    assert all(path.is_relative_to(tmp_path / "fresh") for path in new)
    assert not [path for path in new if path.is_file() and path.read_bytes() == b"evil"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(shards, kind):
    member = tarfile.TarInfo("000000000.jpg")
    member.type, member.linkname = kind, "/etc/passwd"
    tar_of(shards / "train-000000.tar", [(member, b"")])
    with pytest.raises(ValueError, match="nothing was unpacked"):
        list(streaming(shards).train_dataloader())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:3000]), "cannot be read|missing or out of order"),
        (lambda path: path.unlink(), r"train-000003\.tar: cannot be read"),
        (lambda path: path.write_bytes((path.parent / "train-000004.tar").read_bytes()), "missing or out of order"),
        (lambda path: path.write_bytes(b""), "cannot be read|missing"),
    ],
)
def test_damaged_shards_are_named(shards, damage, message):
    damage(shards / "train-000003.tar")
    with pytest.raises(ValueError, match=message):
        list(streaming(shards).train_dataloader())


def test_a_damaged_image_in_a_shard_is_named(shards):
    with tarfile.open(shards / "train-000000.tar") as tar:
        members = [(member, tar.extractfile(member).read()) for member in tar]
    members[0] = (members[0][0], b"no image")
    tar_of(shards / "train-000000.tar", members)
    with pytest.raises(ValueError, match=r"image 0\d\d\.Bird/bird_\d+: not an image.*shards are damaged"):
        list(streaming(shards).train_dataloader())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ('{"format": "other"}', "not an index of version 1"),
        (
            '{"format": "attngan shards", "version": 1, "held_out": false, '
            '"splits": {"train": [{"file": "../x.tar", "images": 3}]}}',
            "malformed entry",
        ),
        (
            '{"format": "attngan shards", "version": 1, "held_out": false, "splits": {}}',
            "no shards of a training split",
        ),
    ],
)
def test_other_indices_are_refused(tmp_path, content, message):
    (tmp_path / "index.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_shards(tmp_path, tmp_path)


def test_captions_that_do_not_fit_the_shards(shards):
    lines = (shards / "train.jsonl").read_text().splitlines()
    (shards / "train.jsonl").write_text("\n".join(lines[:-1]))
    with pytest.raises(ValueError, match="35 images, but its shards hold 36"):
        read_shards(shards, shards)
    (shards / "train.jsonl").write_text("\n".join(["{}", *lines[1:]]))
    with pytest.raises(ValueError, match=r"train\.jsonl, line 1"):
        read_shards(shards, shards)


def test_no_shards_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="attngan prepare --shards"):
        read_shards(tmp_path, tmp_path)


def test_shards_are_not_written_over_nor_of_a_faulty_data_set(cub, shards, tmp_path):
    options = {"image_size": 32, "processes": 1, "out": str(tmp_path / "out")}
    with pytest.raises(FileExistsError, match="holds shards already"):
        prepare(str(cub), shards=str(shards), **options)
    next((cub / "images").glob("*/*.jpg")).unlink()
    assert prepare(str(cub), shards=str(tmp_path / "others"), **options) == 1
    assert not (tmp_path / "others").exists()


def test_shards_need_no_preparing(shards):
    with pytest.raises(ValueError, match="checked when attngan prepare wrote them"):
        prepare(str(shards), source="shards")


def test_half_written_shards_are_not_taken_for_whole(cub, tmp_path, monkeypatch):
    from attngan.data import shards as module

    images = read_source("cub", cub)
    real = module._write_shard
    monkeypatch.setattr(
        module, "_write_shard", lambda path, *rest: real(path, *rest) if "0001" not in path.name else 1 / 0
    )
    with pytest.raises(ZeroDivisionError):
        write_shards(images, tmp_path / "half", images_a_shard=5)
    with pytest.raises(FileNotFoundError):
        read_shards(tmp_path / "half", tmp_path)
    monkeypatch.undo()
    write_shards(images, tmp_path / "half", images_a_shard=5)
    assert len(read_shards(tmp_path / "half", tmp_path)[0]["train"]) == 40
