"""Trainings and scores in several real processes: the numbers of one, one writer, and an end that all agree on."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch
import yaml
from jsonargparse import Namespace

from attngan.bounded import read_recipe
from attngan.cli import main
from attngan.commands.devices import Begun, goes_on_by_itself, remember_start, settle_devices
from attngan.data.datamodule import TextImageDataModule
from attngan.extractors.classifier import ImageClassifier
from attngan.launching import SeveralDevices
from attngan.networks.image_trunks import ConvTrunk
from attngan.text.vocabulary import Vocabulary
from tests.conftest import REPOSITORY
from tests.tiny import CAPTIONS, damsm_recipe, gan, gan_recipe, write_damsm, write_gan, write_recipe

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def torchrun(count, arguments, *options):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(count), *options, "-m", "attngan"]
    return [*command, *map(str, arguments)]


def finished(command, environment=ENVIRONMENT):
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=600)
    return done.returncode, done.stdout, done.stderr


def started(command):
    return subprocess.Popen(command, cwd=REPOSITORY, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            text=True)  # fmt: skip


def process_of(launcher, rank):
    """The number of the process that torchrun started as this rank."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            of_launcher = int(stat.read_text().rpartition(")")[2].split()[1]) == launcher.pid
            if of_launcher and f"\0RANK={rank}\0".encode() in b"\0" + (stat.parent / "environ").read_bytes():
                return int(stat.parent.name)
    raise AssertionError(f"no rank {rank}")


def when_written(path, newer_than=0.0):
    """Waits for a file; returns when it was written."""
    for _ in range(3000):
        with suppress(FileNotFoundError):
            if (at := path.stat().st_mtime) > newer_than:
                return at
        time.sleep(0.05)
    raise AssertionError(f"{path} was not written")


def state(run):
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)


def assert_close(run, other, within=1e-5):
    one, two = state(run), state(other)
    assert one["attngan"]["steps"] == two["attngan"]["steps"]
    assert one["attngan"]["images_seen"] == two["attngan"]["images_seen"]
    for name, value in two["state_dict"].items():
        torch.testing.assert_close(one["state_dict"][name], value, rtol=within, atol=within, msg=name)


def pretraining(root, folder, **changes):
    """A recipe of 7 steps an epoch; the folder of the run is given on the command line."""
    recipe = damsm_recipe(root, folder)
    del recipe["run_dir"]
    recipe["data"]["batch_size"] = 8
    recipe |= {"last": {"every_minutes": 0}}
    for group, values in changes.items():
        recipe[group] = recipe.get(group, {}) | values
    return write_recipe(folder / "recipe.yaml", recipe)


# --- equal to one -----------------------------------------------------------------------------------------------------


def test_torchrun_pretrains_and_scores_as_one_process_does(toy_root, tmp_path):
    recipe = pretraining(toy_root, tmp_path, trainer={"max_epochs": 2})
    alone, several = tmp_path / "alone", tmp_path / "several"
    assert main(["pretrain", "--config", str(recipe), "--run_dir", str(alone)]) == 0
    code, out, error = finished(torchrun(2, ["pretrain", "--config", recipe, "--run_dir", several]))
    assert code == 0, error
    assert_close(several, alone)
    scores = [json.loads((run / "test_scores.json").read_text()) for run in (several, alone)]
    assert scores[0] == pytest.approx(scores[1], rel=1e-4)
    # said once
    assert out.count(f"finished: {several}") == out.count("the test split, by") == 1
    assert "attngan" not in error
    stored = read_recipe(several / "config.yaml")
    assert (stored["trainer"]["devices"], stored["data"]["batch_size"]) == (2, 8)


def test_evaluate_on_two_devices_gives_the_number_of_one(toy_root, tmp_path):
    damsm = write_damsm(tmp_path / "damsm.ckpt", Vocabulary.from_captions(CAPTIONS))
    write_gan(tmp_path / "gan.ckpt", gan(damsm))
    ImageClassifier(ConvTrunk(16, 2), ("a", "b", "c", "d"), "tiny").save(tmp_path / "classifier.safetensors")
    command = ["evaluate", "--checkpoint", str(tmp_path / "gan.ckpt"), "--data", str(toy_root), "--device", "cpu"]
    command += ["--metrics", "is", "fid", "kid", "r_precision", "--count", "123", "--batch_size", "16"]
    command += ["--extractor", str(tmp_path / "classifier.safetensors"), "--write_images"]
    found = []
    for devices in ("1", "2"):
        out = tmp_path / devices
        arguments = [*command, "--out", str(out), "--devices", devices]
        if devices == "1":
            assert main(arguments) == 0
        else:
            code, said, error = finished([sys.executable, "-m", "attngan", *arguments])
            assert code == 0, error
            assert said.count("written: ") == 1
        found.append((out / "scores.json").read_bytes())
        found.append({path.name: path.read_bytes() for path in (out / "images").glob("*.png")})
        for kept in (toy_root / ".attngan_cache").glob("scored-*/pass.json"):
            kept.unlink()  # the second one looks at the real images too
    assert found[0] == found[2]
    assert found[1] == found[3]
    assert len(found[1]) == 123


