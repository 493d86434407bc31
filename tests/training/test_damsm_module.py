"""DAMSM pretraining by the command line on toy birds; kept features of a frozen trunk."""

import json
import os
import signal

import numpy as np
import pytest
import torch
from torch import nn

from attngan.checkpoint import ENTRY, load_damsm, read_checkpoint
from attngan.cli import main
from attngan.data.datamodule import TextImageDataModule
from attngan.losses.matching import matching_loss
from attngan.networks.image_trunks import ImageTrunk
from attngan.records import TrunkFeatures
from attngan.training.damsm_module import DAMSMModule
from attngan.training.kept_features import KeptFeatures, keep_features, trunk_fingerprint
from tests.conftest import REPOSITORY
from tests.tiny import CAPTIONS, damsm_recipe, write_recipe


class FrozenTrunk(ImageTrunk):
    """A random convolution that is never trained."""

    region_channels = pooled_channels = 4
    calls = 0

    def __init__(self, input_size: int = 16, seed: int = 0) -> None:
        super().__init__()
        self.input_size = input_size
        self.network = nn.Conv2d(3, 4, 4, 4)
        draw = torch.Generator().manual_seed(seed)
        for parameter in self.network.parameters():
            nn.init.normal_(parameter, generator=draw)
        self.freeze()

    def features(self, images):
        FrozenTrunk.calls += 1
        regions = self.network(images)
        return TrunkFeatures(regions, regions.mean((2, 3)))


def pretrain(root, run, *options, **changes):
    recipe = damsm_recipe(root, run)
    for section, values in changes.items():
        recipe[section] |= values
    own = ["--trust", "tests"]  # trunks of this file
    return main(["pretrain", "--config", str(write_recipe(run.parent / f"{run.name}.yaml", recipe)), *own, *options])


def last(run):
    return read_checkpoint(run / "checkpoints" / "last.ckpt")


def assert_same_weights(one, other):
    assert one["state_dict"].keys() == other["state_dict"].keys()
    for name, value in one["state_dict"].items():
        assert torch.equal(value, other["state_dict"][name]), name


