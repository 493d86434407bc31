"""The feature pass: same rows whatever the batch, goes on after an interruption, forgets what no longer fits."""

import threading

import pytest
import torch

from attngan.evaluation.feature_pass import collect_outputs

IMAGES = torch.randint(0, 256, (23, 3, 4, 4), dtype=torch.uint8)


def batches_of(size, looked_at=None):
    def batches(start):
        for position in range(start, len(IMAGES), size):
            if looked_at is not None:
                looked_at.append(position)
            yield IMAGES[position : position + size]

    return batches


def brightness(images):
    return {"mean": images.float().mean((2, 3)), "max": images.float().amax((1, 2, 3))[:, None]}


def test_rows_do_not_depend_on_the_batch_size():
    one, many = collect_outputs(batches_of(1), [brightness], 23), collect_outputs(batches_of(5), [brightness], 23)
    assert torch.equal(one["mean"], many["mean"])
    assert torch.equal(many["max"][:, 0], IMAGES.float().amax((1, 2, 3)))


def test_only_as_many_as_asked_for():
    assert len(collect_outputs(batches_of(5), [brightness], 12)["mean"]) == 12
    with pytest.raises(ValueError, match="30 images were asked for, but there are only 23"):
        collect_outputs(batches_of(5), [brightness], 30)


def interrupted_at(position):
    def batches(start):
        for batch_start in range(start, len(IMAGES), 5):
            if batch_start == position:
                raise KeyboardInterrupt
            yield IMAGES[batch_start : batch_start + 5]

    return batches


def test_goes_on_after_an_interruption(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        collect_outputs(interrupted_at(10), [brightness], 23, tmp_path, {"seed": 0})
    looked_at, seen = [], []
    rows = collect_outputs(batches_of(4, looked_at), [brightness], 23, tmp_path, {"seed": 0}, seen.append)
    assert looked_at[0] == 10  # the first ten were kept
    assert seen[0] == 10
    assert seen[-1] == 23
    assert torch.equal(rows["mean"], collect_outputs(batches_of(5), [brightness], 23)["mean"])


def test_a_finished_pass_looks_at_nothing(tmp_path):
    first = collect_outputs(batches_of(5), [brightness], 23, tmp_path, {"seed": 0})
    looked_at = []
    again = collect_outputs(batches_of(5, looked_at), [brightness], 23, tmp_path, {"seed": 0})
    assert looked_at == []
    assert torch.equal(first["mean"], again["mean"])


@pytest.mark.parametrize(("key", "count"), [({"seed": 1}, 23), ({"seed": 0}, 20)])
def test_another_key_starts_anew(tmp_path, key, count):
    collect_outputs(batches_of(5), [brightness], 23, tmp_path, {"seed": 0})
    looked_at, reasons = [], []
    collect_outputs(batches_of(5, looked_at), [brightness], count, tmp_path, key, stale=reasons.append)
    assert looked_at[0] == 0
    assert len(reasons) == 1
    assert ("seed" if key != {"seed": 0} else "count") in reasons[0]


def test_damaged_rows_start_anew(tmp_path):
    collect_outputs(batches_of(5), [brightness], 23, tmp_path, {"seed": 0})
    (tmp_path / "mean.f32").write_bytes(b"short")
    rows = collect_outputs(batches_of(5), [brightness], 23, tmp_path, {"seed": 0})
    assert torch.equal(rows["mean"], IMAGES.float().mean((2, 3)))


def test_refused_rows_are_forgotten_before_they_are_written_over(tmp_path):
    """A crash that leaves no time to save must not leave new rows under the old key."""
    first = collect_outputs(batches_of(5), [brightness], 23, tmp_path, {"seed": 0})["mean"].clone()

    def darker(images):
        return brightness(images // 2)

    def killed(start):
        yield IMAGES[:5]
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:  # killed: nothing is saved on the way out
        patch.setattr("attngan.evaluation.feature_pass._Rows.save", lambda self: None)
        with pytest.raises(KeyboardInterrupt):
            collect_outputs(killed, [darker], 23, tmp_path, {"seed": 1})
    again = collect_outputs(batches_of(5), [brightness], 23, tmp_path, {"seed": 0})
    assert torch.equal(again["mean"], first)


def test_two_at_once_fill_a_folder_one_after_the_other(tmp_path):
    """As when two evaluations want the same reference: the second finds what the first one wrote."""
    first_is_inside, go_on = threading.Event(), threading.Event()
    results, looked_at = {}, []

    def slow(start):
        yield IMAGES[:5]
        first_is_inside.set()
        go_on.wait(10)
        yield IMAGES[5:]

    def first():
        results["first"] = collect_outputs(slow, [brightness], 23, tmp_path, {"seed": 0})

    def second():
        results["second"] = collect_outputs(batches_of(5, looked_at), [brightness], 23, tmp_path, {"seed": 0})

    threads = [threading.Thread(target=run) for run in (first, second)]
    threads[0].start()
    assert first_is_inside.wait(10)
    threads[1].start()
    threads[1].join(0.3)
    assert threads[1].is_alive()
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert looked_at == []
    assert torch.equal(results["second"]["mean"], results["first"]["mean"])
    assert torch.equal(results["second"]["mean"], IMAGES.float().mean((2, 3)))
