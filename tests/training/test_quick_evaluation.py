"""The quick protocol while training: best and last are kept, and the training does not notice."""

import json

import pytest
import torch
from pytorch_lightning import Trainer, seed_everything

from attngan.checkpoint import write_generator
from attngan.data.datamodule import TextImageDataModule
from attngan.networks.discriminators import DiscriminatorPyramid
from attngan.networks.multistage import AttnGANGenerator
from attngan.sampling import Sampler
from attngan.training.gan_module import GANModule
from attngan.training.quick_evaluation import QuickEvaluation, best_of
from tests.commands.test_evaluate import EXTRACTOR
from tests.evaluation.conftest import write_damsm


@pytest.fixture(scope="module")
def data(toy_root):
    module = TextImageDataModule(str(toy_root), image_size=32, stages=1, batch_size=16, workers=0)
    module.setup()
    return module


def train(data, folder, callback=True, epochs=2):
    seed_everything(0)
    module = GANModule(
        AttnGANGenerator(stages=1, width=2, embed_dim=16, noise_dim=4, condition_dim=4, base_size=32),
        DiscriminatorPyramid((32,), width=4, embed_dim=16),
        write_damsm(folder / "damsm.safetensors", data.vocabulary),
    )
    quick = QuickEvaluation(folder / "quick", every_epochs=1, extractor=EXTRACTOR, count=40)
    trainer = Trainer(
        max_epochs=epochs,
        callbacks=[quick] if callback else [],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        limit_val_batches=0,
        default_root_dir=folder,
    )
    trainer.fit(module, data)
    return module, quick


def test_best_and_last_are_kept_and_can_be_drawn_from(data, tmp_path):
    module, quick = train(data, tmp_path)
    kept = json.loads((tmp_path / "quick" / "history.json").read_text())
    assert [record["epoch"] for record in kept["history"]] == [1, 2]
    assert kept["last"]["epoch"] == 2
    fids = [record["scores"]["fid_40_tiny"] for record in kept["history"]]
    assert kept["best"]["fid_40_tiny"]["value"] == min(fids)
    assert kept["best"]["is_40_tiny"]["value"] == max(record["scores"]["is_40_tiny"] for record in kept["history"])
    files = sorted(path.name for path in (tmp_path / "quick").glob("*.safetensors"))
    assert files == ["best_fid.safetensors", "best_is.safetensors", "best_kid.safetensors"]
    caption = data.split("validation").images[0].captions[0]
    at_best = Sampler.load(tmp_path / "quick" / "best_fid.safetensors", "cpu").draw([caption], [0]).images[-1]
    last = (
        Sampler(module.ema.generator, module.damsm.text_encoder, module.damsm.vocabulary)
        .draw([caption], [0])
        .images[-1]
    )
    assert torch.allclose(at_best, last) == (fids[1] < fids[0])
    fresh = QuickEvaluation()
    fresh.load_state_dict(quick.state_dict())
    assert fresh.history == quick.history


def test_training_is_the_same_without_it(data, tmp_path):
    for name in ("with", "without"):
        (tmp_path / name).mkdir()
    with_it, _ = train(data, tmp_path / "with")
    without, _ = train(data, tmp_path / "without", callback=False)
    for one, other in zip(with_it.parameters(), without.parameters(), strict=True):
        assert torch.equal(one, other)


def test_best_is_the_earliest_of_equals_and_never_nan():
    history = [
        {"epoch": e, "steps": 10 * e, "scores": {"fid_1k_quick": value, "is_1k_quick": value}}
        for e, value in enumerate([5.0, 3.0, float("nan"), 3.0, 4.0], 1)
    ]
    assert best_of(history, "fid_1k_quick") == {"value": 3.0, "epoch": 2, "steps": 20}
    assert best_of(history, "is_1k_quick")["epoch"] == 1


def test_a_best_generator_of_another_future_is_removed(tmp_path, capsys):
    from tests.tiny import gan

    generator = gan(None, matching=0.0, condition="sentence").ema.generator
    quick = QuickEvaluation(tmp_path, every_epochs=1)
    quick.history = [
        {"epoch": 1, "steps": 10, "scores": {"fid_40_tiny": 5.0, "is_40_tiny": 1.0}},
        {"epoch": 2, "steps": 20, "scores": {"fid_40_tiny": 7.0, "is_40_tiny": 2.0}},
    ]
    for kind, steps in (("fid", 30), ("is", 20)):  # at step 30 of what came after the checkpoint
        write_generator(tmp_path / f"best_{kind}.safetensors", generator, steps=steps)
    quick._drop_files_of_another_future()
    assert [path.name for path in tmp_path.iterdir()] == ["best_is.safetensors"]
    assert "best_fid.safetensors is of step 30" in capsys.readouterr().out
