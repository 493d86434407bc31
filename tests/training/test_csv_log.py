"""metrics.csv: a row a step, columns that come as they are logged, and a run gone on with that replaces its future."""

import csv

import pytest

from attngan.training.csv_log import CSVLog


@pytest.fixture(autouse=True)
def noon(monkeypatch):
    monkeypatch.setattr("attngan.training.csv_log.time.time", lambda: 1_795_846_151.25)


def rows(path):
    with path.open(newline="") as file:
        found = list(csv.DictReader(file))
    assert {row.pop("time") for row in found} == {"1795846151.25"}
    return found


def test_a_row_a_step(tmp_path):
    log = CSVLog(tmp_path / "run" / "metrics.csv")
    log.log_metrics({"loss": 1.5, "epoch": 0}, 9)
    log.log_metrics({"rate": 2e-4}, 9)
    log.log_metrics({"loss": 0.25, "epoch": 0}, 19)
    log.finalize("success")
    assert rows(log.path) == [
        {"step": "9", "loss": "1.5", "epoch": "0", "rate": "0.0002"},
        {"step": "19", "loss": "0.25", "epoch": "0", "rate": ""},
    ]


def test_a_new_value_gets_a_column_at_the_end(tmp_path):
    log = CSVLog(tmp_path / "metrics.csv")
    log.log_metrics({"loss": 1.0}, 1)
    log.log_metrics({"quick/fid": float("nan")}, 2)
    log.log_metrics({"loss": 3.0}, 3)
    log.save()
    assert list(rows(log.path)[0]) == ["step", "loss", "quick/fid"]
    assert [row["quick/fid"] for row in rows(log.path)] == ["", "nan", ""]


def test_each_row_is_on_the_disk_when_the_next_one_comes(tmp_path):
    log = CSVLog(tmp_path / "metrics.csv")
    for step in range(3):
        log.log_metrics({"loss": step}, step)
    assert len(rows(log.path)) == 2  # and a kill costs the last one


def test_a_run_gone_on_with_replaces_the_rows_after_its_checkpoint(tmp_path):
    first = CSVLog(tmp_path / "metrics.csv")
    for step in range(5):
        first.log_metrics({"loss": step}, step)
    first.save()
    with first.path.open("a") as file:
        file.write("5,1795846151.25,1.")  # torn
    second = CSVLog(tmp_path / "metrics.csv")
    for step in (3, 4):
        second.log_metrics({"loss": step + 100}, step)
    second.save()
    assert [(row["step"], row["loss"]) for row in rows(first.path)] == [
        ("0", "0"),
        ("1", "1"),
        ("2", "2"),
        ("3", "103"),
        ("4", "104"),
    ]


def test_a_module_may_log_its_arguments_and_pictures_find_no_place(tmp_path):
    log = CSVLog(tmp_path / "metrics.csv")
    log.log_hyperparams({"model": {"kl": 1.0}})
    assert log.experiment is None
    assert not log.path.exists()
