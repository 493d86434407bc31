"""A data set made ready to train on: its captioned images, and where their pixels and embeddings are."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from lightning_utilities.core.rank_zero import rank_zero_only

from attngan.data.findings import Findings
from attngan.data.image_cache import ImageCache, cache_folder, cache_path, open_or_build
from attngan.data.images import shorter_side
from attngan.data.sentence_embeddings import EmbeddingFile, open_embeddings_of
from attngan.data.sources.registry import Splits, open_source
from attngan.data.sources.shards import ShardStream
from attngan.data.sources.tables import USUAL, Columns
from attngan.errors import InputError
from attngan.progress import progress_bar


@dataclass(frozen=True)
class ReadyData:
    """What training reads.

    Args:
        images: Captioned images by split.
        pixels: Where their pixels are, by split: a cache, or the shards that they are streamed from.
        embeddings: Precomputed sentence embeddings of their captions by split, where there are any.
        training_captions: The splits whose captions make the vocabulary.
    """

    images: Splits
    pixels: dict[str, ImageCache | ShardStream]
    embeddings: dict[str, EmbeddingFile]
    training_captions: tuple[str, ...]

    def undecodable(self, split: str) -> set[int]:
        """Positions of a split's images without pixels."""
        pixels = self.pixels[split]
        return set(pixels.bad) if isinstance(pixels, ImageCache) else set()


def make_ready(
    root: str | Path,
    source: str,
    image_size: int,
    findings: Findings,
    skip_bad: bool = False,
    captions: bool = True,
    text_embeddings: str | None = None,
    cache_dir: str | None = None,
    columns: Columns = USUAL,
    only: Collection[str] | None = None,
) -> ReadyData:
    """Reads a data set, checks it and builds what is missing of its image caches.

    Args:
        root: The data set's folder, or for shards an address.
        source: What kind of data set it is.
        image_size: Side of the largest images in pixels.
        findings: Takes what is wrong with single images.
        skip_bad: Images that cannot be used are left out; else they are an error.
        captions: Read the captions; else the images alone.
        text_embeddings: Path of the files with precomputed embeddings.
        cache_dir: Where the caches are.
        columns: Which columns of a folder's table hold names and captions.
        only: The splits that are wanted, where nothing is trained; None: all.

    Raises:
        InputError: When there is nothing to train on or, without `skip_bad`, an image cannot be used.
    """

    def stop_unless_skipping() -> None:
        if not skip_bad:
            findings.stop_if_bad()

    scratch = cache_folder(root, cache_dir)
    opened = open_source(source, root, findings, scratch, captions, columns, only)
    images = opened.splits
    if not images if only is not None else not images.get("train"):
        findings.stop_if_bad()
        what = "no images to train on" if only is None else f"no images in its {' and '.join(sorted(only))} split"
        raise InputError("; ".join([f"{root}: {what}", *findings.advice]))
    stop_unless_skipping()  # before decoding for minutes
    embeddings = open_embeddings_of(images, root, text_embeddings, scratch) if text_embeddings is not None else {}
    pixels: dict[str, ImageCache | ShardStream] = {**opened.streams}
    for split, of_split in images.items():
        if split in pixels:
            continue
        path = cache_path(root, source, split, image_size, cache_dir)
        shown = getattr(rank_zero_only, "rank", 0) == 0
        with progress_bar(f"decoding {split} images", len(of_split), shown, transient=True) as show:
            pixels[split] = cache = open_or_build(path, of_split, shorter_side(image_size), progress=show)
        for position, reason in cache.bad.items():
            findings.add_bad("unusable image", f"{of_split[position].path}: {reason}")
    stop_unless_skipping()
    return ReadyData(images, pixels, embeddings, opened.training_captions)
