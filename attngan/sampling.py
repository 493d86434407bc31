"""A checkpoint, and captions where its generator reads text, to images and attention maps.

A picture depends on its caption, the seed and the sample's number, and on nothing else: z and the conditioning noise
are drawn for each sample by itself. A caption with one word changed therefore shares its noise.
"""

import itertools
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from attngan.checkpoint import WORD_LIMIT, Checkpoint, open_checkpoint
from attngan.device import usable_device
from attngan.errors import InputError, require_at_least
from attngan.installed import checkpoint_and_captions, shipped_generator
from attngan.networks.generator import Generator
from attngan.networks.text_encoder import CaptionEncoder, encode_captions
from attngan.records import GeneratedImages, GeneratorNoise, TextFeatures
from attngan.text.vocabulary import Vocabulary, limit_words

CUT_OFF = 2.0  # of truncated noise, in standard deviations


def sample_noise(
    numbers: Sequence[int], noise_dim: int, condition_noise_dim: int, seed: int, truncation: float | None = None
) -> GeneratorNoise:
    """The noise of these samples, each from (seed, number) alone.

    Args:
        numbers: Sample numbers, from 0.
        noise_dim: Length of the latent vector.
        condition_noise_dim: Length of the conditioning noise.
        seed: Seed of the whole set of samples.
        truncation: The noise is drawn from a normal distribution cut off at plus or minus 2 (values beyond are drawn
            again) and multiplied by this, as DF-GAN's code does with 0.88; None for plain normal noise.

    Raises:
        InputError: The seed or the truncation is negative.
    """
    require_at_least(0, seed=seed, truncation=truncation)
    length = noise_dim + condition_noise_dim
    rows = []
    for number in numbers:
        rng = np.random.default_rng((seed, number))
        row = rng.standard_normal(length, dtype=np.float32)
        if truncation is not None:
            while (outside := np.abs(row) > CUT_OFF).any():
                row[outside] = rng.standard_normal(int(outside.sum()), dtype=np.float32)
            row *= truncation
        rows.append(row)
    noise = torch.from_numpy(np.stack(rows)) if rows else torch.empty(0, length)
    return GeneratorNoise(noise[:, :noise_dim], noise[:, noise_dim:])


