"""Files of the published AttnGAN code as one checkpoint of attngan: to sample, evaluate and train with."""

from pathlib import Path

from attngan.checkpoint import CaptionReader, write_generator
from attngan.data.published_pickles import published_vocabulary
from attngan.networks.attention import PaddingMask
from attngan.networks.damsm import DAMSM
from attngan.networks.published import (
    load_published_generator,
    load_published_image_encoder,
    load_published_text_encoder,
)


def import_published(
    generator: Path,
    text_encoder: Path,
    captions_pickle: Path,
    out: Path,
    image_encoder: Path | None = None,
    word_limit: int = 25,
    padding_mask: PaddingMask = "own",
) -> None:
    """Writes published files as one checkpoint that `attngan sample`, `evaluate` and `export` read.

    The published files are read as weights only, and the pickle by a reader that runs none of its code.

    Args:
        generator: netG_epoch_*.pth, of AttnGAN or AttnDCGAN; the published code saves the moving average.
        text_encoder: text_encoder*.pth, which the generator was trained with.
        captions_pickle: The captions.pickle of the published metadata: its vocabulary is the text encoder's.
        out: File to write: .ckpt or .safetensors.
        image_encoder: image_encoder*.pth, the text encoder's other half. With it the file also stands for the DAMSM:
            for R-precision (evaluate --scorer) and for training another generator (--model.damsm).
        word_limit: Captions are cut after so many words: 25 for CUB, 20 for COCO.
        padding_mask: "published" for the published code's pictures, where a caption's picture depends on the rest of
            its batch; "own" for the same weights with each caption's own padding.

    Raises:
        FileNotFoundError: One of the files is not there.
        ValueError: One of them is something else, or they do not fit each other; says which.
    """
    if out.suffix not in (".ckpt", ".safetensors"):
        raise ValueError(f"{out}: the checkpoint's name ends in .ckpt or .safetensors")
    for path in (generator, text_encoder, captions_pickle, *([] if image_encoder is None else [image_encoder])):
        if not path.is_file():
            raise FileNotFoundError(f"there is no {path.resolve()}")
    network, encoder = load_published_generator(generator, padding_mask), load_published_text_encoder(text_encoder)
    if encoder.embed_dim != network.embed_dim:
        raise ValueError(
            f"{generator} reads sentences of {network.embed_dim} numbers, {text_encoder} gives {encoder.embed_dim}: "
            "they do not belong together"
        )
    vocabulary, rows = published_vocabulary(captions_pickle), encoder.embedding.num_embeddings
    if len(vocabulary) != rows:
        raise ValueError(
            f"{captions_pickle} has {len(vocabulary):,} words, {text_encoder} {rows:,}: they do not belong together"
        )
    text: DAMSM | CaptionReader = CaptionReader(encoder, vocabulary)
    if image_encoder is not None:
        images = load_published_image_encoder(image_encoder)
        if images.embed_dim != encoder.embed_dim:
            raise ValueError(
                f"{image_encoder} gives features of {images.embed_dim} numbers, {text_encoder} of "
                f"{encoder.embed_dim}: they do not belong together"
            )
        text = DAMSM(encoder, images, vocabulary)
    write_generator(out, network, text, word_limit)  # published files do not say how long they were trained
    print(f"written: {out} ({out.stat().st_size / 1e6:.1f} MB)")
