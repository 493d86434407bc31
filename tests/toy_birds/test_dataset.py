"""Generated birds: what is drawn, what the captions say of it, and what becomes of a folder that is there already."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from attngan.data.sources.cub import read_cub
from attngan.toy_birds import dataset as toy_birds
from attngan.toy_birds.captions import COLOURS, MOST_WORDS, PARTS, Dice, named_colours, write_captions
from attngan.toy_birds.dataset import draw_bird, draw_toy_birds, plan_bird, plan_classes

FEW = {"train_classes": 3, "test_classes": 1, "images_per_class": 2, "size": 24, "progress": False}


def contents(root: Path) -> dict[str, bytes]:
    return {str(file.relative_to(root)): file.read_bytes() for file in sorted(root.rglob("*")) if file.is_file()}


def truth_of(root: Path) -> dict:
    return json.loads((root / "attributes.json").read_text())


def some_birds(count: int) -> list[toy_birds.ToyBird]:
    classes = plan_classes(40, 10, seed=1)
    return [plan_bird(classes[i % 50], 1, i % 50, i // 50) for i in range(count)]


# --- the data set ---


def test_the_ordinary_reader_reads_it(toy_root: Path) -> None:
    truth = {image["name"]: image for image in truth_of(toy_root)["images"]}
    splits = {split: read_cub(toy_root, split) for split in ("train", "test")}
    assert {split: len(images) for split, images in splits.items()} == {"train": 64, "test": 24}
    assert not {i.class_id for i in splits["train"]} & {i.class_id for i in splits["test"]}
    for split, images in splits.items():
        for image in images:
            record = truth[image.name]
            assert record["split"] == split
            assert image.captions == tuple(caption["text"] for caption in record["captions"])
            assert image.box is not None
            x, y, width, height = image.box
            assert x >= 0
            assert y >= 0
            assert x + width <= 48
            assert y + height <= 48
            with Image.open(image.path) as picture:
                assert picture.size == (48, 48)


def test_a_class_fixes_the_colours_and_nothing_else(toy_root: Path) -> None:
    images = [image for image in truth_of(toy_root)["images"] if image["class_id"] == 1]
    assert len({json.dumps(image["colours"]) for image in images}) == 1
    for attribute in ("pose", "size", "bill_shape", "background", "box"):
        assert len({str(image[attribute]) for image in images}) > 1, attribute


def test_the_same_seed_draws_the_same_files_and_another_seed_others(tmp_path: Path) -> None:
    first, again, other = (draw_toy_birds(tmp_path / name, **FEW, seed=seed) for name, seed in
                           (("a", 0), ("b", 0), ("c", 1)))  # fmt: skip
    assert contents(first) == contents(again)
    assert not set(contents(first).values()) & {v for k, v in contents(other).items() if k.endswith(".jpg")}


def test_the_first_bird_stays_what_it_is() -> None:
    """Seeds mean the same on every machine, Python and numpy; a change of drawings must raise ``_VERSION``."""
    colours = plan_classes(40, 10, 0)[0]
    bird = plan_bird(colours, 0, 0, 0)
    assert toy_birds._VERSION == 2
    assert colours == {"body": "green", "wing": "orange", "belly": "brown", "crown": "black"}
    assert (bird.attributes.pose, bird.attributes.background, bird.attributes.bill_colour) == (
        "standing",
        "sand",
        "yellow",
    )
    assert bird.box == pytest.approx((0.119071, 0.152675, 0.741688, 0.643926), abs=1e-6)
    caption, named = write_captions(bird.attributes, Dice(0, 0, 0, 1), 1)[0]
    assert caption == "this small bird has orange wings and a black crown"
    assert named == {"wing": "orange", "crown": "black"}


# --- classes ---


@pytest.mark.parametrize(("train", "test"), [(160, 40), (40, 10), (13, 7), (8, 3), (2, 1)])
def test_test_classes_are_new_combinations_of_colours_that_training_shows(train: int, test: int) -> None:
    for seed in range(5):
        classes = plan_classes(train, test, seed)
        assert len(classes) == train + test == len({tuple(colours.values()) for colours in classes})
        assert all(len(set(colours.values())) == len(PARTS) for colours in classes)
        shown = {pair for colours in classes[:train] for pair in colours.items()}
        assert {pair for colours in classes[train:] for pair in colours.items()} <= shown
        if train >= 10:
            assert len(shown) == len(PARTS) * len(COLOURS)


def test_colours_are_evenly_spread() -> None:
    classes = plan_classes(40, 10, 0)
    for part in PARTS:
        assert {sum(c[part] == colour for c in classes[:40]) for colour in COLOURS} == {4}
        assert {c[part] for c in classes[40:]} == set(COLOURS)


# --- captions ---


def test_named_colours_inverts_the_captions() -> None:
    seen = set()
    for number, bird in enumerate(some_birds(250)):
        captions = write_captions(bird.attributes, Dice(number), 10)
        assert len({text for text, _ in captions}) == 10
        for text, named in captions:
            assert named_colours(text) == named, text
            assert named.items() <= bird.attributes.colours.items()
            assert len(text.split()) <= MOST_WORDS
            seen |= set(text.strip(".").replace(",", "").split())
    assert {"beak", "bill", "breast", "belly", "gray", "grey", "cap", "crown", "violet", "purple"} <= seen


def test_most_captions_name_only_some_parts() -> None:
    numbers = [
        len(named) for i, bird in enumerate(some_birds(60)) for _, named in write_captions(bird.attributes, Dice(i), 10)
    ]
    assert min(numbers) == 1
    assert np.mean(np.array(numbers) < len(PARTS)) > 0.75


@pytest.mark.parametrize(
    ("caption", "named"),
    [
        ("A red bird with yellow and black wings.", {"body": "red", "wing": "yellow"}),
        ("this bird's belly is white and its wings are blue", {"belly": "white", "wing": "blue"}),
        ("It's a small, bright blue bird with white wing bars and a black beak", {"body": "blue"}),
        ("yellow-bellied bird with red head", {"belly": "yellow", "crown": "red"}),
        ("grey wings and crown", {"wing": "grey", "crown": "grey"}),
        ("its wings and crown are red", {"wing": "red", "crown": "red"}),
        ("the wings of this bird are dark gray", {"wing": "grey"}),
        ("a yellow belly and wings that are grey", {"belly": "yellow", "wing": "grey"}),
        ("the bird is small and red with a grey tail", {"body": "red"}),
        ("the top of its head is crimson and the belly is golden yellow", {"crown": "red", "belly": "yellow"}),
        ("a violet bird, colored green on its chest", {"body": "purple", "belly": "green"}),
        ("wings: blue, belly: yellow", {"wing": "blue", "belly": "yellow"}),
        ("it has long wings and its crown is blue", {"crown": "blue"}),
        ("a bird with black eyes and orange feet on a green leaf under a blue sky", {}),
        ("red", {}),
        ("", {}),
    ],
)
def test_named_colours_of_captions_that_people_type(caption: str, named: dict[str, str]) -> None:
    assert named_colours(caption) == named


# --- pictures ---


def test_every_part_is_large_enough_to_read_its_colour() -> None:
    """In the 64 x 64 crop that networks see; counted by what changes when only that part's colour changes."""
    from attngan.data.images import crop_rectangle

    for number in range(24):
        pictures = [
            np.asarray(draw_bird(plan_bird(colours, 3, 0, number), 96), np.int64)
            for colours in (
                {**dict.fromkeys(PARTS, "white"), part: colour} for part in PARTS for colour in ("red", "blue")
            )
        ]
        box = plan_bird(dict.fromkeys(PARTS, "white"), 3, 0, number).box
        left, top, right, bottom = crop_rectangle(tuple(96 * length for length in box), 96, 96)
        shown = (64 * 76 / 64) ** 2 / ((right - left) * (bottom - top))  # pixels at 64 for a pixel drawn
        for i, part in enumerate(PARTS):
            changed = np.abs(pictures[2 * i] - pictures[2 * i + 1]).sum(-1) > 150
            assert changed.sum() * shown > 45, (part, number)


