"""``attngan prepare``: checks a data set before anyone trains on it, and builds what training reads."""

import json
import os
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from attngan.commands.prepare_report import print_report
from attngan.data.encoding import captions_in, note_one_class, split_into_words, usable_images, vocabulary_of
from attngan.data.findings import Findings
from attngan.data.image_cache import ImageCache, cache_folder, cache_path, open_or_build
from attngan.data.images import shorter_side
from attngan.data.inspection import note_boxes_outside, note_duplicates_across_splits
from attngan.data.preview import preview
from attngan.data.sentence_embeddings import open_embeddings_of, places_in_file
from attngan.data.sources.registry import Splits, read_source
from attngan.data.sources.shards import write_shards
from attngan.data.sources.tables import Columns
from attngan.data.splits import held_out_for_validation
from attngan.errors import InputError
from attngan.files import replacing, write_whole
from attngan.progress import progress_bar
from attngan.records import CaptionedImage
from attngan.terminal import say
from attngan.text.tokenizer import Tokenizer
from attngan.text.vocabulary import Vocabulary


def prepare(
    root: str,
    source: str = "cub",
    image_size: int = 256,
    captions_per_image: int = 10,
    train_words: int = 18,
    test_words: int = 25,
    min_count: int = 1,
    tokenizer: Literal["words", "published"] = "words",
    text_embeddings: str | None = None,
    skip_bad: bool = False,
    cache_dir: str | None = None,
    processes: int | None = None,
    out: str = ".",
    seed: int = 0,
    shards: str | None = None,
    shard_images: int = 1000,
    verify: bool = False,
    image_column: str | None = None,
    caption_column: str | None = None,
) -> int:
    """Checks a data set and builds the cache of decoded images that training reads.

    Prints a table of what it found; writes every finding to prepare_report.json and sixteen random images with boxes,
    crops and captions to prepare_preview.png. An interrupted run goes on where it was.

    Args:
        root: The data set's folder.
        source: What kind of data set it is: cub, coco (coco2014, coco2017), karpathy, flowers (flowers_official),
            flickr, folder or huggingface.
        image_size: Side of the largest images that training will use, in pixels.
        captions_per_image: How many captions of an image training will use. 0: none; images alone are checked and
            cached, and a folder is any folder of images.
        train_words: How many words of a caption training keeps; longer ones are counted.
        test_words: How many words of a caption validation and test keep.
        min_count: How often a word must occur in the training captions to be in the vocabulary.
        tokenizer: What splits captions into words.
        text_embeddings: File of precomputed sentence embeddings, as training will be given it: checked, and a pickle
            read once.
        skip_bad: Images that cannot be used are no failure: training will leave them out too, with skip_bad.
        cache_dir: Folder for the decoded images; null: where training will look for it.
        processes: How many processes decode; null: one a core.
        out: Folder for the report and the preview.
        seed: Seed of the choice of the sixteen images.
        shards: Folder to write WebDataset shards into, which training reads with source shards, also over a network.
        shard_images: Images in a shard; there should be several shards for every device and worker.
        verify: Compare every image of caches that are there with its checksum, which reads them whole; damaged ones are
            decoded again. Otherwise 64 of each are compared, as training does.
        image_column: For a folder with a table (metadata.jsonl, a CSV file): the column with the images' names; null:
            file_name, or another usual name.
        caption_column: Column of such a table with the captions; null: text, texts, or another usual name (caption,
            prompt ...).

    Returns:
        The exit code: 0, or 1 when something is wrong that training would trip over; 130 when interrupted.
    """
    if source == "shards":
        raise InputError("shards were checked when attngan prepare wrote them; training reads them as they are")
    root, out = os.path.expanduser(root), os.path.expanduser(out)
    cache_dir, shards = (path and os.path.expanduser(path) for path in (cache_dir, shards))
    text_embeddings = text_embeddings and os.path.expanduser(text_embeddings)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    findings = Findings()
    columns = Columns(image_column, caption_column)
    splits = read_source(source, root, findings, captions=captions_per_image > 0, columns=columns)
    paths = {split: cache_path(root, source, split, image_size, cache_dir) for split in splits}
    try:
        caches, speed = _build_caches(splits, paths, shorter_side(image_size), processes, findings, verify)
    except KeyboardInterrupt:
        say("interrupted: the next run goes on where this one was")
        return 130
    usable = _usable(splits, caches, findings, processes)
    note_one_class(usable, findings)
    embeddings = None
    if text_embeddings is not None:
        embeddings = _check_embeddings(splits, root, text_embeddings, captions_per_image, cache_dir, findings)
    words = _Words.of(usable, Tokenizer(tokenizer), captions_per_image, min_count, findings)
    limits = {split: train_words if split == "train" else test_words for split in usable}
    reasons = _reasons_to_fail(usable, findings, skip_bad)
    report: dict[str, Any] = {
        "root": str(Path(root).resolve()),
        "source": source,
        "image_size": image_size,
        "captions_per_image": captions_per_image,
        "splits": {split: _describe(images, words.lengths[split], limits[split]) for split, images in usable.items()},
        "held_out_for_validation": _held_out(usable),
        "vocabulary": words.describe(),
        "text_embeddings": embeddings,
        "caches": {split: {"file": str(cache.path), "images": len(cache)} for split, cache in caches.items()},
        "decoding": speed,
        "cannot_be_used": dict(findings.bad),
        "noticed": dict(findings.notes),
        "skip_bad": skip_bad,
        "ok": not reasons,
        "reasons_to_fail": reasons,
    }
    write_whole(folder / "prepare_report.json", json.dumps(report, indent=2, ensure_ascii=False))
    _write_preview(usable, folder / "prepare_preview.png", seed)
    print_report(report, folder)
    if shards is not None and not reasons:
        _write_shards(usable, shards, shard_images)
    return 1 if reasons else 0


