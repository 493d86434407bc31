"""Generators without text or of precomputed embeddings, streamed splits, colour truth, limits of words."""

import os

import numpy as np
import pytest
import torch

from attngan.checkpoint import open_checkpoint, write_generator
from attngan.data.datamodule import TextImageDataModule
from attngan.data.sources.registry import read_source
from attngan.data.sources.shards import write_shards
from attngan.evaluation.image_files import ImageFiles
from attngan.evaluation.metric_table import larger_is_better
from attngan.evaluation.scored_images import DrawnImages, read_split, split_of
from attngan.evaluation.scorers import DamsmScorer
from attngan.networks.multistage import StackGANPlusPlusGenerator
from attngan.sampling import Sampler
from attngan.toy_birds.captions import COLOURS, PARTS, named_colours
from attngan.toy_birds.colour_probe import ColourProbe
from tests.commands.test_evaluate import run
from tests.evaluation.conftest import write_damsm
from tests.evaluation.test_untrained import write_small_generator

EMBED = 6


def write_plus_plus(folder, embed_dim):
    """A file of a generator without DAMSM whose input shows in its pictures."""
    torch.manual_seed(4)
    generator = StackGANPlusPlusGenerator(
        stages=1, width=4, embed_dim=embed_dim, noise_dim=4, condition_dim=4, residual_blocks=1, base_size=32
    ).eval()
    for parameter in generator.parameters():
        parameter.data.mul_(2)
    write_generator(folder / "generator.safetensors", generator, None, None, 1, 16)
    return folder / "generator.safetensors"


# --- without text -----------------------------------------------------------------------------------------------------


def test_a_generator_without_text_has_the_scores_that_need_none(tmp_path, toy_root):
    checkpoint = write_plus_plus(tmp_path, None)
    metrics = ["is", "fid", "kid", "precision_recall"]
    result = run(tmp_path, toy_root, checkpoint=checkpoint, metrics=metrics, untrained=True, write_images=True)
    for name in ("is", "fid", "kid", "precision", "recall"):
        assert f"{name}_50_tiny" in result["scores"]
    assert "fid_50_tiny_of_untrained_generator" in result["scores"]
    assert (result["subject"]["reads"], result["subject"]["captions"]) == ("nothing", 0)
    names = ImageFiles(tmp_path / "out" / "images").names
    assert len(names) == 50
    assert names[7] == "000007_seed0.png"
    # usual scores about captions are left out, and it is said why
    usual = run(tmp_path, toy_root, checkpoint=checkpoint, metrics=None, protocol="attngan", out=tmp_path / "b")
    assert list(usual["left_out"]) == ["r_precision"]
    assert any("reads no text" in reason for reason in usual["protocol"]["departures"])
    assert not usual["protocol"]["completed"]


@pytest.mark.parametrize("metric", ["r_precision", "clip", "diversity", "colour_truth"])
def test_scores_about_captions_are_refused_without_text(tmp_path, toy_root, metric):
    with pytest.raises(ValueError, match=f"{metric}.*trained without text"):
        run(tmp_path, toy_root, checkpoint=write_plus_plus(tmp_path, None), metrics=[metric])


# --- precomputed embeddings -------------------------------------------------------------------------------------------


def write_embeddings(folder, toy_root):
    """Of each split; each caption's embedding tells which it is."""
    split = read_split(toy_root, "cub", "test", 32)
    for name in ("train", "test"):
        images = read_split(toy_root, "cub", name, 32).images if name == "test" else None
        count = len(images) if images else 64
        values = np.random.default_rng(len(name)).normal(size=(count, 10, EMBED)).astype(np.float32)
        np.save(folder / f"{name}.npy", values)
    return split, np.load(folder / "test.npy"), str(folder / "{split}.npy")


