import io
import os
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from attngan.data.dataset import image_pyramid
from attngan.data.images import (
    UnusableImageError,
    crop_rectangle,
    kept_shape,
    load_image,
    load_pixels,
    resized_shape,
    shorter_side,
    upright_size,
)
from tests.data.conftest import picture, png_bytes


@pytest.mark.golden
def test_crop_is_the_published_one(golden):
    vectors = golden("get_imgs_bbox")
    width, height = vectors["image_size"].tolist()
    for box, rectangle in zip(vectors["bbox"].tolist(), vectors["crop_rect"].tolist(), strict=True):
        assert list(crop_rectangle(tuple(map(float, box)), width, height)) == rectangle
        fractions = tuple(number + 0.9 for number in box)  # truncated, not rounded
        assert list(crop_rectangle(fractions, width, height)) == rectangle


@pytest.mark.golden
def test_pyramid_is_the_published_one(golden, golden_notes, tmp_path):
    """Largest size exactly; the smaller ones within one grey level on average, whichever way they are made."""
    vectors = golden("get_imgs_pipeline")
    sizes = golden_notes("get_imgs_pipeline")["config"]["imsize"]
    path = tmp_path / "image.png"
    Image.fromarray(vectors["image"]).save(path)
    size = sizes[-1]
    pixels = load_pixels(path, tuple(map(float, vectors["bbox"].tolist())), shorter_side(size))
    top, left = vectors["crop_top_left"].tolist()
    crop = pixels[top : top + size, left : left + size][:, ::-1].copy()
    assert (crop.transpose(2, 0, 1) == vectors[f"out{size}_u8"]).all()
    batch = torch.from_numpy(crop)[None].permute(0, 3, 1, 2)
    on_cpu = image_pyramid(batch, len(sizes))
    as_elsewhere = [
        torch.nn.functional.interpolate(batch.float(), size=side, mode="bilinear", antialias=True) / 127.5 - 1
        for side in sizes
    ]
    for images in (on_cpu, as_elsewhere):
        for side, image in zip(sizes, images, strict=True):
            published = torch.from_numpy(vectors[f"out{side}_u8"]).float()
            levels = (image[0] + 1) * 127.5
            assert (levels - published).abs().mean() < 0.6
            assert (levels - published).abs().max() < 2.5
    assert (on_cpu[0][0] - torch.from_numpy(vectors["out64"])).abs().mean() < 1 / 127.5


@pytest.mark.parametrize(
    ("size", "expected"), [((60, 50), (91, 76)), ((50, 60), (76, 91)), ((76, 76), (76, 76)), ((1, 1), (76, 76))]
)
def test_shorter_side_is_matched(size, expected):
    assert resized_shape(*size, 76) == expected


def test_header_alone_gives_the_shape(tmp_path):
    for number, (width, height) in enumerate([(60, 50), (50, 60), (33, 33), (1, 1), (400, 9)]):
        path = tmp_path / f"{number}.png"
        picture(number, width, height).save(path)
        box = None if number == 4 else (3.7, 2.2, 20.0, 31.0) if number < 3 else None
        assert load_pixels(path, box, 38).shape == (*reversed(kept_shape(path, box, 38)), 3)


# Files that are not plain RGB


def test_transparent_png_shows_white(tmp_path):
    pixels = np.zeros((10, 10, 4), np.uint8)
    pixels[:5] = (200, 10, 10, 255)
    pixels[5:] = (0, 0, 0, 0)
    Image.fromarray(pixels, "RGBA").save(tmp_path / "alpha.png")
    image = load_image(tmp_path / "alpha.png")
    assert image.mode == "RGB"
    assert image.getpixel((5, 2)) == (200, 10, 10)
    assert image.getpixel((5, 8)) == (255, 255, 255)


def test_greyscale_becomes_three_equal_channels(tmp_path):
    Image.fromarray(np.arange(100, dtype=np.uint8).reshape(10, 10)).save(tmp_path / "grey.png")
    pixels = np.asarray(load_image(tmp_path / "grey.png"))
    assert pixels.shape == (10, 10, 3)
    assert (pixels == np.arange(100).reshape(10, 10, 1)).all()


