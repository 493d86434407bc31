"""What drawn images are compared with: the real images of a split, those in a folder, or published statistics."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from attngan import ranks
from attngan.array_files import read_arrays
from attngan.checkpoint import file_sha256
from attngan.errors import InputError
from attngan.evaluation.feature_pass import collect_outputs
from attngan.evaluation.image_files import ImageFiles
from attngan.evaluation.networks import Networks
from attngan.evaluation.protocols import Protocol
from attngan.evaluation.scored_images import Split
from attngan.metrics.fid import GaussianStatistics, gaussian_statistics
from attngan.progress import progress_bar


@dataclass
class Reference:
    """The networks' outputs of real images; ``published`` statistics instead where only those are given.

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


def reference_of(
    networks: Networks,
    settings: Protocol,
    split: Split | None,
    given: Path | None,
    out: Path,
    progress: bool,
    device: str,
) -> Reference:
    """What the images are compared with: the images of ``given``, else the split's real ones, through the networks.

    Those that compare with captions see the split's real images, each once, whatever the protocol wants the extractor
    to see.

    Args:
        networks: Networks of the evaluation.
        settings: The protocol: which crops of the real images, how many.
        split: The data set's.
        given: A folder or zip of images, or published statistics (``.npz``), instead of the split's images.
        out: Folder for what is kept where the split has none of its own.
        progress: Show a progress bar.
        device: Where the networks are.
    """
    kept = split.cache if split is not None and split.cache is not None else out
    of_split = "" if split is None else f"{split.description.get('split')}-{split.description.get('image_size')}px"

    def through(network: Networks, source: RealCrops | ImageFiles, batch: int | None, label: str) -> Reference:
        total = len(source) if isinstance(source, ImageFiles) else source.count
        with progress_bar("real images", total, progress) as step:
            return reference_outputs(source, network, batch, kept / f"scored-{label}", step, device)

    found = Reference()
    if given is not None and given.suffix.lower() == ".npz":
        found = published_statistics(given)
    elif networks.extractor is not None and (given is not None or split is not None):
        source: RealCrops | ImageFiles
        if given is not None:
            source = ImageFiles(given)
            label = f"{source.fingerprint[:16]}-{networks.short_name}"
        else:
            assert split is not None
            source = real_crops(split, settings.reference, settings.reference_images, settings.seed)
            batches = "" if settings.batch is None else f"-batches-of-{settings.batch}"
            label = f"{of_split}-{settings.reference}{batches}-{networks.short_name}"
        found = through(networks.only_extractor(), source, settings.batch, label)
    for scorer in networks.each_scorer():
        assert split is not None
        plain = real_crops(split, "centre", None, settings.seed)
        other = through(scorer, plain, None, f"{of_split}-{scorer.scorers[0].name}")
        found.rows |= other.rows
        found.description = found.description or other.description
        found.show = found.show or other.show
    return found


@dataclass
class RealCrops:
    """Crops of a split's images, from any position on; of several processes each gets its own batches."""

    split: Split
    kind: Literal["centre", "augmented"]
    count: int
    seed: int

    def __call__(self, start: int) -> Iterator[Tensor]:
        if self.kind == "centre":
            yield from ranks.own(self.split.crops(start))
            return
        if self.split.random_crop is None:
            raise InputError("these real images cannot be cropped at random: the protocol's reference cannot be made")
        for position in ranks.own(range(start, self.count, 64)):
            numbers = range(position, min(position + 64, self.count))
            crops = [self.split.random_crop(i % len(self.split.images), (self.seed, i)) for i in numbers]
            yield torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)


def reference_outputs(
    source: RealCrops | ImageFiles,
    networks: Networks,
    batch: int | None,
    folder: Path,
    progress: Callable[[int], None],
    device: str,
) -> Reference:
    """Outputs of real images, kept in ``folder`` for as long as neither images nor networks change.

    Args:
        source: The images.
        networks: What they go through.
        batch: Images in a last batch smaller than this are dropped.
        folder: Folder of the cache.
        progress: Told the number of images done.
        device: Where the networks are.
    """
    stale = partial(warnings.warn, stacklevel=2)
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
    key = {name: fact for name, fact in facts.items() if name not in ("root", "path")}
    key["networks"] = networks.identity()
    outputs = collect_outputs(batches, networks.output_functions, total, folder, key, progress, device, stale)
    return Reference(outputs, None, facts | {"images": total}, lambda position: next(batches(position))[0])


def _file_batches(files: ImageFiles, start: int) -> Iterator[Tensor]:
    return ranks.own(files.batches(start))


def published_statistics(path: Path) -> Reference:
    """Mean and covariance from an ``.npz`` with ``mu`` and ``sigma``, as published references come (FID alone).

    Raises:
        MissingFileError: There is no such file.
        InputError: The file holds something else.
    """
    mean, covariance = read_arrays(path, "mu", "sigma")
    numbers = (
        mean.dtype.kind == covariance.dtype.kind == "f" and np.isfinite(mean).all() and np.isfinite(covariance).all()
    )
    if not numbers or mean.ndim != 1 or not mean.size or covariance.shape != (mean.size, mean.size):
        raise InputError(
            f"{path} holds no published statistics: mu is {mean.dtype} {mean.shape}, sigma {covariance.dtype} "
            f"{covariance.shape}; wanted are finite fractions, one a feature, and a square of as many"
        )
    facts = {"path": str(path), "sha256": file_sha256(path), "statistics": "published mean and covariance"}
    statistics = GaussianStatistics(torch.from_numpy(mean).double(), torch.from_numpy(covariance).double(), 0)
    return Reference({}, statistics, facts)
