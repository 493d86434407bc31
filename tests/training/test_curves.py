"""Curves read back from what TensorBoard's writer wrote."""

from pathlib import Path

import pytest
from torch.utils.tensorboard import SummaryWriter

from attngan.training.curves import read_curves, smoothed


def write(run: Path, name: str, values: dict[int, float]) -> None:
    with SummaryWriter(str(run), filename_suffix=name.replace("/", "-")) as writer:
        for step, value in values.items():
            writer.add_scalar(name, value, step, walltime=1000.0 + step)


def test_numbers_come_back_in_order(tmp_path: Path) -> None:
    write(tmp_path, "generator/loss", {2: 5.0, 4: 3.0})
    curve = read_curves(tmp_path)["generator/loss"]
    assert list(curve.steps) == [2, 4]
    assert list(curve.values) == [5.0, 3.0]
    assert list(curve.seconds) == [1002.0, 1004.0]


def test_a_run_that_went_on_is_one_curve(tmp_path: Path) -> None:
    write(tmp_path, "loss", {2: 5.0, 4: 3.0})
    write(tmp_path, "loss", {6: 2.0})
    assert list(read_curves(tmp_path)["loss"].steps) == [2, 4, 6]


def test_a_folder_without_logs_has_no_curves(tmp_path: Path) -> None:
    assert read_curves(tmp_path) == {}


def test_smoothing_is_a_moving_average_without_a_lag_at_its_beginning() -> None:
    assert smoothed([4.0, 2.0, 6.0], 0.0) == [4.0, 2.0, 6.0]
    # weights 1/4, 1/2, 1 of the three, divided by their sum
    assert smoothed([4.0, 2.0, 6.0], 0.5) == pytest.approx([4.0, (2 + 2.0) / 1.5, (1 + 1 + 6.0) / 1.75])
    assert smoothed([4.0, float("nan"), 4.0], 0.5) == [4.0, 4.0, 4.0]
    assert smoothed([3.0] * 9, 0.9) == pytest.approx([3.0] * 9)
