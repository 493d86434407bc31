"""Curves read back from what TensorBoard's writer wrote."""

import time
from pathlib import Path

import pytest
from torch.utils.tensorboard import SummaryWriter

from attngan.errors import InputError
from attngan.training.csv_log import CSVLog
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


def test_a_table_has_the_same_curves_as_event_files(tmp_path: Path) -> None:
    log = CSVLog(tmp_path / "metrics.csv")
    log.log_metrics({"loss": 5.0}, 2)
    log.log_metrics({"loss": 3.0, "rate": 0.5}, 4)
    log.save()
    before = time.time()
    curves = read_curves(tmp_path)
    assert (list(curves["loss"].steps), list(curves["loss"].values)) == ([2, 4], [5.0, 3.0])
    assert (list(curves["rate"].steps), list(curves["rate"].values)) == ([4], [0.5])
    assert set(curves) == {"loss", "rate"}
    assert list(curves["loss"].seconds) == pytest.approx([before] * 2, abs=60)


def test_a_run_that_changed_its_logger_is_one_curve(tmp_path: Path) -> None:
    write(tmp_path, "loss", {6: 2.0})
    (tmp_path / "metrics.csv").write_text("step,loss\n2,5\n4,\n")  # without times, as before
    curve = read_curves(tmp_path)["loss"]
    assert (list(curve.steps), list(curve.values)) == ([2, 6], [5.0, 2.0])


def test_a_table_that_holds_no_numbers_is_named(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,loss\n2,much\n")
    with pytest.raises(InputError, match=r"metrics.csv: the row of step 2 .*much"):
        read_curves(tmp_path)


def test_a_folder_without_logs_has_no_curves(tmp_path: Path) -> None:
    assert read_curves(tmp_path) == {}


def test_smoothing_is_a_moving_average_without_a_lag_at_its_beginning() -> None:
    assert smoothed([4.0, 2.0, 6.0], 0.0) == [4.0, 2.0, 6.0]
    # weights 1/4, 1/2, 1 of the three, divided by their sum
    assert smoothed([4.0, 2.0, 6.0], 0.5) == pytest.approx([4.0, (2 + 2.0) / 1.5, (1 + 1 + 6.0) / 1.75])
    assert smoothed([4.0, float("nan"), 4.0], 0.5) == [4.0, 4.0, 4.0]
    assert smoothed([3.0] * 9, 0.9) == pytest.approx([3.0] * 9)
