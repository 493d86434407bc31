"""On how many devices a recipe trains: what was asked for, what was started, and what a run began with."""

import json
import os
import socket
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning import Trainer

from attngan import ranks
from attngan.bounded import read_recipe
from attngan.commands.trainer_flags import told_of_trainer
from attngan.errors import InputError
from attngan.files import write_whole
from attngan.launching import SeveralDevices
from attngan.terminal import say

STARTED_BY = ".started_by"


def settle_devices(config: Any, single: bool) -> None:
    """One process a device: those that were started, else as many as the recipe asks for.

    Args:
        config: The parsed recipe; changed in place.
        single: The command can run in this process alone (what else is told of the training lies in its memory).

    Raises:
        SeveralDevices: It has to be started in several processes.
        InputError: There are no such devices.
    """
    trainer = config.trainer
    if ranks.is_started_as_one_of_several():
        here, nodes = ranks.local_world_size(), ranks.world_size() // ranks.local_world_size()
        if not isinstance(trainer.devices, list) or len(trainer.devices) != here:
            trainer.devices = here
        trainer.num_nodes = nodes
        return
    if single:
        trainer.devices = 1
        return
    if trainer.num_nodes != 1 and config.resume is None:
        raise InputError(
            f"trainer.num_nodes {trainer.num_nodes}: start it on each machine with torchrun "
            "(docs/devices.md has the line), or with srun"
        )
    trainer.num_nodes = 1
    count = _devices_there(config)
    if count > 1:
        raise SeveralDevices(count)


def _devices_there(config: Any) -> int:
    """How many devices of this machine Lightning takes for what the recipe says."""
    trainer = config.trainer
    plain: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    try:
        return Trainer(accelerator=trainer.accelerator, devices=trainer.devices, **plain).num_devices
    except (MisconfigurationException, ValueError, ImportError, RuntimeError) as error:
        if config.resume is not None and trainer.devices != "auto":  # a run of a larger machine
            trainer.devices = "auto"
            return _devices_there(config)
        raise InputError(told_of_trainer(error, config)) from error


# --- the batch, on another number of devices than before --------------------------------------------------------------


class Begun(NamedTuple):
    """On how many devices a run began, in how many parts it computed each batch there, and how its recipe says both."""

    devices: int
    accumulate: int
    written: tuple[Any, Any] = ("auto", 1)

    @classmethod
    def of(cls, recipe: dict[str, Any]) -> "Begun":
        """As a run's config.yaml keeps it."""
        trainer, model = recipe.get("trainer") or {}, recipe.get("model") or {}
        here, nodes = trainer.get("devices", "auto"), trainer.get("num_nodes", 1)
        devices = (here if isinstance(here, int) else 1) * (nodes or 1)
        return cls(devices, model.get("accumulate") or 1, (here, nodes))

    def parts(self, devices: int) -> int:
        """In how many parts so many devices compute a batch, so that none holds more of it at once than was held."""
        return max(self.accumulate, ceil(self.devices * self.accumulate / devices))


def keep_batch(config: Any, before: Path, given: bool) -> Begun | None:
    """A run that goes on with fewer devices computes each batch in more parts.

    Args:
        config: The parsed recipe of a run that is gone on with; changed in place.
        before: The run's config.yaml so far.
        given: The command line says in how many parts.

    Returns:
        How the run began, which its config.yaml goes on to say; None where it begins anew.
    """
    if config.resume is None or given or not before.is_file():
        return None
    begun, devices = Begun.of(read_recipe(before) or {}), ranks.world_size()
    config.model.accumulate = begun.parts(devices)
    if devices != begun.devices:
        told = f"the run began on {begun.devices} device{'s' * (begun.devices > 1)} and goes on with {devices}"
        say(f"{told}: batches of {config.data.batch_size} images as before{_parts(config.model.accumulate, begun)}")
    return begun


def _parts(parts: int, begun: Begun) -> str:
    if parts == begun.accumulate:
        return ", computed as before"
    return (
        f", each in {parts} parts, so that a device holds no more at once. Batch norms, wrong captions and the "
        "matching loss's rivals are those of a part, so steps differ from those before; where the memory suffices, "
        f"--model.accumulate {begun.accumulate} goes on exactly"
    )


def with_begun(stored: Any, begun: Begun | None) -> Any:
    """The recipe that config.yaml keeps, with how the run began.

    Args:
        stored: The recipe; changed in place.
        begun: How a run began that is gone on with; None for what holds now.
    """
    if begun is not None:
        stored.trainer.devices, stored.trainer.num_nodes = begun.written
        stored.model.accumulate = begun.accumulate
    return stored


# --- restarts ---------------------------------------------------------------------------------------------------------


def goes_on_by_itself(run_dir: Path) -> bool:
    """Whether whoever started this process has started it before, for this run: a restart after a process died.

    torchrun restarts what died (``--max-restarts``), SLURM a job that it requeued, and both with the same command line.

    Args:
        run_dir: The run's folder.
    """
    note = run_dir / STARTED_BY
    if not note.is_file() or not any(int(os.environ.get(name, "0")) for name in _RESTARTS):
        return False
    return bool({*_starters()} & {*json.loads(note.read_text())})


def remember_start(run_dir: Path) -> None:
    """Leaves in the run's folder who started it, for `goes_on_by_itself`."""
    if starters := _starters():
        write_whole(run_dir / STARTED_BY, json.dumps(starters))


_RESTARTS = ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT")


def _starters() -> list[str]:
    """Who started this process, by names that stay when it is restarted."""
    found = []
    if (name := os.environ.get("TORCHELASTIC_RUN_ID")) is not None:
        unnamed = f"{socket.gethostname()} {os.getppid()}"  # torchrun of several machines, without --rdzv-id
        found.append(f"torchrun {unnamed if name == 'none' else name}")
    if (job := os.environ.get("SLURM_JOB_ID")) is not None:
        found.append(f"slurm {job}")
    return found