class Sampler:
    """A generator and what it reads text with, ready to draw.

    Args:
        generator: The generator, in eval mode; the moving average of a training run.
        text_encoder: The DAMSM's; None where the generator reads precomputed sentence embeddings, or no text.
        vocabulary: Vocabulary of the text encoder.
        source: The checkpoint that all this came from, or in words what it is.
        word_limit: Captions are cut after this many words.
    """

    source: Checkpoint | str = ""

    def __init__(
        self,
        generator: Generator,
        text_encoder: CaptionEncoder | None = None,
        vocabulary: Vocabulary | None = None,
        source: Checkpoint | str = "",
        word_limit: int = WORD_LIMIT,
    ) -> None:
        self.generator = generator.eval()
        self.text_encoder = None if text_encoder is None else text_encoder.eval()
        self.vocabulary = vocabulary
        self.source = source
        self.word_limit = word_limit

    @classmethod
    def load(cls, checkpoint: str | Path, device: str | torch.device | None = None) -> "Sampler":
        """From a checkpoint of `attngan train` or a file of `attngan export`; no other file is needed.

        Args:
            checkpoint: The file.
            device: Where to draw; None for a GPU if there is one.

        Raises:
            FileNotFoundError: There is no such file.
            InputError: It holds no generator, or there is no such device.
        """
        return cls.of(open_checkpoint(checkpoint), device)

    @classmethod
    def from_file(cls, checkpoint: str | Path | None = None, device: str | None = None) -> "Sampler":
        """As `load`, with the generator that ships where no file is named; ``attngan.Generator.from_file(...)``."""
        return cls.load(checkpoint or shipped_generator(), device)

    @classmethod
    def of(cls, checkpoint: Checkpoint, device: str | torch.device | None = None) -> "Sampler":
        """As `load`, from a checkpoint that is open already."""
        text_encoder, vocabulary = checkpoint.caption_reader() or (None, None)
        sampler = cls(checkpoint.generator(), text_encoder, vocabulary, checkpoint, checkpoint.word_limit)
        return sampler.to(usable_device(device))

    @property
    def sha256(self) -> str:
        """Of the checkpoint's file; without one what stands for it."""
        return self.source if isinstance(self.source, str) else self.source.sha256

    def origin(self, caption: str | None, seed: int, number: int, truncation: float | None) -> dict[str, object]:
        """What a picture's file says of where it comes from; see `attngan.pictures.save_sample`."""
        facts = {"caption": caption, "seed": seed, "number": number, "truncation": truncation}
        return {**facts, "checkpoint": self.sha256}

    def to(self, device: str | torch.device) -> "Sampler":
        self.generator.to(device)
        if self.text_encoder is not None:
            self.text_encoder.to(device)
        return self

    @property
    def device(self) -> torch.device:
        return next(self.generator.parameters()).device

    @property
    def title(self) -> str:
        """Which generator this is, in words: the file's name, what it was trained on, how large it draws."""
        side = f"{self.resolution} px"
        if isinstance(self.source, str):
            return f"{self.source or 'a generator'} ({side})"
        entry = self.source.entry
        data = f"trained on {entry.trained_on}" if entry.trained_on else ""
        images = f"{entry.images_seen:,} images seen" if entry.images_seen else ""
        return f"{self.source.path.stem} ({', '.join(filter(None, (data, images, side)))})"

    @property
    def resolution(self) -> int:
        """Side of the images in pixels."""
        return self.generator.image_sizes[-1]

    @property
    def attends(self) -> bool:
        """Whether the generator has attention maps over words."""
        return self.generator.attends

    @property
    def reads(self) -> Literal["captions", "embeddings", "nothing"]:
        """What is drawn from beside the noise: captions, precomputed sentence embeddings, or nothing."""
        if self.generator.embed_dim is None:
            return "nothing"
        return "embeddings" if self.text_encoder is None else "captions"

    def knows(self, caption: str) -> bool:
        """Whether the vocabulary has a word of the caption; True where there is no vocabulary."""
        return self.vocabulary is None or self.vocabulary.knows_any(caption)

    def unread(self, caption: str) -> str:
        """What of a caption is not read, in words: those beyond the limit, letters that are no part of any word."""
        if self.vocabulary is None:
            return ""
        words, tokenizer = self.vocabulary.encode(caption), self.vocabulary.tokenizer
        told = []
        if len(words) > self.word_limit:
            told.append(f"the first {self.word_limit} of its {len(words)} words are read")
        if left_out := tokenizer.left_out(caption):
            told.append(f"the letters {left_out[:20]} are left out")
        if tokenizer.joins_clauses(caption):
            told.append("it has no spaces between words: each clause counts as one word")
        return "; ".join(told)

    def unknown_words(self, caption: str) -> list[str]:
        """The caption's words that the vocabulary lacks, in order, each once."""
        return [] if self.vocabulary is None else self.vocabulary.unknown_words(caption)

    def words(self, caption: str) -> list[str]:
        """The words of a caption that the generator sees, each with an attention map; unknown ones are ``<unk>``."""
        if self.vocabulary is None:
            return []
        return self.vocabulary.words_of(limit_words(self.vocabulary.encode(caption), self.word_limit, None))

    def words_as_written(self, caption: str) -> list[str]:
        """As `words`, position by position, with what stands in the caption in place of ``<unk>``."""
        if self.vocabulary is None:
            return []
        unknown = () if self.vocabulary.has_unknown else self.unknown_words(caption)
        seen = [word for word in self.vocabulary.tokenizer(caption) if word not in unknown]
        return seen[: self.word_limit]

    @torch.inference_mode()
    def encode(self, texts: Sequence[str] | Float[Tensor, "batch text"]) -> TextFeatures:
        """What the generator reads, of captions, or of sentence embeddings where it reads those.

        Raises:
            InputError: A caption of which the vocabulary knows no word; text of a kind that this generator does not
                read.
        """
        if self.reads == "nothing":
            raise InputError("this generator was trained without text and reads none: leave the captions out")
        if isinstance(texts, Tensor):
            return self._of_embeddings(texts)
        if self.text_encoder is None or self.vocabulary is None:
            raise InputError(
                f"this generator reads precomputed sentence embeddings of {self.generator.embed_dim} numbers, no "
                "captions: give those (--embeddings FILE.npy)"
            )
        return encode_captions(self.text_encoder, self.vocabulary, texts, self.word_limit)

    def _of_embeddings(self, embeddings: Tensor) -> TextFeatures:
        if self.reads == "captions":
            raise InputError("this generator reads captions through its own text encoder, no precomputed embeddings")
        if embeddings.ndim != 2 or embeddings.shape[1] != self.generator.embed_dim:
            raise InputError(
                f"this generator reads sentence embeddings of {self.generator.embed_dim} numbers, one a row; these "
                f"have the shape {tuple(embeddings.shape)}"
            )
        return TextFeatures.of_sentences(embeddings.to(self.device, torch.float32))

    def sample(
        self,
        captions: Sequence[str] | Float[Tensor, "captions text"] | None = None,
        samples_per_caption: int = 1,
        seed: int = 0,
        batch_size: int = 16,
        truncation: float | None = None,
    ) -> tuple[Float[Tensor, "samples 3 height width"], list[tuple[Tensor, ...]]]:
        """Images of captions; arguments and result as of `attngan.sample`."""
        texts: list[str | Tensor | None] = [None] if captions is None else list(captions)
        for text in texts:
            if isinstance(text, str) and (unread := self.unread(text)):
                warnings.warn(f"{text[:40]!r}: {unread}", stacklevel=2)
        drawn = list(draw_all(self, texts, samples_per_caption, seed, batch_size, truncation))
        if not drawn:
            raise InputError("there is no caption to draw")
        return torch.stack([d.image for d in drawn]), [d.attention for d in drawn]

    @torch.inference_mode()
    def draw(
        self,
        texts: Sequence[str] | Float[Tensor, "batch text"] | None,
        noise_numbers: Sequence[int],
        seed: int = 0,
        truncation: float | None = None,
    ) -> GeneratedImages:
        """One image a caption (or embedding), with the noise of (seed, its number); a batch at once.

        ``texts`` is None for a generator that reads no text.
        """
        return self.draw_features(None if texts is None else self.encode(texts), noise_numbers, seed, truncation)

    @torch.inference_mode()
    def draw_features(
        self, text: TextFeatures | None, noise_numbers: Sequence[int], seed: int = 0, truncation: float | None = None
    ) -> GeneratedImages:
        """As `draw`, for texts that are encoded already."""
        if text is None and self.reads != "nothing":
            raise InputError(f"this generator reads {self.reads}: there are none to draw")
        generator = self.generator
        noise = sample_noise(noise_numbers, generator.noise_dim, generator.condition_noise_dim, seed, truncation)
        images: GeneratedImages = generator(GeneratorNoise(*(part.to(self.device) for part in noise)), text)
        return images


