"""Exported graphs draw what the checkpoint draws, for any number of images and words, in programs without attngan."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch
from PIL import Image

from attngan.checkpoint import CaptionReader, open_checkpoint, write_generator
from attngan.cli import main
from attngan.networks.dfgan import DFGANGenerator
from attngan.networks.generator import Generator
from attngan.networks.multistage import AttnGANGenerator, DMGANGenerator, StackGANPlusPlusGenerator
from attngan.networks.pretrained_text import PretrainedTextEncoder
from attngan.networks.text_encoder import CaptionEncoder, TextEncoder
from attngan.sampling import Sampler, sample_noise
from attngan.text.pieces import tokenizer_of
from attngan.text.vocabulary import Vocabulary, limit_words, pad_captions
from tests.conftest import REPOSITORY
from tests.language import write_language_model
from tests.tiny import CAPTIONS, EMBED

EXAMPLE = REPOSITORY / "examples" / "sample_onnx.py"
LIMIT = 6  # words: some captions are cut


@pytest.fixture(autouse=True)
def _shapes_unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' check of shapes keeps a list that no exporter can follow; a user's program has no such check."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def attngan() -> Generator:
    return AttnGANGenerator(2, 2, EMBED, noise_dim=4, condition_dim=3, residual_blocks=1, base_size=8)


@pytest.fixture
def vocabulary() -> Vocabulary:
    return Vocabulary.from_captions(CAPTIONS)


def written(path: Path, generator: Generator, reader: CaptionReader | None) -> Path:
    for value in generator.state_dict().values():  # fresh running statistics would hide a wrong batch norm
        if value.is_floating_point():
            value.add_(0.1 * torch.rand_like(value))
    write_generator(path, generator.eval(), reader, LIMIT)
    return path


def drawn_by_torch(path: Path, captions: tuple[str, ...], seed: int = 0) -> torch.Tensor:
    return Sampler.load(path, "cpu").draw(captions, [0] * len(captions), seed).images[-1]


def inputs_of(path: Path, captions: tuple[str, ...]) -> dict[str, torch.Tensor]:
    """As a program would make them of the file's metadata."""
    opened = open_checkpoint(path)
    generator, reader = opened.generator(), opened.caption_reader()
    noise = torch.cat(sample_noise([0] * len(captions), generator.noise_dim, generator.condition_noise_dim, 0), 1)
    if reader is None:
        return {"noise": noise}
    ids = pad_captions([limit_words(reader.vocabulary.encode(caption), LIMIT) for caption in captions])
    return {"ids": ids.ids, "lengths": ids.lengths, "noise": noise}


@pytest.mark.parametrize("kind", ["lstm", "language model"])
def test_onnxruntime_draws_the_same(kind: str, vocabulary: Vocabulary, tmp_path: Path, capsys) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    encoder: CaptionEncoder = TextEncoder(len(vocabulary), EMBED, 5)
    if kind == "language model":
        tokenizer_of.cache_clear()
        encoder = PretrainedTextEncoder(str(write_language_model(tmp_path / "model")), EMBED)
        assert encoder.vocabulary is not None
        vocabulary = encoder.vocabulary
    checkpoint = written(tmp_path / "generator.safetensors", attngan(), CaptionReader(encoder, vocabulary))
    file = tmp_path / "generator.onnx"
    assert main(["export", str(checkpoint), str(file), "--format", "onnx"]) == 0
    assert "onnxruntime draws the same to" in capsys.readouterr().out
    session = onnxruntime.InferenceSession(file)
    for captions in (CAPTIONS, CAPTIONS[2:3]):
        given = {name: value.numpy() for name, value in inputs_of(checkpoint, captions).items()}
        image, attention = session.run(["image", "attention"], given)
        np.testing.assert_allclose(image, drawn_by_torch(checkpoint, captions), atol=1e-4)
        assert attention.shape[:2] == given["ids"].shape
        np.testing.assert_allclose(attention.sum(1), 1, atol=1e-5)
    told = json.loads(session.get_modelmeta().custom_metadata_map["attngan"])
    assert told["words"] == list(vocabulary.words)
    assert (told["word_limit"], told["noise"], told["image_size"]) == (LIMIT, 7, 16)


