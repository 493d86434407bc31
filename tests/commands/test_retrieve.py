"""``attngan retrieve`` and ``attngan embed``: what is found, recall against plain loops, and what is refused."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from attngan.checkpoint import open_checkpoint, write_generator
from attngan.cli import main
from attngan.data.images import load_pixels, shorter_side
from attngan.data.sources.registry import read_source
from attngan.pixels import centre_crop, from_uint8
from attngan.retrieval.retrieve import retrieve
from attngan.text.vocabulary import Vocabulary
from tests.pages.images import page_images
from tests.tiny import CAPTIONS, gan, write_damsm, write_gan


@pytest.fixture(scope="module")
def damsm(tmp_path_factory: pytest.TempPathFactory, toy_root: Path) -> Path:
    images = [image for own in read_source("cub", toy_root).values() for image in own]
    vocabulary = Vocabulary.from_captions([*CAPTIONS, *(text for image in images for text in image.captions)])
    return write_damsm(tmp_path_factory.mktemp("damsm") / "damsm.ckpt", vocabulary)


@pytest.fixture(scope="module")
def cosines(damsm: Path, toy_root: Path) -> tuple[np.ndarray, list[str], list[str], list[int]]:
    """Of every caption of the test split with every image, the plain way; captions, names, whose each caption is."""
    model, images = open_checkpoint(damsm).damsm(), read_source("cub", toy_root)["test"]
    pixels = [centre_crop(load_pixels(i.path, i.box, shorter_side(16)), 16) for i in images]
    texts = [(text, owner) for owner, image in enumerate(images) for text in image.captions]
    with torch.inference_mode():
        seen = torch.stack([torch.from_numpy(p.copy()) for p in pixels]).permute(0, 3, 1, 2)
        of_images = model.image_encoder(from_uint8(seen)).pooled
        of_text = torch.cat([model.encode_captions([text]).sentence for text, _ in texts])
    scores = torch.nn.functional.cosine_similarity(of_text[:, None], of_images[None], dim=-1).numpy()
    return scores, [text for text, _ in texts], [image.name for image in images], [owner for _, owner in texts]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_data_set_is_searched_both_ways_and_recall_is_that_of_plain_loops(
    damsm: Path, toy_root: Path, cosines: tuple, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores, texts, names, owners = cosines
    out = tmp_path / "out"
    assert (
        main(["retrieve", str(damsm), "--data", str(toy_root), "--top", "5", "--out", str(out), "--no_progress"]) == 0
    )
    table = rows_of(out / "text_to_image.csv")
    assert len(table) == 5 * len(texts)
    for caption in (0, 11, len(texts) - 1):
        found = table[5 * caption : 5 * caption + 5]
        assert [float(row["cosine"]) for row in found] == pytest.approx(-np.sort(-scores[caption])[:5], abs=2e-6)
        assert [row["caption"] for row in found] == [texts[caption]] * 5
        assert [row["right"] == "1" for row in found] == [row["image"] == names[owners[caption]] for row in found]
    table = rows_of(out / "image_to_text.csv")
    assert [float(row["cosine"]) for row in table[:5]] == pytest.approx(-np.sort(-scores[:, 0])[:5], abs=2e-6)
    told = json.loads((out / "retrieval.json").read_text())
    hits = [owners[c] in np.argsort(-scores[c])[:5] for c in range(len(texts))]
    assert told["recall_percent"]["text_to_image_r5"] == pytest.approx(100 * np.mean(hits), abs=100 * 2 / len(texts))
    assert f"R@5 {told['recall_percent']['text_to_image_r5']:.1f} %" in capsys.readouterr().out
    page = (out / "index.html").read_text()
    assert len(page_images(page)) == 24 * 5 + 24
    assert "guessing" in page
    assert "http" not in page


def test_a_folder_is_searched_by_given_captions(damsm: Path, toy_root: Path, cosines: tuple, tmp_path: Path) -> None:
    names = cosines[2]
    folder = toy_root / "images"
    one = retrieve(damsm, CAPTIONS[0], images=folder, top=3)
    assert one.image_to_text is None
    assert not one.recalls
    assert [found.right for found in one.text_to_image.of(0)] == [None] * 3
    assert set(names) < set(one.text_to_image.names)
    (tmp_path / "more.txt").write_text(f"\n{CAPTIONS[1]}\n")
    arguments = [CAPTIONS[0], "--file", str(tmp_path / "more.txt"), "--images", str(folder), "--top", "3"]
    assert main(["retrieve", str(damsm), *arguments, "--out", str(tmp_path / "out"), "--no_progress"]) == 0
    table = rows_of(tmp_path / "out" / "text_to_image.csv")
    assert [row["image"] for row in table[:3]] == [found.name for found in one.text_to_image.of(0)]
    assert {row["caption"] for row in table} == set(CAPTIONS[:2])
    assert "right" not in table[0]


def test_a_generators_checkpoint_searches_with_its_damsm(damsm: Path, toy_root: Path, tmp_path: Path) -> None:
    checkpoint = write_gan(tmp_path / "last.ckpt", gan(damsm))
    folder = toy_root / "images"
    found = [retrieve(path, CAPTIONS[0], images=folder, top=4).text_to_image.of(0) for path in (damsm, checkpoint)]
    assert found[0] == found[1]


def test_captions_that_cannot_be_read_are_named_and_the_others_looked_for(
    damsm: Path, toy_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = toy_root / "images", tmp_path / "out"
    arguments = ["retrieve", str(damsm), "zyx", CAPTIONS[0], "--images", str(folder), "--out", str(out)]
    assert main([*arguments, "--no_progress"]) == 1
    assert "knows no word of 'zyx'" in capsys.readouterr().err
    assert {row["caption"] for row in rows_of(out / "text_to_image.csv")} == {CAPTIONS[0]}


def test_what_is_missing_is_asked_for(damsm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases = [
        (["retrieve", str(damsm), "a bird"], "what is searched?"),
        (["retrieve", str(damsm), "--images", str(tmp_path)], "what is looked for"),
        (["retrieve", str(damsm), "a bird", "--images", str(tmp_path)], "no images"),
        (["embed", str(damsm), "--out", "x.npy"], "what is to be embedded?"),
        (["embed", str(damsm), "--out", "x.txt", "--images", str(tmp_path)], ".npy or .safetensors"),
    ]
    for arguments, told in cases:
        assert main(arguments) == 1
        assert told in capsys.readouterr().err


def test_a_damaged_image_stops_or_is_left_out(
    damsm: Path, toy_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, image in enumerate(read_source("cub", toy_root)["test"][:3]):
        (folder / f"{number}.png").write_bytes(image.path.read_bytes())
    (folder / "1.png").write_bytes((folder / "1.png").read_bytes()[:300])
    arguments = ["embed", str(damsm), "--images", str(folder), "--out", str(tmp_path / "e.npy"), "--no_progress"]
    assert main(arguments) == 1
    assert "image 1: " in capsys.readouterr().err
    assert main([*arguments, "--skip_bad"]) == 0
    assert [row["image"] for row in rows_of(tmp_path / "e.images.csv")] == ["0", "2"]
    assert np.load(tmp_path / "e.images.npy").shape == (2, 16)


def test_vectors_are_those_of_the_encoders_in_both_formats(
    damsm: Path, toy_root: Path, cosines: tuple, tmp_path: Path
) -> None:
    scores, texts, names, owners = cosines
    arguments = ["embed", str(damsm), "--data", str(toy_root), "--no_progress", "--out"]
    assert main([*arguments, str(tmp_path / "e.safetensors"), "--unit"]) == 0
    assert main([*arguments, str(tmp_path / "e.npy")]) == 0
    arrays = load_file(tmp_path / "e.safetensors")
    np.testing.assert_allclose(arrays["captions"] @ arrays["images"].T, scores, atol=2e-6)
    rows = rows_of(tmp_path / "e.captions.csv")
    assert [(row["caption"], row["image"]) for row in rows] == [
        (t, names[o]) for t, o in zip(texts, owners, strict=True)
    ]
    raw = np.load(tmp_path / "e.captions.npy")
    np.testing.assert_allclose(raw / np.linalg.norm(raw, axis=1, keepdims=True), arrays["captions"], atol=1e-6)
    assert np.abs(np.linalg.norm(raw, axis=1) - 1).max() > 1e-3


def test_a_generators_own_file_embeds_captions_alone(
    damsm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = open_checkpoint(write_gan(tmp_path / "last.ckpt", gan(damsm)))
    file = tmp_path / "generator.safetensors"
    write_generator(file, opened.generator(), opened.caption_reader(), word_limit=12)
    (tmp_path / "captions.txt").write_text("\n".join(CAPTIONS))
    captions = ["--captions", str(tmp_path / "captions.txt"), "--out", str(tmp_path / "e.npy"), "--no_progress"]
    assert main(["embed", str(file), *captions]) == 0
    expected = open_checkpoint(damsm).damsm().encode_captions(CAPTIONS).sentence.detach()
    np.testing.assert_allclose(np.load(tmp_path / "e.captions.npy"), expected, atol=1e-6)
    assert main(["embed", str(file), *captions, "--images", str(tmp_path)]) == 1
    capsys.readouterr()
