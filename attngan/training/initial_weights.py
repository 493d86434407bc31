"""Training that starts from the weights of another run, on other captions (``--init_from``)."""

from typing import Any, NamedTuple

from attngan.checkpoint import Checkpoint
from attngan.errors import InputError
from attngan.networks.damsm import DAMSM
from attngan.networks.description import describe
from attngan.text.vocabulary import Vocabulary
from attngan.weight_files import load_weights


class SharedWords(NamedTuple):
    """Words of a vocabulary that another one has too, words that it lacks, and words that only the other one has."""

    known: int
    new: int
    left: int

    @classmethod
    def of(cls, vocabulary: Vocabulary, other: Vocabulary) -> "SharedWords":
        own, others = set(vocabulary.words), set(other.words)
        return cls(len(own & others), len(own - others), len(others - own))


def start_generator(module: Any, checkpoint: Checkpoint) -> str:
    """Puts the generator of a checkpoint, and its discriminators where it has fitting ones, into a module.

    Both the live generator and its average start as the checkpoint's average. Captions are read by the module's own
    DAMSM, which is not trained: words that it lacks become ``<unk>``.

    Args:
        module: A fresh `GANModule`; its networks get the weights.
        checkpoint: What `attngan train`, `attngan export` or `attngan import-published` wrote.

    Returns:
        What was taken, in a sentence.

    Raises:
        InputError: It holds no generator, or another one than the module's.
    """
    weights = checkpoint.generator().state_dict()
    load_weights(module.generator, weights, str(checkpoint.path))
    load_weights(module.ema.generator, weights, str(checkpoint.path))
    module.reads_other_captions = True
    stored = checkpoint.part("discriminators")
    if not stored or checkpoint.entry.discriminators != describe(module.discriminators):
        return f"from {checkpoint.path}: the generator; the discriminators start fresh"
    load_weights(module.discriminators, stored, str(checkpoint.path))
    return f"from {checkpoint.path}: the generator and its discriminators"


def start_damsm(damsm: DAMSM, checkpoint: Checkpoint) -> str:
    """Puts what a checkpoint has of a DAMSM into one for other captions.

    Words that both vocabularies have keep their embeddings, new ones keep those that they were made with, and words
    that are in no caption are left out. The recurrent network and the image encoder are taken as they are.

    Args:
        damsm: Fresh; gets the weights.
        checkpoint: What `attngan pretrain` or `attngan train` wrote; `attngan export` for the text encoder alone.

    Returns:
        What was taken, with the numbers of words, in a sentence.

    Raises:
        InputError: It reads no captions, or its encoders have other sizes.
    """
    reader = checkpoint.caption_reader()
    if reader is None:
        raise InputError(f"{checkpoint.path} reads no captions: there is no text encoder to start from")
    damsm.text_encoder.start_from(reader.text_encoder, damsm.vocabulary, reader.vocabulary, str(checkpoint.path))
    words = SharedWords.of(damsm.vocabulary, reader.vocabulary)
    images = checkpoint.part("damsm.image_encoder")
    if images:
        load_weights(damsm.image_encoder, images, str(checkpoint.path))
    return (
        f"from {checkpoint.path}: {words.known:,} words keep their embeddings, {words.new:,} new ones start fresh, "
        f"{words.left:,} of its words are in no caption here; the image encoder "
        + ("is its own" if images else "starts fresh, since the file holds none")
    )