def test_the_example_draws_what_attngan_sample_draws_and_needs_no_torch(vocabulary: Vocabulary, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    source = EXAMPLE.read_text()
    imported = {
        alias.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import) for alias in node.names
    }
    assert imported == {"json", "re", "sys", "numpy", "onnxruntime"}
    assert len([line for line in source.partition('"""\n\nimport')[2].splitlines() if line.strip()]) <= 30
    encoder = TextEncoder(len(vocabulary), EMBED, 5, rnn="gru")
    checkpoint = written(tmp_path / "generator.safetensors", attngan(), CaptionReader(encoder, vocabulary))
    assert main(["export", str(checkpoint), str(tmp_path / "generator.onnx")]) == 0
    captions = (CAPTIONS[0], "a small purple bird")  # a word that it lacks
    subprocess.run([sys.executable, str(EXAMPLE), "generator.onnx", *captions], cwd=tmp_path, check=True)
    for position, caption in enumerate(captions):
        expected = drawn_by_torch(checkpoint, (caption,))[0].add(1).mul(127.5).round().clamp(0, 255)
        with Image.open(tmp_path / f"{position:05d}.png") as picture:
            found = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
        assert (found - expected).abs().max() <= 1


@pytest.mark.parametrize(
    "make",
    [
        attngan,
        lambda: DMGANGenerator(2, 2, EMBED, noise_dim=4, condition_dim=3, residual_blocks=1, base_size=8),
        lambda: DFGANGenerator(16, 2, EMBED, noise_dim=4),
        lambda: StackGANPlusPlusGenerator(2, 4, None, noise_dim=4, residual_blocks=1, base_size=8),
    ],
    ids=["attngan", "dmgan", "dfgan", "unconditional"],
)
def test_torchs_exported_program_draws_the_same(make, vocabulary: Vocabulary, tmp_path: Path) -> None:
    generator = make()
    reader = None if generator.embed_dim is None else CaptionReader(TextEncoder(len(vocabulary), EMBED, 5), vocabulary)
    checkpoint = written(tmp_path / "generator.safetensors", generator, reader)
    file = tmp_path / "generator.pt2"
    assert main(["export", str(checkpoint), str(file)]) == 0
    files = {"attngan.json": ""}
    loaded = torch.export.load(file, extra_files=files).module()
    sampler = Sampler.load(checkpoint, "cpu")
    for captions in (CAPTIONS, CAPTIONS[2:3]):
        expected = sampler.draw(captions if reader else None, [0] * len(captions)).images[-1]
        torch.testing.assert_close(loaded(*inputs_of(checkpoint, captions).values())[0], expected, atol=1e-5, rtol=0)
    assert json.loads(files["attngan.json"])["reads"] == ("captions" if reader else "nothing")


def test_embeddings_are_read_where_the_generator_reads_those(tmp_path: Path) -> None:
    checkpoint = written(tmp_path / "generator.safetensors", attngan_of_sentences(), None)
    assert main(["export", str(checkpoint), str(tmp_path / "generator.pt2")]) == 0
    loaded = torch.export.load(tmp_path / "generator.pt2").module()
    sentences = torch.randn(3, EMBED)
    expected = Sampler.load(checkpoint, "cpu").draw(sentences, [0, 0, 0]).images[-1]
    torch.testing.assert_close(loaded(sentences, inputs_of(checkpoint, ("",) * 3)["noise"])[0], expected)


def attngan_of_sentences() -> Generator:
    return StackGANPlusPlusGenerator(2, 4, EMBED, noise_dim=4, condition_dim=3, residual_blocks=1, base_size=8)


def test_a_name_that_does_not_fit_the_format_and_a_missing_package_are_told(
    vocabulary: Vocabulary, tmp_path: Path, capsys, monkeypatch
) -> None:
    reader = CaptionReader(TextEncoder(len(vocabulary), EMBED, 5), vocabulary)
    checkpoint = str(written(tmp_path / "generator.safetensors", attngan(), reader))
    assert main(["export", checkpoint, str(tmp_path / "g.bin")]) == 1
    assert "ends in .safetensors, .onnx, .pt2" in capsys.readouterr().err
    assert main(["export", checkpoint, str(tmp_path / "g.pt2"), "--format", "onnx"]) == 1
    assert "ends in .onnx" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert main(["export", checkpoint, str(tmp_path / "g.onnx")]) == 1
    assert "pip install 'attngan[onnx]'" in capsys.readouterr().err
    assert not (tmp_path / "g.onnx").exists()
