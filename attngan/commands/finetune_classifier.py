"""The command `attngan finetune-classifier`: the network behind a data set's own Inception Score, made by anyone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attngan.checkpoint import file_sha256
from attngan.data.sources.tables import Columns
from attngan.device import usable_device
from attngan.errors import InputError, require_at_least
from attngan.evaluation.scored_images import Split, read_split
from attngan.extractors.classifier import ImageClassifier
from attngan.extractors.extractor import resize_images
from attngan.networks.image_trunks import ConvTrunk, EfficientNetLiteTrunk, ImageTrunk, InceptionTrunk
from attngan.pixels import from_uint8
from attngan.progress import progress_bar
from attngan.terminal import say

TrunkName = Literal["inception", "efficientnet-lite0", "efficientnet-lite2", "conv"]


def finetune_classifier(
    data: Path,
    out: Path,
    source: str = "cub",
    split: Literal["test", "train"] = "test",
    trunk: TrunkName = "efficientnet-lite0",
    weights: Path | None = None,
    image_size: int = 256,
    skip_bad: bool = False,
    image_column: str | None = None,
    caption_column: str | None = None,
    held_out: float = 0.2,
    head_epochs: int = 60,
    epochs: int = 5,
    batch_size: int = 32,
    learning_rate: float = 1e-4,
    name: str | None = None,
    seed: int = 0,
    device: str | None = None,
    progress: bool = True,
) -> ImageClassifier:
    """Fine-tunes an image network on a data set's own classes and reports its accuracy on held-out images.

    First the last layer alone learns, on features computed once; then all of the network, on random crops and flips.
    The file serves as `attngan evaluate --extractor OUT`: protocol stackgan on the 50 test classes of CUB, whose
    published network nobody can download any more.

    Args:
        data: Root of the data set; it must have classes.
        out: File for the classifier (.safetensors).
        source: Layout of the data set.
        split: Whose classes: test (published for CUB) or train.
        trunk: The image network: inception (torchvision's ImageNet weights), efficientnet-lite0 or -lite2 (weights
            come inside a package), conv (small, learns from scratch).
        weights: File with the trunk's weights, where it has such; by default the library's own.
        image_size: Side of the crops in pixels: the size of the images that will be scored.
        skip_bad: Leave out images of the data set that cannot be used (missing, damaged) instead of stopping.
        image_column: For a folder with a table: the column with the images' names, as in training.
        caption_column: Name of the column with the captions.
        held_out: Share of each class's images that is kept for measuring accuracy.
        head_epochs: Passes of the last layer alone.
        epochs: Passes of all of the network; 0 leaves the trunk as it is.
        batch_size: Images a step.
        learning_rate: Largest step size of the whole network.
        name: Stands in the names of scores; by default data set, split, number of classes and trunk.
        seed: Seed of held-out images, order and crops.
        device: cpu, cuda ...; by default cuda where there is one.
        progress: Show progress bars and the accuracy.

    Returns:
        The classifier, with its accuracy in ``facts``.

    Raises:
        InputError: The data set has no classes.
    """
    require_at_least(0, seed=seed, head_epochs=head_epochs, epochs=epochs, learning_rate=learning_rate)
    require_at_least(1, image_size=image_size, batch_size=batch_size)
    device = str(usable_device(device))
    if Path(out).suffix != ".safetensors":
        raise InputError(f"{out} should end in .safetensors: that is how `attngan evaluate --extractor` knows it")
    columns = Columns(image_column, caption_column)
    real = read_split(data, source, split, image_size, skip_bad, columns=columns)
    classes, class_names = _classes(real, data)
    network = _trunk(trunk, weights)
    label = name or f"{Path(data).resolve().name}-{split}{len(class_names)}-{trunk}"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        classifier = ImageClassifier(network, class_names, label).to(device)
        parts = _divide(classes, held_out, seed)
        job = _Job(classifier, real, classes, parts, batch_size, seed, device, progress)
        if trunk != "conv":
            _train_head(job, head_epochs)
        of_head = _accuracy(job)
        facts = {
            "dataset": str(data),
            "split": split,
            "classes": len(class_names),
            "trunk": trunk,
            "image_size": image_size,
            "images": len(parts.training),
            "held_out_images": len(parts.held_out),
            "accuracy_of_head_alone": None if trunk == "conv" else of_head,
            "accuracy_is_of": "the epoch that was best on the held-out images themselves",
            "seed": seed,
        }
        best = _keep_best(job, epochs, learning_rate, of_head, facts, out)
    if progress:
        say(f"{out} ({file_sha256(out)[:16]}): {label}, {best:.1f} % of {len(parts.held_out)} held-out images right")
    return classifier.eval()


class _Parts(NamedTuple):
    training: Tensor
    held_out: Tensor


class _Job:
    """What the training functions share."""

    def __init__(
        self,
        classifier: ImageClassifier,
        real: Split,
        classes: Tensor,
        parts: _Parts,
        batch_size: int,
        seed: int,
        device: str,
        progress: bool,
    ) -> None:
        self.classifier, self.real, self.classes, self.parts = classifier, real, classes, parts
        self.batch_size, self.seed, self.device, self.progress = batch_size, seed, device, progress
        self.after_head: dict[str, Tensor] = {}

    def scaled(self, images: Tensor) -> Tensor:
        size = self.classifier.trunk.input_size
        return from_uint8(resize_images(images.to(self.device), size, "antialias"))


def _classes(real: Split, data: Path) -> tuple[Tensor, tuple[str, ...]]:
    if real.classes is None:
        raise InputError(f"{data} has no classes: a classifier needs some")
    numbers, classes = real.classes.unique(return_inverse=True)
    first = [int((real.classes == number).nonzero()[0, 0]) for number in numbers]
    names = tuple(real.images[i].name.rpartition("/")[0] or str(int(real.classes[i])) for i in first)
    return classes, names


def _trunk(name: TrunkName, weights: Path | None) -> ImageTrunk:
    given: Any = "imagenet" if weights is None else str(weights)
    if name == "inception":
        return InceptionTrunk(given)
    if name == "efficientnet-lite0":
        return EfficientNetLiteTrunk("lite0", given, input_size=224)
    if name == "efficientnet-lite2":
        return EfficientNetLiteTrunk("lite2", given, input_size=260)
    return ConvTrunk(64, 32)


def _divide(classes: Tensor, held_out: float, seed: int) -> _Parts:
    """A share of each class's images, at least one, is held out."""
    rng = np.random.default_rng(seed)
    training, kept = [], []
    for number in classes.unique():
        rows = torch.from_numpy(rng.permutation((classes == number).nonzero()[:, 0].numpy()))
        if len(rows) < 2:
            raise InputError("every class needs at least two images: one to learn from, one to measure accuracy with")
        count = min(max(1, round(held_out * len(rows))), len(rows) - 1)
        kept.append(rows[:count])
        training.append(rows[count:])
    return _Parts(torch.cat(training), torch.cat(kept))