def test_resolutions_show_the_same_bird() -> None:
    for bird in some_birds(6):
        small = np.asarray(draw_bird(bird, 32), np.float32)
        large = np.asarray(draw_bird(bird, 96).reduce(3), np.float32)
        assert np.abs(small - large).mean() < 8


def test_edges_are_smooth() -> None:
    """A jagged edge jumps between two colours; a smooth one passes through colours in between."""
    bird = some_birds(1)[0]
    smooth = np.asarray(draw_bird(bird, 48), np.float32)
    coarse = np.asarray(draw_bird(bird, 192).resize((48, 48), Image.Resampling.NEAREST), np.float32)
    jump = [np.abs(np.diff(picture, axis=1)).max(-1) for picture in (smooth, coarse)]
    assert (jump[0] > 100).sum() < (jump[1] > 100).sum()


def test_birds_face_both_ways_and_fill_their_box() -> None:
    birds = some_birds(40)
    assert {bird.attributes.facing for bird in birds} == {"left", "right"}
    for bird in birds:
        outline = np.concatenate([points for points, _ in bird.shapes])
        x, _, width, _ = bird.box
        assert outline[:, 0].min() == pytest.approx(x)
        assert outline[:, 0].max() == pytest.approx(x + width)


# --- folders that are there already ---