class Drawn(NamedTuple):
    """One picture: its text's position and, of a caption, words; its sample number; image in [-1, 1]; attention maps.

    There is one map a stage that attends to words.
    """

    position: int
    caption: str | None
    number: int
    image: Float[Tensor, "3 height width"]
    attention: tuple[Float[Tensor, "words _ _"], ...]


def draw_all(
    sampler: Sampler,
    texts: Iterable[str | Tensor | None],
    samples_per_text: int = 1,
    seed: int = 0,
    batch_size: int = 16,
    truncation: float | None = None,
) -> Iterator[Drawn]:
    """Pictures of captions, one after another: caption by caption, sample 0, 1, ... of each; in constant memory.

    Args:
        sampler: The generator and what it reads text with.
        texts: Captions, or sentence embeddings, or one None for a generator that reads no text.
        samples_per_text: Pictures of each text.
        seed: The same seed gives the same pictures, whatever else is drawn.
        batch_size: Pictures drawn at once.
        truncation: Factor of noise that is cut off at plus or minus 2; None for plain normal noise.
    """
    jobs = ((*text, number) for text in enumerate(texts) for number in range(samples_per_text))
    while batch := list(itertools.islice(jobs, batch_size)):
        drawn = sampler.draw(_together([text for _, text, _ in batch]), [job[-1] for job in batch], seed, truncation)
        for i, (position, text, number) in enumerate(batch):
            attention = tuple(weights[i].cpu() for weights in drawn.attention)
            caption = text if isinstance(text, str) else None
            yield Drawn(position, caption, number, drawn.images[-1][i].float().cpu(), attention)


