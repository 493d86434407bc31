"""Images from folders and zips."""

import os
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from attngan.data.images import load_image, load_pixels
from attngan.evaluation.image_files import ImageFiles, caption_in_name, drawn_name, write_images
from attngan.evaluation.scored_images import GivenImages
from attngan.pictures import save_overview
from tests.data.conftest import png_bytes


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images" / "sub").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("c.png", "a.png", "sub/b.png", "d.png"):
        Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).save(tmp_path / "images" / name)
    (tmp_path / "images" / "readme.txt").write_text("not an image")
    return tmp_path / "images"


def all_of(files, **kwargs):
    return torch.cat(list(files.batches(**kwargs)))


def zipped(folder, names, path):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.write(folder / name, name)
    return path


def test_folder_and_zip_give_the_same_images_in_the_same_order(folder, tmp_path):
    files = ImageFiles(folder)
    assert files.names == ["a.png", "c.png", "d.png", "sub/b.png"]
    archive = zipped(folder, ["sub/b.png", "d.png", "a.png", "c.png"], tmp_path / "x.zip")
    assert torch.equal(all_of(files), all_of(ImageFiles(archive)))
    assert torch.equal(all_of(files)[0], torch.from_numpy(np.array(Image.open(folder / "a.png"))).permute(2, 0, 1))


def test_what_macos_adds_to_a_zip_is_no_image(folder, tmp_path):
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "a.png").write_bytes(b"resource fork")
    (folder / "._c.png").write_bytes(b"resource fork")
    archive = zipped(folder, ["a.png", "c.png", "__MACOSX/a.png", "._c.png"], tmp_path / "x.zip")
    assert ImageFiles(archive).names == ["a.png", "c.png"]
    assert ImageFiles(folder).names == ["a.png", "c.png", "d.png", "sub/b.png"]


def test_order_is_shuffled_by_the_seed_alone(folder, tmp_path):
    archive = zipped(folder, ["d.png", "c.png", "sub/b.png", "a.png"], tmp_path / "x.zip")
    assert ImageFiles(folder, shuffle=3).names == ImageFiles(archive, shuffle=3).names
    assert {tuple(ImageFiles(folder, shuffle=seed).names) for seed in range(8)} != {tuple(ImageFiles(folder).names)}


@pytest.mark.parametrize("batch_size", [1, 2, 3, 10])
def test_batches_start_anywhere(folder, batch_size):
    files = ImageFiles(folder)
    assert torch.equal(all_of(files, start=1, batch_size=batch_size), all_of(files)[1:])


def test_images_of_other_sizes_come_in_batches_of_their_own(folder):
    Image.new("L", (9, 4)).save(folder / "b.png")  # grey as well
    shapes = [tuple(batch.shape) for batch in ImageFiles(folder).batches(batch_size=5)]
    assert shapes == [(1, 3, 6, 6), (1, 3, 4, 9), (3, 3, 6, 6)]


def test_fingerprint_changes_with_the_images(folder):
    before = ImageFiles(folder).fingerprint
    assert ImageFiles(folder).fingerprint == before
    assert ImageFiles(folder, shuffle=1).fingerprint == before
    Image.new("RGB", (6, 6)).save(folder / "a.png")
    assert ImageFiles(folder).fingerprint != before


