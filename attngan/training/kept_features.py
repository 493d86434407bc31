"""Features of a frozen image trunk, computed once and kept on disk: what makes DAMSM pretraining possible on a CPU."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Int, UInt8
from numpy.lib.format import open_memmap
from torch import Tensor

from attngan.files import locked, reserve, write_whole
from attngan.networks.description import describe
from attngan.networks.image_trunks import ImageTrunk
from attngan.pixels import from_uint8
from attngan.progress import progress_bar
from attngan.records import TrunkFeatures

_DONE = "done.json"


def trunk_fingerprint(trunk: ImageTrunk, source: str) -> str:
    """Changes with the trunk's weights, its arguments, and the images (``source`` names them and their preparation)."""
    digest = hashlib.sha256(json.dumps([describe(trunk), source], sort_keys=True).encode())
    for value in trunk.state_dict().values():
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


class KeptFeatures:
    """The features of each image of a split, plain and where asked for mirrored, as float16 in memory-mapped files.

    Args:
        folder: Where `keep_features` wrote them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.regions = np.load(folder / "regions.npy", mmap_mode="r")  # (images, views, channels, height, width)
        self.pooled = np.load(folder / "pooled.npy", mmap_mode="r")  # (images, views, channels)

    def __reduce__(self) -> tuple[type["KeptFeatures"], tuple[Path]]:
        return KeptFeatures, (self.folder,)  # to another process the place goes, not gigabytes

    def of(self, rows: Int[np.ndarray, " batch"], mirrored: Bool[np.ndarray, " batch"]) -> TrunkFeatures:
        """Features of the images at these positions of the split, each in the view asked for, in float16."""
        views = mirrored.astype(int)
        return TrunkFeatures(torch.from_numpy(self.regions[rows, views]), torch.from_numpy(self.pooled[rows, views]))

    def rows(self, indices: Int[Tensor, " batch"], mirrored: Bool[Tensor, " batch"]) -> TrunkFeatures:
        """As `of`, of tensors and in float32."""
        found = self.of(indices.cpu().numpy(), mirrored.cpu().numpy())
        return TrunkFeatures(*(values.to(indices.device).float() for values in found))


@torch.inference_mode()
def keep_features(
    trunk: ImageTrunk,
    batches: Iterable[UInt8[Tensor, "batch 3 size size"]],
    count: int,
    folder: Path,
    mirrored: bool = True,
) -> KeptFeatures:
    """Computes what is not yet in ``folder``, and opens it.

    An interrupted run goes on where it was: a line in ``done.json`` tells how many images are complete. One process at
    a time computes; another one that wants the same waits, and finds them there.

    Args:
        trunk: A frozen trunk.
        batches: All images of the split in order, in batches of one size but for the last.
        count: How many images those are.
        folder: Named after `trunk_fingerprint`, so that other images or weights never meet these features.
        mirrored: Keeps those of the mirror images too. Without, in half the time: for splits that are never mirrored.
    """
    with locked(folder / "lock"):
        done = _images_done(folder)
        if done < count:
            _compute(trunk, batches, count, folder, mirrored, done)
    return KeptFeatures(folder)


def _images_done(folder: Path) -> int:
    progress = folder / _DONE
    return int(json.loads(progress.read_text())["images"]) if progress.is_file() else 0


def _compute(
    trunk: ImageTrunk,
    batches: Iterable[UInt8[Tensor, "batch 3 size size"]],
    count: int,
    folder: Path,
    mirrored: bool,
    done: int,
) -> None:
    """The features of the images after the first ``done`` ones."""
    device = next(trunk.parameters()).device
    trunk.to(memory_format=torch.channels_last)
    files: dict[str, np.memmap] = {}
    seen = 0
    with progress_bar("image features, once", count) as show:
        for pixels in batches:
            seen += len(pixels)
            if seen <= done:
                continue
            images = from_uint8(pixels.to(device)).contiguous(memory_format=torch.channels_last)
            with torch.autocast(device.type, torch.bfloat16):
                views = [trunk(images), trunk(images.flip(3))] if mirrored else [trunk(images)]
            for name in TrunkFeatures._fields:
                rows = torch.stack([getattr(view, name).to(torch.float16) for view in views], 1).cpu().numpy()
                if name not in files:
                    path = folder / f"{name}.npy"
                    shape = (count, *rows.shape[1:])
                    if not done:
                        open_memmap(path, "w+", np.dtype(np.float16), shape)
                        reserve(path, path.stat().st_size)
                    files[name] = open_memmap(path, mode="r+")
                files[name][seen - len(rows) : seen] = rows
                files[name].flush()
            write_whole(folder / _DONE, json.dumps({"images": seen}))
            show(seen)
    if seen != count:
        raise ValueError(f"{count} images were announced for {folder}, but {seen} came")