def _build_caches(
    splits: Splits, paths: dict[str, Path], short: int, processes: int | None, findings: Findings, verify: bool
) -> tuple[dict[str, ImageCache], dict[str, int | float]]:
    """Each split's cache, and how fast images were decoded; those that cannot be go to the findings."""
    caches: dict[str, ImageCache] = {}
    decoded, began = 0, time.monotonic()
    for split, images in splits.items():
        caches[split], newly = _build_cache(split, images, paths[split], short, processes, verify)
        decoded += newly
        for row, reason in caches[split].bad.items():
            findings.add_bad("unusable image", f"{images[row].path}: {reason}")
    seconds = time.monotonic() - began
    return caches, {"images": decoded, "seconds": round(seconds, 2), "images_per_second": round(decoded / seconds, 1)}


def _build_cache(
    split: str, images: list[CaptionedImage], path: Path, short: int, processes: int | None, verify: bool
) -> tuple[ImageCache, int]:
    """The cache of one split, and how many images had to be decoded for it."""
    told: list[int] = []
    with progress_bar(f"decoding {split}", len(images), transient=True) as show:

        def count(done: int) -> None:
            told.append(done)
            show(done)

        cache = open_or_build(path, images, short, processes, count, verify, show)
    return cache, len(images) - told[0] if told else 0


def _usable(
    splits: Splits, caches: dict[str, ImageCache], findings: Findings, processes: int | None
) -> dict[str, list[CaptionedImage]]:
    """The images that could be decoded, by split; what is odd about the images goes to the findings."""
    note_boxes_outside([image for images in splits.values() for image in images], findings, processes)
    note_duplicates_across_splits(splits, caches, findings)
    return {
        split: [image for row, image in enumerate(images) if row not in caches[split].bad]
        for split, images in splits.items()
    }


