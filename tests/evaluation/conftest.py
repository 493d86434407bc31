"""Small stand-ins: a generator that draws flat colours, a DAMSM with random weights."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from attngan import described_weights
from attngan.checkpoint import ENTRY, Entry, load_damsm
from attngan.networks.damsm import DAMSM
from attngan.networks.image_encoder import ImageEncoder
from attngan.networks.image_trunks import ConvTrunk
from attngan.networks.text_encoder import TextEncoder
from attngan.records import GeneratedImages
from attngan.sampling import Sampler
from attngan.text.vocabulary import Vocabulary


class FakeSampler(Sampler):
    """Each image is noise whose mean is decided by the caption, whose grain by (seed, number)."""

    sha256 = "fake"
    resolution = 32
    reads = "captions"
    word_limit = 25

    def __init__(self, vocabulary):
        self.vocabulary = vocabulary
        self.drawn = 0
        self.text_encoder = TextEncoder(len(vocabulary), embed_dim=16, word_dim=8)

    def draw(self, captions, noise_numbers, seed=0, truncation=None):
        self.drawn += len(captions)
        images = []
        for caption, number in zip(captions, noise_numbers, strict=True):
            mean = np.frombuffer(hashlib.sha256(caption.encode()).digest()[:3], np.uint8) / 255 - 0.5
            grain = np.random.default_rng((seed, number)).normal(0, 0.2, (3, 32, 32))
            if truncation is not None:
                grain = grain.clip(-truncation, truncation)
            images.append(mean[:, None, None] + grain)
        stack = torch.from_numpy(np.stack(images)).float().clamp(-1, 1)
        return GeneratedImages((stack,), (), torch.zeros(len(images), 1), torch.zeros(len(images), 1))


@pytest.fixture(scope="session")
def vocabulary(toy_root):
    from attngan.data.sources.cub import read_cub

    return Vocabulary.from_captions([text for image in read_cub(toy_root, "train") for text in image.captions])


@pytest.fixture
def sampler(vocabulary, monkeypatch):
    """What ``Sampler.load`` gives for any checkpoint; one that holds a DAMSM gives it its text encoder."""
    fake = FakeSampler(vocabulary)

    def load(checkpoint, device=None):
        if Path(checkpoint).is_file():
            fake.text_encoder = load_damsm(checkpoint).text_encoder
        return fake

    monkeypatch.setattr("attngan.sampling.Sampler.load", load)
    return fake


def write_damsm(path, vocabulary, seed=0):
    torch.manual_seed(seed)
    text = TextEncoder(len(vocabulary), embed_dim=16, word_dim=8)
    damsm = DAMSM(text, ImageEncoder(ConvTrunk(32, 4), 16), vocabulary)
    state = {f"damsm.{name}": value for name, value in damsm.state_dict().items()}
    described_weights.write(path, ENTRY, Entry("damsm", damsm=damsm.describe()).as_dict(), state)
    return path


@pytest.fixture
def scorer_file(vocabulary, tmp_path):
    return write_damsm(tmp_path / "damsm.safetensors", vocabulary, seed=7)
