"""Draws birds with known colours, and captions them, into the layout of CUB-200-2011.

For first runs, tests and measurements whose truth is known: a class fixes the colours of body, wing, belly and crown,
the images of a class differ in everything else (pose, size, bill, tail, background, light), and the captions name some
of it. The ordinary CUB reader reads the result. Test classes are new combinations of colours that training classes
show one by one, so what a caption of a test class asks for can be learned.

A bird's anatomy is in `anatomy.py`, how it becomes pixels in `drawing.py`, what is said of it in `captions.py`.
"""

import itertools
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from attngan.errors import InputError, require_at_least
from attngan.files import replacing, write_whole
from attngan.progress import with_progress
from attngan.toy_birds.anatomy import ToyBird, plan_bird
from attngan.toy_birds.captions import COLOURS, PARTS, Dice, named_colours, write_captions
from attngan.toy_birds.drawing import draw_bird

__all__ = ["COLOURS", "PARTS", "ToyBird", "draw_bird", "draw_toy_birds", "named_colours", "plan_bird", "plan_classes"]

CAPTIONS = 10  # an image, as in CUB
_VERSION = 2  # of anatomy, drawings and captions: raise it when the same seed gives other ones
_TRUTH = "attributes.json"
_UNFINISHED = "attributes.unfinished.json"


def draw_toy_birds(
    root: Path | str,
    train_classes: int = 160,
    test_classes: int = 40,
    images_per_class: int = 10,
    size: int = 96,
    seed: int = 0,
    progress: bool = True,
) -> Path:
    """Draws a data set of captioned birds; the same arguments give the same pictures and captions.

    Besides CUB's own files it writes ``attributes.json``: what is true of every image, and for every caption the
    colours that it names. A data set that is complete is kept as it is; one that was interrupted is gone on with.

    Args:
        root: Folder of the data set; made if it is missing.
        train_classes: Training classes. From 10 on, they show every colour on every part. Many classes of few images
            teach more than few of many: of 40 a network learns the combinations by heart, and reads or draws new
            ones wrongly.
        test_classes: Test classes: combinations of colours that no training class has, of colours that training
            classes show on the same part.
        images_per_class: Images of each class.
        size: Side of the square images in pixels. The bird fills most of the crop that the reader makes around its
            box, and the crop about the whole image: 3/2 of the training resolution is plenty.
        seed: Another seed draws another data set.
        progress: Whether to show a progress bar.

    Returns:
        ``root``.

    Raises:
        InputError: An argument makes no sense, or ``root`` holds files of something else.
    """
    root = Path(root)
    arguments = {
        "train_classes": train_classes, "test_classes": test_classes, "images_per_class": images_per_class,
        "size": size, "seed": seed, "version": _VERSION,
    }  # fmt: skip
    require_at_least(1, images_per_class=images_per_class)
    require_at_least(8, size=size)
    require_at_least(0, seed=seed)
    classes = plan_classes(train_classes, test_classes, seed)
    if _is_complete(root, arguments):
        return root
    write_whole(root / _UNFINISHED, json.dumps({"arguments": arguments}))
    names = [_class_name(number, colours) for number, colours in enumerate(classes, start=1)]
    places = list(itertools.product(range(len(classes)), range(images_per_class)))
    images = []
    for class_index, image_index in with_progress(places, f"drawing birds into {root}", len(places), progress):
        stem = f"{names[class_index]}/toy_bird_{class_index + 1:03d}_{image_index + 1:04d}"
        record = {
            "name": stem,
            "class_id": class_index + 1,
            "split": "train" if class_index < train_classes else "test",
        }
        bird = plan_bird(classes[class_index], seed, class_index, image_index)
        captions = write_captions(bird.attributes, Dice(seed, class_index, image_index, 1), CAPTIONS)
        images.append(record | _write_bird(root, stem, bird, captions, size))
    _write_lists(root, names, images)
    truth = {"arguments": arguments, "colours": COLOURS, "parts": PARTS, "classes": names, "images": images}
    write_whole(root / _TRUTH, json.dumps(truth))
    (root / _UNFINISHED).unlink(missing_ok=True)
    return root


def _write_bird(
    root: Path, stem: str, bird: ToyBird, captions: list[tuple[str, dict[str, str]]], size: int
) -> dict[str, Any]:
    """Picture and captions of one bird, unless the picture is there already; what is true of them."""
    picture = root / "images" / f"{stem}.jpg"
    if not picture.exists():
        with replacing(picture) as part:
            # Full colour resolution: colour is what these pictures are about.
            draw_bird(bird, size).save(part, format="JPEG", quality=95, subsampling=0)
    write_whole(root / "text" / f"{stem}.txt", "".join(f"{text}\n" for text, _ in captions))
    return {
        **asdict(bird.attributes),
        "box": [round(length * size, 1) for length in bird.box],
        "captions": [{"text": text, "named": named} for text, named in captions],
    }


