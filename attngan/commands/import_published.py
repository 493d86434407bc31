"""Files of the published code of the family as one checkpoint of attngan: to sample, evaluate and train with."""

from pathlib import Path

from attngan.checkpoint import CaptionReader, write_generator
from attngan.data.published_pickles import published_vocabulary
from attngan.errors import InputError, MissingFileError
from attngan.networks.attention import PaddingMask
from attngan.networks.damsm import DAMSM
from attngan.networks.generator import Generator
from attngan.networks.published import (
    PublishedNetwork,
    load_published_image_encoder,
    load_published_text_encoder,
    published_generator,
    read_published,
)
from attngan.terminal import say
from attngan.weight_files import in_file


def import_published(
    generator: Path,
    out: Path,
    text_encoder: Path | None = None,
    captions_pickle: Path | None = None,
    image_encoder: Path | None = None,
    word_limit: int = 25,
    padding_mask: PaddingMask = "own",
) -> None:
    """Writes published files as one checkpoint that `attngan sample`, `evaluate` and `export` read.

    Reads generators of AttnGAN, AttnDCGAN, DM-GAN, DF-GAN, StackGAN (both stages) and StackGAN++, and says which it
    found. The files are read as weights only, and the pickle by a reader that runs none of its code.

    Args:
        generator: The generator's file, as the authors' code saves it (netG_*.pth, state_epoch_*.pth); that of AttnGAN
            holds the moving average. Names before which torch.compile or DataParallel
            put theirs are understood, and weights that lie within entries "state_dict", "model" or "netG".
        out: File to write: .ckpt or .safetensors.
        text_encoder: text_encoder*.pth, which the generator was trained with. Leave it out for a generator that reads
            precomputed sentence embeddings (StackGAN, StackGAN++) or no text.
        captions_pickle: The captions.pickle of the published metadata: its vocabulary is the text encoder's.
        image_encoder: image_encoder*.pth, the text encoder's other half. With it the file also stands for the DAMSM:
            for R-precision (evaluate --scorer) and for training another generator (--model.damsm).
        word_limit: Captions are cut after so many words: 25 for CUB, 20 for COCO.
        padding_mask: "published" for the published code's pictures, where a caption's picture depends on the rest of
            its batch; "own" for the same weights with each caption's own padding.

    Raises:
        MissingFileError: One of the files is not there.
        InputError: One of them is something else, or they do not fit each other; says which.
    """
    if out.suffix not in (".ckpt", ".safetensors"):
        raise InputError(f"{out}: the checkpoint's name ends in .ckpt or .safetensors")
    for path in (generator, text_encoder, captions_pickle, image_encoder):
        if path is not None and not path.is_file():
            raise MissingFileError(f"there is no {path.resolve()}")
    if (text_encoder is None) != (captions_pickle is None):
        given, lacks = (
            ("captions_pickle", "text_encoder") if text_encoder is None else ("text_encoder", "captions_pickle")
        )
        raise InputError(f"{given} is of no use without {lacks}: give both, or neither")
    if image_encoder is not None and text_encoder is None:
        raise InputError("image_encoder is the other half of text_encoder: give both, or neither")
    published = read_published(generator)
    with in_file(generator):
        kind, network = published_generator(published, padding_mask)
    say(f"{generator} is {told(kind, network)}")
    if network.attends and text_encoder is None:
        raise InputError(f"{generator} attends to words: name its text_encoder and captions_pickle as well")
    text: DAMSM | CaptionReader | None = None
    if text_encoder is not None and captions_pickle is not None:
        text = _caption_reader(text_encoder, captions_pickle, generator, network)
        if image_encoder is not None:
            images = load_published_image_encoder(image_encoder)
            if images.embed_dim != text.text_encoder.embed_dim:
                raise InputError(
                    f"{image_encoder} gives features of {images.embed_dim} numbers, {text_encoder} of "
                    f"{text.text_encoder.embed_dim}: they do not belong together"
                )
            text = DAMSM(text.text_encoder, images, text.vocabulary)
    # published files do not say how long they were trained
    write_generator(out, network, text, None if text is None else word_limit)
    say(f"written: {out} ({out.stat().st_size / 1e6:.1f} MB)")


def told(kind: PublishedNetwork, network: Generator) -> str:
    """Which generator it is, in words: as its names and shapes tell."""
    reads = "no text" if network.embed_dim is None else f"sentences of {network.embed_dim} numbers"
    sides = " and ".join(map(str, network.image_sizes))
    return f"{kind.title}'s generator: it reads {reads} and draws {sides} px"


def _caption_reader(text_encoder: Path, captions_pickle: Path, generator: Path, network: Generator) -> CaptionReader:
    """The text encoder and its vocabulary; they must fit the generator and each other."""
    if network.embed_dim is None:
        raise InputError(f"{generator} reads no text: leave text_encoder and captions_pickle out")
    encoder = load_published_text_encoder(text_encoder)
    if encoder.embed_dim != network.embed_dim:
        raise InputError(
            f"{generator} reads sentences of {network.embed_dim} numbers, {text_encoder} gives {encoder.embed_dim}: "
            "they do not belong together"
        )
    vocabulary, rows = published_vocabulary(captions_pickle), encoder.embedding.num_embeddings
    if len(vocabulary) != rows:
        raise InputError(
            f"{captions_pickle} has {len(vocabulary):,} words, {text_encoder} {rows:,}: they do not belong together"
        )
    return CaptionReader(encoder, vocabulary)
