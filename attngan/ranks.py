"""The processes that work together, one a device: which of them this is, and what they tell each other.

Whoever starts them says so in the environment, in torchrun's words: ``RANK``, ``WORLD_SIZE``, ``LOCAL_RANK``,
``LOCAL_WORLD_SIZE``, ``MASTER_ADDR``, ``MASTER_PORT``. SLURM's own words are translated (`take_up_slurm`). A process
alone is rank 0 of 1, and every function here is then the plain one.
"""

import os
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from attngan.errors import InputError, is_of_lost_process

if TYPE_CHECKING:
    from torch import Tensor

Value = TypeVar("Value")
#: A process that is gone is noticed by its connections and by whoever started it; who waits may wait for one that
#: prepares a large data set, so this ends only what nothing else ended.
TIMEOUT = timedelta(hours=24)
#: Where the processes met; a note to all can be left there even when some are gone.
_store: Any = None
_TOLD = "attngan/told"
_WAIT_FOR_A_REASON = timedelta(seconds=5)


def rank() -> int:
    """Which of the processes this is; 0 writes, prints and decides."""
    if (group := _met()) is not None:
        return int(group.get_rank())
    return int(os.environ.get("RANK", "0")) if world_size() > 1 else 0


def world_size() -> int:
    """How many processes work together."""
    if (group := _met()) is not None:
        return int(group.get_world_size())
    return int(os.environ.get("WORLD_SIZE", "1"))


def _met() -> Any:
    """torch.distributed, once the processes have met (before, torch need not be imported); else None."""
    distributed = sys.modules.get("torch.distributed")
    return distributed if distributed and distributed.is_available() and distributed.is_initialized() else None


def local_rank() -> int:
    """Which of this machine's processes it is."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def local_world_size() -> int:
    """How many of the processes are on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def is_started_as_one_of_several() -> bool:
    """Whether whoever started this process has decided how many there are; there may be one."""
    return "RANK" in os.environ


def is_first() -> bool:
    """Whether this is the process that writes, prints and decides."""
    return rank() == 0


def take_up_slurm(environment: MutableMapping[str, str] = os.environ) -> None:
    """What ``srun`` says of its tasks, in torchrun's words; nothing outside ``srun``, or where these are there already.

    Within ``sbatch`` but without ``srun`` there is one process, whatever the job has asked for.

    Args:
        environment: That of the process; changed in place.
    """
    if {"RANK", "WORLD_SIZE"} & {*environment} or int(environment.get("SLURM_STEP_NUM_TASKS", "1")) < 2:
        return
    if environment.get("SLURM_JOB_NAME") in ("bash", "interactive"):  # a shell, from which something is tried
        return
    tasks, nodes = int(environment["SLURM_STEP_NUM_TASKS"]), int(environment.get("SLURM_STEP_NUM_NODES", "1"))
    hosts = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_NODELIST") or "127.0.0.1"
    environment["RANK"], environment["LOCAL_RANK"] = environment["SLURM_PROCID"], environment["SLURM_LOCALID"]
    environment["WORLD_SIZE"], environment["LOCAL_WORLD_SIZE"] = str(tasks), str(tasks // nodes)
    environment["GROUP_RANK"] = environment.get("SLURM_NODEID", "0")
    environment.setdefault("MASTER_ADDR", first_host(hosts))
    environment.setdefault("MASTER_PORT", str(15000 + int(environment.get("SLURM_JOB_ID", "0")) % 10000))


def first_host(hosts: str) -> str:
    """The first machine of SLURM's list: ``gpu03`` of ``gpu[03-05,07],login1``."""
    name, bracket, rest = hosts.partition(",")[0].partition("[")
    return name + re.split(r"[-,\]]", rest)[0] + rest.partition("]")[2] if bracket else name


def own(items: Iterable[Value]) -> Iterator[Value]:
    """Of things that all processes go through together, those that are this one's: every so many-th."""
    return islice(items, rank(), None, world_size())


# --- what they tell each other ----------------------------------------------------------------------------------------


def join(arguments: Sequence[str] = ()) -> None:
    """Meets the other processes, where there are any and this was not done yet.

    Args:
        arguments: What this process was asked to do, which must be the same for all.

    Raises:
        InputError: The processes were asked for different things: they are not meant to work together.
    """
    import torch.distributed
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    take_up_slurm()
    if world_size() == 1 or torch.distributed.is_initialized():
        return
    global _store
    met, number, count = next(rendezvous("env://", timeout=TIMEOUT))
    # torchrun keeps what processes that are gone have left there: who is restarted would look for them
    _store = PrefixStore(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), met)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    torch.distributed.init_process_group(backend, store=_store, rank=number, world_size=count, timeout=TIMEOUT)
    asked = gathered(list(arguments))
    if other := next((other for other in asked if other != asked[0]), None):
        raise InputError(
            f"the {count} processes were asked for different things ({' '.join(asked[0])}; {' '.join(other)}), so they "
            "cannot work together: where each is meant to work alone, start it with WORLD_SIZE=1"
        )


