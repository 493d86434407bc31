"""TextImageDataModule: any data source as splits, loaders and a vocabulary."""

import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from lightning_utilities.core.rank_zero import rank_zero_only, rank_zero_warn
from pytorch_lightning import LightningDataModule
from torch import Tensor

from attngan.data.dataset import CaptionedImageDataset, EncodedCaptions, image_pyramid
from attngan.data.encoding import (
    UsableImage,
    captions_in,
    check_vocabulary,
    note_one_class,
    split_into_words,
    told_of_other_captions,
    usable_images,
    vocabulary_of,
)
from attngan.data.findings import Findings
from attngan.data.image_cache import ImageCache
from attngan.data.images import load_pixels, shorter_side
from attngan.data.loader import EpochLoader, EpochOrder, image_loader, sensible_workers
from attngan.data.reading import ReadyData, make_ready
from attngan.data.sentence_embeddings import ImageEmbeddings, places_in_file
from attngan.data.sources.tables import Columns
from attngan.data.splits import held_out_for_validation
from attngan.data.streaming import StreamLoader, StreamOrder
from attngan.errors import InputError, require_at_least, tell_without_effect
from attngan.pixels import centre_crop
from attngan.records import CaptionBatch, ImageBatch, TextImageBatch
from attngan.text.tokenizer import Tokenizer
from attngan.text.vocabulary import Vocabulary, limit_words, no_captions, pad_captions