def _together(texts: Sequence[str | Tensor | None]) -> list[str] | Tensor | None:
    """A batch's captions or embeddings, as the sampler takes them."""
    captions = [text for text in texts if isinstance(text, str)]
    embeddings = [text for text in texts if isinstance(text, Tensor)]
    return captions or (torch.stack(embeddings) if embeddings else None)


def interpolate(
    sampler: Sampler,
    first: str,
    second: str,
    steps: int = 8,
    number: int = 0,
    seed: int = 0,
    truncation: float | None = None,
) -> Float[Tensor, "steps 3 height width"]:
    """Pictures on the way from one caption to another, all with the same noise.

    Sentence and word features go over linearly, position by position; both ends are the captions' own pictures. In
    between, a word that only one caption has at its position fades in or out.
    """
    return torch.stack(list(interpolation(sampler, first, second, steps, number, seed, truncation)))


def interpolation(
    sampler: Sampler, first: str, second: str, steps: int, number: int, seed: int, truncation: float | None
) -> Iterator[Float[Tensor, "3 height width"]]:
    """The pictures of `interpolate`, one after another."""
    if steps < 2:
        raise InputError(f"an interpolation has at least 2 steps (its two ends), not {steps}")
    text = sampler.encode([first, second])
    for share in np.linspace(0.0, 1.0, steps):
        end = {0.0: 0, 1.0: 1}.get(float(share))
        padding = text.padding.all(0) if end is None else text.padding[end]
        weight = float(share)
        between = TextFeatures(
            torch.lerp(text.words[:1], text.words[1:], weight),
            torch.lerp(text.sentence[:1], text.sentence[1:], weight),
            padding[None],
        )
        yield sampler.draw_features(between, [number], seed, truncation).images[-1][0].float().cpu()


def sample(
    checkpoint: str | Path | Sequence[str] | None = None,
    captions: Sequence[str] | Float[Tensor, "captions text"] | None = None,
    samples_per_caption: int = 1,
    seed: int = 0,
    batch_size: int = 16,
    truncation: float | None = None,
    device: str | None = None,
) -> tuple[Float[Tensor, "samples 3 height width"], list[tuple[Tensor, ...]]]:
    """Images of captions, from Python: ``sample(["a red bird"])``, or ``sample("last.ckpt", ["a red bird"])``.

    Args:
        checkpoint: Checkpoint of `attngan train`, or file of `attngan export`. Left out, the generator that ships
            draws, and the captions may come first; a string alone is told from a caption as by `attngan sample`.
        captions: One or more; for a generator that reads precomputed sentence embeddings those, one a row; None for one
            that reads no text.
        samples_per_caption: Images of each caption; of a generator that reads no text: images.
        seed: The same seed gives the same images, whatever else is drawn.
        batch_size: Images drawn at once.
        truncation: Factor of noise that is cut off at plus or minus 2; None for plain normal noise.
        device: Where to draw; None for a GPU if there is one.

    Returns:
        Images in [-1, 1], caption by caption, and for each the attention maps over its words, one a stage.

    Raises:
        MissingFileError: There is no such checkpoint, or none was named and none ships with this installation.
        InputError: The checkpoint holds no generator, or one that reads something else than what is given.
    """
    named: str | Path | None = None
    if not isinstance(checkpoint, str | Path | None):
        if captions is not None:
            raise InputError("captions were given twice: sample(captions), or sample(checkpoint, captions)")
        captions = checkpoint
    elif isinstance(checkpoint, str) and captions is None:
        named, alone = checkpoint_and_captions([checkpoint])
        captions = alone or None
    else:
        named = checkpoint
    sampler = Sampler.from_file(named, device)
    return sampler.sample(captions, samples_per_caption, seed, batch_size, truncation)