def test_a_generator_of_embeddings_draws_each_captions_own(tmp_path, toy_root, scorer_file):
    plain, values, pattern = write_embeddings(tmp_path, toy_root)
    checkpoint = write_plus_plus(tmp_path, EMBED)
    split = read_split(toy_root, "cub", "test", 32, text_embeddings=pattern)
    assert split.captions == plain.captions
    flat = torch.from_numpy(values).flatten(0, 1)
    assert list(split.embedded) == list(range(len(flat)))
    assert torch.equal(split.embeddings([3, 17, 40]), flat[[3, 17, 40]])

    images = DrawnImages(Sampler.load(checkpoint, "cpu"), split, 20, seed=1)
    drawn = torch.cat(list(images.batches(0, 7)))
    sampler = Sampler.load(checkpoint, "cpu")
    expected = sampler.draw(flat[images.captions], range(20), 1).images[-1]
    assert (drawn.float() / 127.5 - 1 - expected).abs().max() < 2 / 255

    metrics = ["is", "r_precision", "diversity"]
    given = {"checkpoint": checkpoint, "metrics": metrics, "scorer": scorer_file, "text_embeddings": pattern}
    result = run(tmp_path, toy_root, **given, untrained=True)
    assert result["subject"]["reads"] == "embeddings"
    assert result["scorer"]["trained_the_generator"] is False
    assert any(name.startswith("r_precision_50") for name in result["scores"])
    with pytest.raises(ValueError, match="--text_embeddings"):
        run(tmp_path, toy_root, **given | {"text_embeddings": None}, out=tmp_path / "b")


# --- streamed splits --------------------------------------------------------------------------------------------------


def test_a_streamed_training_split_is_scored_like_its_files(toy_root, tmp_path, sampler, monkeypatch):
    files = read_source("cub", toy_root)
    write_shards({"train": files["train"], "validation": files["test"], "test": files["test"]}, tmp_path / "s", 20)
    split = read_split(tmp_path / "s", "shards", "train", 32)
    assert split.random_crop is None
    assert len(split.images) == 64
    position_of = {image.name: position for position, image in enumerate(files["train"])}
    plain = TextImageDataModule(str(toy_root), image_size=32, stages=1, validation="published")
    plain.setup()
    of_files = split_of(plain, "train")
    crops, expected = torch.cat(list(split.crops(0))), torch.cat(list(of_files.crops(0)))
    for row, image in enumerate(split.images):
        assert torch.equal(crops[row], expected[position_of[image.name]])
    assert torch.equal(torch.cat(list(split.crops(30))), crops[30:])

    arguments = {"source": "shards", "split": "train", "metrics": ["fid", "kid"], "untrained": False}
    result = run(tmp_path, tmp_path / "s", **arguments)
    same = run(tmp_path, tmp_path / "s", **arguments, out=tmp_path / "again")
    assert same["scores"] == result["scores"]
    # other shards under the same names are other images
    shard = tmp_path / "s" / "train-000001.tar"
    before = split.fingerprint
    os.utime(shard, ns=(1, 1))
    assert read_split(tmp_path / "s", "shards", "train", 32).fingerprint != before


# --- colour truth -----------------------------------------------------------------------------------------------------


def write_probe(folder):
    """A probe that says one colour of every part of every image."""
    probe = ColourProbe(["a"], torch.tensor([[0, 0, 0, 0]]), width=4, size=32).eval()
    with torch.no_grad():
        probe.class_head.colour_head.weight.zero_()
        probe.class_head.colour_head.bias[:, list(COLOURS).index("red")] = 9
    probe.save(folder / "probe.safetensors")
    return folder / "probe.safetensors"


def test_colour_truth_is_counted_as_by_hand(tmp_path, toy_root, sampler):
    result = run(tmp_path, toy_root, metrics=["is"], colour_probe=write_probe(tmp_path), untrained=False)
    name = next(name for name in result["scores"] if name.startswith("colour_truth_50_toy-colour-probe"))
    assert result["colour_probe"]["sha256"][:8] in name
    assert {f"{name}_of_real_images", f"{name}_of_shuffled_captions"} <= set(result["scores"])
    split = read_split(toy_root, "cub", "test", 32)
    captions = DrawnImages(sampler, split, 50).captions
    named = [colour for i in captions for colour in named_colours(split.captions[i]).values()]
    assert len(PARTS) == 4
    score = result["scores"][name]
    assert score["value"] == pytest.approx(100 * named.count("red") / len(named))
    assert score["std_over"] == f"{len(named)} named colours (standard error)"


# --- what else --------------------------------------------------------------------------------------------------------


