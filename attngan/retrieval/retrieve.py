"""Captions to the images that they fit, and images to the captions that fit them, in a DAMSM's joint embedding."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int

from attngan.checkpoint import open_checkpoint
from attngan.data.sources.tables import Columns
from attngan.device import usable_device
from attngan.errors import InputError, require_at_least
from attngan.metrics.retrieval import recall_at
from attngan.retrieval.collection import Collection, read_collection
from attngan.retrieval.embedding import Rows, TextSide, embed_captions, embed_images, on_disk
from attngan.retrieval.ranking import Nearest, nearest


class Found(NamedTuple):
    """One of what was found for a query.

    Args:
        name: The image's name, or the caption.
        cosine: How near it is to the query, 1 at most.
        right: Whether the two belong together; None where that is not known.
        position: Place of the image in the collection, of the caption among the captions.
    """

    name: str
    cosine: float
    right: bool | None
    position: int


@dataclass(frozen=True, eq=False)
class Ranking:
    """Queries of one kind and what was found of the other.

    Args:
        queries: Names of images, or captions.
        names: All that was searched.
        found: Rows of ``names`` for each query, nearest first.
        query_positions: Position of each query in the collection, or among the captions.
        positions: Position of each of ``names``, in the same way.
        right: Which of what was found belongs to the query; None where that is not known.
    """

    queries: Sequence[str]
    names: Sequence[str]
    found: Nearest
    query_positions: Sequence[int]
    positions: Sequence[int]
    right: Bool[np.ndarray, "queries k"] | None = None

    def __len__(self) -> int:
        return len(self.queries)

    def of(self, query: int) -> list[Found]:
        """What was found for a query, nearest first."""
        right = [None] * self.found.rows.shape[1] if self.right is None else self.right[query].tolist()
        return [
            Found(self.names[row], cosine, known, self.positions[row])
            for row, cosine, known in zip(
                self.found.rows[query].tolist(), self.found.cosines[query].tolist(), right, strict=True
            )
        ]


@dataclass(frozen=True, eq=False)
class Retrieval:
    """What `retrieve` found.

    Args:
        collection: The images.
        text_to_image: For each caption the nearest images.
        image_to_text: For each image the nearest captions; None where there is one caption.
        recalls: Recall at 1, 5 and 10 both ways in percent, where it is known which caption is whose; else empty.
        unread: Captions of which the vocabulary knows no word: they are not among the queries.
        sha256: The checkpoint's.
        image_size: Side in pixels that the images were prepared at.
    """

    collection: Collection
    text_to_image: Ranking
    image_to_text: Ranking | None
    recalls: dict[str, float] = field(default_factory=dict)
    unread: Sequence[str] = ()
    sha256: str = ""
    image_size: int = 0


def retrieve(
    checkpoint: str | Path,
    captions: Sequence[str] = (),
    images: str | Path | None = None,
    data: str | Path | None = None,
    source: str = "cub",
    split: str = "test",
    top: int = 10,
    image_size: int | None = None,
    skip_bad: bool = False,
    image_column: str | None = None,
    caption_column: str | None = None,
    batch_size: int = 64,
    device: str | None = None,
    progress: bool = False,
) -> Retrieval:
    """Searches images by captions and captions by images: ``retrieve("best.ckpt", ["a red bird"], images="photos")``.

    Vectors of what is searched are kept in a temporary file: memory does not grow with the images, but for their names.

    Args:
        checkpoint: Checkpoint of `attngan pretrain`, or of `attngan train`, which holds its DAMSM.
        captions: What to look for; none: all captions of the data set, of which it is known to which image they belong.
        images: A folder of images to search, or else
        data: the root of a data set.
        source: Layout of the data set.
        split: Which of its images.
        top: How many are found for each query.
        image_size: Side in pixels that the images are prepared at; None: what the image trunk takes.
        skip_bad: Leave out images that cannot be used, and say so.
        image_column: For a data set that is a folder with a table: the column with the images' names.
        caption_column: The column with the captions.
        batch_size: Images looked at together.
        device: Where to compute; None for a GPU if there is one.
        progress: Show a progress bar.

    Raises:
        MissingFileError: There is no such checkpoint or folder.
        InputError: The checkpoint holds no DAMSM, or there is nothing to search or to look for.
    """
    require_at_least(1, top=top, image_size=image_size, batch_size=batch_size)
    if isinstance(captions, str):
        captions = [captions]
    if (images is None) == (data is None):
        raise InputError("what is searched? Give a folder of images (--images), or else a data set (--data)")
    if images is not None and not captions:
        raise InputError("what is looked for in these images? Give captions, or a data set with its own (--data)")
    where, opened = usable_device(device), open_checkpoint(checkpoint)
    damsm = opened.damsm().to(where)
    columns = Columns(image_column, caption_column)
    if images is not None:
        collection = read_collection(images, skip_bad=skip_bad)
    else:
        assert data is not None
        collection = read_collection(data, source, split, not captions, columns, skip_bad)
    texts, owners = (list(captions), None) if captions else collection.captions()
    encoder = TextSide(damsm.text_encoder, damsm.vocabulary, opened.word_limit)
    side = image_size or damsm.image_encoder.trunk.input_size
    with on_disk() as allocate:
        of_text = embed_captions(encoder, texts, allocate, progress=progress)
        of_images = embed_images(damsm, collection, allocate, side, batch_size, skip_bad, progress)
        known = set(of_text.positions)
        unread = [text for position, text in enumerate(texts) if position not in known]
        owner = None if owners is None else _rows_of_owners(of_text, of_images, owners)
        to_image, to_text = _both_ways(of_text, of_images, texts, collection.names, top, owner)
        recalls = {} if owner is None else _recalls(of_images, of_text, owner)
    return Retrieval(collection, to_image, to_text if len(texts) > 1 else None, recalls, unread, opened.sha256, side)


def _rows_of_owners(of_text: Rows, of_images: Rows, owners: Sequence[int]) -> Int[np.ndarray, "captions"]:
    """The row of each caption's image; -1 where that image could not be decoded."""
    row_of = {position: row for row, position in enumerate(of_images.positions)}
    return np.array([row_of.get(owners[position], -1) for position in of_text.positions])


def _both_ways(
    of_text: Rows,
    of_images: Rows,
    texts: Sequence[str],
    names: Sequence[str],
    top: int,
    owner: Int[np.ndarray, "captions"] | None,
) -> tuple[Ranking, Ranking]:
    said = [texts[position] for position in of_text.positions]
    shown = [names[position] for position in of_images.positions]
    to_image, to_text = (nearest(*pair, top) for pair in ((of_text[0], of_images[0]), (of_images[0], of_text[0])))
    right_images = None if owner is None else to_image.rows == owner[:, None]
    right_texts = None if owner is None else owner[to_text.rows] == np.arange(len(shown))[:, None]
    return (
        Ranking(said, shown, to_image, of_text.positions, of_images.positions, right_images),
        Ranking(shown, said, to_text, of_images.positions, of_text.positions, right_texts),
    )


def _recalls(of_images: Rows, of_text: Rows, owner: Int[np.ndarray, "captions"]) -> dict[str, float]:
    """Of the images that have a caption that could be read, and of their captions."""
    captioned = np.unique(owner[owner >= 0])
    rows = np.searchsorted(captioned, owner[owner >= 0])
    images, captions = of_images.vectors[captioned], of_text.vectors[owner >= 0]
    return recall_at(torch.tensor(images), torch.tensor(captions), torch.from_numpy(rows))
