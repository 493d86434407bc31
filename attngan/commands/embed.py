"""``attngan embed``: captions and images as vectors of the joint embedding, for other uses."""

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from attngan.checkpoint import open_checkpoint
from attngan.data.sources.tables import Columns
from attngan.data.text_files import read_captions
from attngan.device import usable_device
from attngan.errors import InputError, require_at_least
from attngan.files import replacing
from attngan.retrieval.collection import Collection, read_collection
from attngan.retrieval.embedding import Rows, TextSide, embed_captions, embed_images, on_disk
from attngan.terminal import say

#: Rows of an array that are in memory at once when they are scaled.
BLOCK = 65536


def embed(
    checkpoint: Path,
    out: Path,
    captions: Path | None = None,
    images: Path | None = None,
    data: Path | None = None,
    source: str = "cub",
    split: str = "test",
    unit: bool = False,
    image_size: int | None = None,
    skip_bad: bool = False,
    image_column: str | None = None,
    caption_column: str | None = None,
    batch_size: int = 64,
    device: str | None = None,
    progress: bool = True,
) -> int:
    """Writes one vector a caption and one an image; in the joint embedding of a DAMSM, those that fit are near.

    With --out NAME.npy: NAME.images.npy and NAME.captions.npy, float32, a row each. With --out NAME.safetensors: one
    file with the arrays images and captions. Beside them NAME.images.csv and NAME.captions.csv tell what each row is
    of, and of a data set's captions whose they are.

    Args:
        checkpoint: Checkpoint of `attngan pretrain` or `attngan train`; of `attngan export` for captions alone.
        out: Where to write, ending in .npy or .safetensors.
        captions: Text file with one caption a line.
        images: Folder of images.
        data: Root of a data set, whose images and captions are both embedded.
        source: Layout of the data set: cub, coco, folder ... as in training.
        split: Which of its images: test, validation or train.
        unit: Scale each vector to length 1: then the inner product is the cosine.
        image_size: Side in pixels that images are prepared at; by default what the DAMSM's image network takes.
        skip_bad: Leave out images that cannot be used (missing, damaged) instead of stopping.
        image_column: For a folder with a table: the column with the images' names, as in training.
        caption_column: Column of such a table with the captions.
        batch_size: Images looked at together.
        device: cpu, cuda ...; by default cuda where there is one.
        progress: Show a progress bar.

    Returns:
        The exit code.
    """
    require_at_least(1, image_size=image_size, batch_size=batch_size)
    if out.suffix not in WRITERS:
        raise InputError(f"{out}: vectors are written to a name that ends in {' or '.join(WRITERS)}")
    if data is not None and (images is not None or captions is not None):
        raise InputError("--data has images and captions of its own: leave --images and --captions out")
    if data is None and images is None and captions is None:
        raise InputError("what is to be embedded? Give --captions FILE, --images FOLDER, or --data ROOT")
    where, opened = usable_device(device), open_checkpoint(checkpoint)
    collection, texts, owners = _what(captions, images, data, source, split, image_column, caption_column, skip_bad)
    with on_disk() as allocate:
        found: dict[str, np.ndarray] = {}
        if texts:
            rows = embed_captions(TextSide.of(opened, where), texts, allocate, progress=progress)
            _tell_unread(rows, texts)
            _write_table(out, "captions", _of_captions(rows, texts, owners))
            found["captions"] = rows.vectors
        if collection is not None:
            damsm = opened.damsm().to(where)
            rows = embed_images(damsm, collection, allocate, image_size, batch_size, skip_bad, progress)
            _write_table(out, "images", [("image",), *((collection.names[place],) for place in rows.positions)])
            found["images"] = rows.vectors
        if unit:
            for what, vectors in found.items():
                _scale(vectors, what)
        written = WRITERS[out.suffix](out, found)
    counted = " and ".join(f"{len(vectors):,} {what}" for what, vectors in found.items())
    say(f"written: {counted} in {', '.join(map(str, written))}; what each row is of in the .csv beside it")
    return 0


def _what(
    captions: Path | None,
    images: Path | None,
    data: Path | None,
    source: str,
    split: str,
    image_column: str | None,
    caption_column: str | None,
    skip_bad: bool,
) -> tuple[Collection | None, list[str], list[str]]:
    """Images, captions, and of a data set's captions the names of their images."""
    if data is not None:
        columns = Columns(image_column, caption_column)
        collection = read_collection(data, source, split, True, columns, skip_bad)
        texts, owners = collection.captions()
        return collection, texts, [collection.names[owner] for owner in owners]
    collection_of_folder = None if images is None else read_collection(images, skip_bad=skip_bad)
    return collection_of_folder, [] if captions is None else read_captions(captions), []


def _of_captions(rows: Rows, texts: Sequence[str], owners: Sequence[str]) -> list[tuple[str, ...]]:
    titles = ("caption", "image") if owners else ("caption",)
    return [titles, *((texts[p], owners[p]) if owners else (texts[p],) for p in rows.positions)]


def _tell_unread(rows: Rows, texts: Sequence[str]) -> None:
    if unread := len(texts) - len(rows.positions):
        read = set(rows.positions)
        first = next(position for position in range(len(texts)) if position not in read)
        say(f"left out: {unread:,} captions of which the vocabulary knows no word, first: {texts[first]!r}", error=True)


def _write_table(out: Path, what: str, table: Sequence[tuple[str, ...]]) -> None:
    """What each row of an array is of, beneath the titles of the columns."""
    path = out.with_name(f"{out.stem}.{what}.csv")
    with replacing(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("row", *table[0]), *((row, *of) for row, of in enumerate(table[1:]))])


def _scale(vectors: np.ndarray, what: str) -> None:
    """To length 1, in place."""
    for start in range(0, len(vectors), BLOCK):
        block = vectors[start : start + BLOCK]
        lengths = np.linalg.norm(block, axis=1, keepdims=True)
        if not lengths.all():
            raise InputError(f"row {start + int(np.argmin(lengths))} of the {what} is 0: it has no direction")
        block /= lengths


def _write_npy(out: Path, arrays: Mapping[str, np.ndarray]) -> list[Path]:
    paths = [out.with_name(f"{out.stem}.{what}.npy") for what in arrays]
    for path, vectors in zip(paths, arrays.values(), strict=True):
        with replacing(path) as part, part.open("wb") as file:
            np.save(file, vectors)
    return paths


def _write_safetensors(out: Path, arrays: Mapping[str, np.ndarray]) -> list[Path]:
    with replacing(out) as part:
        save_file(dict(arrays), part)
    return [out]


#: Writes arrays by what they are of; returns the files.
WRITERS: dict[str, Callable[[Path, Mapping[str, np.ndarray]], list[Path]]] = {
    ".npy": _write_npy,
    ".safetensors": _write_safetensors,
}
