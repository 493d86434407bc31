"""Images and captions to rows of the joint embedding, a batch at a time."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from attngan.checkpoint import Checkpoint
from attngan.errors import InputError
from attngan.networks.damsm import DAMSM
from attngan.networks.text_encoder import CaptionEncoder, encode_captions
from attngan.pixels import from_uint8
from attngan.progress import progress_bar
from attngan.retrieval.collection import Collection
from attngan.text.vocabulary import Vocabulary

#: Makes an array of so many rows to be filled, by what the rows are of.
Allocate = Callable[[str, tuple[int, int]], np.ndarray]


class Rows(NamedTuple):
    """Vectors, and for each the position of what it is of, in the order of those."""

    vectors: Float[np.ndarray, "rows embed"]
    positions: list[int]


class TextSide(NamedTuple):
    """What reads captions: of a DAMSM, or of a generator's own file."""

    text_encoder: CaptionEncoder
    vocabulary: Vocabulary
    word_limit: int

    @classmethod
    def of(cls, checkpoint: Checkpoint, device: torch.device) -> "TextSide":
        """That of a checkpoint.

        Raises:
            InputError: It reads no captions.
        """
        reader = checkpoint.caption_reader()
        if reader is None:
            raise InputError(f"{checkpoint.path} reads no captions: give a checkpoint with a text encoder")
        return cls(reader.text_encoder.to(device), reader.vocabulary, checkpoint.word_limit)


def embed_images(
    damsm: DAMSM,
    collection: Collection,
    allocate: Allocate,
    side: int | None = None,
    batch_size: int = 64,
    skip_bad: bool = False,
    progress: bool = True,
) -> Rows:
    """One vector an image: the image encoder's global feature.

    Args:
        damsm: Frozen, on its device.
        collection: The images.
        allocate: Makes the array that is filled.
        side: What the images are prepared at, in pixels; None: the size that the image trunk takes.
        batch_size: Images looked at together.
        skip_bad: Leave out images that cannot be decoded, and say so.
        progress: Show a progress bar.

    Raises:
        InputError: An image cannot be decoded.
    """
    device = next(damsm.image_encoder.parameters()).device
    vectors = allocate("images", (len(collection.images), damsm.embed_dim))
    positions: list[int] = []
    with progress_bar("images", len(vectors), progress) as show, torch.inference_mode():
        for batch in collection.batches(side or damsm.image_encoder.trunk.input_size, batch_size, skip_bad):
            pooled = damsm.image_encoder(from_uint8(batch.pixels.to(device))).pooled
            vectors[len(positions) : len(positions) + len(pooled)] = pooled.float().cpu().numpy()
            positions += batch.positions
            show(len(positions))
    if not positions:
        raise InputError(f"{collection.root}: none of its images can be decoded")
    return Rows(vectors[: len(positions)], positions)


def embed_captions(
    encoder: TextSide,
    captions: Sequence[str],
    allocate: Allocate,
    batch_size: int = 256,
    progress: bool = True,
) -> Rows:
    """One vector a caption, the sentence feature, of those of which the vocabulary knows a word.

    Raises:
        InputError: It knows no word of any.
    """
    known = [position for position, text in enumerate(captions) if encoder.vocabulary.knows_any(text)]
    if not known:
        raise InputError(f"the vocabulary knows no word of any of the {len(captions)} captions")
    vectors = allocate("captions", (len(known), encoder.text_encoder.embed_dim))
    places, done = iter(known), 0
    with progress_bar("captions", len(known), progress, transient=True) as show, torch.inference_mode():
        while batch := list(islice(places, batch_size)):
            texts = [captions[position] for position in batch]
            features = encode_captions(encoder.text_encoder, encoder.vocabulary, texts, encoder.word_limit)
            vectors[done : done + len(batch)] = features.sentence.float().cpu().numpy()
            done += len(batch)
            show(done)
    return Rows(vectors, known)


@contextmanager
def on_disk() -> Iterator[Allocate]:
    """Arrays in files of a temporary folder: what is looked at of them is in memory, not the whole."""
    with TemporaryDirectory(prefix="attngan-", ignore_cleanup_errors=True) as folder:

        def allocate(what: str, shape: tuple[int, int]) -> np.ndarray:
            return np.lib.format.open_memmap(Path(folder) / f"{what}.npy", "w+", np.float32, shape)

        yield allocate