def test_cmyk_jpeg(tmp_path):
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "cmyk.jpg")
    red, green, blue = load_image(tmp_path / "cmyk.jpg").getpixel((8, 8))
    assert red > 240 > 15 > max(green, blue)


def test_sixteen_bits_keep_their_brightness(tmp_path):
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    pixels = np.asarray(load_image(tmp_path / "deep.png"))[..., 0].ravel()
    assert np.abs(pixels.astype(int) - np.arange(256)).max() <= 1


def test_sixteen_bit_colour(tmp_path):
    rows = b"".join(b"\0" + struct.pack(">3H", 65535, 32768, 0) * 4 for _ in range(4))
    (tmp_path / "deep.png").write_bytes(png_bytes(4, 4, depth=16, colour=2, rows=rows))
    red, green, blue = load_image(tmp_path / "deep.png").getpixel((1, 1))
    assert (red, blue) == (255, 0)
    assert abs(green - 128) <= 1


def test_palette_gif_with_a_transparent_colour(tmp_path):
    image = Image.new("P", (8, 8), 1)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((0, 0), 0)
    image.save(tmp_path / "palette.gif", transparency=0)
    loaded = load_image(tmp_path / "palette.gif")
    assert loaded.getpixel((4, 4)) == (0, 0, 255)
    assert loaded.getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_exif_rotation_is_undone_and_the_box_is_that_of_the_upright_image(tmp_path, suffix):
    upright = Image.new("RGB", (60, 40), "white")
    upright.paste((200, 0, 0), (40, 10, 60, 30))
    exif = Image.Exif()
    exif[0x0112] = 6  # stored on its side: turn clockwise to see it upright
    path = tmp_path / f"turned.{suffix}"
    upright.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif, quality=95)
    assert load_image(path).size == (60, 40)
    box = (44.0, 14.0, 12.0, 12.0)
    pixels = load_pixels(path, box, 38)
    assert pixels.shape == (*reversed(kept_shape(path, box, 38)), 3)
    assert pixels[..., 0].mean() > 180
    assert pixels[..., 1].mean() < 40


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff"])
def test_every_orientation_in_every_format_that_has_one(tmp_path, suffix, orientation):
    """Turned by hand as the EXIF standard says: row 0 and column 0 of the stored pixels are which sides."""
    stored = np.zeros((40, 64, 3), np.uint8)
    stored[:20, :32], stored[:20, 32:], stored[20:, :32] = (200, 0, 0), (0, 200, 0), (0, 0, 200)
    turned = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.swapaxes(0, 1),
        6: np.rot90(stored, -1),
        7: stored[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(stored, 1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(stored).save(path, exif=exif, quality=100)
    seen = np.asarray(load_image(path)).astype(int)
    assert seen.shape == turned[orientation].shape
    assert np.abs(seen - turned[orientation]).mean() < 6
    assert upright_size(path) == seen.shape[1::-1]
    assert load_pixels(path, None, 38).shape == (*reversed(kept_shape(path, None, 38)), 3)


def sixteen_bit_png(path, colour, rows, transparent=None):
    """A PNG of 16 bits a channel, from rows of values; perhaps with a colour that is transparent."""
    rows = np.asarray(rows, dtype=">u2")
    packed = b"".join(b"\0" + row.tobytes() for row in rows)
    content = png_bytes(rows.shape[1], rows.shape[0], 16, colour, packed)
    if transparent is not None:
        chunk = b"tRNS" + np.asarray(transparent, dtype=">u2").tobytes()
        chunk = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        content = content.replace(content[33:37] + b"IDAT", chunk + content[33:37] + b"IDAT", 1)
    path.write_bytes(content)
    return np.asarray(load_image(path)).tolist()


def test_dark_sixteen_bit_pictures_stay_dark(tmp_path):
    """None of its values is above 255 of 65,535: it is black, not a picture of 8 bits."""
    assert sixteen_bit_png(tmp_path / "x.png", 0, [[0, 100, 255]]) == [[[0, 0, 0]] * 3]


def test_sixteen_bits_with_transparency(tmp_path):
    grey = sixteen_bit_png(tmp_path / "grey.png", 0, [[0, 30000, 65535]], transparent=[30000])
    assert grey == [[[0] * 3, [255] * 3, [255] * 3]]
    colour = [[[65535, 256, 512], [0, 30000, 65535]]]
    assert sixteen_bit_png(tmp_path / "rgb.png", 2, colour, transparent=[65535, 256, 512]) == [
        [[255, 255, 255], [0, 117, 255]]
    ]
    with_alpha = [[[65535, 0], [0, 65535], [0, 32768]]]
    white, black, half = sixteen_bit_png(tmp_path / "la.png", 4, with_alpha)[0]
    assert (white, black) == ([255] * 3, [0] * 3)
    assert abs(half[0] - 127) <= 1


@pytest.mark.parametrize(("depth", "row"), [(1, b"\x40"), (2, b"\x10"), (4, b"\x01\x00")])
def test_a_transparent_grey_of_few_bits(tmp_path, depth, row):
    """Four pixels of which the second has value 1, which is transparent; the others are black."""
    content = png_bytes(4, 1, depth, 0, b"\0" + row)
    chunk = b"tRNS" + struct.pack(">H", 1)
    chunk = struct.pack(">I", 2) + chunk + struct.pack(">I", zlib.crc32(chunk))
    place = content.index(b"IDAT") - 4
    (tmp_path / "x.png").write_bytes(content[:place] + chunk + content[place:])
    assert np.asarray(load_image(tmp_path / "x.png"))[0, :, 0].tolist() == [0, 255, 0, 0]


def test_sixteen_bits_in_other_formats(tmp_path):
    ramp = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(ramp).save(tmp_path / "x.tiff")
    (tmp_path / "x.pgm").write_bytes(b"P5 8 8 65535 " + ramp.astype(">u2").tobytes())
    for name in ("x.tiff", "x.pgm"):
        assert (np.asarray(load_image(tmp_path / name))[..., 0] == ramp >> 8).all()


@pytest.mark.parametrize("value", [-5, 70_000])
def test_integers_of_32_bits_without_a_range_are_refused(tmp_path, value):
    Image.fromarray(np.full((4, 4), value, np.int32)).save(tmp_path / "x.tiff")
    with pytest.raises(UnusableImageError, match="no agreed range"):
        load_image(tmp_path / "x.tiff")


@pytest.mark.parametrize(
    ("mode", "value", "shown"),
    [
        *(("1", 1, (255, 255, 255)), ("L", 90, (90, 90, 90)), ("LA", (90, 0), (255, 255, 255))),
        *(
            ("LA", (90, 255), (90, 90, 90)),
            ("RGBA", (9, 8, 7, 0), (255, 255, 255)),
            ("RGBA", (9, 8, 7, 255), (9, 8, 7)),
        ),
    ],
)
def test_modes_of_a_png(tmp_path, mode, value, shown):
    Image.new(mode, (5, 4), value).save(tmp_path / "x.png")
    assert load_image(tmp_path / "x.png").getpixel((2, 2)) == shown


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tiff"])
def test_of_an_animation_the_first_picture(tmp_path, suffix):
    frames = [Image.new("RGB", (8, 6), colour) for colour in ((250, 0, 0), (0, 250, 0), (0, 0, 250))]
    options = {"lossless": True} if suffix == "webp" else {}
    frames[0].save(tmp_path / f"x.{suffix}", save_all=True, append_images=frames[1:], **options)
    assert load_image(tmp_path / f"x.{suffix}").getpixel((3, 3)) == (250, 0, 0)
    assert load_pixels(tmp_path / f"x.{suffix}", None, 38).shape == (38, 50, 3)


def test_one_pixel_becomes_one_colour(tmp_path):
    Image.new("RGB", (1, 1), (1, 2, 3)).save(tmp_path / "dot.png")
    assert (load_pixels(tmp_path / "dot.png", None, 38) == (1, 2, 3)).all()


# Files that cannot be used


def test_truncated_jpeg(tmp_path):
    picture(1, 200, 200).save(tmp_path / "whole.jpg")
    content = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(content[: len(content) // 2])
    with pytest.raises(UnusableImageError, match="truncated"):
        load_pixels(tmp_path / "cut.jpg", None, 38)


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", r"0 bytes"), (b"hello", "not an image"), (b"\xff\xd8\xff\xe0", "not an image")]
)
def test_what_is_no_image(tmp_path, content, reason):
    path = tmp_path / "not.jpg"
    path.write_bytes(content)
    for look in (kept_shape, load_pixels):
        with pytest.raises(UnusableImageError, match=reason):
            look(path, None, 38)
    with pytest.raises(UnusableImageError, match="no such file"):
        kept_shape(tmp_path / "absent.jpg", None, 38)


@pytest.mark.parametrize(("width", "height"), [(20_000, 20_000), (13_500, 13_500)])
def test_decompression_bomb_is_refused_from_its_header(tmp_path, width, height, recwarn):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_bytes(width, height, depth=8, colour=2, rows=b""))
    for look in (kept_shape, load_pixels):
        with pytest.raises(UnusableImageError, match="decompression bomb"):
            look(path, None, 38)


def test_a_bomb_takes_no_memory(tmp_path):
    """A header of 60,000 x 60,000 and no pixels behind it; as a stream too, which a member of an archive is."""
    path = tmp_path / "bomb.png"
    path.write_bytes(png_bytes(60_000, 60_000, depth=8, colour=6, rows=b""))
    tracemalloc.start()
    for file in (path, path.read_bytes(), io.BytesIO(path.read_bytes())):
        with pytest.raises(UnusableImageError, match="decompression bomb"):
            load_image(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


def test_huge_files_are_refused_by_their_size(tmp_path):
    path = tmp_path / "sparse.png"
    path.write_bytes(png_bytes(4, 4, depth=8, colour=2, rows=b""))
    with path.open("r+b") as file:
        file.truncate(2_000_000_000)  # takes no room on the disk
    with pytest.raises(UnusableImageError, match=r"larger than 1,000,000,000 bytes \(2,000,000,000\)"):
        load_image(path)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_is_refused_without_waiting(tmp_path, make):
    make(tmp_path / "x.png")
    for look in (load_image, upright_size):
        with pytest.raises(UnusableImageError, match="no regular file"):
            look(tmp_path / "x.png")


def test_no_other_decoder_sees_a_file(tmp_path):
    """PostScript called an image would be run by Ghostscript."""
    (tmp_path / "x.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")
    Image.new("RGB", (4, 4)).save(tmp_path / "tga", "TGA")
    for name in ("x.png", "tga"):
        with pytest.raises(UnusableImageError, match="not an image, or none of the kinds that are read"):
            load_image(tmp_path / name)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_large_photographs_are_no_bombs(tmp_path):
    path = tmp_path / "large.png"
    path.write_bytes(png_bytes(12_000, 9_000, depth=8, colour=2, rows=b""))
    assert kept_shape(path, None, 76) == (101, 76)


def test_box_that_keeps_nothing(tmp_path):
    picture(1).save(tmp_path / "image.png")
    for box in [(100.0, 100.0, 10.0, 10.0), (-50.0, 0.0, 10.0, 10.0), (5.0, 5.0, 1.0, 1.0)]:
        for look in (kept_shape, load_pixels):
            with pytest.raises(UnusableImageError, match="keeps nothing"):
                look(tmp_path / "image.png", box, 38)


def test_sliver(tmp_path):
    picture(1, 600, 3).save(tmp_path / "sliver.png")
    with pytest.raises(UnusableImageError, match="sliver of 600 x 3"):
        kept_shape(tmp_path / "sliver.png", None, 38)