class TextImageDataModule(LightningDataModule):
    """Captioned images of one data set, its vocabulary and its loaders.

    A loader's batches are `ImageBatch` (uint8 crops); on their way to the model they become `TextImageBatch`, the image
    pyramid made in one go on the training device. Outside a Trainer: ``on_after_batch_transfer(batch)``.

    Args:
        root: The data set's folder; of shards also an address (https://...).
        source: What kind of data set it is: cub, coco (coco2014, coco2017 where both are there), karpathy for
            dataset_coco.json and its like, flowers (flowers_official for Oxford's own splits), flickr for Flickr8k and
            Flickr30k, folder for images with a .txt or .caption beside each, a metadata.jsonl or a CSV file,
            huggingface for parquet or arrow with the images inside or OWNER/NAME of the hub, or shards that attngan
            prepare wrote.
        image_size: Side of the largest images in pixels. Each of the other stages is half as large.
        stages: How many sizes of image the model wants: 3 for 64, 128 and 256 pixels at image_size 256.
        batch_size: Images a batch, over all devices: a recipe is the same training on any number of them.
        train_words: Words of a caption kept in training.
        test_words: Words of a caption kept in validation and test, the first ones (25 for CUB, 20 for COCO).
        captions_per_image: How many captions of an image are used, in training and for the vocabulary: the first ones.
            An image may have fewer. 0: images alone, without any text, for generators that read none; a folder is then
            any folder of images.
        validation: What validation sees. "classes": a tenth of the training classes (of the images, where there are no
            classes), which training then leaves out; always the same ones, whatever the seed. A data set's own
            validation split is used instead where it has one. "published": the test split, with all of the training
            split trained on.
        min_count: How often a word must occur in the training captions to be in the vocabulary.
        tokenizer: "words", or "published": the tokenizer of the published code with its vocabulary, which has the words
            of the test captions too and no unknown word.
        text_embeddings: File of precomputed sentence embeddings, one a caption, that go with each batch: the published
            char-CNN-RNN-embeddings.pickle, or a .npy file of (images, captions, dimensions), in the order of the
            split's list of images. A path within root; "{split}" in it becomes train, test or validation:
            "{split}/char-CNN-RNN-embeddings.pickle".
        truncation: How a caption longer than the limit is shortened. "random": to a random ordered subset of its words
            in training, to its first words in validation and test. "first": always to its first words. "published": to
            a random subset of train_words words everywhere.
        test_transform: "centre": validation and test see the centre crop. "published": a random crop, half of them
            mirrored.
        workers: Processes that load batches; null: none where the CPU trains, up to four otherwise.
        cache_dir: Folder for the decoded images; null: a folder .attngan_cache in root, or in the user's cache folder
            where root cannot be written to.
        seed: Seed of order, crops, flips and the choice of captions.
        drop_last: Leave out the last images of a training epoch where they do not fill a batch.
        skip_bad: Leave out images that cannot be used (missing, damaged, without captions) instead of stopping.
        shuffle_buffer: For shards: how many images are kept (as files, over all devices) to draw the next one from at
            random.
        image_column: For a folder with a table (metadata.jsonl, a CSV file): the column with the images' names; null:
            file_name, or another usual name.
        caption_column: For a folder with a table: the column with the captions; null: text, texts, or another usual
            name (caption, prompt ...).
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
        text_embeddings: str | None = None,
        truncation: Literal["random", "first", "published"] = "random",
        test_transform: Literal["centre", "published"] = "centre",
        workers: int | None = None,
        cache_dir: str | None = None,
        seed: int = 0,
        drop_last: bool = True,
        skip_bad: bool = False,
        shuffle_buffer: int = 1000,
        image_column: str | None = None,
        caption_column: str | None = None,
    ) -> None:
        super().__init__()
        self.root = root if "://" in root else Path(root).expanduser()
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
        self.text_embeddings = text_embeddings and os.path.expanduser(text_embeddings)
        self.truncation = truncation
        self.test_transform = test_transform
        self.workers = workers
        self.cache_dir = cache_dir and os.path.expanduser(cache_dir)
        self.seed = seed
        self.drop_last = drop_last
        self.skip_bad = skip_bad
        self.shuffle_buffer = shuffle_buffer
        self.columns = Columns(image_column, caption_column)
        self.findings = Findings()
        self._given_vocabulary: Vocabulary | None = None
        self._other_captions = False
        self._only: tuple[str, ...] | None = None
        self._vocabulary: Vocabulary | None = None
        self._ready: ReadyData | None = None
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
        if self._ready is not None:
            return
        self._check_arguments()
        self.findings = Findings()
        self._ready = make_ready(
            self.root,
            self.source,
            self.image_size,
            self.findings,
            self.skip_bad,
            self.captions_per_image > 0,
            self.text_embeddings,
            self.cache_dir,
            self.columns,
            self._only,
        )

    def _check_arguments(self) -> None:
        for name in ("image_size", "stages", "batch_size", "train_words", "test_words"):
            require_at_least(1, within="data.", **{name: getattr(self, name)})
        if self.captions_per_image < 0:
            raise InputError(f"data.captions_per_image is {self.captions_per_image}: 0 means none")
        if not self.captions_per_image:
            if self.text_embeddings is not None:
                raise InputError("data.text_embeddings are of captions, but data.captions_per_image is 0")
            tell_without_effect("data.captions_per_image is 0", "data.", min_count=(self.min_count, 1))
        if self.tokenizer.name == "published":
            why = "data.tokenizer is published, whose vocabulary has every word"
            tell_without_effect(why, "data.", min_count=(self.min_count, 1))
        if self.source == "shards":
            tell_without_effect("data.source is shards", "data.", drop_last=(self.drop_last, True))
        else:
            tell_without_effect("data.source is not shards", "data.", shuffle_buffer=(self.shuffle_buffer, 1000))
        if self.image_size % 2 ** (self.stages - 1):
            raise InputError(
                f"data.image_size {self.image_size} cannot be halved {self.stages - 1} times for {self.stages} stages"
            )

    def read_only(self, *splits: str) -> None:
        """Before anything is read: these splits are all that is wanted, as for scores; the others need not be there.

        Without training captions the vocabulary is that of the splits that are read.
        """
        self._only = splits

    # ------------------------------------------------------------------ vocabulary

    @property
    def vocabulary(self) -> Vocabulary:
        """Words and ids: of the training captions, or the one given to `use_vocabulary`."""
        if self._vocabulary is None:
            raise RuntimeError("the vocabulary is there after setup(), which reads the captions")
        return self._vocabulary

    def use_vocabulary(self, vocabulary: Vocabulary, other_captions: bool = False) -> None:
        """Encodes captions with this vocabulary (a checkpoint's), after checking it against the data.

        May be called before or after `setup`; before, the check waits until the captions are read.

        Args:
            vocabulary: The vocabulary.
            other_captions: It may be that of other captions: words that it lacks become ``<unk>``, or are left out
                where it has none, and how many they are is told.

        Raises:
            InputError: When the data's own vocabulary is another: shows both sizes and the first words that differ. A
                published vocabulary (with the words of its test captions, without an unknown word) may lack one in a
                hundred words of the captions.
        """
        self._given_vocabulary, self._other_captions = vocabulary, other_captions
        if self._ready is not None:
            self._encode()

    def _encode(self) -> None:
        """Vocabulary, encoded captions and splits, from the images read."""
        assert self._ready is not None
        given, each, ready = self._given_vocabulary, self.captions_per_image, self._ready
        tokenizer = given.tokenizer if given else self.tokenizer
        tokens = split_into_words(ready.images, tokenizer, each)
        if given and self._other_captions:
            rank_zero_only(print)(told_of_other_captions(given, captions_in(tokens, ready.training_captions)))
        elif given:
            check_vocabulary(given, captions_in(tokens, ready.training_captions), self.root, each)
        training = tuple(ready.images) if self._only else ready.training_captions
        self._vocabulary = given or vocabulary_of(tokens, training, tokenizer, self.min_count)
        findings = Findings()
        usable = {}
        for split, images in ready.images.items():
            own = usable_images(
                images, ready.undecodable(split), tokens[split], self._vocabulary, findings, captions=each > 0
            )
            if split in ready.embeddings:
                places = places_in_file(ready.embeddings[split], self.root, split, images, each, findings)
                own = [item._replace(place=places[item.image.name]) for item in own if item.image.name in places]
            usable[split] = own
        note_one_class({split: [item.image for item in own] for split, own in usable.items()}, findings)
        if not self.skip_bad:
            findings.stop_if_bad()
        self._splits = self._make_splits(ready, usable)
        self._report(findings)

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

    def _make_splits(self, ready: ReadyData, usable: dict[str, list[UsableImage]]) -> dict[str, CaptionedImageDataset]:
        members = {split: (split, images) for split, images in usable.items()}
        if self.validation == "published" and "test" in usable:
            members["validation"] = ("test", usable["test"])
        elif not usable.get("validation") and isinstance(ready.pixels.get("train"), ImageCache):
            held_out = held_out_for_validation([item.image for item in usable["train"]])
            for split, wanted in (("train", False), ("validation", True)):
                members[split] = ("train", [u for u in usable["train"] if (u.image.name in held_out) is wanted])
        return {split: self._dataset(ready, split, *of_source) for split, of_source in members.items()}

    def _dataset(
        self, ready: ReadyData, split: str, source_split: str, items: list[UsableImage]
    ) -> CaptionedImageDataset:
        training = split == "train"
        published_words = self.truncation == "published"
        captions = EncodedCaptions.of([item.captions for item in items])
        embeddings = None
        if source_split in ready.embeddings:
            places, numbers = [item.place for item in items], [number for item in items for number in item.numbers]
            embeddings = ImageEmbeddings(
                ready.embeddings[source_split], np.array(places), np.array(numbers), captions.first
            )
        return CaptionedImageDataset(
            images=[item.image for item in items],
            pixels=ready.pixels[source_split],
            rows=np.array([item.row for item in items], dtype=np.int64),
            captions=captions,
            image_size=self.image_size,
            words=self.train_words if training or published_words else self.test_words,
            seed=self.seed,
            augment=training or self.test_transform == "published",
            random_words=published_words or (training and self.truncation == "random"),
            random_caption=training,
            embeddings=embeddings,
        )

    def split(self, name: str) -> CaptionedImageDataset:
        """The images of ``"train"``, ``"validation"`` or ``"test"``.

        Raises:
            InputError: When the data set has no such split, or nothing in it.
        """
        if not self._splits:
            raise RuntimeError("splits are there after setup(), which reads the data set")
        if name not in self._splits or not len(self._splits[name]):
            raise InputError(f"{self.root} has no images in the {name} split{self._why_empty(name)}")
        return self._splits[name]

    def _why_empty(self, name: str) -> str:
        """What the data set has instead, and what to do."""
        counts = {split: len(own) for split, own in self._splits.items() if len(own)}
        if name != "validation" or not counts.get("train"):
            return f"; it has {', '.join(counts) or 'none in any other either'}"
        there = ", ".join(f"{count:,} to {split}" for split, count in counts.items())
        why = "one image cannot both train and validate" if counts["train"] == 1 else "none is left to validate on"
        return (
            f" ({there}): {why}; add images, give the data set a validation split, or validate on the test split with "
            "data.validation published"
        )

    def encoded_captions(self, split: str) -> tuple[CaptionBatch, Int[Tensor, "captions"]]:
        """All captions of all images of a split, at most test_words words of each.

        Returns:
            The captions and, for each, the index of its image in the split; none of either where there is no text.
        """
        captions, places = self.split(split).captions, self._all_captions(split)
        ids = [limit_words(captions.caption(index, number), self.test_words) for index, number in places]
        owner = torch.tensor([index for index, _number in places], dtype=torch.int64)
        return pad_captions(ids) if ids else no_captions(0), owner

    def caption_embeddings(self, split: str) -> Float[Tensor, "captions text"]:
        """The precomputed sentence embeddings of all captions of a split, in the order of `encoded_captions`.

        Raises:
            InputError: When there are none (text_embeddings).
        """
        embeddings = self.split(split).embeddings
        if embeddings is None:
            raise InputError(f"{self.root} was read without precomputed embeddings: give data.text_embeddings")
        return torch.from_numpy(embeddings.of(self._all_captions(split)))

    def _all_captions(self, split: str) -> list[tuple[int, int]]:
        """Every caption of a split: the index of its image, and which of its captions it is."""
        dataset = self.split(split)
        return [(index, number) for index in range(len(dataset)) for number in range(dataset.captions.count(index))]

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
                pixels = dataset.pixels(index)
            else:
                pixels = load_pixels(image.path if content is None else content, image.box, short)
            return centre_crop(pixels, size)

        with ThreadPoolExecutor() as pool:  # Pillow lets go of Python's lock while it decodes and resizes
            files = dataset.files()
            while items := list(islice(files, batch_size)):
                crops = list(pool.map(centre, items))
                yield torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)

    # ------------------------------------------------------------------ loaders

    def train_dataloader(self) -> EpochLoader:
        """Augmented batches in a new order each epoch."""
        dataset = self.split("train")
        _rank, world = self._device()
        if self.batch_size < world:
            raise InputError(
                f"data.batch_size {self.batch_size} is over all devices, of which there are {world}: raise it"
            )
        if self.drop_last and len(dataset) < self.batch_size:
            raise InputError(
                f"{len(dataset)} training images do not fill one batch of {self.batch_size}: lower data.batch_size"
            )
        return self._loader(dataset, shuffle=True, drop_last=self.drop_last)

    def batches_of_training(self) -> tuple[int, int, bool]:
        """Training images, those of a batch, and whether a last batch that is not full is dropped."""
        dataset = self.split("train")
        return len(dataset), self.batch_size, self.drop_last or dataset.stream is not None  # whose batches are full

    def val_dataloader(self) -> EpochLoader:
        """Every image of the validation split once, in order."""
        return self._loader(self.split("validation"), shuffle=False, drop_last=False)

    def test_dataloader(self) -> EpochLoader:
        """Every image of the test split once, in order."""
        return self._loader(self.split("test"), shuffle=False, drop_last=False)

    def _loader(self, dataset: CaptionedImageDataset, shuffle: bool, drop_last: bool) -> EpochLoader:
        rank, world = self._device()
        workers = sensible_workers() if self.workers is None else self.workers
        if dataset.stream is not None:
            per_shard = np.histogram(dataset.rows, bins=np.array(dataset.stream.starts) - 0.5)[0].tolist()
            lanes = StreamOrder(per_shard, self.batch_size, self.seed, rank, world, self.shuffle_buffer)
            streamed = StreamLoader(dataset, dataset.stream, lanes, workers)
            return EpochLoader(dataset, lanes, streamed, self._progress, self._gpu)
        order = EpochOrder(len(dataset), self.batch_size, shuffle, drop_last, self.seed, rank, world)
        return EpochLoader(dataset, order, image_loader(dataset, workers, order), self._progress, self._gpu)

    def _device(self) -> tuple[int, int]:
        """Which of how many devices this process trains."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)

    def _gpu(self) -> torch.device | None:
        """The GPU that this process trains on; None for a CPU, and without a trainer."""
        device = torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device
        return device if device.type == "cuda" else None

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
            image_pyramid(batch.pixels, self.stages),
            batch.captions,
            batch.classes,
            batch.indices,
            batch.mirrored,
            batch.embedding,
            batch.rows,
            batch.trunk,
        )