def leave() -> None:
    """The end of working together."""
    if _together():
        import torch.distributed

        torch.distributed.destroy_process_group()


def _together() -> bool:
    """Whether there are others to talk to."""
    return _met() is not None and world_size() > 1


def broadcast(value: Value) -> Value:
    """Rank 0's value, in every process; any plain Python value."""
    if not _together():
        return value
    import torch.distributed

    values = [value]
    torch.distributed.broadcast_object_list(values, 0)
    return values[0]


def gathered(value: Value) -> list[Value]:
    """Every process's value, by rank, in every process."""
    if not _together():
        return [value]
    import torch.distributed

    values: list[Any] = [None] * world_size()
    torch.distributed.all_gather_object(values, value)
    return values


def gather_rows(rows: "Tensor") -> "Tensor":
    """The rows of all processes one after the other, by rank, in every process; without gradient, on the CPU.

    Args:
        rows: Those of this process; each may have another number of them, also none.
    """
    if not _together():
        return rows.detach().cpu()
    import torch
    import torch.distributed

    rows = rows.detach().cpu().contiguous()
    counts = gathered(len(rows))
    padded = rows.new_zeros((max(counts), *rows.shape[1:]))
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in counts]
    torch.distributed.all_gather(parts, padded)
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])


def largest(values: Sequence[float]) -> list[float]:
    """Of each number the largest that any process gives, in every process."""
    if not _together():
        return list(values)
    import torch
    import torch.distributed

    numbers = torch.tensor(values, dtype=torch.float64)
    torch.distributed.all_reduce(numbers, torch.distributed.ReduceOp.MAX)
    found: list[float] = numbers.tolist()
    return found


def wait_for_all() -> None:
    """Goes on when every process has come here."""
    largest([0.0])


@contextmanager
def first_goes_ahead() -> Iterator[None]:
    """Rank 0 is in the block first, and the others when it has left it: what it made there they find."""
    if not is_first():
        wait_for_all()
    yield
    if is_first():
        wait_for_all()


# --- what the user sees of them ---------------------------------------------------------------------------------------


@contextmanager
def first_alone_speaks() -> Iterator[None]:
    """Within the block only rank 0 prints, warns and shows progress; the others' errors are told after it."""
    if is_first():
        yield
        return
    with (
        open(os.devnull, "w") as nowhere,
        redirect_stdout(nowhere),
        redirect_stderr(nowhere),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


def is_told_here(error: BaseException) -> bool:
    """Whether this is the process that tells the user of an error: several end of the same one, or of each other's end.

    Args:
        error: What ends this process.
    """
    if world_size() == 1 or _store is None:
        return True
    lost = is_of_lost_process(error)
    try:
        if lost:  # whoever went first says why, if it still can
            _store.wait([_TOLD], _WAIT_FOR_A_REASON)
            return False
    except Exception:  # nobody said anything, or the process that held the store is the one that is gone
        pass
    try:
        return bool(_store.add(_TOLD, 1) == 1)
    except Exception:
        return rank() == 1 if lost else True


def mark(text: str) -> str:
    """The text with the number of this process before it, where there are several."""
    return f"rank {rank()}: {text}" if world_size() > 1 else text
