"""The benchmark's harness: what it measures, keeps, goes on with and shows."""

import json

import benchmark
import benchmark_gpu
import pytest
from benchmarks import growth, profiles, report
from benchmarks.rows import ROWS
from benchmarks.sizes import Sizes


def figures(seconds, cpu=None, flops=None, peak=(), error=""):
    cpu = seconds if cpu is None else cpu
    return {
        "seconds": seconds,
        "cpu_seconds": cpu,
        "peak_seconds": list(peak),
        "bytes": 2e9,
        "flops": flops,
        "error": error,
    }


def row(**ways):
    return {"title": "work", "unit": "step", "load": 1.0, "ways": ways}


def test_ratios_are_of_turns_side_by_side():
    measured = row(published=figures([4.0, 8.0, 6.0]), ours=figures([1.0, 4.0, 2.0], cpu=[2.0, 2.0, 2.0]))
    first, second = report.lines_of(measured)
    assert first.ratio is None
    assert second.ratio == (3.0, 2.0, 4.0)
    assert second.cpu_ratio == 3.0
    assert (first.seconds, second.seconds) == (6.0, 2.0)


def test_the_share_of_the_peak_is_of_the_one_measured_beside_each_turn():
    ours = figures([1.0, 2.0, 1.0], flops=50.0, peak=[0.01, 0.02, 0.01])  # the machine was half as fast in the second
    (line,) = report.lines_of(row(ours=ours))
    assert line.share == pytest.approx(0.5)


def test_a_way_that_fails_is_named_and_the_others_stand():
    text = report.table(
        {"rows": {"x": row(published=figures([1.0]), ours=figures([], error="it ended (1): no memory"))}}
    )
    assert "ours" in text
    assert "not measured: it ended (1): no memory" in text


def test_growth_is_the_power_of_the_last_two_points():
    points = [{"value": n, "cpu_seconds": 3.0 * n**2, "bytes": 5.0 * n} for n in (1, 2, 4)]
    assert growth.order_of(points, "cpu_seconds") == pytest.approx(2)
    assert growth.order_of(points, "bytes") == pytest.approx(1)


def test_tiny_work_has_the_shape_of_the_whole():
    for name, one in ROWS.items():
        tiny = one.sizes.tiny()
        assert tiny.batch == 2, name
        assert len(tiny.sides) == len(one.sizes.sides), name
    assert Sizes(20).tiny().sides == [16, 32, 64]


def test_an_unknown_row_is_refused_and_the_known_ones_named():
    with pytest.raises(SystemExit, match="no row attgan: there are damsm, kept, words48"):
        benchmark.main(["attgan"])


def test_a_row_is_measured_kept_and_not_measured_again(tmp_path, capsys):
    kept = tmp_path / "figures.json"
    arguments = ["words48", "--tiny", "--rounds", "2", "--threads", "1", "--json", str(kept), "--work", str(tmp_path)]
    benchmark.main(arguments)
    ways = json.loads(kept.read_text())["rows"]["words48"]["ways"]
    assert [*ways] == ["published", "ours"]
    for way in ways.values():
        assert not way["error"]
        assert len(way["seconds"]) == len(way["peak_seconds"]) == 2
        assert way["flops"] > 0
        assert way["bytes"] > 1e8
    written = kept.read_bytes()
    benchmark.main(arguments)  # goes on: there is nothing left to do
    assert kept.read_bytes() == written
    capsys.readouterr()
    benchmark.main(["--show", "--markdown", "--json", str(kept)])
    assert "| words loss, forward and backward, batch 48 | published |" in capsys.readouterr().out


def test_a_profile_adds_up_and_shows_the_largest_operators_of_any_way():
    many = {f"small_{number}": 0.01 for number in range(20)}
    found = {
        "published": {"seconds": 9.0, "profile": {"aten::mm": 6.0, "aten::add": 0.5, **many}},
        "ours": {"seconds": 3.0, "profile": {"aten::mm": 1.0, "aten::conv": 2.0}},
    }
    lines = profiles.markdown(found).splitlines()
    assert lines[0] == "| operator | published | ours |"
    assert lines[2] == "| `aten::mm` | 6 s | 1 s |"
    assert lines[3] == "| `aten::conv` | 0 s | 2 s |"
    assert len(lines) == 2 + profiles.SHOWN + 2
    assert lines[-2] == "| all others | 0.11 s | 0 s |"
    assert lines[-1] == "| together | 6.7 s | 3 s |"


def test_a_turn_is_profiled(tmp_path, capsys):
    kept = tmp_path / "figures.json"
    where = ["--json", str(kept), "--work", str(tmp_path)]
    benchmark.main(["words48", "--profile", "--tiny", "--threads", "1", *where])
    found = json.loads(kept.read_text())["profiles"]["words48"]
    assert [*found] == ["published", "ours"]
    for way in found.values():
        assert "aten::bmm" in way["profile"]
        assert sum(way["profile"].values()) > 0
    assert "| operator | published | ours |" in capsys.readouterr().out


def test_a_gpu_that_is_not_there_is_said_in_one_line(monkeypatch):
    monkeypatch.setattr(benchmark_gpu.torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="torch finds no GPU here; --tiny --device cpu"):
        benchmark_gpu.main([])


def test_hours_and_what_there_was_no_time_for_are_told():
    measured = {
        "device": "H100",
        "torch": "2",
        "peaks": {"float32": 4e14, "bfloat16": 7e14},
        "against_the_cpu": {"worst": "generator/loss", "relative": 2e-5, "equal": True, "losses": 9},
        "settings": {
            "bf16": {
                "seconds": [0.01],
                "images_per_second": 2000.0,
                "hours": 0.74,
                "bytes": 9e9,
                "share_of_peak": 0.4,
                "operators": 1500,
                "waits": [0.0, 3.0],
            },
            "float32": {"error": "it ended (1)"},
        },
        "left_out": ["bf16, batch 128"],
    }
    shown = benchmark_gpu.table(measured)
    assert "| bf16 | 2,000 | 10.0 ms | 0.74 h | 9.0 GB | 40% | 1,500 | 0.0 to 3.0 |" in shown
    assert "| float32 | not measured: it ended (1) |" in shown
    assert "no time for: bf16, batch 128" in shown


@pytest.mark.slow
def test_every_row_runs(tmp_path):
    kept = tmp_path / "figures.json"
    benchmark.main(["--tiny", "--rounds", "1", "--threads", "1", "--json", str(kept), "--work", str(tmp_path)])
    rows = json.loads(kept.read_text())["rows"]
    assert rows.keys() == ROWS.keys()
    for name, measured in rows.items():
        for way, found in measured["ways"].items():
            assert found["seconds"], (name, way, found["error"])
            assert (found["flops"] is not None) == ROWS[name].computes, (name, way)


@pytest.mark.slow
def test_growth_is_drawn(tmp_path):
    benchmark.main(["--growth", str(tmp_path / "g.png"), "--tiny", "--rounds", "1", "--threads", "1"])
    assert (tmp_path / "g.png").stat().st_size > 10_000


@pytest.mark.slow
def test_the_form_for_a_card_runs_on_a_cpu(tmp_path):
    kept = tmp_path / "figures.json"
    benchmark_gpu.main(["--tiny", "--device", "cpu", "--threads", "1", "--json", str(kept)])
    found = json.loads(kept.read_text())
    assert found["against_the_cpu"]["relative"] == 0  # it is the CPU
    assert found["against_the_cpu"]["losses"] >= 8
    for setting, measured in found["settings"].items():
        assert measured["images_per_second"] > 0, setting
        assert measured["operators"] > 500, setting