def _train_head(job: _Job, epochs: int) -> None:
    """The last layer, on features of the centre crop and its mirror image."""
    trunk, head = job.classifier.trunk, job.classifier.head
    plain, mirrored = [], []
    with progress_bar("features", len(job.real.images), job.progress) as step, torch.inference_mode():
        for batch in job.real.crops(0):
            x = job.scaled(batch)
            plain.append(trunk.features(x).pooled.float())
            mirrored.append(trunk.features(x.flip(3)).pooled.float())
            step(sum(map(len, plain)))
    views = torch.stack([torch.cat(plain), torch.cat(mirrored)]).clone()
    mean, std = views[0].mean(0), views[0].std(0).clamp_min(1e-3)
    rows, targets = job.parts.training.to(job.device), job.classes.to(job.device)
    optimizer = torch.optim.AdamW(head.parameters(), 1e-3, weight_decay=1e-2)
    generator = torch.Generator().manual_seed(job.seed)
    for _ in range(epochs):
        order = rows[torch.randperm(len(rows), generator=generator).to(job.device)]
        for batch in order.split(64):
            view = int(torch.randint(2, (), generator=generator))
            loss = F.cross_entropy(head((views[view, batch] - mean) / std), targets[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():  # the layer takes over the normalisation of its input
        head.weight.div_(std)
        head.bias.sub_(head.weight @ mean)


def _train_all(job: _Job, epochs: int, learning_rate: float) -> Iterator[int]:
    """All layers, on random crops and flips; yields after each epoch. ImageNet's batch norms stay as they are."""
    if epochs == 0:
        return
    classifier, trunk = job.classifier, job.classifier.trunk
    pretrained = trunk.frozen
    job.after_head = {key: value.clone() for key, value in classifier.state_dict().items()}
    trunk.frozen = False
    classifier.requires_grad_(True).to(memory_format=torch.channels_last)
    rate = learning_rate if pretrained else 1e-3
    optimizer = torch.optim.AdamW(classifier.parameters(), rate, weight_decay=1e-2)
    steps = max(1, -(-len(job.parts.training) // job.batch_size)) * epochs
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.2)
    generator = torch.Generator().manual_seed(job.seed)
    assert job.real.random_crop is not None
    for epoch in range(epochs):
        classifier.train(not pretrained)
        order = job.parts.training[torch.randperm(len(job.parts.training), generator=generator)]
        with progress_bar(f"epoch {epoch + 1}", len(order), job.progress) as step:
            for position, batch in enumerate(order.split(job.batch_size)):
                crops = [job.real.random_crop(i, (job.seed, epoch, i)) for i in batch.tolist()]
                pixels = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)
                logits = classifier.head(trunk.features(job.scaled(pixels)).pooled)
                loss = F.cross_entropy(logits, job.classes[batch].to(job.device))
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(classifier.parameters(), 5.0)
                optimizer.step()
                schedule.step()
                step(position * job.batch_size + len(batch))
        yield epoch


def _keep_best(
    job: _Job, epochs: int, learning_rate: float, of_head: float, facts: dict[str, object], out: Path
) -> float:
    """Fine-tunes, keeps the epoch that is best on held-out images, or the head alone; returns its accuracy."""
    classifier, best, held_out = job.classifier, of_head, len(job.parts.held_out)
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    for epoch in _train_all(job, epochs, learning_rate):
        reached = _accuracy(job)
        if job.progress:
            say(f"epoch {epoch + 1} of {epochs}: {reached:.1f} % of {held_out} held-out images right")
        if reached >= best:
            best = reached
            classifier.facts = facts | {"accuracy": best, "epochs": epoch + 1}
            classifier.save(out)
    if "accuracy" not in classifier.facts:  # fine-tuning never helped, or was not asked for
        if epochs > 0 and facts["trunk"] != "conv":
            classifier.load_state_dict(job.after_head)
        classifier.facts = facts | {"accuracy": best, "epochs": 0}
        classifier.save(out)
    return best


def _accuracy(job: _Job) -> float:
    """Percent of held-out centre crops whose most likely class is theirs."""
    wanted = torch.zeros(len(job.real.images), dtype=torch.bool)
    wanted[job.parts.held_out] = True
    job.classifier.eval()
    position = right = 0
    with torch.inference_mode():
        for batch in job.real.crops(0):
            rows = torch.arange(position, position + len(batch))
            position += len(batch)
            chosen = wanted[rows]
            if chosen.any():
                told = job.classifier.head(job.classifier.trunk.features(job.scaled(batch[chosen])).pooled).argmax(1)
                right += int((told.cpu() == job.classes[rows[chosen]]).sum())
    return 100 * right / len(job.parts.held_out)
