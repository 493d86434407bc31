"""``attngan export``: a generator alone, as one small file."""

from pathlib import Path

from attngan.checkpoint import WeightType, open_checkpoint, write_generator
from attngan.errors import InputError
from attngan.terminal import say


def export(checkpoint: Path, out: Path, dtype: WeightType = "float32", trained_on: str = "") -> None:
    """Writes the averaged generator, and where it has them its text encoder and vocabulary, as one small file.

    It holds no code and no optimiser states; `attngan sample` and `attngan evaluate` read it like a checkpoint.

    Args:
        checkpoint: Checkpoint of `attngan train` to take the generator from.
        out: File to write, ending in .safetensors.
        dtype: Type that the weights are stored in. float16 halves the file, and no eye sees it in the pictures;
            bfloat16 rounds more coarsely, but holds weights of any size. They are read back as float32.
        trained_on: Data that it was trained on, in words; `attngan sample` tells it with the file's name.
    """
    if out.suffix != ".safetensors":
        raise InputError(f"{out}: an exported generator's name ends in .safetensors")
    source = open_checkpoint(checkpoint)
    entry = source.entry
    write_generator(
        out,
        source.generator(),
        source.caption_reader(),
        entry.word_limit,
        entry.steps,
        entry.images_seen,
        dtype,
        trained_on or entry.trained_on,
    )
    say(f"written: {out} ({out.stat().st_size / 1e6:.1f} MB)")
