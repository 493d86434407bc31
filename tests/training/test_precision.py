"""The precision to train in is the one that was faster."""

import time

import pytest
import torch

from attngan.training.precision import MeasuredPrecision, fastest_precision


@pytest.mark.parametrize(
    ("float32", "bf16", "chosen"), [(10, 5, "bf16-mixed"), (5, 10, "32-true"), (10, 9.8, "32-true")]
)
def test_bfloat16_is_chosen_where_it_is_clearly_faster(float32, bf16, chosen):
    measured = MeasuredPrecision(float32, bf16)
    assert measured.trainer == chosen
    assert measured.bf16 == (chosen == "bf16-mixed")
    assert str(measured).startswith("bfloat16 (5.0 ms" if measured.bf16 else f"float32 ({float32:.1f} ms")


def test_it_is_measured_in_a_moment_and_leaves_no_trace():
    fastest_precision(seconds=0.01)
    state = torch.get_rng_state()
    begun = time.perf_counter()
    measured = fastest_precision(seconds=0.05)
    assert time.perf_counter() - begun < 5
    assert measured.float32_ms > 0
    assert measured.bf16_ms > 0
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("slow", ["float32", "bfloat16"])
def test_what_is_slower_is_not_chosen(slow, monkeypatch):
    def conv2d(images, filters, padding):
        if torch.is_autocast_enabled("cpu") == (slow == "bfloat16"):
            busy = time.process_time() + 0.1
            while time.process_time() < busy:
                pass
        return (images[:, :1] * filters[0, 0, 0, 0]).expand(-1, 32, -1, -1)

    monkeypatch.setattr("attngan.training.precision.F.conv2d", conv2d)
    assert fastest_precision(seconds=0.0).bf16 == (slow == "float32")


def test_waiting_for_a_processor_does_not_count(monkeypatch):
    def conv2d(images, filters, padding):
        if torch.is_autocast_enabled("cpu"):
            time.sleep(0.2)  # as if other work held the processor
        return (images[:, :1] * filters[0, 0, 0, 0]).expand(-1, 32, -1, -1)

    monkeypatch.setattr("attngan.training.precision.F.conv2d", conv2d)
    assert fastest_precision(seconds=0.0).bf16_ms < 100


def test_the_number_of_threads_is_left_as_it_was():
    threads = torch.get_num_threads()
    fastest_precision(seconds=0.0)
    assert torch.get_num_threads() == threads
