"""Images from folders and zips."""

import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from attngan.evaluation.image_files import ImageFiles, caption_in_name, drawn_name, write_images


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


def test_names_of_drawn_images_tell_the_caption():
    assert drawn_name(12, 345, 7) == "000012_caption000345_seed7.png"
    assert caption_in_name("x/000012_caption000345_seed7.png") == 345
    assert caption_in_name("bird_12.png") is None


def test_written_images_are_read_back_unchanged(tmp_path):
    images = torch.randint(0, 256, (2, 3, 5, 5), dtype=torch.uint8)
    write_images(images, [tmp_path / "a.png", tmp_path / "b.png"])
    assert torch.equal(all_of(ImageFiles(tmp_path)), images)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.png"]
