"""A vocabulary and a DAMSM for training on the toy birds."""

import pytest

from attngan.data.datamodule import TextImageDataModule
from tests.tiny import write_damsm


@pytest.fixture(scope="session")
def toy_vocabulary(toy_root):
    data = TextImageDataModule(str(toy_root), image_size=16, stages=1, batch_size=4, workers=0)
    data.setup()
    return data.vocabulary


@pytest.fixture(scope="session")
def tiny_damsm(toy_vocabulary, tmp_path_factory):
    return write_damsm(tmp_path_factory.mktemp("damsm") / "best.ckpt", toy_vocabulary)
