"""A command in several processes of this machine, one a device: what ``torchrun`` does, by torch's own launcher.

So that there is one way in which processes work together, whoever starts them: torchrun, SLURM's ``srun``, or this.
"""

import logging
import os
import signal
import sys
import uuid
from collections.abc import Sequence

from attngan.errors import AttnganError
from attngan.terminal import say

#: Seconds that the processes have to finish a step and write a checkpoint when they are asked to stop; longer than
#: torch's own 30, since a second request ends them at once.
SHUTDOWN_SECONDS = 120


class SeveralDevices(AttnganError):  # noqa: N818 - on the command line no error: it goes on in other processes
    """What was asked for takes several devices, each in a process of its own, and this is one process alone.

    Args:
        count: How many.
    """

    def __init__(self, count: int) -> None:
        super().__init__(f"{count} devices take a process each: start it with torchrun, or from the command line")
        self.count = count


def run_in_processes(count: int, arguments: Sequence[str]) -> int:
    """Runs ``attngan`` with these arguments so many times over, and waits for the end.

    A request to stop (Ctrl-C, SIGTERM, SIGUSR1) is handed on to all of them; one that dies ends the others.

    Args:
        count: How many processes.
        arguments: The command line after ``attngan``.

    Returns:
        The exit code: that of the process that failed first, or of the signal.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    for name in ("torch.distributed.elastic", "torch.distributed.launcher"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # the processes say themselves what ended them
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(SHUTDOWN_SECONDS))
    asks = [name for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP") if hasattr(signal, name)]
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=str(uuid.uuid4()),
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        signals_to_handle=",".join(asks),
    )
    try:
        elastic_launch(config, sys.executable)("-m", "attngan", *arguments)
    except ChildFailedError as failed:
        rank, failure = failed.get_first_failure()
        if failure.exitcode > 0:  # it has said why
            return failure.exitcode
        say(
            f"attngan {arguments[0]}: rank {rank} of {count} was ended by {failure.signal_name()} (SIGKILL: often for "
            "want of memory), and the others with it",
            error=True,
        )
        return 128 - failure.exitcode
    except SignalException as asked:
        return 128 + asked.sigval
    return 0
