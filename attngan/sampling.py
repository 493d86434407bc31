"""Captions and a checkpoint to images and attention maps.

A picture depends on its caption, the seed and the sample's number, and on nothing else: z and the conditioning noise
are drawn for each sample by itself. A caption with one word changed therefore shares its noise.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from attngan.checkpoint import ENTRY, file_sha256, load_part, read_checkpoint
from attngan.networks.description import build
from attngan.networks.multistage import MultiStageGenerator
from attngan.networks.text_encoder import TextEncoder
from attngan.records import GeneratedImages, GeneratorNoise, TextFeatures
from attngan.text.vocabulary import Vocabulary, limit_words, pad_captions


def sample_noise(
    numbers: Sequence[int], noise_dim: int, condition_dim: int, seed: int, truncation: float | None = None
) -> GeneratorNoise:
    """The noise of these samples, each from (seed, number) alone.

    Args:
        numbers: Sample numbers, from 0.
        noise_dim: Length of the latent vector.
        condition_dim: Length of the conditioning noise.
        seed: Of the whole set of samples.
        truncation: Values beyond plus or minus this are drawn again (0.88 in DF-GAN's protocol); None for none.
    """
    rows = []
    for number in numbers:
        rng = np.random.default_rng((seed, number))
        row = rng.standard_normal(noise_dim + condition_dim, dtype=np.float32)
        if truncation is not None:
            while (outside := np.abs(row) > truncation).any():
                row[outside] = rng.standard_normal(int(outside.sum()), dtype=np.float32)
        rows.append(row)
    noise = torch.from_numpy(np.stack(rows)) if rows else torch.empty(0, noise_dim + condition_dim)
    return GeneratorNoise(noise[:, :noise_dim], noise[:, noise_dim:])


class Sampler:
    """A generator, its text encoder and vocabulary, ready to draw.

    Args:
        generator: In eval mode; the moving average of a training run.
        text_encoder: The DAMSM's.
        vocabulary: The text encoder's.
        sha256: Of the file that all this came from.
        word_limit: Captions are cut after this many words.
    """

    def __init__(
        self,
        generator: MultiStageGenerator,
        text_encoder: TextEncoder,
        vocabulary: Vocabulary,
        sha256: str = "",
        word_limit: int = 25,
    ) -> None:
        self.generator = generator.eval()
        self.text_encoder = text_encoder.eval()
        self.vocabulary = vocabulary
        self.sha256 = sha256
        self.word_limit = word_limit

    @classmethod
    def load(cls, checkpoint: str | Path, device: str | torch.device | None = None) -> "Sampler":
        """From a checkpoint of `attngan train` or a file of `attngan export`; no other file is needed.

        Args:
            checkpoint: The file.
            device: Where to draw; None for a GPU if there is one.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It holds no generator.
        """
        contents = read_checkpoint(checkpoint)
        entry = contents[ENTRY]
        if "generator" not in entry:
            raise ValueError(
                f"{checkpoint} holds no generator, it is a {entry.get('kind')} checkpoint: sampling needs one of "
                "`attngan train`"
            )
        generator = build(entry["generator"])
        load_part(generator, contents, "ema.generator")
        text_encoder = build(entry["damsm"]["text_encoder"])
        load_part(text_encoder, contents, "damsm.text_encoder")
        vocabulary = Vocabulary.from_dict(entry["damsm"]["vocabulary"])
        sampler = cls(generator, text_encoder, vocabulary, file_sha256(checkpoint))
        return sampler.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))

    def to(self, device: str | torch.device) -> "Sampler":
        self.generator.to(device)
        self.text_encoder.to(device)
        return self

    @property
    def device(self) -> torch.device:
        return next(self.generator.parameters()).device

    @property
    def resolution(self) -> int:
        """Side of the images in pixels."""
        return self.generator.image_sizes[-1]

    @property
    def attends(self) -> bool:
        """Whether the generator has attention maps over words."""
        return len(self.generator.stages) > 0

    def words(self, caption: str) -> list[str]:
        """The words of a caption that the generator sees."""
        return self.vocabulary.words_of(limit_words(self.vocabulary.encode(caption), self.word_limit, None))

    @torch.inference_mode()
    def encode(self, captions: Sequence[str]) -> TextFeatures:
        """Text features of captions.

        Raises:
            ValueError: A caption of which the vocabulary knows no word.
        """
        for caption in captions:
            if not self.vocabulary.knows_any(caption):
                raise ValueError(f"the vocabulary knows no word of the caption {caption!r}")
        ids = [limit_words(self.vocabulary.encode(caption), self.word_limit, None) for caption in captions]
        return self.text_encoder(pad_captions(ids).to(self.device))

    @torch.inference_mode()
    def draw(
        self, captions: Sequence[str], noise_numbers: Sequence[int], seed: int = 0, truncation: float | None = None
    ) -> GeneratedImages:
        """One image a caption, with the noise of (seed, its number); a batch at once."""
        return self.draw_features(self.encode(captions), noise_numbers, seed, truncation)

    @torch.inference_mode()
    def draw_features(
        self, text: TextFeatures, noise_numbers: Sequence[int], seed: int = 0, truncation: float | None = None
    ) -> GeneratedImages:
        """As `draw`, for captions that are encoded already."""
        generator = self.generator
        noise = sample_noise(noise_numbers, generator.noise_dim, generator.condition_dim, seed, truncation)
        return generator(GeneratorNoise(*(part.to(self.device) for part in noise)), text)


class Drawn(NamedTuple):
    """One picture: its caption and sample number, the image in [-1, 1], and the attention map of each stage."""

    caption: str
    number: int
    image: Float[Tensor, "3 height width"]
    attention: tuple[Float[Tensor, "words _ _"], ...]


def draw_all(
    sampler: Sampler,
    captions: Iterable[str],
    samples_per_caption: int = 1,
    seed: int = 0,
    batch_size: int = 16,
    truncation: float | None = None,
) -> Iterator[Drawn]:
    """Pictures of captions, one after another: caption by caption, sample 0, 1, ... of each; in constant memory."""
    jobs = ((caption, number) for caption in captions for number in range(samples_per_caption))
    while batch := list(itertools.islice(jobs, batch_size)):
        texts, numbers = [caption for caption, _ in batch], [number for _, number in batch]
        drawn = sampler.draw(texts, numbers, seed, truncation)
        for i, (caption, number) in enumerate(batch):
            attention = tuple(weights[i].cpu() for weights in drawn.attention)
            yield Drawn(caption, number, drawn.images[-1][i].float().cpu(), attention)


@torch.inference_mode()
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
    if steps < 2:
        raise ValueError(f"an interpolation has at least 2 steps (its two ends), not {steps}")
    text = sampler.encode([first, second])
    images = []
    for share in np.linspace(0.0, 1.0, steps):
        end = {0.0: 0, 1.0: 1}.get(float(share))
        padding = text.padding.all(0) if end is None else text.padding[end]
        weight = float(share)
        between = TextFeatures(
            torch.lerp(text.words[:1], text.words[1:], weight),
            torch.lerp(text.sentence[:1], text.sentence[1:], weight),
            padding[None],
        )
        images.append(sampler.draw_features(between, [number], seed, truncation).images[-1].float().cpu())
    return torch.cat(images)


def sample(
    checkpoint: str | Path,
    captions: Sequence[str],
    samples_per_caption: int = 1,
    seed: int = 0,
    batch_size: int = 16,
    truncation: float | None = None,
    device: str | None = None,
) -> tuple[Float[Tensor, "samples 3 height width"], list[tuple[Tensor, ...]]]:
    """Images of captions, from Python.

    Args:
        checkpoint: Of `attngan train` or `attngan export`.
        captions: One or more.
        samples_per_caption: Images of each caption.
        seed: The same seed gives the same images, whatever else is drawn.
        batch_size: Images drawn at once.
        truncation: Bound of the noise; None for none.
        device: Where to draw; None for a GPU if there is one.

    Returns:
        Images in [-1, 1], caption by caption, and for each the attention maps over its words, one a stage.
    """
    sampler = Sampler.load(checkpoint, device)
    drawn = list(draw_all(sampler, captions, samples_per_caption, seed, batch_size, truncation))
    if not drawn:
        raise ValueError("there is no caption to draw")
    return torch.stack([d.image for d in drawn]), [d.attention for d in drawn]
