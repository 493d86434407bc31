"""`attngan evaluate` on real files of generators: each is read and hashed once, and what it lacks is told in a line."""

import pytest

from attngan import checkpoint
from attngan.checkpoint import CaptionReader, write_generator
from attngan.cli import main
from attngan.commands.evaluate import evaluate
from attngan.networks.discriminators import DiscriminatorPyramid
from attngan.networks.multistage import AttnGANGenerator
from attngan.training.gan_module import GANModule
from tests.commands.test_evaluate import EXTRACTOR
from tests.evaluation.conftest import write_damsm
from tests.tiny import write_gan


@pytest.fixture
def module(vocabulary, tmp_path):
    generator = AttnGANGenerator(stages=1, width=2, embed_dim=16, noise_dim=4, condition_dim=4, base_size=32)
    damsm = write_damsm(tmp_path / "damsm.safetensors", vocabulary)
    return GANModule(generator, DiscriminatorPyramid((32,), 2, 16), damsm)


def arguments(checkpoint, toy_root, tmp_path):
    return {
        "checkpoint": checkpoint,
        "data": toy_root,
        "metrics": ["is", "r_precision"],
        "count": 24,
        "extractor": EXTRACTOR,
        "out": tmp_path / "out",
        "progress": False,
        "device": "cpu",
    }


def test_a_checkpoint_is_read_and_hashed_once(module, toy_root, tmp_path, monkeypatch):
    file = write_gan(tmp_path / "gan.ckpt", module)
    counted = {"read_checkpoint": [], "file_sha256": []}
    for name, calls in counted.items():
        function = getattr(checkpoint, name)
        monkeypatch.setattr(checkpoint, name, lambda path, f=function, calls=calls: (calls.append(path), f(path))[1])
    with pytest.warns(UserWarning, match="flatters"):
        result = evaluate(**arguments(file, toy_root, tmp_path))
    assert counted == {"read_checkpoint": [file], "file_sha256": [file]}
    assert result["subject"]["checkpoint_sha256"] == result["scorer"]["sha256"] == checkpoint.file_sha256(file)
    assert result["scorer"]["trained_the_generator"]


@pytest.mark.parametrize("name", ["quick/best_fid.safetensors", "exported.ckpt"])
def test_a_generators_own_file_cannot_judge_and_says_so(module, toy_root, tmp_path, capsys, name):
    file, damsm = tmp_path / name, module.damsm
    write_generator(file, module.ema.generator, CaptionReader(damsm.text_encoder, damsm.vocabulary))
    given = arguments(file, toy_root, tmp_path)
    with pytest.raises(ValueError, match="holds none: give a checkpoint"):
        evaluate(**given)
    options = ["--checkpoint", str(file), "--data", str(toy_root), "--metrics", "r_precision", "--device", "cpu"]
    assert main(["evaluate", *options, "--out", str(tmp_path / "out")]) == 1
    assert f"R-precision is judged by a DAMSM, and {file} holds none" in capsys.readouterr().err
    assert "is_24_tiny" in evaluate(**given | {"metrics": ["is"]})["scores"]
    other = write_damsm(tmp_path / "other.safetensors", damsm.vocabulary, seed=3)
    with_scorer = evaluate(**given | {"scorer": other, "count": 120})
    assert not with_scorer["scorer"]["trained_the_generator"]
