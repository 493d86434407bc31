"""A generator with random weights, served."""

import pytest

from attngan.checkpoint import open_checkpoint
from attngan.sampling import Sampler
from attngan.text.vocabulary import Vocabulary
from tests.tiny import CAPTIONS, gan, write_damsm, write_gan


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gan")
    return write_gan(folder / "bird.ckpt", gan(write_damsm(folder / "damsm.ckpt", Vocabulary.from_captions(CAPTIONS))))


@pytest.fixture(scope="session")
def sampler(checkpoint):
    return Sampler.of(open_checkpoint(checkpoint), "cpu")
