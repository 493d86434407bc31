import functools
import http.server
import io
import json
import tarfile
import threading

import numpy as np
import pytest
import webdataset

from attngan.commands.prepare import prepare
from attngan.data.datamodule import TextImageDataModule
from attngan.data.sources.registry import read_source
from attngan.data.sources.shards import ShardStream, read_shards, write_shards
from tests.data.conftest import streaming


def test_how_to_train_with_them_is_told(written):
    assert "train with data.source: shards" in (written / "printed").read_text()


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
    from attngan.data.sources import shards as module

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
    from attngan.data.sources import shards as module

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
