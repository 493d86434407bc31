"""A real, small generator: its file is scored, and an untrained one of the same design beside it."""

import torch

from attngan.checkpoint import CaptionReader, load_damsm, write_generator
from attngan.networks.multistage import AttnGANGenerator
from attngan.sampling import Sampler
from tests.commands.test_evaluate import run
from tests.evaluation.conftest import write_damsm


def write_small_generator(folder, vocabulary, word_limit=None):
    torch.manual_seed(3)
    damsm = load_damsm(write_damsm(folder / "damsm.safetensors", vocabulary))
    generator = AttnGANGenerator(stages=1, width=2, embed_dim=16, noise_dim=4, condition_dim=4, base_size=32).eval()
    text = CaptionReader(damsm.text_encoder, damsm.vocabulary)
    write_generator(folder / "generator.safetensors", generator, text, word_limit, 1, 16)
    sampler = Sampler.load(folder / "generator.safetensors", "cpu")
    assert sampler.resolution == 32
    return folder / "generator.safetensors"


def test_untrained_generator_is_scored_beside(tmp_path, toy_root, vocabulary):
    path = write_small_generator(tmp_path, vocabulary)
    result = run(tmp_path, toy_root, checkpoint=path, metrics=["is", "fid"], untrained=True)
    names = set(result["scores"])
    assert {"fid_50_tiny", "fid_50_tiny_of_untrained_generator", "is_50_tiny_of_untrained_generator"} <= names
    assert not any("untrained" in name and ("real" in name or "shuffled" in name) for name in names)
    assert len(result["subject"]["checkpoint_sha256"]) == 64
    again = run(tmp_path, toy_root, checkpoint=path, metrics=["is", "fid"], untrained=True, out=tmp_path / "b")
    assert again["scores"] == result["scores"]