@dataclass
class _Words:
    """What the captions say: vocabulary, lengths, and what of the test captions it does not know."""

    vocabulary: Vocabulary
    lengths: dict[str, list[int]]
    unknown: Counter[str]
    test_words: int

    @classmethod
    def of(
        cls, splits: Splits, tokenizer: Tokenizer, captions_per_image: int, min_count: int, findings: Findings
    ) -> "_Words":
        tokens = split_into_words(splits, tokenizer, captions_per_image)
        vocabulary = vocabulary_of(tokens, ["train"], tokenizer, min_count)
        for split, images in splits.items():
            usable_images(images, (), tokens[split], vocabulary, findings, captions=captions_per_image > 0)
        known = set(vocabulary.words)
        of_test = [word for words in captions_in(tokens, ["test"]) for word in words]
        unknown = Counter(word for word in of_test if word not in known)
        lengths = {split: [len(words) for words in captions_in(tokens, [split]) if words] for split in tokens}
        return cls(vocabulary, lengths, unknown, len(of_test))

    def describe(self) -> dict[str, Any]:
        share = self.unknown.total() / self.test_words if self.test_words else None
        return {
            "size": len(self.vocabulary),
            "tokenizer": self.vocabulary.tokenizer.name,
            "min_count": self.vocabulary.min_count,
            "most_frequent": list(self.vocabulary.words[2:12]),
            "unknown_share_of_test_words": None if share is None else round(share, 6),
            "unknown_in_test": [word for word, _count in self.unknown.most_common(20)],
        }


def _check_embeddings(
    splits: Splits,
    root: str,
    text_embeddings: str,
    captions_per_image: int,
    cache_dir: str | None,
    findings: Findings,
) -> dict[str, list[int]]:
    """The shape of each split's embeddings, once they are seen to be those of its captions and to be numbers."""
    shapes = {}
    files = open_embeddings_of(splits, root, text_embeddings, cache_folder(root, cache_dir))
    for split, file in files.items():
        places_in_file(file, root, split, splits[split], captions_per_image, findings)
        if place := file.first_not_finite():
            raise InputError(f"{file.path}: the embedding of image {place[0]}, caption {place[1]} is not finite")
        shapes[split] = list(file.values.shape)
    return shapes


def _describe(images: list[CaptionedImage], lengths: list[int], limit: int) -> dict[str, Any]:
    captions = [len(image.captions) for image in images]
    classes = Counter(image.class_id for image in images if image.class_id is not None)
    return {
        "images": len(images),
        "classes": len(classes),
        "images_of_class": {str(number): classes[number] for number in sorted(classes)},
        "captions": sum(captions),
        "captions_an_image": {"fewest": min(captions, default=0), "most": max(captions, default=0)},
        "words_a_caption": {
            "mean": round(float(np.mean(lengths)), 2) if lengths else 0,
            "most": max(lengths, default=0),
        },
        "captions_longer_than_limit": {"limit": limit, "captions": sum(length > limit for length in lengths)},
        "boxes": sum(image.box is not None for image in images),
    }


def _held_out(usable: Splits) -> dict[str, int]:
    """What training sets aside to validate on, where the data set has no validation split of its own."""
    if usable.get("validation"):
        return {"images": 0, "classes": 0}
    names = held_out_for_validation(usable.get("train", []))
    classes = {image.class_id for image in usable.get("train", []) if image.name in names}
    return {"images": len(names), "classes": len(classes - {None})}


def _reasons_to_fail(usable: Splits, findings: Findings, skip_bad: bool) -> list[str]:
    reasons = []
    if not usable.get("train"):
        reasons.append("; ".join(["there is no image to train on", *findings.advice]))
    if findings.bad and not skip_bad:
        reasons.append(
            f"{findings.bad_count:,} image(s) cannot be used: repair them, or leave them out with --skip-bad (and "
            "data.skip_bad: true in training)"
        )
    return reasons


def _write_preview(usable: Splits, path: Path, seed: int) -> None:
    images = [image for own in usable.values() for image in own]
    if images:
        chosen = np.random.default_rng(seed).permutation(len(images))[:16]
        with replacing(path) as part:
            preview([images[position] for position in chosen]).save(part, "PNG")


def _write_shards(usable: Splits, folder: str, shard_images: int) -> None:
    """The usable images as shards. What training would hold out to validate on gets shards of its own."""
    splits = dict(usable)
    held_out = "validation" not in splits
    if held_out:
        names = held_out_for_validation(splits["train"])
        splits["validation"] = [image for image in splits["train"] if image.name in names]
        splits["train"] = [image for image in splits["train"] if image.name not in names]
    splits = {split: images for split, images in splits.items() if images}
    write_shards(splits, folder, shard_images, held_out)
    count = len(list(Path(folder).glob("*.tar")))
    say(f"{count:,} shards in {folder}: train with data.source: shards and data.root: {folder}")
