"""One pass over images: each batch goes through every network, and the outputs are kept, not the images.

With a folder the pass can be interrupted and goes on where it stopped, as long as everything that decides the numbers
is the same.

Several processes take the batches in turn, and rank 0 puts the rows into the order of the images: the batches, and so
the numbers, are those of one process, however many there are.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from attngan import ranks, stopping
from attngan.bounded import read_json
from attngan.errors import InputError
from attngan.files import locked, reserve, write_whole

#: A batch of images to named outputs, one row an image.
OutputFunction = Callable[[UInt8[Tensor, "batch 3 height width"]], dict[str, Tensor]]

STATE = "pass.json"
SECONDS_BETWEEN_SAVES = 5.0


def collect_outputs(
    batches: Callable[[int], Iterator[Tensor]],
    networks: Sequence[OutputFunction],
    count: int,
    folder: Path | None = None,
    key: Mapping[str, Any] | None = None,
    progress: Callable[[int], None] = lambda done: None,
    device: torch.device | str = "cpu",
    stale: Callable[[str], None] = lambda reason: None,
) -> dict[str, Tensor]:
    """Puts ``count`` images through all networks; returns their outputs, float32, one row an image in order.

    Of several processes rank 0 gets the rows, the others none.

    Args:
        batches: Called with a position, yields batches of uint8 images from there on; of several processes each yields
            its own (`ranks.own`).
        networks: Each gives outputs of one or more names, the same names for every batch.
        count: Images to put through; more than that are not drawn.
        folder: Keeps the outputs, so that the pass can go on after an interruption; None for memory alone.
        key: All that decides the rows (checkpoint, seed, extractor ...). A folder that was filled under another key is
            started anew.
        progress: Called with the number of images done.
        device: Where the networks want their batches.
        stale: Told what changed when kept rows are refused.

    Raises:
        InputError: Fewer images than ``count``.
    """
    if not ranks.is_first():
        folder = None
    # one process at a time fills a folder; another one waits, and then finds the rows there
    with nullcontext() if folder is None else locked(folder / "lock"):
        rows = _Rows(count, folder, dict(key or {}), stale)
        rows.done = ranks.broadcast(rows.done)
        progress(rows.done)
        try:
            if rows.done < count:
                for outputs in _in_order(_through(networks, batches(rows.done), device)):
                    rows.add(outputs)
                    progress(rows.done)
                    if rows.done == count:
                        break
        finally:
            rows.save()
    if rows.done < count:
        raise InputError(f"{count} images were asked for, but there are only {rows.done}")
    return rows.tensors()


def _through(
    networks: Sequence[OutputFunction], batches: Iterator[Tensor], device: torch.device | str
) -> Iterator[dict[str, Tensor]]:
    """The networks' outputs of each batch, on the CPU."""
    for batch in batches:
        outputs: dict[str, Tensor] = {}
        for network in networks:
            outputs |= network(batch.to(device))
        yield {name: rows.detach().float().cpu() for name, rows in outputs.items()}


def _in_order(outputs: Iterator[dict[str, Tensor]]) -> Iterator[dict[str, Tensor]]:
    """What all processes made of their batches, in the order of the images, in every process.

    Raises:
        Stopped: One of the processes was asked to stop where that has to wait for the others.
    """
    if ranks.world_size() == 1:
        yield from outputs
        return
    while True:
        own = next(outputs, {})
        told = ranks.gathered(({name: rows.shape[1] for name, rows in own.items()}, stopping.asked()))
        if signals := [asked for _, asked in told if asked is not None]:
            raise stopping.Stopped(signals[0])
        columns = next((columns for columns, _ in told if columns), None)
        if columns is None:
            return
        rows = torch.cat([own[name] for name in columns], 1) if own else torch.zeros(0, sum(columns.values()))
        yield dict(zip(columns, ranks.gather_rows(rows).split(list(columns.values()), 1), strict=True))


class _Rows:
    """Named arrays of ``count`` rows, the first ``done`` of them filled; in memory or in a folder."""

    def __init__(self, count: int, folder: Path | None, key: dict[str, Any], stale: Callable[[str], None]) -> None:
        self.count, self.folder, self.done = count, folder, 0
        self.key = json.loads(json.dumps({**key, "count": count}))
        self.arrays: dict[str, np.ndarray] = {}
        self.saved_at = time.monotonic()
        if folder is not None and not self._take_up(folder, stale):
            # before any row is written over: a crash must not leave new rows under the old key
            (folder / STATE).unlink(missing_ok=True)

    def _take_up(self, folder: Path, stale: Callable[[str], None]) -> bool:
        """Whether the folder's rows serve."""
        state = folder / STATE
        if not state.is_file():
            return False
        try:
            kept = read_json(state.read_bytes())
        except InputError:
            return False
        if kept["key"] != self.key:
            changed = sorted(k for k in {*kept["key"], *self.key} if kept["key"].get(k) != self.key.get(k))
            stale(f"what {folder} keeps was computed with other {', '.join(changed)}: it is computed anew")
            return False
        files = {name: (self._file(name), columns) for name, columns in kept["arrays"].items()}
        if any(not f.is_file() or f.stat().st_size != 4 * self.count * columns for f, columns in files.values()):
            return False
        for name, (file, columns) in files.items():
            self.arrays[name] = np.memmap(file, np.float32, "r+", shape=(self.count, columns))
        self.done = kept["done"]
        return True

    def _file(self, name: str) -> Path:
        assert self.folder is not None
        return self.folder / f"{name}.f32"

    def add(self, outputs: dict[str, Tensor]) -> None:
        """The rows of the next images; of more than there are to be, the first ones."""
        size = {len(value) for value in outputs.values()}
        assert len(size) == 1, "networks must give one row an image"
        done = min(self.done + size.pop(), self.count)
        for name, value in outputs.items() if ranks.is_first() else ():
            if name not in self.arrays:
                shape = (self.count, value.shape[1])
                if self.folder is None:
                    self.arrays[name] = np.zeros(shape, np.float32)
                else:
                    reserve(self._file(name), 4 * self.count * value.shape[1])
                    self.arrays[name] = np.memmap(self._file(name), np.float32, "r+", shape=shape)
            self.arrays[name][self.done : done] = value[: done - self.done].numpy()
        self.done = done
        if time.monotonic() - self.saved_at > SECONDS_BETWEEN_SAVES:
            self.save()

    def save(self) -> None:
        """Rows first, then the count that says they are there."""
        if self.folder is None or not self.arrays:
            return
        for array in self.arrays.values():
            array.flush()  # type: ignore[attr-defined]
        columns = {name: array.shape[1] for name, array in self.arrays.items()}
        write_whole(self.folder / STATE, json.dumps({"key": self.key, "done": self.done, "arrays": columns}))
        self.saved_at = time.monotonic()

    def tensors(self) -> dict[str, Tensor]:
        return {name: torch.from_numpy(np.asarray(array)) for name, array in self.arrays.items()}