@pytest.mark.slow
def test_srun_trains_a_generator_as_one_process_does(toy_root, tmp_path):
    data = TextImageDataModule(str(toy_root), image_size=16, stages=1, batch_size=4, workers=0)
    data.setup()
    content = gan_recipe(toy_root, tmp_path, write_damsm(tmp_path / "damsm.ckpt", data.vocabulary))
    del content["run_dir"]
    content["data"]["batch_size"] = 7
    content |= {"pictures": {"every_steps": 4, "count": 2, "samples": 2}, "quick": {"every_epochs": 1, "count": 20}}
    ImageClassifier(ConvTrunk(16, 2), ("a", "b", "c", "d"), "tiny").save(tmp_path / "classifier.safetensors")
    content["quick"] |= {"extractor": str(tmp_path / "classifier.safetensors"), "batch_size": 6}
    recipe = write_recipe(tmp_path / "gan.yaml", content)
    alone, several = tmp_path / "alone", tmp_path / "several"
    assert main(["train", "--config", str(recipe), "--run_dir", str(alone)]) == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    slurm = {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "x", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NUM_NODES": "1"}
    slurm |= {"SLURM_STEP_NODELIST": "127.0.0.1", "MASTER_PORT": port, "SLURM_NODEID": "0", "SLURM_NTASKS": "2"}
    command = [sys.executable, "-m", "attngan", "train", "--config", str(recipe), "--run_dir", str(several)]
    tasks = [
        subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True,
                         env=ENVIRONMENT | slurm | {"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)})
        for rank in range(2)
    ]  # fmt: skip
    said = [task.communicate(timeout=600)[0] for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0]
    assert said[1] == ""
    assert said[0].count("finished: ") == 1
    assert_close(several, alone)
    history = [json.loads((run / "quick" / "history.json").read_text())["history"] for run in (several, alone)]
    for one, other in zip(*history, strict=True):
        assert one["scores"] == pytest.approx(other["scores"], rel=1e-3, abs=1e-3)
    assert sorted(path.name for path in (several / "pictures").iterdir()) == sorted(
        path.name for path in (alone / "pictures").iterdir()
    )


# --- ends -------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_one_process_stops_all_and_one_device_goes_on(toy_root, tmp_path, number):
    recipe = pretraining(toy_root, tmp_path, trainer={"max_epochs": 30})
    run, alone = tmp_path / "run", tmp_path / "alone"
    launcher = started(torchrun(2, ["pretrain", "--config", recipe, "--run_dir", run]))
    when_written(run / "checkpoints" / "last.ckpt")
    os.kill(process_of(launcher, 1), number)
    said, _ = launcher.communicate(timeout=120)
    assert said.count(f"stopped by {number.name}. Go on with: attngan pretrain --resume {run}") == 1
    stopped = state(run)["attngan"]["steps"]
    assert 0 < stopped < 30 * 7
    steps = ["--budget.steps", str(stopped + 5)]
    exact = ["--model.accumulate", "1", "--trainer.devices", "1"]
    assert main(["pretrain", "--resume", str(run), *exact, *steps]) == 0
    assert main(["pretrain", "--config", str(recipe), "--run_dir", str(alone), *steps]) == 0
    assert_close(run, alone, 1e-4)


@pytest.mark.slow
def test_a_killed_process_ends_all_and_torchrun_lets_the_run_go_on(toy_root, tmp_path):
    recipe = pretraining(toy_root, tmp_path, trainer={"max_epochs": 6})
    run, alone = tmp_path / "run", tmp_path / "alone"
    restarting = "--max-restarts", "1"
    launcher = started(torchrun(2, ["pretrain", "--config", recipe, "--run_dir", run], *restarting))
    when_written(run / "checkpoints" / "last.ckpt")
    os.kill(process_of(launcher, 1), signal.SIGKILL)
    said, _ = launcher.communicate(timeout=300)
    assert launcher.returncode == 0, said
    assert said.count(f"finished: {run}") == 1
    assert main(["pretrain", "--config", str(recipe), "--run_dir", str(alone)]) == 0
    assert_close(run, alone, 1e-4)


@pytest.mark.slow
def test_an_error_is_told_once_and_by_whom(toy_root, tmp_path):
    recipe = pretraining(toy_root, tmp_path)
    command = torchrun(2, ["pretrain", "--config", recipe, "--run_dir", tmp_path / "run", "--data.root", "/nowhere"])
    code, _out, error = finished(command)
    assert code != 0
    (told,) = [line for line in error.splitlines() if line.startswith("attngan pretrain: rank ")]
    assert "/nowhere" in told


@pytest.mark.slow
def test_a_loss_that_is_not_finite_ends_all_at_the_same_step_and_is_told_once(toy_root, tmp_path):
    recipe = pretraining(toy_root, tmp_path, model={"learning_rate": 1e30})
    code, _out, error = finished(torchrun(2, ["pretrain", "--config", recipe, "--run_dir", tmp_path / "run"]))
    assert code != 0
    told = [line for line in error.splitlines() if line.startswith("attngan pretrain: ")]
    assert len(told) == 1
    assert "training stopped in epoch 0" in told[0]


@pytest.mark.slow
def test_a_budget_in_minutes_ends_all_after_the_same_step(toy_root, tmp_path):
    run, recipe = tmp_path / "run", pretraining(toy_root, tmp_path, trainer={"max_epochs": 100000})
    code, out, error = finished(
        torchrun(2, ["pretrain", "--config", recipe, "--run_dir", run, "--budget.minutes", "0.1"])
    )
    assert code == 0, error  # a process that went one step further would wait for the other for ever
    assert out.count(f"finished: {run}") == 1
    assert state(run)["attngan"]["steps"] > 1


# --- on another number of devices -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("begun", "devices", "parts"),
    [
        (Begun(4, 1), 4, 1),
        (Begun(4, 1), 2, 2),
        (Begun(4, 1), 1, 4),
        (Begun(4, 2), 1, 8),
        (Begun(4, 1), 3, 2),  # 4/3 of what a device held would be too much
        (Begun(4, 2), 8, 2),  # parts are not fewer: batch norms would see others
        (Begun(1, 1), 8, 1),
    ],
)
def test_fewer_devices_compute_a_batch_in_more_parts(begun, devices, parts):
    assert begun.parts(devices) == parts


def test_how_a_run_began_is_read_from_its_recipe():
    assert Begun.of({"trainer": {"devices": 4, "num_nodes": 2}, "model": {"accumulate": 3}}) == Begun(8, 3, (4, 2))
    assert Begun.of({"trainer": {"devices": "auto"}, "model": {}}) == Begun(1, 1, ("auto", 1))


def test_a_run_of_two_devices_goes_on_with_one_in_two_parts_and_says_so(toy_root, tmp_path, capsys):
    """Written as one of two devices writes it; config.yaml goes on to say how the run began."""
    recipe = pretraining(toy_root, tmp_path, trainer={"max_epochs": 9})
    run = tmp_path / "run"
    assert main(["pretrain", "--config", str(recipe), "--run_dir", str(run), "--budget.steps", "2"]) == 0
    stored = read_recipe(run / "config.yaml")
    stored["trainer"]["devices"] = 2
    (run / "config.yaml").write_text(yaml.safe_dump(stored))
    assert main(["pretrain", "--resume", str(run), "--trainer.devices", "1", "--budget.steps", "4"]) == 0
    said = capsys.readouterr().out
    assert "the run began on 2 devices and goes on with 1: batches of 8 images as before, each in 2 parts" in said
    assert "--model.accumulate 1 goes on exactly" in said
    stored = read_recipe(run / "config.yaml")
    assert (stored["trainer"]["devices"], stored["model"]["accumulate"], stored["data"]["batch_size"]) == (2, 1, 8)
    assert state(run)["attngan"]["images_seen"] == 32


def test_a_process_that_torchrun_started_alone_stays_alone(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    config = Namespace(trainer=Namespace(devices=4, num_nodes=2, accelerator="cpu"), resume="last.ckpt")
    settle_devices(config, single=False)
    assert (config.trainer.devices, config.trainer.num_nodes) == (1, 1)
    monkeypatch.delenv("RANK")
    config.trainer.devices = 4
    with pytest.raises(SeveralDevices) as wanted:
        settle_devices(config, single=False)
    assert wanted.value.count == 4


# --- restarts ---------------------------------------------------------------------------------------------------------


def test_a_run_goes_on_by_itself_for_whoever_started_it_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "one")
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    assert not goes_on_by_itself(tmp_path)
    remember_start(tmp_path)
    assert not goes_on_by_itself(tmp_path)  # the same name, but not a restart
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert goes_on_by_itself(tmp_path)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "other")  # whose first start was refused: the run is not its own
    assert not goes_on_by_itself(tmp_path)


def test_a_requeued_job_goes_on_by_itself(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    remember_start(tmp_path)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert goes_on_by_itself(tmp_path)


def test_a_restarted_command_line_goes_on_with_its_run(toy_root, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    recipe = pretraining(toy_root, tmp_path, trainer={"max_epochs": 9})
    command = ["pretrain", "--config", str(recipe), "--run_dir", str(tmp_path / "run")]
    assert main([*command, "--budget.steps", "2"]) == 0
    assert main([*command, "--budget.steps", "4"]) == 1  # by hand: another run would be begun
    assert "holds a run already" in capsys.readouterr().err
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert main([*command, "--budget.steps", "4"]) == 0
    assert state(tmp_path / "run")["attngan"]["steps"] == 4