@pytest.fixture(scope="module")
def straight(toy_root, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "straight"
    assert pretrain(toy_root, run, trainer={"max_epochs": 2}) == 0
    return run


def test_a_run_leaves_the_best_and_the_last(straight):
    best, final = read_checkpoint(straight / "checkpoints" / "best.ckpt"), last(straight)
    assert best[ENTRY]["kind"] == final[ENTRY]["kind"] == "damsm"
    assert final[ENTRY]["images_seen"] == 112  # 56 images, two epochs
    damsm = load_damsm(straight / "checkpoints" / "best.ckpt")
    assert not any(part.training for part in damsm.modules())
    assert not any(p.requires_grad for p in damsm.parameters())
    assert not any(part.training for part in damsm.train().modules())
    assert damsm.encode_captions(list(CAPTIONS)).sentence.isfinite().all()


def test_both_encoders_are_trained(straight, toy_root, tmp_path):
    assert pretrain(toy_root, tmp_path / "still", trainer={"max_epochs": 1}, model={"learning_rate": 0.0}) == 0
    untrained, trained = last(tmp_path / "still")["state_dict"], last(straight)["state_dict"]
    for part in ("text_encoder.embedding", "image_encoder.region_projection", "image_encoder.trunk.to_regions.0.0"):
        assert not torch.equal(untrained[f"damsm.{part}.weight"], trained[f"damsm.{part}.weight"]), part


def test_a_run_that_is_gone_on_with_takes_a_new_learning_rate(toy_root, tmp_path):
    run, part = tmp_path / "run", "damsm.text_encoder.embedding.weight"
    assert pretrain(toy_root, run) == 0
    first = last(run)
    more = ["--trainer.max_epochs", "2", "--model.learning_rate", "0.0"]
    assert main(["pretrain", "--resume", str(run), *more]) == 0
    assert last(run)[ENTRY]["steps"] > first[ENTRY]["steps"]
    assert torch.equal(last(run)["state_dict"][part], first["state_dict"][part])


def test_without_words_weight_only_the_sentence_is_trained(toy_root, tmp_path):
    assert pretrain(toy_root, tmp_path / "still", model={"learning_rate": 0.0}) == 0
    assert pretrain(toy_root, tmp_path / "run", model={"words_weight": 0.0}) == 0
    untrained, trained = last(tmp_path / "still")["state_dict"], last(tmp_path / "run")["state_dict"]
    regions, pooled = (f"damsm.image_encoder.{kind}_projection.weight" for kind in ("region", "pooled"))
    assert torch.equal(untrained[regions], trained[regions])
    assert not torch.equal(untrained[pooled], trained[pooled])


def test_weight_decay_is_the_formula(toy_root, tmp_path):
    """Of a loss without any weight there is no gradient: each of the 4 steps takes rate times decay off a matrix."""
    nothing = {"words_weight": 0.0, "sentence_weight": 0.0, "learning_rate": 0.01, "weight_decay": 0.5}
    assert pretrain(toy_root, tmp_path / "still", model={"learning_rate": 0.0}) == 0
    assert pretrain(toy_root, tmp_path / "run", model=nothing) == 0
    untrained, trained = last(tmp_path / "still")["state_dict"], last(tmp_path / "run")["state_dict"]
    for part in ("text_encoder.embedding.weight", "image_encoder.pooled_projection.weight"):
        torch.testing.assert_close(trained[f"damsm.{part}"], untrained[f"damsm.{part}"] * (1 - 0.01 * 0.5) ** 4)
    bias = "damsm.image_encoder.pooled_projection.bias"
    assert torch.equal(trained[bias], untrained[bias])


def test_the_rate_falls_by_the_formula(toy_root, tmp_path, monkeypatch):
    rates = []
    monkeypatch.setattr(
        DAMSMModule,
        "on_before_optimizer_step",
        lambda module, optimizer: rates.append(optimizer.param_groups[0]["lr"]),
    )
    model = {"learning_rate": 1.0, "learning_rate_decay": 0.5, "learning_rate_fall": 0.5}
    assert pretrain(toy_root, tmp_path / "run", trainer={"max_epochs": 2}, model=model) == 0
    # 8 steps: the second half of them falls, by a quarter each, and the second epoch has half the rate
    assert rates == pytest.approx([1, 1, 1, 1, 0.5, 0.5 * 0.75, 0.5 * 0.5, 0.5 * 0.25])


def test_retrieval_is_printed_for_both_splits(toy_root, tmp_path, capsys):
    assert pretrain(toy_root, tmp_path / "run") == 0
    printed = capsys.readouterr().out
    for name in ("image_to_text_r1", "text_to_image_r10", "r_precision_100"):
        assert name in printed


def test_where_none_is_chosen_the_last_checkpoint_is_scored(toy_root, tmp_path, capsys):
    option = ["--checkpoints.best_by", "null", "--data.validation", "published"]
    assert pretrain(toy_root, tmp_path / "run", *option) == 0
    printed = capsys.readouterr().out
    assert f"by the last checkpoint ({tmp_path / 'run' / 'checkpoints' / 'last.ckpt'})" in printed
    assert "test/image_to_text_r1" in printed


def test_one_and_one_epochs_equal_two(straight, toy_root, tmp_path):
    run = tmp_path / "run"
    assert pretrain(toy_root, run) == 0
    assert main(["pretrain", "--resume", str(run), "--trainer.max_epochs", "2"]) == 0
    assert_same_weights(last(run), last(straight))


def test_a_run_stopped_within_an_epoch_goes_on_exactly(straight, toy_root, tmp_path, monkeypatch):
    run = tmp_path / "run"
    with monkeypatch.context() as patch:

        def stop_me(module, *_):
            if module.images_seen == 14:
                os.kill(os.getpid(), signal.SIGTERM)

        patch.setattr(DAMSMModule, "on_train_batch_end", stop_me)
        with pytest.raises(SystemExit) as stopped:
            pretrain(toy_root, run, trainer={"max_epochs": 2})
    assert stopped.value.code == 143
    assert last(run)[ENTRY]["images_seen"] in (14, 28)  # of 56
    assert main(["pretrain", "--resume", str(run)]) == 0
    assert_same_weights(last(run), last(straight))


def test_other_captions_are_refused_on_resuming(straight, toy_root, tmp_path, capsys):
    checkpoint = str(straight / "checkpoints" / "last.ckpt")
    arguments = ["--resume", checkpoint, "--data.min_count", "3", "--trainer.max_epochs", "3"]
    assert main(["pretrain", *arguments]) == 1
    assert "vocabulary" in capsys.readouterr().err


def test_a_trained_trunks_features_cannot_be_kept(toy_root, tmp_path, capsys):
    assert pretrain(toy_root, tmp_path / "run", model={"keep_features": str(tmp_path / "kept")}) == 1
    assert "ConvTrunk is trained" in capsys.readouterr().err


def test_a_loss_that_is_not_finite_is_named(toy_root, tmp_path, monkeypatch, capsys):
    def infinite(*given, **named):
        loss = matching_loss(*given, **named)
        return loss._replace(words_to_image=loss.words_to_image / 0)

    monkeypatch.setattr("attngan.training.damsm_module.matching_loss", infinite)
    assert pretrain(toy_root, tmp_path / "run") == 3
    assert "words_to_image = inf" in capsys.readouterr().err


# --- kept features ----------------------------------------------------------------------------------------------------


def pixels(count=10, side=16):
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8)


