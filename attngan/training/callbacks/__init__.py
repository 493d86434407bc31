"""What every training run has around it: checkpoints, an orderly stop, exact resuming, time left, a budget."""

from attngan.training.callbacks.after_step import AfterStep
from attngan.training.callbacks.agreement import Agreement
from attngan.training.callbacks.budget import Budget, share_done
from attngan.training.callbacks.fastest_threads import FastestThreads
from attngan.training.callbacks.keep_last import KeepLast
from attngan.training.callbacks.random_state import RandomState
from attngan.training.callbacks.run_checkpoints import RunCheckpoints
from attngan.training.callbacks.run_progress import ProgressLines, RunProgressBar
from attngan.training.callbacks.whole_files import WholeFiles

__all__ = [
    "AfterStep",
    "Agreement",
    "Budget",
    "FastestThreads",
    "KeepLast",
    "ProgressLines",
    "RandomState",
    "RunCheckpoints",
    "RunProgressBar",
    "WholeFiles",
    "share_done",
]
