"""Who a process is among those that work together, as the environment says it; and what each function is alone."""

import pytest
import torch

from attngan import ranks
from attngan.errors import is_of_lost_process, told_in_one_line

SRUN = {
    "SLURM_JOB_ID": "123456",
    "SLURM_JOB_NAME": "train",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_NODELIST": "gpu[03-04]",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
}


def test_sruns_words_become_torchruns():
    environment = dict(SRUN)
    ranks.take_up_slurm(environment)
    assert {name: environment[name] for name in environment.keys() - SRUN.keys()} == {
        "RANK": "5",
        "WORLD_SIZE": "8",
        "LOCAL_RANK": "1",
        "LOCAL_WORLD_SIZE": "4",
        "GROUP_RANK": "1",
        "MASTER_ADDR": "gpu03",
        "MASTER_PORT": "18456",
    }


@pytest.mark.parametrize(
    "change",
    [
        {"SLURM_STEP_NUM_TASKS": "1"},
        {"SLURM_JOB_NAME": "bash"},  # a shell on a node
        {"RANK": "0", "WORLD_SIZE": "2"},  # torchrun within a job
        {"WORLD_SIZE": "1"},  # each for itself
    ],
)
def test_sruns_words_are_left_where_they_mean_nothing_here(change):
    environment = SRUN | change
    ranks.take_up_slurm(environment)
    assert environment == SRUN | change


def test_sbatch_without_srun_is_one_process():
    environment = {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "8", "SLURM_PROCID": "0"}
    ranks.take_up_slurm(environment)
    assert "RANK" not in environment


@pytest.mark.parametrize(
    ("hosts", "first"),
    [
        ("gpu03", "gpu03"),
        ("gpu03,gpu07", "gpu03"),
        ("gpu[03-05,07],login1", "gpu03"),
        ("gpu[12],cpu1", "gpu12"),
        ("n[001-128]-ib", "n001-ib"),
    ],
)
def test_the_first_machine_of_a_list(hosts, first):
    assert ranks.first_host(hosts) == first


def test_a_process_alone_has_nobody_to_ask():
    assert (ranks.rank(), ranks.world_size(), ranks.is_first()) == (0, 1, True)
    rows = torch.arange(6.0, requires_grad=True).view(3, 2)
    assert torch.equal(ranks.gather_rows(rows), rows)
    assert not ranks.gather_rows(rows).requires_grad
    assert ranks.broadcast({"a": 1}) == {"a": 1}
    assert ranks.gathered("a") == ["a"]
    assert ranks.largest([1.0, 2.0]) == [1.0, 2.0]
    assert list(ranks.own(range(4))) == [0, 1, 2, 3]
    assert ranks.mark("text") == "text"
    assert ranks.is_told_here(RuntimeError())


def test_a_processs_own_are_every_so_many_th(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("RANK", "1")
    assert list(ranks.own(range(8))) == [1, 4, 7]
    assert ranks.mark("text") == "rank 1: text"


def test_the_others_are_silent(monkeypatch, capsys):
    for rank in ("0", "1"):
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv("RANK", rank)
        with ranks.first_alone_speaks():
            print(f"of rank {rank}")
    assert capsys.readouterr().out == "of rank 0\n"


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[../third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:5"),
        RuntimeError("Application timeout caused pair closure: gloo"),
        torch.distributed.DistBackendError("NCCL error"),
    ],
)
def test_the_loss_of_another_process_is_no_fault_of_this_one(error):
    assert is_of_lost_process(error)
    assert "another of the processes" in told_in_one_line(error)


def test_other_errors_are_none_of_a_lost_process():
    assert not is_of_lost_process(RuntimeError("shapes do not fit"))
    assert not is_of_lost_process(ValueError("gloo"))
