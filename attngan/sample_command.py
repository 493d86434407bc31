"""``attngan sample`` and ``attngan export``."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from attngan.checkpoint import ENTRY, part, read_checkpoint, write_safetensors
from attngan.pictures import attention_picture, caption_grid, to_pil
from attngan.sampling import Drawn, Sampler, draw_all, interpolate

GRID_ROWS, GRID_COLUMNS = 32, 8


def sample_command(
    checkpoint: Path,
    captions: list[str] | None = None,
    file: Path | None = None,
    out: Path = Path("samples"),
    samples_per_caption: int = 1,
    seed: int = 0,
    attention: bool = False,
    interpolate: list[str] | None = None,
    steps: int = 8,
    truncation: float | None = None,
    batch_size: int = 16,
    device: str | None = None,
) -> int:
    """Draws captions: one PNG a picture, a grid of the first ones, and attention pictures on request.

    The same caption and seed give the same picture, whatever else is drawn beside it. A caption of which the vocabulary
    knows no word is refused by its number; the others are drawn.

    Args:
        checkpoint: Of `attngan train` (last.ckpt), or a file of `attngan export`.
        captions: The captions; "-" reads one a line from standard input.
        file: Text file with one caption a line.
        out: Folder for the pictures.
        samples_per_caption: Pictures of each caption.
        seed: Of the noise.
        attention: Also draw where each word acted.
        interpolate: Two captions; pictures on the way from one to the other are drawn with the same noise.
        steps: Pictures of an interpolation, both ends included.
        truncation: Noise beyond plus or minus this is drawn again: less variety, fewer failures (0.88 in DF-GAN).
        batch_size: Pictures drawn at once.
        device: cpu, cuda ...; by default cuda where there is one.

    Returns:
        The exit code: 0, or 1 when a caption was refused.
    """
    if samples_per_caption < 1 or batch_size < 1:
        raise ValueError("samples_per_caption and batch_size must be at least 1")
    sampler = Sampler.load(checkpoint, device)
    out.mkdir(parents=True, exist_ok=True)
    if interpolate:
        return _interpolation(sampler, interpolate, steps, samples_per_caption, seed, truncation, out)
    if attention and not sampler.attends:
        print("this generator does not attend to words: there are no attention maps", file=sys.stderr)
    source = _Captions(sampler, _lines(captions or [], file))
    shown: list[tuple[str, list]] = []
    written = 0
    for drawn in draw_all(sampler, source, samples_per_caption, seed, batch_size, truncation):
        name = f"{source.number_of(drawn, samples_per_caption, written):05d}_{drawn.number:03d}"
        to_pil(drawn.image).save(out / f"{name}.png")
        if attention and drawn.attention:
            words = sampler.words(drawn.caption)
            attention_picture(drawn.image, words, drawn.attention[-1]).save(out / f"{name}_attention.png")
        if drawn.number == 0 and len(shown) < GRID_ROWS:
            shown.append((drawn.caption, []))
        if written // samples_per_caption < GRID_ROWS and drawn.number < GRID_COLUMNS:
            shown[-1][1].append(drawn.image)
        written += 1
    if shown:
        caption_grid(shown, side=max(64, min(sampler.resolution, 128))).save(out / "grid.png")
    print(f"{written} pictures in {out}" + (f", the first ones together in {out / 'grid.png'}" if shown else ""))
    if source.refused:
        print(f"{source.refused} captions refused", file=sys.stderr)
    return 1 if source.refused or not written else 0


class _Captions:
    """Captions that the vocabulary can read, one after another; tells of words and captions that it cannot."""

    def __init__(self, sampler: Sampler, lines: Iterable[tuple[int, str]]) -> None:
        self.vocabulary = sampler.vocabulary
        self.lines = lines
        self.refused = 0
        self._numbers: list[int] = []  # of the captions handed out and not yet drawn: as many as a batch

    def __iter__(self) -> Iterator[str]:
        for number, caption in self.lines:
            if not self.vocabulary.knows_any(caption):
                self.refused += 1
                print(f"caption {number}: the vocabulary knows no word of {caption!r}; not drawn", file=sys.stderr)
                continue
            if unknown := self.vocabulary.unknown_words(caption):
                print(f"caption {number}: unknown words: {', '.join(unknown)}", file=sys.stderr)
            self._numbers.append(number)
            yield caption

    def number_of(self, drawn: Drawn, samples_per_caption: int, written: int) -> int:
        """The line number of the caption that ``drawn`` was drawn of."""
        number = self._numbers[0]
        if drawn.number == samples_per_caption - 1:
            self._numbers.pop(0)
        return number


def _lines(captions: list[str], file: Path | None) -> Iterator[tuple[int, str]]:
    """Captions with their numbers, from 1; blank lines are counted and left out."""
    if not captions and file is None:
        raise ValueError('there is nothing to draw: give captions ("a red bird"), --file FILE, or - for standard input')
    if file is not None and not file.is_file():
        raise FileNotFoundError(f"no file of captions at {file.resolve()}")

    def texts() -> Iterator[str]:
        for caption in captions:
            yield from (sys.stdin if caption == "-" else [caption])
        if file is not None:
            with file.open(encoding="utf-8-sig") as lines:
                yield from lines

    return ((number, text.strip()) for number, text in enumerate(texts(), 1) if text.strip())


def _interpolation(
    sampler: Sampler, captions: list[str], steps: int, samples: int, seed: int, truncation: float | None, out: Path
) -> int:
    if len(captions) != 2:
        raise ValueError(f'--interpolate takes two captions ("caption A" "caption B"), not {len(captions)}')
    rows = []
    for number in range(samples):
        images = interpolate(sampler, captions[0], captions[1], steps, number, seed, truncation)
        for step, image in enumerate(images):
            to_pil(image).save(out / f"interpolation_{number:03d}_{step:03d}.png")
        rows.append((f"{captions[0]} -> {captions[1]}", list(images)))
    caption_grid(rows, side=max(64, min(sampler.resolution, 128))).save(out / "interpolation.png")
    print(f"{samples * steps} pictures in {out}, together in {out / 'interpolation.png'}")
    return 0


def export(checkpoint: Path, out: Path) -> None:
    """Writes the averaged generator, its text encoder and vocabulary as one small safetensors file.

    It holds no code and no optimiser states; `attngan sample` and `attngan evaluate` read it like a checkpoint.

    Args:
        checkpoint: Of `attngan train`.
        out: File to write, ending in .safetensors.
    """
    if out.suffix != ".safetensors":
        raise ValueError(f"{out}: an exported generator's name ends in .safetensors")
    contents = read_checkpoint(checkpoint)
    entry = contents[ENTRY]
    if "generator" not in entry:
        raise ValueError(f"{checkpoint} holds no generator, it is a {entry.get('kind')} checkpoint")
    state = contents["state_dict"]
    kept = {
        f"{prefix}.{name}": value
        for prefix in ("ema.generator", "damsm.text_encoder")
        for name, value in part(state, prefix).items()
    }
    damsm = {name: entry["damsm"][name] for name in ("text_encoder", "vocabulary")}
    counts = {name: entry[name] for name in ("steps", "images_seen")}
    write_safetensors(out, {"kind": "generator", "generator": entry["generator"], "damsm": damsm, **counts}, kept)
    print(f"written: {out} ({out.stat().st_size / 1e6:.1f} MB)")
