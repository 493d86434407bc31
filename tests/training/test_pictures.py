"""The pictures of a training run: the same captions and noise again and again."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from attngan.pictures import caption_grid
from attngan.training.pictures import TrainingPictures
from tests.golden_family import quiet_trainer
from tests.tiny import CAPTIONS, gan


@pytest.mark.parametrize("seed", [0, 7])
def test_captions_are_drawn_with_the_noise_of_the_seed(tiny_damsm, tmp_path, seed):
    module, captions = gan(tiny_damsm), list(CAPTIONS[:2])
    callback = TrainingPictures(tmp_path, every_steps=1, captions=captions, samples=3, seed=seed)
    trainer = quiet_trainer(1)
    trainer.datamodule = SimpleNamespace(split=lambda name: SimpleNamespace(images=[]))
    callback.on_train_end(trainer, module)

    def grid(of: int) -> np.ndarray:
        columns = [module.sampler().draw(captions, [number] * 2, of).images[-1] for number in range(3)]
        return np.asarray(caption_grid([(c, [column[i] for column in columns]) for i, c in enumerate(captions)]))

    drawn = np.asarray(Image.open(tmp_path / "samples_0000000.png"))
    assert np.array_equal(drawn, grid(seed))
    assert not np.array_equal(drawn, grid(seed + 1))