def test_kept_features_are_the_trunks_own(tmp_path):
    trunk, images = FrozenTrunk(), pixels()
    kept = keep_features(trunk, iter(images.split(4)), len(images), tmp_path)
    rows, mirrored = torch.tensor([7, 0, 9]), torch.tensor([True, False, True])
    views = torch.stack([images[i].flip(2) if m else images[i] for i, m in zip(rows, mirrored, strict=True)])
    expected = trunk(views.float() / 127.5 - 1)
    for ours, theirs in zip(kept.rows(rows, mirrored), expected, strict=True):
        assert ours.dtype == torch.float32
        # computed in bfloat16, kept in float16
        assert torch.allclose(ours, theirs, rtol=0.02, atol=0.02 * float(theirs.abs().max()))


def test_an_interrupted_run_goes_on(tmp_path):
    trunk, images = FrozenTrunk(), pixels()

    def breaks():
        yield images[:4]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        keep_features(trunk, breaks(), len(images), tmp_path / "run")
    assert json.loads((tmp_path / "run" / "done.json").read_text())["images"] == 4
    FrozenTrunk.calls = 0
    gone_on = keep_features(trunk, iter(images.split(4)), len(images), tmp_path / "run")
    assert FrozenTrunk.calls == 4  # two batches, plain and mirrored: the first one is there already
    whole = keep_features(trunk, iter(images.split(4)), len(images), tmp_path / "whole")
    assert np.array_equal(gone_on.regions, whole.regions)
    assert np.array_equal(gone_on.pooled, whole.pooled)
    FrozenTrunk.calls = 0
    keep_features(trunk, iter(images.split(4)), len(images), tmp_path / "whole")
    assert FrozenTrunk.calls == 0


def test_without_mirror_images_the_plain_ones_are_kept_at_half_the_work(tmp_path):
    trunk, images = FrozenTrunk(), pixels()
    both = keep_features(trunk, iter(images.split(4)), len(images), tmp_path / "both")
    FrozenTrunk.calls = 0
    plain = keep_features(trunk, iter(images.split(4)), len(images), tmp_path / "plain", mirrored=False)
    assert FrozenTrunk.calls == 3
    rows, unmirrored = torch.arange(10), torch.zeros(10, dtype=torch.bool)
    assert torch.equal(plain.rows(rows, unmirrored).regions, both.rows(rows, unmirrored).regions)


def test_missing_images_are_noticed(tmp_path):
    with pytest.raises(ValueError, match="12 images were announced"):
        keep_features(FrozenTrunk(), iter(pixels().split(4)), 12, tmp_path)


def test_other_weights_or_images_have_another_name():
    assert trunk_fingerprint(FrozenTrunk(), "a") == trunk_fingerprint(FrozenTrunk(), "a")
    others = {
        trunk_fingerprint(FrozenTrunk(), "b"),
        trunk_fingerprint(FrozenTrunk(seed=1), "a"),
        trunk_fingerprint(FrozenTrunk(32), "a"),
    }
    assert len(others | {trunk_fingerprint(FrozenTrunk(), "a")}) == 4


