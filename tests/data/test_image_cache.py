import contextlib
import dataclasses
import multiprocessing
import os
import pickle
import shutil
import threading

import numpy as np
import pytest

from attngan.data import image_cache, processes
from attngan.data.image_cache import ImageCache, cache_folder, open_or_build
from attngan.data.images import load_pixels
from attngan.errors import InputError
from attngan.records import CaptionedImage
from tests.data.conftest import picture

SHORT = 38


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    made = []
    for number in range(7):
        path = folder / f"{number}.jpg"
        picture(number, 40 + 5 * number, 50).save(path)
        made.append(CaptionedImage(str(number), path, ("a",), box=(5.0, 5.0, 20.0, 20.0) if number % 2 else None))
    return made


@pytest.fixture
def decoded(monkeypatch):
    """The files that were decoded, in order."""
    paths = []

    def counting(path, *arguments):
        paths.append(path.name)
        return load_pixels(path, *arguments)

    monkeypatch.setattr(image_cache, "load_pixels", counting)
    return paths


def assert_right(cache, images):
    assert len(cache) == len(images)
    for position, image in enumerate(images):
        assert (cache[position] == load_pixels(image.path, image.box, SHORT)).all()
    assert cache.damaged() == []


def test_holds_what_decoding_gives_and_is_not_made_twice(tmp_path, images, decoded):
    path = tmp_path / "cache"
    progress = []
    cache = open_or_build(path, images, SHORT, progress=progress.append)
    assert_right(cache, images)
    assert progress[0] == 0
    assert progress[-1] == 7
    assert len(decoded) == 7
    assert_right(open_or_build(path, images, SHORT), images)
    assert len(decoded) == 7


def test_several_processes_give_the_same_file(tmp_path, images, monkeypatch):
    monkeypatch.setattr(processes, "CHUNK", 2)
    one, three = tmp_path / "one", tmp_path / "three"
    open_or_build(one, images, SHORT, processes=1)
    open_or_build(three, images, SHORT, processes=3)
    assert one.read_bytes() == three.read_bytes()


@pytest.mark.parametrize("change", ["file", "box", "order", "size", "fewer"])
def test_stale_is_rebuilt(tmp_path, images, decoded, change):
    path = tmp_path / "cache"
    open_or_build(path, images, SHORT)
    short = SHORT
    if change == "file":
        picture(99, 44, 50).save(images[2].path)
    elif change == "box":
        images[2] = dataclasses.replace(images[2], box=(1.0, 1.0, 30.0, 30.0))
    elif change == "order":
        images.reverse()
    elif change == "size":
        short = 76
    else:
        del images[3]
    before = len(decoded)
    cache = open_or_build(path, images, short)
    assert len(decoded) - before == len(images)
    assert (cache[2] == load_pixels(images[2].path, images[2].box, short)).all()


def test_other_captions_need_no_decoding(tmp_path, images, decoded):
    open_or_build(tmp_path / "cache", images, SHORT)
    open_or_build(tmp_path / "cache", [dataclasses.replace(i, captions=("b", "c")) for i in images], SHORT)
    assert len(decoded) == 7


class Interrupted(BaseException):
    pass


@pytest.fixture
def interrupted(tmp_path, images, monkeypatch, decoded):
    """``interrupted(3)``: a cache file whose building stopped after three images; counting starts anew."""

    def building(number):
        path, counting = tmp_path / "cache", image_cache.load_pixels
        monkeypatch.setattr(image_cache, "load_pixels", failing_after(number))
        with pytest.raises(Interrupted):
            open_or_build(path, images, SHORT)
        monkeypatch.setattr(image_cache, "load_pixels", counting)
        assert not path.exists()
        return path

    return building


def failing_after(number):
    left = [number]

    def failing(path, *arguments):
        if left[0] == 0:
            raise Interrupted
        left[0] -= 1
        return load_pixels(path, *arguments)

    return failing


