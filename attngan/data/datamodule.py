"""TextImageDataModule: any data source as splits, loaders and a vocabulary."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Int, UInt8
from pytorch_lightning import LightningDataModule
from pytorch_lightning.utilities.rank_zero import rank_zero_only, rank_zero_warn
from torch import Tensor

from attngan.data.dataset import CaptionedImageDataset, EncodedCaptions, image_pyramid
from attngan.data.findings import Findings
from attngan.data.image_cache import ImageCache, cache_folder, cache_path, open_or_build
from attngan.data.images import load_pixels, shorter_side
from attngan.data.loader import EpochLoader, EpochOrder, sensible_workers, torch_loader
from attngan.data.shards import ShardStream
from attngan.data.sources import open_source
from attngan.data.splits import held_out_for_validation
from attngan.data.streaming import StreamedBatches, StreamOrder
from attngan.records import CaptionBatch, CaptionedImage, ImageBatch, TextImageBatch
from attngan.text.tokenizer import Tokenizer
from attngan.text.vocabulary import Vocabulary, limit_words, pad_captions

UNKNOWN_SHARE = 0.01  # of the words of the training captions may be missing in a published vocabulary
_SHOW_PROGRESS_FROM = 500  # images to decode


class TextImageDataModule(LightningDataModule):
    """Captioned images of one data set, its vocabulary and its loaders.

    A loader's batches are `ImageBatch` (uint8 crops); on their way to the model they become `TextImageBatch`, the image
    pyramid made in one go on the training device. Outside a Trainer: ``on_after_batch_transfer(batch)``.

    Args:
        root: The data set's folder; of shards also an address (https://...).
        source: What kind of data set it is: cub, coco (coco2014, coco2017 where both are there), flowers, folder for
            images with a .txt beside each, a metadata.jsonl or a CSV file, or shards that attngan prepare wrote.
        image_size: Side of the largest images in pixels. Each of the other stages is half as large.
        stages: How many sizes of image the model wants: 3 for 64, 128 and 256 pixels at image_size 256.
        batch_size: Images a batch on each device.
        train_words: Words of a caption kept in training.
        test_words: Words of a caption kept in validation and test, the first ones (25 for CUB, 20 for COCO).
        captions_per_image: How many captions of an image are used, in training and for the vocabulary: the first ones.
            An image may have fewer.
        validation: What validation sees. "classes": a tenth of the training classes (of the images, where there are no
            classes), which training then leaves out; always the same ones, whatever the seed. A data set's own
            validation split is used instead where it has one. "published": the test split, with all of the training
            split trained on.
        min_count: How often a word must occur in the training captions to be in the vocabulary.
        tokenizer: "words", or "published": the tokenizer of the published code with its vocabulary, which has the words
            of the test captions too and no unknown word.
        truncation: How a caption longer than the limit is shortened. "random": to a random ordered subset of its words
            in training, to its first words in validation and test. "first": always to its first words. "published": to
            a random subset of train_words words everywhere.
        test_transform: "centre": validation and test see the centre crop. "published": a random crop, half of them
            mirrored.
        workers: Processes that load batches; null: none where the CPU trains, up to four otherwise.
        cache_dir: Folder for the decoded images; null: a folder .attngan_cache in root, or in the user's cache folder
            where root cannot be written to.
        seed: Of order, crops, flips and the choice of captions.
        drop_last: Leave out the last images of a training epoch where they do not fill a batch.
        skip_bad: Leave out images that cannot be used (missing, damaged, without captions) instead of stopping.
        shuffle_buffer: Of shards: how many images each worker keeps to draw the next one from at random.
    """

    def __init__(
        self,
        root: str,
        source: str = "cub",
        image_size: int = 256,
        stages: int = 3,
        batch_size: int = 20,
        train_words: int = 18,
        test_words: int = 25,
        captions_per_image: int = 10,
        validation: Literal["classes", "published"] = "classes",
        min_count: int = 1,
        tokenizer: Literal["words", "published"] = "words",
        truncation: Literal["random", "first", "published"] = "random",
        test_transform: Literal["centre", "published"] = "centre",
        workers: int | None = None,
        cache_dir: str | None = None,
        seed: int = 0,
        drop_last: bool = True,
        skip_bad: bool = False,
        shuffle_buffer: int = 1000,
    ) -> None:
        super().__init__()
        self.root = root if "://" in root else Path(root)
        self.source = source
        self.image_size = image_size
        self.stages = stages
        self.batch_size = batch_size
        self.train_words = train_words
        self.test_words = test_words
        self.captions_per_image = captions_per_image
        self.validation = validation
        self.min_count = min_count
        self.tokenizer = Tokenizer(tokenizer)
        self.truncation = truncation
        self.test_transform = test_transform
        self.workers = workers
        self.cache_dir = cache_dir
        self.seed = seed
        self.drop_last = drop_last
        self.skip_bad = skip_bad
        self.shuffle_buffer = shuffle_buffer
        self.findings = Findings()
        self._given_vocabulary: Vocabulary | None = None
        self._vocabulary: Vocabulary | None = None
        self._images: dict[str, list[CaptionedImage]] = {}
        self._caches: dict[str, ImageCache] = {}
        self._streams: dict[str, ShardStream] = {}
        self._training_captions: tuple[str, ...] = ("train",)
        self._splits: dict[str, CaptionedImageDataset] = {}

    # ------------------------------------------------------------------ reading

    def prepare_data(self) -> None:
        """Checks the data set and builds what is missing of the image caches; one process a machine does this."""
        self._read()

    def setup(self, stage: str | None = None) -> None:
        """Makes vocabulary and splits ready; reads the data set unless that is done. Every stage needs the same."""
        self._read()
        if not self._splits:
            self._encode()

    def _read(self) -> None:
        if self._images:
            return
        self._check_arguments()
        self.findings = Findings()
        scratch = cache_folder(self.root, self.cache_dir)
        source = open_source(self.source, self.root, self.findings, scratch)
        images = source.splits
        if not images.get("train"):
            self.findings.stop_if_bad()
            raise ValueError(f"{self.root}: no images to train on")
        self._stop_unless_skipping()  # before decoding for minutes
        short = shorter_side(self.image_size)
        for split, of_split in images.items():
            if split in source.streams:
                continue
            with _progress_bar(f"decoding {split} images", len(of_split)) as progress:
                path = cache_path(self.root, self.source, split, self.image_size, self.cache_dir)
                self._caches[split] = cache = open_or_build(path, of_split, short, progress=progress)
            for position, reason in cache.bad.items():
                self.findings.add_bad("unusable image", f"{of_split[position].path}: {reason}")
        self._stop_unless_skipping()
        self._images, self._streams, self._training_captions = images, source.streams, source.training_captions

    def _stop_unless_skipping(self) -> None:
        if not self.skip_bad:
            self.findings.stop_if_bad()

    def _check_arguments(self) -> None:
        for name in ("image_size", "stages", "batch_size", "train_words", "test_words", "captions_per_image"):
            if getattr(self, name) < 1:
                raise ValueError(f"data.{name} is {getattr(self, name)}: it must be at least 1")
        if self.image_size % 2 ** (self.stages - 1):
            raise ValueError(
                f"data.image_size {self.image_size} cannot be halved {self.stages - 1} times for {self.stages} stages"
            )

    # ------------------------------------------------------------------ vocabulary

    @property
    def vocabulary(self) -> Vocabulary:
        """Words and ids: of the training captions, or the one given to `use_vocabulary`."""
        if self._vocabulary is None:
            raise RuntimeError("the vocabulary is there after setup(), which reads the captions")
        return self._vocabulary

    def use_vocabulary(self, vocabulary: Vocabulary) -> None:
        """Encodes captions with this vocabulary (a checkpoint's), after checking it against the data.

        May be called before or after `setup`; before, the check waits until the captions are read.

        Raises:
            ValueError: When the data's own vocabulary is another: shows both sizes and the first words that differ. A
                published vocabulary (with the words of its test captions, without an unknown word) may lack one in a
                hundred words of the captions.
        """
        self._given_vocabulary = vocabulary
        if self._images:
            self._encode()

    def _check_vocabulary(self, given: Vocabulary, training_tokens: list[list[str]]) -> None:
        if given.has_unknown:
            own = Vocabulary.from_tokens(training_tokens, given.tokenizer, given.min_count)
            if own != given:
                raise ValueError(
                    f"the vocabulary of the checkpoint is not that of the captions in {self.root}: "
                    f"{own.difference(given)}. It must have been pretrained on these captions (same files, same "
                    f"captions_per_image, here {self.captions_per_image})."
                )
            return
        counts = Counter(word for words in training_tokens for word in words)
        known = set(given.words)
        unknown = {word: count for word, count in counts.items() if word not in known}
        share = sum(unknown.values()) / max(1, counts.total())
        if share > UNKNOWN_SHARE:
            first = ", ".join(sorted(unknown, key=lambda word: (-unknown[word], word))[:10])
            raise ValueError(
                f"the published vocabulary does not fit the captions in {self.root}: data: {len(counts):,} words, "
                f"vocabulary: {len(given):,}; it lacks {share:.1%} of all their words, first: {first}"
            )

    def _encode(self) -> None:
        """Vocabulary, encoded captions and splits, from the images read."""
        given = self._given_vocabulary
        tokenizer = given.tokenizer if given else self.tokenizer
        shared: dict[str, str] = {}  # one object a word, not one an occurrence

        def split_into_words(image: CaptionedImage) -> list[list[str]]:
            captions = image.captions[: self.captions_per_image]
            return [[shared.setdefault(word, word) for word in tokenizer(caption)] for caption in captions]

        tokens = {split: [split_into_words(image) for image in images] for split, images in self._images.items()}
        training = [words for split in self._training_captions for own in tokens.get(split, []) for words in own]
        if given:
            self._check_vocabulary(given, training)
            self._vocabulary = given
        elif tokenizer.name == "published":
            test = [words for own in tokens.get("test", []) for words in own]
            self._vocabulary = Vocabulary.in_published_order([*training, *test])
        else:
            self._vocabulary = Vocabulary.from_tokens(training, tokenizer, self.min_count)
        findings = Findings()
        self._splits = self._make_splits({split: self._usable(split, own, findings) for split, own in tokens.items()})
        if not self.skip_bad:
            findings.stop_if_bad()
        self._report(findings)

    def _usable(
        self, split: str, tokens: list[list[list[str]]], findings: Findings
    ) -> list[tuple[CaptionedImage, int, list[list[int]]]]:
        """The split's images with pixels and at least one caption that the vocabulary can encode; row in the cache."""
        usable = []
        bad = self._caches[split].bad if split in self._caches else {}
        for row, (image, own) in enumerate(zip(self._images[split], tokens, strict=True)):
            if row in bad:
                continue
            captions = [ids for ids in map(self.vocabulary.encode_tokens, own) if ids]
            if not captions:
                findings.add_bad("no known word", f"{image.path}: its captions have no word that the vocabulary has")
                continue
            if dropped := len(own) - len(captions):
                findings.add_note("captions without a known word", f"{image.path}: {dropped} dropped")
            usable.append((image, row, captions))
        return usable

    def _report(self, findings: Findings) -> None:
        """One line on what was left out or dropped; `attngan prepare` names each."""
        counts: Counter[str] = Counter()
        for found in (self.findings, findings):
            for kind, messages in [*found.bad.items(), *found.notes.items()]:
                counts[kind] += len(messages)
        if counts:
            what = ", ".join(f"{kind}: {count:,}" for kind, count in counts.items())
            rank_zero_warn(f"{self.root}: left out or mended: {what} (attngan prepare names each)")

    # ------------------------------------------------------------------ splits

    def _make_splits(
        self, usable: dict[str, list[tuple[CaptionedImage, int, list[list[int]]]]]
    ) -> dict[str, CaptionedImageDataset]:
        members: dict[str, tuple[str, list]] = {split: (split, images) for split, images in usable.items()}
        if self.validation == "published" and "test" in usable:
            members["validation"] = ("test", usable["test"])
        elif not usable.get("validation") and "train" not in self._streams:
            held_out = held_out_for_validation([image for image, _row, _captions in usable["train"]])
            chosen = [item for item in usable["train"] if item[0].name in held_out]
            members["train"] = ("train", [item for item in usable["train"] if item[0].name not in held_out])
            members["validation"] = ("train", chosen)
        return {split: self._dataset(split, *source_and_images) for split, source_and_images in members.items()}

    def _dataset(
        self, split: str, source_split: str, items: list[tuple[CaptionedImage, int, list[list[int]]]]
    ) -> CaptionedImageDataset:
        training = split == "train"
        published_words = self.truncation == "published"
        return CaptionedImageDataset(
            images=[image for image, _row, _captions in items],
            cache=self._caches.get(source_split),
            rows=np.array([row for _image, row, _captions in items], dtype=np.int64),
            captions=EncodedCaptions.of([captions for _image, _row, captions in items]),
            image_size=self.image_size,
            words=self.train_words if training or published_words else self.test_words,
            seed=self.seed,
            augment=training or self.test_transform == "published",
            random_words=published_words or (training and self.truncation == "random"),
            random_caption=training,
        )

    def split(self, name: str) -> CaptionedImageDataset:
        """The images of ``"train"``, ``"validation"`` or ``"test"``.

        Raises:
            ValueError: When the data set has no such split, or nothing in it.
        """
        if not self._splits:
            raise RuntimeError("splits are there after setup(), which reads the data set")
        if name not in self._splits or not len(self._splits[name]):
            raise ValueError(f"{self.root} has no images in the {name} split; it has {', '.join(self._splits)}")
        return self._splits[name]

    def encoded_captions(self, split: str) -> tuple[CaptionBatch, Int[Tensor, "captions"]]:
        """All captions of all images of a split, at most test_words words of each.

        Returns:
            The captions and, for each, the index of its image in the split.
        """
        dataset = self.split(split)
        captions, owner = [], []
        for index in range(len(dataset)):
            for number in range(dataset.captions.count(index)):
                captions.append(limit_words(dataset.captions.caption(index, number), self.test_words))
                owner.append(index)
        return pad_captions(captions), torch.tensor(owner)

    def full_images(self, split: str, size: int, batch_size: int = 64) -> Iterator[UInt8[Tensor, "batch 3 size size"]]:
        """Centre crops of all images of a split, in its order, at any size: for feature caches and evaluation.

        The geometry is that of test batches at ``image_size=size``. From the image cache where it has that size, else
        decoded from the files.
        """
        dataset = self.split(split)
        short = shorter_side(size)

        def centre(item: tuple[int, bytes | None]) -> np.ndarray:
            index, content = item
            image = dataset.images[index]
            if dataset.cache is not None and size == self.image_size:
                pixels = dataset.cache[int(dataset.rows[index])]
            else:
                pixels = load_pixels(image.path if content is None else content, image.box, short)
            top, left = (pixels.shape[0] - size) // 2, (pixels.shape[1] - size) // 2
            return pixels[top : top + size, left : left + size]

        with ThreadPoolExecutor() as pool:  # Pillow lets go of Python's lock while it decodes and resizes
            files = self._files(split)
            while items := list(islice(files, batch_size)):
                crops = list(pool.map(centre, items))
                yield torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)

    def _files(self, split: str) -> Iterator[tuple[int, bytes | None]]:
        """The index of every image of a split in order, with the file's content where it is streamed."""
        dataset = self.split(split)
        if dataset.cache is not None:
            yield from ((index, None) for index in range(len(dataset)))
            return
        index_of = {int(row): index for index, row in enumerate(dataset.rows)}
        for position, content in self._streams[split].in_order():
            if position in index_of:
                yield index_of[position], content

    # ------------------------------------------------------------------ loaders

    def train_dataloader(self) -> EpochLoader:
        """Augmented batches in a new order each epoch."""
        dataset = self.split("train")
        _rank, world = self._device()
        if self.drop_last and len(dataset) < self.batch_size * world:
            raise ValueError(
                f"{len(dataset)} training images do not fill one batch of {self.batch_size} on {world} device(s): "
                "lower data.batch_size"
            )
        return self._loader(dataset, shuffle=True, drop_last=self.drop_last)

    def val_dataloader(self) -> EpochLoader:
        """Every image of the validation split once, in order."""
        return self._loader(self.split("validation"), shuffle=False, drop_last=False)

    def test_dataloader(self) -> EpochLoader:
        """Every image of the test split once, in order."""
        return self._loader(self.split("test"), shuffle=False, drop_last=False)

    def _loader(self, dataset: CaptionedImageDataset, shuffle: bool, drop_last: bool) -> EpochLoader:
        rank, world = self._device()
        workers = sensible_workers() if self.workers is None else self.workers
        if dataset.cache is None:
            return self._stream_loader(dataset, self._streams["train"], rank, world, workers)
        order = EpochOrder(len(dataset), self.batch_size, shuffle, drop_last, self.seed, rank, world)
        return EpochLoader(dataset, order, torch_loader(dataset, workers, order), self._progress)

    def _stream_loader(
        self, dataset: CaptionedImageDataset, stream: ShardStream, rank: int, world: int, workers: int
    ) -> EpochLoader:
        per_shard = np.histogram(dataset.rows, bins=np.array(stream.starts) - 0.5)[0].tolist()
        order = StreamOrder(per_shard, self.batch_size, self.seed, rank, world, max(1, workers))
        batches = StreamedBatches(dataset, stream, order, self.shuffle_buffer)
        return EpochLoader(dataset, order, torch_loader(batches, order.workers if workers else 0), self._progress)

    def _device(self) -> tuple[int, int]:
        """Which of how many devices this process trains."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)

    def _progress(self) -> tuple[int, int] | None:
        """The trainer's epoch and how many of its batches are done."""
        if self.trainer is None:
            return None
        batches: Any = self.trainer.fit_loop.epoch_loop.batch_progress.current
        return self.trainer.current_epoch, batches.processed

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int = 0) -> Any:
        """Makes the image pyramid, on the device that the batch has come to."""
        if not isinstance(batch, ImageBatch):
            return batch
        return TextImageBatch(
            image_pyramid(batch.pixels, self.stages), batch.captions, batch.classes, batch.indices, batch.mirrored
        )


@contextmanager
def _progress_bar(what: str, total: int) -> Iterator[Callable[[int, int], None] | None]:
    """Shows how far a long build is, on the first process only."""
    if total < _SHOW_PROGRESS_FROM or getattr(rank_zero_only, "rank", 0) != 0:
        yield None
        return
    from rich.progress import Progress

    with Progress(transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done, of_all: bar.update(task, completed=done, total=of_all)