def test_training_with_kept_features_runs_the_trunk_once(toy_root, tmp_path, monkeypatch):
    trunk = {"class_path": f"{__name__}.FrozenTrunk", "init_args": {"input_size": 16}}
    model = {"image_trunk": trunk, "keep_features": str(tmp_path / "kept")}
    assert pretrain(toy_root, tmp_path / "first", "--trainer.limit_test_batches", "0", model=model) == 0
    FrozenTrunk.calls = 0
    assert pretrain(toy_root, tmp_path / "second", "--trainer.limit_test_batches", "0", model=model) == 0
    assert FrozenTrunk.calls == 0  # all is in the folder
    assert_same_weights(last(tmp_path / "first"), last(tmp_path / "second"))
    damsm = load_damsm(tmp_path / "second" / "checkpoints" / "last.ckpt")
    assert damsm.image_encoder(torch.zeros(1, 3, 16, 16)).pooled.isfinite().all()


@pytest.mark.parametrize("kept_image_size", ["trunk", "data"])
def test_features_are_kept_of_images_of_the_trunks_size_or_of_the_datas(kept_image_size, toy_root, tmp_path):
    trunk = {"class_path": f"{__name__}.FrozenTrunk", "init_args": {"input_size": 32}}
    model = {"image_trunk": trunk, "keep_features": str(tmp_path / "kept"), "kept_image_size": kept_image_size}
    assert pretrain(toy_root, tmp_path / "run", model=model) == 0
    data = TextImageDataModule(**damsm_recipe(toy_root, tmp_path)["data"])
    data.setup()
    side = {"trunk": 32, "data": data.image_size}[kept_image_size]
    assert data.image_size < 32
    folders = {len(KeptFeatures(folder).pooled): folder for folder in (tmp_path / "kept").iterdir()}
    for split in ("train", "validation", "test"):
        seen = FrozenTrunk(32)(torch.cat(list(data.full_images(split, side))).float() / 127.5 - 1)
        count = len(seen.pooled)
        kept = KeptFeatures(folders[count]).rows(torch.arange(count), torch.zeros(count, dtype=torch.bool))
        assert torch.allclose(kept.regions, seen.regions, rtol=0.02, atol=0.02 * float(seen.regions.abs().max()))


def test_features_of_the_test_split_are_kept_once_where_it_is_the_validation(toy_root, tmp_path):
    trunk = {"class_path": f"{__name__}.FrozenTrunk", "init_args": {"input_size": 16}}
    model = {"image_trunk": trunk, "keep_features": str(tmp_path / "kept")}
    option = ["--data.validation", "published", "--checkpoints.best_by", "null"]
    assert pretrain(toy_root, tmp_path / "run", *option, model=model) == 0
    assert len(list((tmp_path / "kept").iterdir())) == 2


# --- recipes ----------------------------------------------------------------------------------------------------------

RECIPES = sorted((REPOSITORY / "configs").rglob("*damsm*.yaml"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: str(path.relative_to(REPOSITORY / "configs")))
def test_every_recipe_trains_two_batches(recipe, toy_root, tmp_path):
    small = {
        "run_dir": tmp_path / "run",
        "logger": "none",
        "data.root": toy_root,
        "data.source": "cub",
        "data.image_size": 16,
        "data.batch_size": 4,
        "data.workers": 0,
        # the pretrained trunks are heavy, and their weights a download
        "model.image_trunk": "attngan.networks.image_trunks.ConvTrunk",
        "model.image_trunk.init_args.input_size": 16,
        "model.image_trunk.init_args.width": 2,
        "model.keep_features": "null",
        "trainer.max_epochs": 1,
        "trainer.limit_train_batches": 2,
        "trainer.accelerator": "cpu",
    }
    options = [part for name, value in small.items() for part in (f"--{name}", str(value))]
    assert main(["pretrain", "--config", str(recipe), *options]) == 0
    assert last(tmp_path / "run")[ENTRY]["images_seen"] == 8


def test_every_recipe_is_tried():
    everything = sorted((REPOSITORY / "configs").rglob("*.yaml"))
    assert len(RECIPES) >= 4
    assert sorted([*RECIPES, *(REPOSITORY / "configs").rglob("*gan*.yaml")]) == everything