def test_errors_name_the_place(folder, tmp_path):
    (folder / "broken.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"broken\.png"):
        all_of(ImageFiles(folder))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        ImageFiles(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no images in"):
        ImageFiles(tmp_path / "empty")


def odd_pictures(folder):
    """Pictures of kinds that are read in a way of their own."""
    folder.mkdir()
    values = np.random.default_rng(0).integers(0, 256, (12, 9, 4), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.fromarray(values[..., 0].astype(np.uint16) * 257).save(folder / "sixteen.png")
    Image.fromarray(values[..., 0].astype(np.uint16) * 257).save(folder / "sixteen.TIF")
    Image.fromarray(values).save(folder / "alpha.png")
    Image.fromarray(values[..., :2]).save(folder / "grey and alpha.PNG")
    Image.fromarray(values[..., :3]).save(folder / "turned.jpg", exif=exif)
    Image.fromarray(values[..., :3]).save(folder / "turned.webp", exif=exif)
    Image.fromarray(values[..., :3]).convert("CMYK").save(folder / "cmyk.JPEG")
    Image.fromarray(values[..., :3]).quantize(7).save(folder / "palette.gif", transparency=2)
    Image.fromarray(values[..., 0] > 99).save(folder / "bits.png")
    Image.fromarray(values[..., :3]).save(
        folder / "moving.gif", save_all=True, append_images=[Image.new("RGB", (9, 12), "red")]
    )
    return sorted(path.name for path in folder.iterdir())


def test_pixels_are_those_of_training(tmp_path):
    names = odd_pictures(tmp_path / "x")
    archive = zipped(tmp_path / "x", names, tmp_path / "x.zip")
    for files in (ImageFiles(tmp_path / "x"), ImageFiles(archive)):
        assert files.names == names
        for position, name in enumerate(names):
            scored = next(files.batches(position, 1))[0].permute(1, 2, 0).numpy()
            short = min(scored.shape[:2])
            assert (scored == np.asarray(load_image(tmp_path / "x" / name))).all()
            assert (scored == load_pixels(tmp_path / "x" / name, None, short)).all()


def test_linked_folders_are_scored_too(folder, tmp_path):
    (tmp_path / "far").mkdir()
    Image.new("RGB", (6, 6), "blue").save(tmp_path / "far" / "z.JPG")
    (folder / "more").symlink_to(tmp_path / "far")
    (folder / "back").symlink_to(".")
    with pytest.warns(UserWarning, match=r"5 images; linked folder passed over: 1"):
        files = ImageFiles(folder)
    assert files.names == ["a.png", "c.png", "d.png", "more/z.JPG", "sub/b.png"]


def test_what_is_passed_over_is_counted_and_said(folder):
    (folder / ".ipynb_checkpoints").mkdir()
    os.mkfifo(folder / "pipe.png")
    for name in ("x.heic", "y.HEIC", "grid.png", "00001_000.png"):
        (folder / name).write_bytes((folder / "a.png").read_bytes())
    with pytest.warns(UserWarning, match="5 images") as warned:
        files = ImageFiles(folder)
    assert files.names == ["00001_000.png", "a.png", "c.png", "d.png", "sub/b.png"]
    assert files.passed_over == {
        "hidden, passed over": 1,
        "no regular file, passed over": 1,
        "pictures of a kind that is not read": 2,
        "no sample (grid, attention), passed over": 1,
    }
    assert len(warned) == 1
    assert all(f"{kind}: {count}" in str(warned[0].message) for kind, count in files.passed_over.items())
    assert GivenImages(files).description["passed_over"] == files.passed_over


def test_nothing_is_said_where_nothing_is_passed_over(folder, recwarn):
    (folder / "notes.txt").write_text("not an image")
    ImageFiles(folder)
    assert not recwarn


def test_overviews_in_an_archive_are_known_by_their_mark(folder, tmp_path):
    save_overview(Image.new("RGB", (6, 6)), folder / "grid.png")
    save_overview(Image.new("RGB", (6, 6)), folder / "00001_red_attention.png")
    archive = zipped(folder, ["a.png", "grid.png", "00001_red_attention.png"], tmp_path / "x.zip")
    with pytest.warns(UserWarning, match="no sample"):
        assert ImageFiles(archive).names == ["a.png"]
    (folder / "grid.png").write_bytes((folder / "a.png").read_bytes())  # somebody's picture of a grid
    assert "grid.png" in ImageFiles(zipped(folder, ["a.png", "grid.png"], tmp_path / "y.zip")).names


@pytest.mark.parametrize("place", ["folder", "zip"])
def test_bombs_are_refused_by_name_before_memory_is_taken(tmp_path, place):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "bomb.png").write_bytes(png_bytes(60_000, 60_000, depth=8, colour=2, rows=b""))
    path = tmp_path / "x"
    if place == "zip":
        path = tmp_path / "x.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("bomb.png", (tmp_path / "x" / "bomb.png").read_bytes() + bytes(100_000_000))
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"bomb\.png.*decompression bomb"):
        all_of(ImageFiles(path))
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


def test_members_of_gigabytes_are_refused_by_name(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("large.png", bytes(3_000_000))
    monkeypatch.setattr("attngan.data.images.MAX_BYTES", 2_000_000)
    with pytest.raises(ValueError, match=r"large\.png in .*larger than 2,000,000 bytes \(3,000,000\)"):
        all_of(ImageFiles(tmp_path / "x.zip"))


def damaged(content):
    """A flipped byte in the first member's data: a wrong checksum."""
    place = content.index(b"a.png") + 60
    return content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :]


def encrypted(content):
    """The flag of encryption set, in both places."""
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = content.index(mark) + offset
        content = content[:place] + bytes([content[place] | 1]) + content[place + 1 :]
    return content


def of_unknown_method(content):
    for mark, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        place = content.index(mark) + offset
        content = content[:place] + bytes([99]) + content[place + 1 :]
    return content


@pytest.mark.parametrize("spoil", [damaged, encrypted, of_unknown_method])
def test_archives_that_cannot_be_unpacked_are_told(folder, tmp_path, spoil):
    archive = zipped(folder, ["a.png"], tmp_path / "x.zip")
    archive.write_bytes(spoil(archive.read_bytes()))
    with pytest.raises(ValueError, match=r"image a\.png in .*x\.zip cannot be read"):
        all_of(ImageFiles(archive))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("features.npy", "name the folder"),
        ("images.tar", "tar -xf"),
        ("x.parquet", "pandas"),
        ("a.png", "name the folder"),
    ],
)
def test_a_file_that_is_no_zip_is_told(tmp_path, name, told):
    (tmp_path / name).write_bytes(b"content")
    with pytest.raises(ValueError, match=rf"{name} is a file, but no zip of images: .*{told}"):
        ImageFiles(tmp_path / name)


def test_a_fifo_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="FIFO"):
        ImageFiles(tmp_path / "pipe")


def test_from_the_home_folder(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.parent))
    assert len(ImageFiles(f"~/{folder.name}")) == 4


def test_names_of_drawn_images_tell_the_caption():
    assert drawn_name(12, 345, 7) == "000012_caption000345_seed7.png"
    assert caption_in_name("x/000012_caption000345_seed7.png") == 345
    assert caption_in_name("bird_12.png") is None


def test_written_images_are_read_back_unchanged(tmp_path):
    images = torch.randint(0, 256, (2, 3, 5, 5), dtype=torch.uint8)
    write_images(images, [tmp_path / "a.png", tmp_path / "b.png"])
    assert torch.equal(all_of(ImageFiles(tmp_path)), images)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.png"]
