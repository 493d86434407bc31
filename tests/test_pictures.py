"""Pictures for people."""

import numpy as np
import pytest
import torch
from PIL import Image

from attngan.pictures import (
    MARGIN,
    MARK,
    PAPER,
    attention_picture,
    caption_grid,
    named_after,
    save_sample,
    stack,
    to_pil,
    to_uint8,
)


def flat(*colour, side=8):
    return torch.tensor(colour)[:, None, None].expand(3, side, side)


def test_values_are_rounded_to_the_nearest_and_cut():
    values = torch.tensor([-1.5, -1.0, -1 + 0.9 * 2 / 255, 0.0, 1.0, 3.0])
    image = values.expand(3, 1, 6)
    assert to_uint8(image)[0, 0].tolist() == [0, 0, 1, 128, 255, 255]
    assert to_uint8(image[None]).shape == (1, 3, 1, 6)


def test_channels_and_rows_keep_their_places():
    image = torch.full((3, 4, 6), -1.0)
    image[0, 1, 5] = 1.0
    picture = to_pil(image)
    assert picture.size == (6, 4)
    assert picture.getpixel((5, 1)) == (255, 0, 0)
    assert np.asarray(picture).sum() == 255


def test_a_grid_has_a_row_a_caption():
    red, blue = flat(1.0, -1.0, -1.0), flat(-1.0, -1.0, 1.0)
    sheet = caption_grid([("red " * 100, [red, red, blue]), ("blue", [blue])], side=20, text_width=100)
    assert sheet.size == (100 + 3 * (20 + MARGIN) + MARGIN, 2 * (20 + MARGIN) + MARGIN)

    def at(row, column):
        return sheet.getpixel((100 + column * (20 + MARGIN) + 10, MARGIN + row * (20 + MARGIN) + 10))

    assert [at(0, column) for column in range(3)] == [(255, 0, 0), (255, 0, 0), (0, 0, 255)]
    assert [at(1, column) for column in range(3)] == [(0, 0, 255), PAPER, PAPER]
    assert (np.asarray(sheet)[:, :100] != 255).any()  # the captions
    with pytest.raises(ValueError, match="no caption"):
        caption_grid([])


def test_attention_is_bright_where_the_word_acts_and_marks_the_strongest():
    words = ["red", "bird"]
    attention = torch.zeros(3, 4, 4)  # the third is padding
    attention[0, :, :2] = 0.9  # left
    attention[1, :, 2:] = 0.1  # right
    attention[2] = 5.0
    side = 40
    picture = attention_picture(flat(0.0, 0.0, 0.0), words, attention, side=side, strongest=1)
    pixels = np.asarray(picture, dtype=int)

    def map_of(cell):
        left = MARGIN + cell * (side + MARGIN)
        return pixels[MARGIN : MARGIN + side, left : left + side].sum(2)

    red, bird = map_of(1), map_of(2)
    assert red[20, 5] > red[20, 35]
    assert bird[20, 35] > bird[20, 5]
    marked = [tuple(pixels[MARGIN - 2, MARGIN + cell * (side + MARGIN) + 10]) == MARK for cell in (1, 2, 3)]
    assert marked == [True, False, False]


def test_pictures_are_stacked():
    sheet = stack([Image.new("RGB", (4, 3), (1, 2, 3)), Image.new("RGB", (6, 2), (4, 5, 6))])
    assert sheet.size == (6, 5)
    assert sheet.getpixel((0, 0)) == (1, 2, 3)
    assert sheet.getpixel((5, 0)) == PAPER
    assert sheet.getpixel((5, 4)) == (4, 5, 6)


@pytest.mark.parametrize(
    ("caption", "name"),
    [
        ("A red bird, with black wings!", "_a-red-bird-with-black-wings"),
        ("un oiseau écarlate", "_un-oiseau-ecarlate"),
        ("../../etc/passwd \x1b[31m", "_etc-passwd-31m"),
        ("鳥", ""),
        ("", ""),
        (None, ""),
    ],
)
def test_a_picture_is_named_after_its_caption(caption, name):
    assert named_after(caption) == name


def test_a_long_caption_gives_whole_words_of_a_short_name():
    name = named_after("this bird is " * 30)
    assert len(name) <= 61
    assert set(name.removeprefix("_").split("-")) == {"this", "bird", "is"}


def test_a_sample_tells_how_it_was_drawn(tmp_path):
    facts = {"caption": "ein Grünspecht 鳥", "seed": 3, "number": 0, "checkpoint": "ab" * 32, "step": None}
    path = tmp_path / "x.png"
    save_sample(Image.new("RGB", (4, 4), (1, 2, 3)), path, **facts)
    with Image.open(path) as image:
        assert image.getpixel((0, 0)) == (1, 2, 3)
        told = dict(image.text)
    wanted = {"attngan": "sample", "caption": "ein Grünspecht 鳥", "seed": "3", "number": "0", "checkpoint": "ab" * 32}
    assert told == wanted
    assert list(tmp_path.iterdir()) == [path]
