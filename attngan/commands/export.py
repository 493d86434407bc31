"""``attngan export``: a generator alone, as one small file."""

from pathlib import Path

from attngan.checkpoint import open_checkpoint, write_generator
from attngan.errors import InputError


def export(checkpoint: Path, out: Path) -> None:
    """Writes the averaged generator, and where it has them its text encoder and vocabulary, as one small file.

    It holds no code and no optimiser states; `attngan sample` and `attngan evaluate` read it like a checkpoint.

    Args:
        checkpoint: Checkpoint of `attngan train` to take the generator from.
        out: File to write, ending in .safetensors.
    """
    if out.suffix != ".safetensors":
        raise InputError(f"{out}: an exported generator's name ends in .safetensors")
    source = open_checkpoint(checkpoint)
    entry = source.entry
    write_generator(out, source.generator(), source.caption_reader(), entry.word_limit, entry.steps, entry.images_seen)
    print(f"written: {out} ({out.stat().st_size / 1e6:.1f} MB)")
