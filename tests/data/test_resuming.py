"""A run that is interrupted, anywhere, and resumed sees what an uninterrupted one sees."""

import multiprocessing

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from attngan.data.datamodule import TextImageDataModule
from tests.data.conftest import Watcher, module, ready


def trained(root, tmp_path, workers=0, resume=None, epochs=3, model=None, callbacks=(), data=None, **options):
    model = model or Watcher()
    data = data or module(root, workers=workers, batch_size=3)
    options = {"max_epochs": epochs, **options}
    trainer = pl.Trainer(
        **options,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        callbacks=list(callbacks),
        enable_checkpointing=bool(callbacks),
    )
    try:
        trainer.fit(model, data, ckpt_path=resume)
    except (KeyboardInterrupt, SystemExit):
        assert model.fail_at is not None
    return model


@pytest.fixture
def toy(make_cub):
    return make_cub(train_classes=8)  # 7 classes to train on: 21 images, 7 batches of 3


def test_a_run_without_interruption(toy, tmp_path):
    model = trained(toy, tmp_path)
    assert [entry[:2] for entry in model.seen] == [(epoch, number) for epoch in range(3) for number in range(7)]
    for epoch in range(3):
        indices = [index for entry in model.seen if entry[0] == epoch for index in entry[2]]
        assert sorted(indices) == list(range(21))
    assert trained(toy, tmp_path, workers=2).seen == model.seen
    assert not multiprocessing.active_children()  # the workers end with the run


CHECKPOINTS = {
    "in the middle of the first epoch": {"every_n_train_steps": 4},
    "in the middle of a later epoch": {"every_n_train_steps": 11},
    "at the last batch of an epoch": {"every_n_train_steps": 14},
    "at the first batch of an epoch": {"every_n_train_steps": 8},
    "at the end of an epoch": {"every_n_epochs": 1, "save_on_train_epoch_end": True},
    "after validation at the end of an epoch": {"every_n_epochs": 1, "save_on_train_epoch_end": False},
}


LIMITS = {"epochs": {"max_epochs": 3}, "steps": {"max_epochs": -1, "max_steps": 21}}
RESUMED = [(when, limit, 0) for when in CHECKPOINTS for limit in LIMITS] + [
    ("in the middle of a later epoch", limit, 2) for limit in LIMITS
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("when", "limit", "workers"), RESUMED)
def test_resuming_sees_what_an_uninterrupted_run_sees(toy, tmp_path, when, limit, workers):
    saver = ModelCheckpoint(tmp_path / "saved", filename="{step}", save_top_k=-1, **CHECKPOINTS[when])
    whole = trained(toy, tmp_path, callbacks=[saver], **LIMITS[limit])
    first = sorted((tmp_path / "saved").glob("*.ckpt"), key=lambda path: int(path.stem.split("=")[1]))[0]
    steps = int(first.stem.split("=")[1])
    resumed = trained(toy, tmp_path, workers=workers, resume=first, **LIMITS[limit])
    assert resumed.seen == whole.seen[steps:]
    assert all((a == b).all() for a, b in zip(resumed.parameters(), whole.parameters(), strict=True))
    assert resumed.validated[-1] == whole.validated[-1]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("fail_at", [(0, 2), (1, 3), (1, 0)])
def test_a_batch_that_an_interrupt_tore_apart_is_seen_again(toy, tmp_path, fail_at):
    class SaveOnException(pl.Callback):
        def on_exception(self, trainer, pl_module, exception):
            trainer.save_checkpoint(tmp_path / "interrupted.ckpt")

    whole = trained(toy, tmp_path)
    model = Watcher()
    model.fail_at = fail_at
    trained(toy, tmp_path, model=model, callbacks=[SaveOnException()])
    done = 7 * fail_at[0] + fail_at[1]
    assert model.seen == whole.seen[:done]
    assert trained(toy, tmp_path, resume=tmp_path / "interrupted.ckpt").seen == whole.seen[done:]


@pytest.mark.filterwarnings("ignore")
def test_other_settings_in_the_middle_of_an_epoch_are_told(toy, tmp_path):
    saver = ModelCheckpoint(tmp_path / "saved", save_top_k=-1, every_n_train_steps=4)
    trained(toy, tmp_path, callbacks=[saver], epochs=1)
    loader = ready(toy, batch_size=2).train_dataloader()
    checkpoint = torch.load(next((tmp_path / "saved").glob("*.ckpt")), weights_only=True)
    (state,) = checkpoint["loops"]["fit_loop"]["state_dict"]["combined_loader"]
    with pytest.warns(UserWarning, match="the rest of this epoch is not what it would have been"):
        loader.load_state_dict(state)


def test_a_loader_of_ones_own_beside_the_trainers_starts_at_its_beginning(toy, tmp_path):
    class Looks(pl.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, number):
            loader = trainer.datamodule.train_dataloader()
            assert sum(len(own.indices) for own in loader) == 21

    assert len(trained(toy, tmp_path, callbacks=[Looks()], epochs=1).seen) == 7


# Streams


def resumed(shards, tmp_path, batch_size, epochs, workers=0, **every):
    """What a run from shards sees, and what one sees that goes on from its first checkpoint with so many workers."""

    def run(workers, **options):
        data = TextImageDataModule(str(shards), "shards", 32, 2, batch_size, workers=workers)
        return trained(shards, tmp_path, data=data, epochs=epochs, **options).seen

    saver = ModelCheckpoint(tmp_path / "saved", filename="{step}", save_top_k=-1, **every)
    whole = run(0, callbacks=[saver])
    steps, first = min((int(path.stem.split("=")[1]), path) for path in (tmp_path / "saved").glob("*.ckpt"))
    return whole[steps:], run(workers, resume=first)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("every", [{"every_n_epochs": 1, "save_on_train_epoch_end": True}, {"every_n_train_steps": 5}])
def test_streams_resume(shards, tmp_path, every):
    expected, seen = resumed(shards, tmp_path, batch_size=3, epochs=2, **every)
    assert seen == expected
    assert len(seen) == (12 if "every_n_epochs" in every else 19)


@pytest.mark.filterwarnings("ignore")
def test_streams_resume_with_other_workers_in_the_middle_of_an_epoch(shards, lanes, tmp_path):
    lanes(3)
    expected, seen = resumed(shards, tmp_path, batch_size=2, epochs=1, workers=2, every_n_train_steps=7)
    assert seen == expected
    assert len(seen) == 36 // 2 - 7  # no image is left out, although three lanes share them