def test_a_complete_data_set_is_kept(tmp_path: Path) -> None:
    root = draw_toy_birds(tmp_path / "birds", **FEW)
    before = {file: file.stat().st_mtime_ns for file in root.rglob("*")}
    draw_toy_birds(root, **FEW)
    assert {file: file.stat().st_mtime_ns for file in root.rglob("*")} == before


def test_an_interrupted_data_set_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = draw_toy_birds(tmp_path / "whole", **FEW)
    drawn: list[int] = []

    def draw_five(bird: toy_birds.ToyBird, size: int) -> Image.Image:
        if len(drawn) == 5:
            raise KeyboardInterrupt
        drawn.append(1)
        return draw_bird(bird, size)

    monkeypatch.setattr(toy_birds, "draw_bird", draw_five)
    with pytest.raises(KeyboardInterrupt):
        draw_toy_birds(tmp_path / "half", **FEW)
    assert not (tmp_path / "half" / "attributes.json").exists()
    drawn[:] = [1, 1]  # three more: the five that are there are not drawn again
    root = draw_toy_birds(tmp_path / "half", **FEW)
    assert contents(root) == contents(whole)


def test_a_missing_picture_is_drawn_again(tmp_path: Path) -> None:
    root = draw_toy_birds(tmp_path / "birds", **FEW)
    before = contents(root)
    next(root.glob("images/*/*.jpg")).unlink()
    next(root.glob("text/*/*.txt")).unlink()
    assert contents(draw_toy_birds(root, **FEW)) == before


def test_other_files_are_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("three years of work")
    with pytest.raises(ValueError, match="holds other files"):
        draw_toy_birds(tmp_path, **FEW)
    assert contents(tmp_path) == {"thesis.tex": b"three years of work"}
    with pytest.raises(ValueError, match="is a file"):
        draw_toy_birds(tmp_path / "thesis.tex", **FEW)
    (tmp_path / "attributes.json").write_text("[1, 2]")
    with pytest.raises(ValueError, match="not a list of toy birds"):
        draw_toy_birds(tmp_path, **FEW)


def test_other_birds_are_refused_by_what_differs(tmp_path: Path) -> None:
    draw_toy_birds(tmp_path / "birds", **FEW)
    with pytest.raises(ValueError, match="seed 0 instead of 7"):
        draw_toy_birds(tmp_path / "birds", **FEW, seed=7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"train_classes": 1}, "at least 2"),
        ({"test_classes": -1}, "at least 2 and 0"),
        ({"test_classes": 500}, "leave only .* new combinations"),
        ({"images_per_class": 0}, "images_per_class is 0"),
        ({"size": 4}, "size is 4"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_arguments_that_make_no_sense(tmp_path: Path, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw_toy_birds(tmp_path / "birds", **{**FEW, **arguments})
    assert not (tmp_path / "birds").exists()


def test_progress_is_shown_only_when_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw_toy_birds(tmp_path / "quiet", **FEW)
    assert capsys.readouterr().out == ""
    draw_toy_birds(tmp_path / "loud", **{**FEW, "progress": True})
    assert "drawing birds" in capsys.readouterr().out
