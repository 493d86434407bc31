"""``attngan export``: a generator alone, as one small file."""

from pathlib import Path

from attngan.checkpoint import ENTRY, part, read_checkpoint, write_safetensors
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
    contents = read_checkpoint(checkpoint)
    entry = contents[ENTRY]
    if "generator" not in entry:
        raise InputError(f"{checkpoint} holds no generator, it is a {entry.get('kind')} checkpoint")
    state = contents["state_dict"]
    kept = {
        f"{prefix}.{name}": value
        for prefix in ("ema.generator", "damsm.text_encoder")  # without text there is no text encoder
        for name, value in part(state, prefix).items()
    }
    description = {
        "kind": "generator",
        "generator": entry["generator"],
        "damsm": entry["damsm"] and {name: entry["damsm"][name] for name in ("text_encoder", "vocabulary")},
        "word_limit": entry.get("word_limit"),
    }
    counts = {name: entry[name] for name in ("steps", "images_seen")}
    write_safetensors(out, description | counts, kept)
    print(f"written: {out} ({out.stat().st_size / 1e6:.1f} MB)")