def test_interrupted_goes_on_where_it_was(images, interrupted, decoded):
    path = interrupted(3)
    assert_right(open_or_build(path, images, SHORT), images)
    assert decoded == ["3.jpg", "4.jpg", "5.jpg", "6.jpg"]
    assert not path.with_name("cache.partial").exists()


def test_pixels_that_never_reached_the_disk_are_made_again(images, interrupted, decoded):
    """After a power cut the table may say done where the pixels are still zeros."""
    path = interrupted(5)
    table, pixels = image_cache._map_partial(path.with_name("cache.partial"))
    image_cache._slot(pixels, table[1])[:] = 0
    del table, pixels
    assert_right(open_or_build(path, images, SHORT), images)
    assert decoded == ["1.jpg", "5.jpg", "6.jpg"]


def test_a_partial_file_of_other_images_is_not_gone_on_with(images, interrupted, decoded):
    path = interrupted(5)
    assert_right(open_or_build(path, images[::-1], SHORT), images[::-1])
    assert len(decoded) == 7


@pytest.mark.parametrize("damage", ["cut", "no header", "other version", "grown"])
def test_damaged_is_never_used(tmp_path, images, decoded, damage):
    path = tmp_path / "cache"
    open_or_build(path, images, SHORT)
    content = path.read_bytes()
    path.write_bytes(
        {
            "cut": content[: len(content) // 2],
            "no header": b"\0" * len(content),
            "other version": content.replace(b'"version": 1', b'"version": 0'),
            "grown": content + b"more",
        }[damage]
    )
    with pytest.raises(ValueError, match=r"cache: (not whole|no image cache of version)"):
        ImageCache(path)
    assert_right(open_or_build(path, images, SHORT), images)


def test_undecodable_images_are_named_and_keep_the_others_places(tmp_path, images):
    content = images[1].path.read_bytes()
    images[1].path.write_bytes(content[:-100])
    images[4].path.write_bytes(b"")
    cache = open_or_build(tmp_path / "cache", images, SHORT)
    assert set(cache.bad) == {1, 4}
    assert "truncated" in cache.bad[1]
    assert "0 bytes" in cache.bad[4]
    assert (cache[5] == load_pixels(images[5].path, images[5].box, SHORT)).all()
    with pytest.raises(KeyError, match="truncated"):
        cache[1]
    assert open_or_build(tmp_path / "cache", images, SHORT).bad == cache.bad


def test_a_full_disk_is_told_before_anything_is_decoded(tmp_path, images, decoded, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(10**9, 10**9, 10_000))
    with pytest.raises(OSError, match="cache_dir"):
        open_or_build(tmp_path / "cache", images, SHORT)
    assert decoded == []


def test_two_builders_at_once_make_it_once(tmp_path, images, decoded):
    caches = []
    threads = [
        threading.Thread(target=lambda: caches.append(open_or_build(tmp_path / "cache", images, SHORT, processes=1)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(decoded) == 7
    for cache in caches:
        assert_right(cache, images)


def test_goes_to_worker_processes_by_name_only(tmp_path, images):
    cache = open_or_build(tmp_path / "cache", images, SHORT)
    assert len(pickle.dumps(cache)) < 500
    assert_right(pickle.loads(pickle.dumps(cache)), images)


def test_no_images(tmp_path):
    cache = open_or_build(tmp_path / "cache", [], SHORT)
    assert len(cache) == 0
    assert len(open_or_build(tmp_path / "cache", [], SHORT)) == 0


def test_a_killed_worker_is_reported(tmp_path, images, monkeypatch):
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("the patched function reaches only forked processes")
    monkeypatch.setattr(processes, "CHUNK", 2)
    monkeypatch.setattr(image_cache, "load_pixels", lambda *_: os._exit(9))
    with pytest.raises(RuntimeError, match="goes on where it was"):
        open_or_build(tmp_path / "cache", images, SHORT, processes=2)


def test_folder_of_the_cache(tmp_path, monkeypatch):
    assert cache_folder(tmp_path, tmp_path / "x") == tmp_path / "x"
    assert cache_folder(tmp_path) == tmp_path / ".attngan_cache"
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    elsewhere = cache_folder(tmp_path)
    assert elsewhere.is_relative_to(tmp_path / "home")
    assert elsewhere != cache_folder(tmp_path.parent)


def test_offsets_beyond_four_gigabytes(tmp_path, monkeypatch):
    """COCO's cache at 256 pixels is ten times as large: sizes must not be summed in 32 bits."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(10**15, 0, 10**15))
    shapes = [(40_000, 40_000), (40_000, 40_000), (2, 3)]
    monkeypatch.setattr(image_cache, "reserve", os.truncate)
    image_cache._lay_out(tmp_path / "sparse", shapes, SHORT, "x")  # a sparse file: no disk is used
    table, pixels = image_cache._map_partial(tmp_path / "sparse")
    assert np.diff(table["offset"].astype(np.int64)).tolist() == [40_000 * 40_000 * 3] * 2
    assert image_cache._slot(pixels, table[2]).shape == (3, 2, 3)


# --- checksums ------------------------------------------------------------------------------------------------------


def damage(path, cache, position):
    """Flips a bit of one image's pixels."""
    at = int(cache.table[position]["offset"]) + 5
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 4]))


def test_damaged_pixels_are_decoded_again_and_that_is_said(tmp_path, images, decoded):
    path = tmp_path / "cache"
    damage(path, open_or_build(path, images, SHORT), 3)
    assert ImageCache(path).damaged() == [3]
    decoded.clear()
    with pytest.warns(UserWarning, match=r"1 of 7 images are not what was written"):
        cache = open_or_build(path, images, SHORT)
    assert decoded == ["3.jpg"]
    assert_right(cache, images)


def test_opening_looks_at_some_and_verifying_at_all(tmp_path, images, decoded, monkeypatch):
    path = tmp_path / "cache"
    cache = open_or_build(path, images, SHORT)
    monkeypatch.setattr(ImageCache, "spread", lambda self, count=2: [0, len(self) - 1])
    damage(path, cache, 3)
    decoded.clear()
    assert open_or_build(path, images, SHORT).damaged() == [3]
    assert not decoded
    compared = []
    with pytest.warns(UserWarning, match="decoded again"):
        cache = open_or_build(path, images, SHORT, verify=True, compared=compared.append)
    assert compared[:7] == [1, 2, 3, 4, 5, 6, 7]
    assert decoded == ["3.jpg"]
    assert_right(cache, images)


def test_the_images_looked_at_are_spread_over_the_file(tmp_path, images):
    cache = open_or_build(tmp_path / "cache", images, SHORT)
    assert cache.spread(3) == [0, 3, 6]
    assert cache.spread() == list(range(7))


def test_a_flipped_bit_beside_the_pixels_is_never_used(tmp_path, images):
    path = tmp_path / "cache"
    (tmp_path / "images" / "2.jpg").write_bytes(b"no image")
    cache = open_or_build(path, images, SHORT)
    assert list(cache.bad) == [2]
    content = path.read_bytes()
    end, start = cache.header["end"], int(cache.table["offset"].min())
    # all bytes before the pixels that are not padding, and all after them
    places = [*range(len(content[:4096].rstrip())), *range(4096, 4096 + cache.table.nbytes), *range(end, len(content))]
    assert start > places[200]
    same = []
    for place in places[::3]:
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        with contextlib.suppress(InputError):
            opened = ImageCache(path)  # JSON that says the same
            assert opened.header == cache.header
            assert opened.bad == cache.bad
            assert (opened.table == cache.table).all()
            same.append(place)
    assert len(same) < 5


def test_a_cache_of_before_has_no_checksum_of_its_table_and_is_read(tmp_path, images):
    path = tmp_path / "cache"
    cache = open_or_build(path, images, SHORT)
    content = path.read_bytes()[: cache.header["end"]]
    path.write_bytes(content + (2).to_bytes(8, "little") + b"{}")
    assert_right(ImageCache(path), images)
