"""What drawn images are compared with: the real images of a split, those in a folder, or published statistics."""

import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from attngan.checkpoint import file_sha256
from attngan.evaluation.display import progress_bar
from attngan.evaluation.feature_pass import Observer, observe
from attngan.evaluation.image_files import ImageFiles
from attngan.evaluation.instruments import Instruments
from attngan.evaluation.protocols import Protocol
from attngan.evaluation.scored_images import Split
from attngan.metrics.fid import GaussianStatistics, gaussian_statistics


@dataclass
class Reference:
    """Rows about real images; ``published`` statistics instead where only those are given.

    ``show`` shows a single one again (for the report), by its position among the rows.
    """

    rows: dict[str, Tensor] = field(default_factory=dict)
    published: GaussianStatistics | None = None
    description: dict[str, Any] = field(default_factory=dict)
    show: Callable[[int], Tensor] | None = None

    @cached_property
    def statistics(self) -> GaussianStatistics:
        return self.published or gaussian_statistics(self.rows["features"])


def real_crops(split: Split, kind: Literal["centre", "augmented"], count: int | None, seed: int) -> "RealCrops":
    """The split's images as centre crops, once each; or ``count`` random crops and flips of them."""
    return RealCrops(split, kind, len(split.images) if count is None else count, seed)


def look_at_real(
    tools: Instruments,
    wanted: Protocol,
    real: Split | None,
    given: Path | None,
    out: Path,
    progress: bool,
    device: str,
) -> Reference:
    """Rows about what the images are compared with: the images of ``given``, else the split's real ones.

    Witnesses of captions see the split's real images, each once, whatever the protocol wants the extractor to see.

    Args:
        tools: What looks.
        wanted: The protocol: which crops of the real images, how many.
        real: The split.
        given: A folder or zip of images, or published statistics (``.npz``), instead of the split's images.
        out: Folder for what is kept where the split has none of its own.
        progress: Show a progress bar.
        device: Where the networks are.
    """
    stale = partial(warnings.warn, stacklevel=2)
    kept = real.cache if real is not None and real.cache is not None else out
    split = "" if real is None else f"{real.description.get('split')}-{real.description.get('image_size')}px"

    def look(
        source: RealCrops | ImageFiles, looks: list[Observer], networks: dict[str, Any], batch: int | None, label: str
    ) -> Reference:
        total = len(source) if isinstance(source, ImageFiles) else source.count
        with progress_bar("looking at real images", total, progress) as step:
            return look_at_reference(source, looks, networks, batch, kept / f"scored-{label}", step, stale, device)

    found = Reference()
    if given is not None and given.suffix == ".npz":
        found = published_statistics(given)
    elif tools.extractor is not None and (given is not None or real is not None):
        source: RealCrops | ImageFiles
        if given is not None:
            source = ImageFiles(given)
            label = f"{source.fingerprint[:16]}-{tools.short_name}"
        else:
            assert real is not None
            source = real_crops(real, wanted.reference, wanted.reference_images, wanted.seed)
            batches = "" if wanted.batch is None else f"-batches-of-{wanted.batch}"
            label = f"{split}-{wanted.reference}{batches}-{tools.short_name}"
        found = look(source, tools.looks(witnesses=False), tools.identity(witnesses=False), wanted.batch, label)
    for witness in tools.witnesses:
        assert real is not None
        plain = real_crops(real, "centre", None, wanted.seed)
        said = look(plain, [witness.look], {witness.row: witness.weights_sha256}, None, f"{split}-{witness.name}")
        found.rows |= said.rows
        found.description = found.description or said.description
        found.show = found.show or said.show
    return found


@dataclass
class RealCrops:
    """Crops of a split's images, from any position on."""

    split: Split
    kind: Literal["centre", "augmented"]
    count: int
    seed: int

    def __call__(self, start: int) -> Iterator[Tensor]:
        if self.kind == "centre":
            yield from self.split.crops(start)
            return
        if self.split.random_crop is None:
            raise ValueError("these real images cannot be cropped at random: the protocol's reference cannot be made")
        for position in range(start, self.count, 64):
            numbers = range(position, min(position + 64, self.count))
            crops = [self.split.random_crop(i % len(self.split.images), (self.seed, i)) for i in numbers]
            yield torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)


def look_at_reference(
    source: RealCrops | ImageFiles,
    looks: list[Observer],
    networks: dict[str, Any],
    batch: int | None,
    folder: Path,
    progress: Callable[[int], None],
    stale: Callable[[str], None],
    device: str,
) -> Reference:
    """Rows about real images, kept in ``folder`` for as long as neither images nor networks change.

    Args:
        source: The images.
        looks: Observers.
        networks: What identifies them.
        batch: Images in a last batch smaller than this are dropped.
        folder: Folder of the cache.
        progress: Told the number of images looked at.
        stale: Told why the cache is refused.
        device: Where the observers are.
    """
    batches: Callable[[int], Iterator[Tensor]]
    if isinstance(source, ImageFiles):
        facts: dict[str, Any] = {"path": str(source.path), "fingerprint": source.fingerprint}
        total, batches = len(source), partial(_file_batches, source)
    else:
        facts = source.split.description | {"fingerprint": source.split.fingerprint, "crops": source.kind}
        facts |= {"seed": source.seed} if source.kind == "augmented" else {}
        total, batches = source.count, source
    if batch is not None:
        total -= total % batch
    # not by where the images lie: the fingerprint tells them, however their folder was written
    key = {name: fact for name, fact in facts.items() if name not in ("root", "path")} | {"networks": networks}
    rows = observe(batches, looks, total, folder, key, progress, device, stale)
    return Reference(rows, None, facts | {"images": total}, lambda position: next(batches(position))[0])


def _file_batches(files: ImageFiles, start: int) -> Iterator[Tensor]:
    return files.batches(start)


def published_statistics(path: Path) -> Reference:
    """Mean and covariance from an ``.npz`` with ``mu`` and ``sigma``, as published references come (FID alone).

    Raises:
        ValueError: The file holds something else.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            mean, covariance = torch.from_numpy(arrays["mu"]).double(), torch.from_numpy(arrays["sigma"]).double()
    except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} holds no published statistics, arrays mu and sigma ({error})") from error
    facts = {"path": str(path), "sha256": file_sha256(path), "statistics": "published mean and covariance"}
    return Reference({}, GaussianStatistics(mean, covariance, 0), facts)
