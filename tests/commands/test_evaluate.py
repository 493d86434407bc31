"""`attngan evaluate` on a stand-in generator: what is in the result, under which names, and what it refuses."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from attngan.checkpoint import write_generator
from attngan.commands.evaluate import evaluate
from attngan.evaluation.image_files import ImageFiles, caption_in_name
from attngan.evaluation.networks import _choose_damsm
from attngan.evaluation.request import Request
from attngan.evaluation.scored_images import caption_order, read_split
from attngan.extractors.extractor import FeatureExtractor
from attngan.extractors.named import state_sha256
from tests.tiny import gan


def tiny_extractor():
    torch.manual_seed(1)
    body = nn.Sequential(nn.Conv2d(3, 8, 5, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    head = nn.Linear(32, 6)
    head.weight.data *= 20
    sha256 = state_sha256(body.state_dict())
    return FeatureExtractor("tiny", sha256, body, head, 16, "antialias", ((1 / 127.5,) * 3, (-1.0,) * 3))


EXTRACTOR = f"{__name__}:tiny_extractor"


def run(tmp_path, toy_root, **changes):
    arguments = {
        "checkpoint": tmp_path / "generator.ckpt",
        "data": toy_root,
        "metrics": ["is"],
        "count": 50,
        "extractor": EXTRACTOR,
        "out": tmp_path / "out",
        "progress": False,
        "device": "cpu",
    }
    return evaluate(**{**arguments, **changes})


def test_inception_score_names_count_and_extractor(tmp_path, toy_root, sampler):
    result = run(tmp_path, toy_root)
    score = result["scores"]["is_50_tiny"]
    assert 1 < score["value"] < 6
    assert score["std_over"] == "10 splits"
    assert result["extractor"]["sha256"] == tiny_extractor().sha256
    assert result["subject"]["checkpoint_sha256"] == "fake"
    assert (result["subject"]["seed"], result["images"]) == (0, 50)
    assert json.loads((tmp_path / "out" / "scores.json").read_text()) == json.loads(json.dumps(result))


def test_score_does_not_depend_on_the_batch_size_but_on_the_seed(tmp_path, toy_root, sampler):
    changes = [{"batch_size": 50}, {"batch_size": 7}, {"seed": 1}]
    results = [run(tmp_path, toy_root, out=tmp_path / str(i), **c) for i, c in enumerate(changes)]
    first, other_batch, other_seed = (result["scores"]["is_50_tiny"]["value"] for result in results)
    assert other_batch == pytest.approx(first, rel=1e-5)
    assert abs(other_seed - first) > 1e-4


def test_goes_on_after_an_interruption_with_the_same_score(tmp_path, toy_root, sampler, monkeypatch):
    whole = run(tmp_path, toy_root, out=tmp_path / "whole", batch_size=10)
    draw, calls = sampler.draw, []

    def failing_draw(*args):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return draw(*args)

    monkeypatch.setattr(sampler, "draw", failing_draw)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, toy_root, batch_size=10)
    monkeypatch.setattr(sampler, "draw", draw)
    sampler.drawn = 0
    assert run(tmp_path, toy_root, batch_size=10)["scores"] == whole["scores"]
    assert sampler.drawn == 30  # twenty had been looked at


def test_written_images_score_the_same_from_a_folder(tmp_path, toy_root, sampler, scorer_file):
    metrics = ["is", "r_precision"]
    drawn = run(tmp_path, toy_root, write_images=True, metrics=metrics, scorer=scorer_file, splits=1)
    files = ImageFiles(tmp_path / "out" / "images")
    assert len(files) == 50
    assert all(caption_in_name(name) is not None for name in files.names)
    given = run(
        tmp_path,
        toy_root,
        checkpoint=None,
        images=tmp_path / "out" / "images",
        image_size=32,
        out=tmp_path / "given",
        metrics=metrics,
        scorer=scorer_file,
        splits=1,
        count=None,
    )
    assert given["scores"]["is_50_tiny"]["value"] == pytest.approx(drawn["scores"]["is_50_tiny"]["value"], rel=1e-5)
    assert given["scores"].keys() == drawn["scores"].keys()


def test_r_precision_comes_with_real_and_shuffled(tmp_path, toy_root, sampler, scorer_file):
    result = run(tmp_path, toy_root, metrics=["r_precision"], scorer=scorer_file, count=60)
    name = f"r_precision_60_damsm-{result['scorer']['weights_sha256'][:8]}"
    assert set(result["scores"]) == {name, f"{name}_of_real_images", f"{name}_of_shuffled_captions"}
    # the stand-ins know nothing of each other
    assert all(score["value"] < 15 for score in result["scores"].values())
    assert result["extractor"] is None
    assert result["scorer"]["trained_the_generator"] is False


def test_own_scorer_is_named_and_warned_of(tmp_path, toy_root, sampler, scorer_file):
    with pytest.warns(UserWarning, match="flatters"):
        result = run(tmp_path, toy_root, checkpoint=scorer_file, metrics=["r_precision"])
    assert result["scorer"]["trained_the_generator"] is True
    assert all("_that_trained_the_generator" in name for name in result["scores"])
    # a copy of the same encoder under another name is still the same encoder
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(scorer_file.read_bytes())
    again = run(tmp_path, toy_root, checkpoint=scorer_file, scorer=copy, metrics=["r_precision"], out=tmp_path / "b")
    assert again["scorer"]["trained_the_generator"] is True


def test_uncompleted_protocol_is_not_named(tmp_path, toy_root, sampler):
    result = run(tmp_path, toy_root, protocol="attngan")
    assert set(result["scores"]) == {"is_50_tiny", "is_50_tiny_of_real_images"}
    assert not result["protocol"]["completed"]
    reasons = " ".join(result["protocol"]["departures"])
    assert "images 50 instead of 30000" in reasons
    assert "extractor tiny instead of inception-tf" in reasons


def test_every_score_of_drawn_real_and_untrained_in_one_run(tmp_path, toy_root, sampler, scorer_file):
    metrics = ["is", "fid", "fid_infinity", "kid", "precision_recall", "r_precision", "diversity"]
    result = run(tmp_path, toy_root, metrics=metrics, scorer=scorer_file, count=120)
    values = {name: score["value"] for name, score in result["scores"].items()}
    assert values["fid_120_tiny"] > 5 * values["fid_120_tiny_of_real_halves"] > 0  # coloured noise is no bird
    assert values["kid_120_tiny"] > 10 * abs(values["kid_120_tiny_of_real_halves"])
    assert values["precision_120_tiny"] < 0.2 < values["precision_120_tiny_of_real_halves"]
    assert values["is_120_tiny_of_real_images"] > 1
    diversity = [name for name in values if name.startswith("diversity_50x8")]
    assert len(diversity) == 2
    assert values["diversity_50x8_tiny"] < values["diversity_50x8_tiny_of_different_captions"]


def test_reference_is_kept_until_the_images_change(tmp_path, toy_root, sampler, monkeypatch):
    from attngan.evaluation.reference import RealCrops

    root = tmp_path / "birds"
    shutil.copytree(toy_root, root, ignore=shutil.ignore_patterns("scored-*"))
    looked, crops = [], RealCrops.__call__

    def counting(self, start):
        looked.append(start)
        return crops(self, start)

    monkeypatch.setattr(RealCrops, "__call__", counting)
    first = run(tmp_path, root, metrics=["fid"])["scores"]
    again = run(tmp_path, root, metrics=["fid"], out=tmp_path / "b")["scores"]
    assert len(looked) == 1
    assert first == again
    changed = next(
        p for p in (root / "images").rglob("*.jpg") if p.parent.name in (root / "test/filenames.txt").read_text()
    )
    Image.new("RGB", Image.open(changed).size, "red").save(changed)
    with pytest.warns(UserWarning, match="computed with other fingerprint"):
        other = run(tmp_path, root, metrics=["fid"], out=tmp_path / "c")["scores"]
    assert len(looked) == 2
    assert other["fid_50_tiny"] != first["fid_50_tiny"]


def test_reference_from_a_folder_a_zip_and_published_statistics(tmp_path, toy_root, sampler, scorer_file):
    run(tmp_path, toy_root, write_images=True)
    folder = tmp_path / "out" / "images"
    archive = shutil.make_archive(str(tmp_path / "images"), "zip", folder)
    same = run(tmp_path, toy_root, reference=folder, metrics=["fid"], out=tmp_path / "a")["scores"]["fid_50_tiny"]
    zipped = run(tmp_path, toy_root, reference=Path(archive), metrics=["fid"], out=tmp_path / "b")["scores"][
        "fid_50_tiny"
    ]
    assert abs(same["value"]) < 1e-3
    assert abs(zipped["value"]) < 1e-3
    features = tiny_extractor()(torch.cat(list(ImageFiles(folder).batches()))).features.double().numpy()
    np.savez(tmp_path / "known.npz", mu=features.mean(0), sigma=np.cov(features, rowvar=False))
    known = run(tmp_path, toy_root, reference=tmp_path / "known.npz", metrics=["fid"], out=tmp_path / "c")
    assert abs(known["scores"]["fid_50_tiny"]["value"]) < 1e-3
    assert known["reference"]["sha256"]
    judged = run(tmp_path, toy_root, reference=folder, metrics=["r_precision"], scorer=scorer_file, out=tmp_path / "e")
    assert len(judged["scores"]) == 3  # scores by captions compare with the split's real images all the same
    with pytest.raises(ValueError, match="published statistics serve FID alone"):
        run(tmp_path, toy_root, reference=tmp_path / "known.npz", metrics=["kid"], out=tmp_path / "d")


def test_dfgan_reference_is_augmented_and_its_noise_truncated(tmp_path, toy_root, sampler, monkeypatch):
    from attngan.evaluation import protocols

    small = dataclasses.replace(protocols.PROTOCOLS["dfgan"], images=60, reference_images=70, extractor="tiny")
    monkeypatch.setitem(protocols.PROTOCOLS, "dfgan", small)
    drawn = []
    draw = sampler.draw
    monkeypatch.setattr(sampler, "draw", lambda *args: drawn.append(args[3]) or draw(*args))
    result = run(tmp_path, toy_root, protocol="dfgan", metrics=["fid"], count=None)
    assert set(drawn) == {0.88}
    assert result["reference"]["crops"] == "augmented"
    assert result["reference"]["images"] == 70
    assert result["images"] == 60


def test_completed_protocol_stands_in_the_name(tmp_path, toy_root, sampler, monkeypatch):
    from attngan.evaluation import protocols

    small = dataclasses.replace(
        protocols.PROTOCOLS["dmgan"], images=130, extractor="tiny", resize="antialias", batch=50
    )
    monkeypatch.setitem(protocols.PROTOCOLS, "dmgan", small)
    uncompleted = run(tmp_path, toy_root, protocol="dmgan", metrics=["is"], count=99)
    assert next(iter(uncompleted["scores"])) == "is_50_tiny"
    # the last partial batch is drawn and dropped, as the protocol says
    completed = run(tmp_path, toy_root, protocol="dmgan", metrics=["is"], count=None, out=tmp_path / "b")
    assert completed["protocol"]["completed"]
    assert next(iter(completed["scores"])) == "is_100_dmgan"
    other_seed = run(tmp_path, toy_root, protocol="dmgan", metrics=["is"], count=None, seed=3, out=tmp_path / "c")
    assert next(iter(other_seed["scores"])) == "is_100_tiny"


def test_refusals_say_what_to_do(tmp_path, toy_root, sampler, monkeypatch):
    with pytest.raises(ValueError, match="either --checkpoint or --images"):
        evaluate()
    with pytest.raises(ValueError, match="--data"):
        run(tmp_path, toy_root, data=None)
    with pytest.raises(ValueError, match="finetune-classifier"):
        run(tmp_path, toy_root, protocol="stackgan", extractor=None)
    with pytest.raises(ValueError, match="each image's caption"):
        run(tmp_path, toy_root, checkpoint=None, images=toy_root / "images", metrics=["r_precision"], image_size=32)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *a, **k: (_ for _ in ()).throw(OSError("offline")))
    with pytest.raises(FileNotFoundError, match="--extractor efficientnet-lite0"):
        run(tmp_path, toy_root, extractor=None)


def test_real_images_are_the_data_modules_centre_crops(toy_root):
    from attngan.data.datamodule import TextImageDataModule

    split = read_split(toy_root, "cub", "test", 32)
    data = TextImageDataModule(str(toy_root), image_size=32, stages=1)
    data.setup()
    crops = torch.cat(list(data.full_images("test", 32)))
    assert torch.equal(torch.cat(list(split.crops(0))), crops)
    assert torch.equal(next(split.crops(5))[0], crops[5])
    assert len(split.captions) == 10 * len(crops)


def test_captions_are_used_equally_often():
    order = caption_order(list(range(10, 17)), 40, seed=3)
    counts = [order.count(caption) for caption in range(10, 17)]
    assert sum(counts) == 40
    assert max(counts) - min(counts) <= 1
    assert order[:7] != sorted(order[:7])
    assert caption_order(list(range(10, 17)), 20, seed=3) == order[:20]


def test_a_generator_without_a_damsm_names_what_judges_it(tmp_path):
    alone = tmp_path / "g.safetensors"
    write_generator(alone, gan(None, matching=0.0).ema.generator)
    with pytest.raises(ValueError, match=r"g\.safetensors holds none: .*--scorer.*--metrics"):
        _choose_damsm(Request(checkpoint=alone), None, None, "cpu")


def test_the_table_is_readable_and_fits_80_columns(tmp_path, toy_root, sampler, scorer_file, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    run(tmp_path, toy_root, metrics=["is", "fid", "r_precision"], scorer=scorer_file, count=120, progress=True)
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80 + len(str(tmp_path))  # the path of scores.json
    for title in ("Inception Score ↑", "FID ↓", "R-precision ↑ (%)", "shuffled captions", "120 images, seed 0"):
        assert title in printed
    assert "sha256" not in printed.lower()
    assert "_damsm-" not in printed
