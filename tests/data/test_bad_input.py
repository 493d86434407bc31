"""One folder with everything that real folders have: nothing shifts, nothing is dropped without being counted."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from attngan.commands.prepare import prepare
from attngan.data.datamodule import TextImageDataModule
from attngan.data.images import load_image
from tests.data.conftest import picture, png_bytes

#: File name to how it is made and the colour that its picture has in the middle.
USABLE = {
    "plain.jpg": lambda path: Image.new("RGB", (40, 40), (200, 30, 30)).save(path),
    "alpha.png": lambda path: Image.new("RGBA", (40, 40), (30, 200, 30, 255)).save(path),
    "grey.jpg": lambda path: Image.new("L", (40, 40), 90).save(path),
    "cmyk.jpg": lambda path: Image.new("CMYK", (40, 40), (255, 0, 255, 0)).save(path),
    "deep.png": lambda path: Image.fromarray(np.full((40, 40), 30_000, np.uint16)).save(path),
    "palette.gif": lambda path: Image.new("RGB", (40, 40), (0, 0, 255)).convert("P").save(path),
    "dot.png": lambda path: Image.new("RGB", (1, 1), (1, 2, 3)).save(path),
    "umlaut ü 鳥.png": lambda path: Image.new("RGB", (40, 60), (250, 250, 0)).save(path),
}


def turned(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.new("RGB", (60, 40), (90, 0, 90)).save(path, exif=exif)


def cut(path: Path) -> None:
    picture(1, 300, 300).save(path)
    path.write_bytes(path.read_bytes()[:-200])


USABLE["turned.jpg"] = turned
UNUSABLE = {
    "cut.jpg": (cut, "truncated"),
    "empty.jpg": (lambda path: path.write_bytes(b""), "0 bytes"),
    "text.jpg": (lambda path: path.write_text("hello"), "not an image"),
    "bomb.png": (lambda path: path.write_bytes(png_bytes(20_000, 20_000, 8, 2, b"")), "decompression bomb"),
    "box.png": (lambda path: picture(2).save(path), "keeps nothing"),
}


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "everything"
    root.mkdir()
    rows = []
    for name, make in {**USABLE, **{name: make for name, (make, _why) in UNUSABLE.items()}}.items():
        make(root / name)
        rows.append({"file_name": name, "texts": [f"caption of {name}", "🐦 鳥"], "split": "train"})
        if name == "box.png":
            rows[-1]["bbox"] = [1000, 1000, 5, 5]
    rows.append({"file_name": "absent.png", "text": "nothing", "split": "train"})
    rows.append({"file_name": "../outside.png", "text": "nothing", "split": "train"})
    rows.insert(3, dict(rows[2]))  # given twice
    (root / "metadata.jsonl").write_bytes(
        b"\xef\xbb\xbf" + "\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()
    )
    return root


def test_everything_at_once(folder, tmp_path):
    data = TextImageDataModule(str(folder), "folder", image_size=32, stages=1, batch_size=2, workers=0)
    with pytest.raises(ValueError, match=r"(?s)2 images .*outside\.png.*absent\.png.*skip_bad"):
        data.setup()
    assert prepare(str(folder), "folder", image_size=32, out=str(tmp_path), processes=1) == 1
    report = json.loads((tmp_path / "prepare_report.json").read_text())
    unusable = report["cannot_be_used"]["unusable image"]
    for name, (_make, why) in UNUSABLE.items():
        assert any(f"{name}: " in message and why in message for message in unusable)
    assert len(unusable) == len(UNUSABLE)
    assert len(report["cannot_be_used"]["missing image"]) == 1
    assert len(report["cannot_be_used"]["malformed row"]) == 1
    assert len(report["noticed"]["row given twice"]) == 1
    assert report["splits"]["train"]["images"] == len(USABLE)


def test_every_usable_image_keeps_its_own_pixels_and_captions(folder):
    data = TextImageDataModule(
        str(folder), "folder", image_size=32, stages=1, batch_size=2, workers=0, skip_bad=True, drop_last=False
    )
    with pytest.warns(UserWarning, match="unusable image: 5"):
        data.setup()
    seen = set()
    for split in ("train", "validation"):
        dataset = data.split(split)
        for index, image in enumerate(dataset.images):
            seen.add(image.path.name)
            assert image.captions == (f"caption of {image.path.name}", "🐦 鳥")
            batch = dataset[0, index]
            middle = batch.pixels[0, :, 16, 16].tolist()
            whole = load_image(image.path)
            assert middle == list(whole.getpixel((whole.width // 2, whole.height // 2)))
            captions = {tuple(data.vocabulary.encode(caption)) for caption in image.captions}
            assert tuple(batch.captions.ids[0].tolist()) in captions
    assert seen == set(USABLE)


def test_ten_thousand_words_are_cut_to_the_limit(folder):
    (folder / "metadata.jsonl").write_text(
        "\n".join(
            json.dumps({"file_name": name, "text": "bird " * 9_999 + "end", "split": split})
            for name, split in zip(USABLE, ["train"] * 6 + ["test"] * 3, strict=True)
        )
    )
    data = TextImageDataModule(str(folder), "folder", image_size=32, stages=1, batch_size=2, workers=0)
    data.setup()
    assert next(iter(data.train_dataloader())).captions.lengths.tolist() == [18, 18]
    assert next(iter(data.test_dataloader())).captions.lengths.tolist() == [25, 25]
    assert data.encoded_captions("test")[0].ids.shape == (3, 25)