def test_the_scorer_reads_as_many_words_as_the_generator(tmp_path, vocabulary, toy_root):
    path = write_damsm(tmp_path / "other.safetensors", vocabulary, seed=8)
    long = " ".join(["red"] * 20 + ["small"] * 10)
    at_20, at_25 = (DamsmScorer(open_checkpoint(path), word_limit=limit).encode([long])[1] for limit in (20, None))
    assert not torch.allclose(at_20, at_25)
    checkpoint = write_small_generator(tmp_path, vocabulary, word_limit=20)
    result = run(tmp_path, toy_root, checkpoint=checkpoint, metrics=["r_precision"], scorer=path)
    assert (result["subject"]["word_limit"], result["scorer"]["word_limit"]) == (20, 20)


def test_images_are_written_though_the_pass_is_kept(tmp_path, toy_root, sampler):
    run(tmp_path, toy_root)
    sampler.drawn = 0
    run(tmp_path, toy_root, write_images=True)
    assert sampler.drawn == 50
    assert len(ImageFiles(tmp_path / "out" / "images")) == 50
    first = ImageFiles(tmp_path / "out" / "images").names[0]
    (tmp_path / "out" / "images" / first).unlink()
    sampler.drawn = 0
    run(tmp_path, toy_root, write_images=True)
    assert sampler.drawn == 1


def test_given_images_in_another_order_are_looked_at_anew(tmp_path, toy_root, sampler, scorer_file):
    """The order follows the seed: rows kept in another order would meet other images' captions."""
    run(tmp_path, toy_root, write_images=True)
    given = {"checkpoint": None, "images": tmp_path / "out" / "images", "image_size": 32, "count": None}
    given |= {"metrics": ["is", "r_precision"], "scorer": scorer_file}
    run(tmp_path, toy_root, **given, out=tmp_path / "b", seed=0)
    after = run(tmp_path, toy_root, **given, out=tmp_path / "b", seed=1)["scores"]
    fresh = run(tmp_path, toy_root, **given, out=tmp_path / "c", seed=1)["scores"]
    assert after == fresh


def test_what_decides_a_number_stands_in_its_name(tmp_path, toy_root, sampler):
    given = {"metrics": ["is", "fid"], "count": 20}
    names = set(run(tmp_path, toy_root, **given, truncation=0.5)["scores"])
    assert {"is_20_tiny_truncated0.5", "fid_20_tiny_truncated0.5"} <= names
    names = set(run(tmp_path, toy_root, **given, split="validation", out=tmp_path / "b")["scores"])
    assert {"is_20_tiny_validation", "fid_20_tiny_validation"} <= names
    names = set(run(tmp_path, toy_root, **given, protocol="dfgan", out=tmp_path / "c")["scores"])
    assert {"is_20_tiny_truncated0.88", "fid_20_tiny_truncated0.88_augmented"} <= names


def test_images_of_another_drawing_are_not_mixed(tmp_path, toy_root, sampler):
    run(tmp_path, toy_root, write_images=True)
    with pytest.raises(ValueError, match="images of another drawing"):
        run(tmp_path, toy_root, write_images=True, count=20)


def test_real_images_of_another_size_are_a_departure(tmp_path, toy_root, sampler):
    result = run(tmp_path, toy_root, protocol="attngan", image_size=24)
    assert any("24 px" in reason for reason in result["protocol"]["departures"])


def test_r_precision_alone_does_not_complete_a_protocol(tmp_path, toy_root, sampler, scorer_file):
    result = run(tmp_path, toy_root, protocol="attngan", metrics=["r_precision"], scorer=scorer_file)
    assert "images 50 instead of 30000" in result["protocol"]["departures"]


@pytest.mark.parametrize(
    ("name", "larger"),
    [
        ("fid_1k_quick", False),
        ("fid_infinity_50_tiny", False),
        ("is_50_tiny", True),
        ("r_precision_50_damsm-1_that_trained_the_generator", True),
        ("clip_r_precision_50_x", True),
        ("kid_50_tiny", False),
    ],
)
def test_which_values_are_better(name, larger):
    assert larger_is_better(name) is larger
    with pytest.raises(ValueError, match="not the name of a score"):
        larger_is_better("diversity_50x8_tiny")


def test_split_of_needs_no_captions(toy_root):
    data = TextImageDataModule(str(toy_root), image_size=32, stages=1, captions_per_image=0)
    data.setup()
    split = split_of(data, "test")
    assert split.captions == []
    assert len(torch.cat(list(split.crops(0)))) == len(split.images) == 24
