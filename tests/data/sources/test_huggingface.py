"""Data sets in the formats of Hugging Face, from local files made here: parquet, arrow, tables of pandas."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from attngan.cli import main
from attngan.data.findings import Findings
from attngan.data.sources.huggingface import DONE
from attngan.data.sources.registry import open_source, read_source
from attngan.data.sources.tables import Columns
from attngan.errors import InputError, MissingFileError, MissingPackageError

datasets = pytest.importorskip("datasets")
COUNT = 30


def picture(number: int, kind: str = "PNG") -> bytes:
    rng = np.random.default_rng(number)
    buffer = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (24, 20 + number % 5, 3), np.uint8)).save(buffer, kind)
    return buffer.getvalue()


def rows(count: int = COUNT, first: int = 0, **more: list[object]) -> "datasets.Dataset":
    numbers = range(first, first + count)
    images = [{"bytes": picture(number, "JPEG" if number % 2 else "PNG"), "path": None} for number in numbers]
    told = {"image": images, "text": [f"a bird of number {number}" for number in numbers], **more}
    features = datasets.Features({"image": datasets.Image(), "text": datasets.Value("string")})
    made = datasets.Dataset.from_dict({name: told[name] for name in features}, features=features)
    for name, values in more.items():
        made = made.add_column(name, values)
    return made


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    folder = tmp_path / "birds"
    folder.mkdir()
    for split, (first, count) in {"train": (0, COUNT), "test": (COUNT, 5)}.items():
        rows(count, first).to_parquet(folder / f"{split}-00000-of-00001.parquet")
    return folder


def test_parquet_gives_the_files_their_captions_and_the_splits(parquet: Path) -> None:
    splits = read_source("huggingface", parquet)
    assert {split: len(images) for split, images in splits.items()} == {"train": COUNT, "test": 5}
    for position, image in enumerate(splits["train"]):
        assert image.captions == (f"a bird of number {position}",)
        assert image.path.read_bytes() == picture(position, "JPEG" if position % 2 else "PNG")
        assert image.path.suffix == (".jpg" if position % 2 else ".png")
    assert splits["test"][0].captions == (f"a bird of number {COUNT}",)


def test_it_is_written_out_once_and_anew_when_a_file_changes(parquet: Path) -> None:
    first = read_source("huggingface", parquet)["train"][0].path
    stamp = first.stat().st_mtime_ns
    assert read_source("huggingface", parquet)["train"][0].path.stat().st_mtime_ns == stamp
    rows(4).to_parquet(parquet / "train-00000-of-00001.parquet")
    assert len(read_source("huggingface", parquet)["train"]) == 4
    # an interrupted writing is done again
    folder = read_source("huggingface", parquet)["train"][0].path.parents[1]
    (folder / DONE).unlink()
    (folder / "metadata.jsonl").unlink()
    assert len(read_source("huggingface", parquet)["train"]) == 4


@pytest.mark.parametrize("saved", ["save_to_disk", "arrow files"])
def test_arrow_of_one_split_is_split_by_the_names(tmp_path: Path, saved: str) -> None:
    folder = tmp_path / "saved"
    rows().save_to_disk(folder)
    if saved == "arrow files":
        for file in folder.glob("*.json"):
            file.unlink()
    splits = read_source("huggingface", folder)
    assert sum(map(len, splits.values())) == COUNT
    assert set(splits) == {"train", "validation", "test"}
    texts = sorted(image.captions[0] for images in splits.values() for image in images)
    assert texts == sorted(f"a bird of number {number}" for number in range(COUNT))


def test_columns_are_found_or_chosen_and_lists_hold_several_captions(tmp_path: Path) -> None:
    folder = tmp_path / "birds"
    folder.mkdir()
    several = [[f"one {n}", f"two {n}"] for n in range(6)]
    rows(6, words=several, url=["x"] * 6).to_parquet(folder / "train.parquet")
    told = [i.captions for own in read_source("huggingface", folder).values() for i in own]
    assert sorted(told)[0] == ("a bird of number 0",)
    chosen = read_source("huggingface", folder, columns=Columns(caption="words"))
    assert sorted(i.captions for own in chosen.values() for i in own)[0] == ("one 0", "two 0")
    with pytest.raises(InputError, match=r"there is no column 'captions' with caption_column: it has image, text"):
        read_source("huggingface", folder, columns=Columns(caption="captions"))


def test_what_is_no_image_is_named_by_its_row(tmp_path: Path) -> None:
    folder = tmp_path / "birds"
    folder.mkdir()
    features = datasets.Features({"image": datasets.Image(), "text": datasets.Value("string")})
    images = [{"bytes": picture(0), "path": None}, {"bytes": b"none", "path": None}, None]
    made = datasets.Dataset.from_dict({"image": images, "text": ["a", "b", "c"]}, features=features)
    made.to_parquet(folder / "train.parquet")
    for _ in range(2):  # also of what was written before
        findings = Findings()
        assert sum(map(len, open_source("huggingface", folder, findings).splits.values())) == 1
        told = findings.bad["unusable image"]
        assert [f"row {row} of train: " in told[row - 1] for row in (1, 2)] == [True, True]


def test_a_table_as_pandas_writes_it_is_read_too(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    folder = tmp_path / "birds"
    folder.mkdir()
    frame = pandas.DataFrame(
        {"image": [{"bytes": picture(n), "path": f"{n}.png"} for n in range(3)], "caption": list("abc")}
    )
    frame.to_parquet(folder / "birds.parquet")
    images = [image for own in read_source("huggingface", folder).values() for image in own]
    assert sorted(image.path.read_bytes() for image in images) == sorted(map(picture, range(3)))


def test_prepare_checks_it(
    parquet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # where its report and preview go
    assert main(["prepare", str(parquet), "--source", "huggingface", "--image_size", "16"]) == 0
    assert f"{COUNT}" in capsys.readouterr().out


def test_the_line_that_converts_a_table_beside_images_works_as_it_is_written(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    folder = tmp_path / "my birds"
    folder.mkdir()
    for number in range(12):
        (folder / f"{number}.png").write_bytes(picture(number))
    names = [f"{number}.png" for number in range(12)]
    pandas.DataFrame({"file_name": names, "texts": [["é one", "two"]] * 12}).to_parquet(folder / "table one.parquet")
    with pytest.raises(InputError) as refused:
        read_source("folder", folder)
    line = str(refused.value).partition("is a table in Apache's format: ")[2].partition(" (then source folder")[0]
    assert "pip install pandas pyarrow" in line
    line = line.replace("pip install pandas pyarrow", "true").replace("python -c", f"{sys.executable} -c")
    subprocess.run(["bash", "-ec", line], check=True)
    images = [image for own in read_source("folder", folder).values() for image in own]
    assert sorted(image.path.name for image in images) == sorted(names)
    assert {image.captions for image in images} == {("é one", "two")}


def test_what_cannot_be_had_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="cannot be read as parquet, arrow"):
        read_source("huggingface", tmp_path / "empty")

    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("couldn't reach the hub")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(MissingFileError, match=r"some/birds: no such folder, and it cannot be had from the hub"):
        read_source("huggingface", "some/birds")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingPackageError, match=r"attngan\[datasets\]"):
        read_source("huggingface", tmp_path / "empty")


def test_a_data_set_of_the_hub_is_streamed_once_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, bool]] = []

    def from_the_hub(name: str, streaming: bool = False) -> object:
        asked.append((name, streaming))
        return datasets.IterableDatasetDict({"train": rows(4).to_iterable_dataset()})

    monkeypatch.setattr(datasets, "load_dataset", from_the_hub)
    splits = open_source("huggingface", "some/birds", scratch=tmp_path).splits
    assert sum(map(len, splits.values())) == 4
    assert asked == [("some/birds", True)]
    assert all(tmp_path in image.path.parents for own in splits.values() for image in own)