def plan_classes(train_classes: int, test_classes: int, seed: int) -> list[dict[str, str]]:
    """The colours of each class, training classes first.

    No two classes are alike, the four colours of a class differ, every ten classes show each colour once on each part,
    and test classes use a colour only on parts where a training class has it.
    """
    if train_classes < 2 or test_classes < 0:
        raise InputError(f"{train_classes} training and {test_classes} test classes: needs at least 2 and 0")
    dice = Dice(seed, 0)
    training = list(itertools.islice(_balanced_classes(dice), train_classes))
    if train_classes >= len(COLOURS):
        return [*training, *_balanced_test_classes(dice, training, test_classes)]
    seen = [sorted({colours[part] for colours in training}) for part in PARTS]
    combinations = [dict(zip(PARTS, colours, strict=True)) for colours in itertools.product(*seen)]
    new = [c for c in combinations if c not in training and len(set(c.values())) == len(PARTS)]
    if len(new) < test_classes:
        raise InputError(
            f"{train_classes} training classes leave only {len(new)} new combinations of their colours, fewer than "
            f"the {test_classes} test classes asked for: ask for more training classes"
        )
    return [*training, *dice.shuffled(new)[:test_classes]]


def _balanced_test_classes(dice: Dice, training: list[dict[str, str]], count: int) -> list[dict[str, str]]:
    return list(itertools.islice((c for c in _balanced_classes(dice) if c not in training), count))


def _balanced_classes(dice: Dice) -> Iterator[dict[str, str]]:
    """Tens of classes without end; in each ten every part has every colour once. A ten may not repeat a class."""
    given: list[tuple[str, ...]] = []
    while True:
        order = dice.shuffled(tuple(COLOURS))
        shifts = [0, *dice.shuffled(range(1, len(order)))[: len(PARTS) - 1]]
        ten = [tuple(order[(i + shift) % len(order)] for shift in shifts) for i in range(len(order))]
        if set(ten) & set(given):
            continue
        given += ten
        yield from (dict(zip(PARTS, colours, strict=True)) for colours in ten)


def _class_name(number: int, colours: dict[str, str]) -> str:
    """As CUB's, "001.Red_body_blue_wing_white_belly_black_crown"."""
    return f"{number:03d}." + "_".join(f"{colours[part]}_{part}" for part in PARTS).capitalize()


def _is_complete(root: Path, arguments: dict[str, int]) -> bool:
    """Whether the data set is there already. Refuses a folder that holds anything else."""
    if root.exists() and not root.is_dir():
        raise InputError(f"{root} is a file; toy birds are drawn into a folder")
    if not root.exists() or not any(root.iterdir()):
        return False
    record = next((root / name for name in (_TRUTH, _UNFINISHED) if (root / name).exists()), None)
    if record is None:
        raise InputError(f"{root} holds other files: draw toy birds into a new or an empty folder")
    try:
        truth = json.loads(record.read_text(encoding="utf-8"))
        found = truth["arguments"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{record} is not a list of toy birds: draw them into a new or an empty folder") from error
    if found != arguments:
        differing = [f"{name} {found.get(name)} instead of {value}" for name, value in arguments.items()
                     if found.get(name) != value]  # fmt: skip
        raise InputError(
            f"{root} holds toy birds drawn with {', '.join(differing) or 'other arguments'}: "
            "remove that folder or choose another"
        )
    return record.name == _TRUTH and all(
        (root / "images" / f"{image['name']}.jpg").exists() for image in truth["images"]
    )


def _write_lists(root: Path, class_names: list[str], images: list[dict[str, Any]]) -> None:
    """CUB's own lists of files, boxes, labels and splits."""
    numbered = list(enumerate(images, start=1))
    lists = {
        "classes.txt": [f"{number} {name}" for number, name in enumerate(class_names, start=1)],
        "images.txt": [f"{number} {image['name']}.jpg" for number, image in numbered],
        "image_class_labels.txt": [f"{number} {image['class_id']}" for number, image in numbered],
        "bounding_boxes.txt": [f"{number} {' '.join(map(str, image['box']))}" for number, image in numbered],
        "train_test_split.txt": [f"{number} {int(image['split'] == 'train')}" for number, image in numbered],
        **{
            f"{split}/filenames.txt": [image["name"] for image in images if image["split"] == split]
            for split in ("train", "test")
        },
    }
    for name, lines in lists.items():
        write_whole(root / name, "".join(f"{line}\n" for line in lines))
