"""A generator and what it reads captions with as one graph: ONNX, or torch's own exported programs.

One graph goes from caption ids (or sentence embeddings) and noise to the image. Batch and number of words are dynamic.
The file tells in its metadata, under ``attngan``, what else sampling needs: vocabulary, word limit, lengths.
"""

import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from attngan.checkpoint import Checkpoint
from attngan.errors import InputError, MissingPackageError
from attngan.files import replacing
from attngan.networks.generator import Generator
from attngan.networks.text_encoder import CaptionEncoder
from attngan.records import CaptionBatch, GeneratedImages, GeneratorNoise, TextFeatures

#: Of ONNX's operators: what onnxruntime 1.23 and later read.
OPSET = 20
#: Longest caption and largest batch that a graph is traced for.
MOST_WORDS, MOST_IMAGES = 512, 4096


class Portable(nn.Module):
    """From what a generator reads to the image, of tensors alone; base of the three kinds.

    Args:
        generator: In eval mode.

    Attributes:
        inputs: Names of the inputs, with those of their axes that vary.
        outputs: Names of the outputs: ``image`` (batch, 3, side, side) in [-1, 1] and, where the generator attends to
            words, ``attention`` (batch, words, side, side) of its last stage that does.
    """

    inputs: Mapping[str, Sequence[str]]

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator
        self.outputs = ["image", *(["attention"] if generator.attends else [])]

    def draw(self, text: TextFeatures | None, noise: Float[Tensor, "batch noise"]) -> tuple[Tensor, ...]:
        """``noise`` holds the latent vector and then the conditioning noise."""
        latent = self.generator.noise_dim
        drawn: GeneratedImages = self.generator(GeneratorNoise(noise[:, :latent], noise[:, latent:]), text)
        return (drawn.images[-1], *(drawn.attention[-1:] if self.generator.attends else ()))

    def examples(self, batch: int, words: int) -> tuple[Tensor, ...]:
        """Inputs of these sizes, to trace and to compare with."""
        noise = torch.randn(batch, self.generator.noise_dim + self.generator.condition_noise_dim)
        return (*self.text_examples(batch, words), noise)

    def text_examples(self, batch: int, words: int) -> tuple[Tensor, ...]:
        return ()

    def as_trained(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """What the networks draw as training and sampling run them."""
        drawn: tuple[Tensor, ...] = self(*inputs)
        return drawn


class FromCaptions(Portable):
    """Reads captions as word ids."""

    inputs = {"ids": ("batch", "words"), "lengths": ("batch",), "noise": ("batch",)}  # noqa: RUF012

    def __init__(self, generator: Generator, text_encoder: CaptionEncoder) -> None:
        super().__init__(generator)
        self.vocabulary_size = text_encoder.vocabulary_size
        self.text_encoder = text_encoder.portable()
        self._as_trained = (text_encoder,)  # in a tuple: no part of the graph

    def forward(
        self, ids: Int[Tensor, "batch words"], lengths: Int[Tensor, "batch"], noise: Float[Tensor, "batch noise"]
    ) -> tuple[Tensor, ...]:
        return self.draw(self.text_encoder(CaptionBatch(ids, lengths)), noise)

    def as_trained(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        ids, lengths, noise = inputs
        return self.draw(self._as_trained[0](CaptionBatch(ids, lengths)), noise)

    def text_examples(self, batch: int, words: int) -> tuple[Tensor, ...]:
        lengths = torch.randint(1, words + 1, (batch,))
        lengths[0] = words
        return torch.randint(1, self.vocabulary_size, (batch, words)), lengths


class FromEmbeddings(Portable):
    """Reads precomputed sentence embeddings."""

    inputs = {"sentence": ("batch",), "noise": ("batch",)}  # noqa: RUF012

    def forward(
        self, sentence: Float[Tensor, "batch embed"], noise: Float[Tensor, "batch noise"]
    ) -> tuple[Tensor, ...]:
        return self.draw(TextFeatures.of_sentences(sentence), noise)

    def text_examples(self, batch: int, words: int) -> tuple[Tensor, ...]:
        assert self.generator.embed_dim is not None
        return (torch.randn(batch, self.generator.embed_dim),)


class FromNoise(Portable):
    """Reads no text."""

    inputs = {"noise": ("batch",)}  # noqa: RUF012

    def forward(self, noise: Float[Tensor, "batch noise"]) -> tuple[Tensor, ...]:
        return self.draw(None, noise)


def portable(checkpoint: Checkpoint) -> tuple[Portable, dict[str, Any]]:
    """The graph's module, in eval mode on the CPU, and what its file tells beside it.

    Raises:
        InputError: The checkpoint holds no generator.
    """
    generator, reader = checkpoint.generator().cpu(), checkpoint.caption_reader()
    told: dict[str, Any] = {
        "noise": generator.noise_dim + generator.condition_noise_dim,
        "image_size": generator.image_sizes[-1],
        "trained_on": checkpoint.entry.trained_on,
        "sha256": checkpoint.sha256,
    }
    if generator.embed_dim is None:
        return FromNoise(generator).eval(), told | {"reads": "nothing"}
    if reader is None:
        return FromEmbeddings(generator).eval(), told | {"reads": "embeddings", "embedding": generator.embed_dim}
    vocabulary = reader.vocabulary
    told |= {
        "reads": "captions",
        "word_limit": checkpoint.word_limit,
        "tokenizer": vocabulary.tokenizer.describe(),
        "words": list(vocabulary.words),
        "unknown": vocabulary.words.index(vocabulary.tokenizer.unknown) if vocabulary.has_unknown else None,
    }
    return FromCaptions(generator, reader.text_encoder.cpu()).eval(), told


def write_onnx(checkpoint: Checkpoint, path: Path) -> float | None:
    """Writes the graph as ONNX.

    Args:
        checkpoint: Holds the generator.
        path: File to write, whole or not at all.

    Returns:
        The largest difference of what onnxruntime draws from what torch draws, for captions of other numbers; None
        where onnxruntime is not installed.

    Raises:
        MissingPackageError: onnx or onnxscript is not installed.
    """
    try:
        import onnxscript  # noqa: F401 - torch's exporter needs it
    except ModuleNotFoundError as error:
        raise MissingPackageError("ONNX needs an extra: pip install 'attngan[onnx]'") from error
    module, told = portable(checkpoint)
    names = list(module.inputs)
    with _quietly():
        program: Any = torch.onnx.export(
            module,
            module.examples(3, 5),
            dynamo=True,
            dynamic_shapes=_dynamic(module),
            input_names=names,
            output_names=module.outputs,
            opset_version=OPSET,
            verbose=False,
        )
    program.model.metadata_props["attngan"] = json.dumps(told)
    with replacing(path) as part:
        program.save(part)
    return _difference(module, path)


def write_program(checkpoint: Checkpoint, path: Path) -> float:
    """Writes the graph as torch's exported program, which ``torch.export.load`` reads without attngan.

    Returns:
        The largest difference of what the file draws from what the networks draw.
    """
    module, told = portable(checkpoint)
    with _quietly():
        program = torch.export.export(module, module.examples(3, 5), dynamic_shapes=_dynamic(module))
    with replacing(path) as part, part.open("wb") as file:  # by handle: torch wants its own suffix of a name
        torch.export.save(program, file, extra_files={"attngan.json": json.dumps(told)})
    with path.open("rb") as file:
        loaded = torch.export.load(file).module()
    return _largest_difference(module, lambda inputs: loaded(*inputs))


def _difference(module: Portable, path: Path) -> float | None:
    try:
        import onnxruntime
    except ModuleNotFoundError:
        return None
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def drawn(inputs: tuple[Tensor, ...]) -> list[Tensor]:
        given = {name: value.numpy() for name, value in zip(module.inputs, inputs, strict=True)}
        return [torch.from_numpy(output) for output in session.run(None, given)]

    return _largest_difference(module, drawn)


def _largest_difference(module: Portable, drawn: Callable[[tuple[Tensor, ...]], Sequence[Tensor]]) -> float:
    """Over inputs of other sizes than those that were traced."""
    largest = 0.0
    with torch.no_grad():
        for batch, words in ((1, 1), (2, 9)):
            inputs = module.examples(batch, words)
            for ours, theirs in zip(module.as_trained(*inputs), drawn(inputs), strict=True):
                if ours.shape != theirs.shape:
                    raise InputError(f"the exported graph draws {tuple(theirs.shape)} instead of {tuple(ours.shape)}")
                largest = max(largest, float((ours - theirs).abs().max()))
    return largest


def _dynamic(module: Portable) -> tuple[dict[int, Any], ...]:
    sizes = {
        "batch": torch.export.Dim("batch", min=1, max=MOST_IMAGES),
        "words": torch.export.Dim("words", min=1, max=MOST_WORDS),
    }
    return tuple({place: sizes[axis] for place, axis in enumerate(axes)} for axes in module.inputs.values())


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the exporters' own warnings and lines; without gradients."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        yield
