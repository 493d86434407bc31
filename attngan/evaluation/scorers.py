"""The networks of an evaluation: the feature extractor, and those that compare images with captions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from attngan.checkpoint import Checkpoint, file_sha256
from attngan.errors import InputError, MissingFileError, MissingPackageError
from attngan.evaluation.feature_pass import OutputFunction
from attngan.extractors.extractor import FeatureExtractor
from attngan.extractors.named import state_sha256
from attngan.pixels import from_uint8
from attngan.sampling import Sampler
from attngan.toy_birds.colour_probe import ColourProbe


def extractor_outputs(extractor: FeatureExtractor) -> OutputFunction:
    """Outputs ``features``, and ``logits`` where the extractor classifies."""

    def outputs(images: Tensor) -> dict[str, Tensor]:
        found = extractor(images)
        return {"features": found.features} | ({} if found.logits is None else {"logits": found.logits})

    return outputs


@runtime_checkable
class ImageScorer(Protocol):
    """A network whose output is compared with captions; ``row`` names the output, ``name`` goes into scores."""

    name: str
    row: str
    weights_sha256: str

    def outputs(self, images: UInt8[Tensor, "batch 3 height width"]) -> dict[str, Tensor]: ...

    def description(self) -> dict[str, Any]: ...


@runtime_checkable
class CaptionScorer(ImageScorer, Protocol):
    """Places images and captions in one embedding."""

    def encode(self, captions: Sequence[str], batch_size: int = 256) -> tuple[list[int], Tensor]: ...


class DamsmScorer:
    """A DAMSM that tells which caption belongs to an image.

    Args:
        checkpoint: Checkpoint of the DAMSM, or that of a generator that was trained with it.
        device: Where it runs.
        word_limit: Words of a caption that it reads, those that the generator reads; None: as its checkpoint says.
    """

    row = "damsm"

    def __init__(
        self, checkpoint: Checkpoint, device: torch.device | str = "cpu", word_limit: int | None = None
    ) -> None:
        self.damsm = checkpoint.damsm().to(device)
        self.path = checkpoint.path
        self.word_limit = word_limit or checkpoint.word_limit
        self.sha256 = checkpoint.sha256
        # Of the weights alone: the same for a DAMSM and for the checkpoint of a generator trained with it.
        self.weights_sha256 = state_sha256(self.damsm.state_dict())
        self.name = f"damsm-{self.weights_sha256[:8]}"

    def trained(self, sampler: Sampler) -> bool:
        """Whether the sampler's generator learnt to please this scorer: it reads captions with the same weights."""
        if sampler.text_encoder is None:
            return False
        own = state_sha256(self.damsm.text_encoder.state_dict())
        return own == state_sha256(sampler.text_encoder.state_dict())

    def outputs(self, images: UInt8[Tensor, "batch 3 height width"]) -> dict[str, Tensor]:
        """Output ``damsm``: the images' places in the joint embedding."""
        with torch.inference_mode():
            return {self.row: self.damsm.image_encoder(from_uint8(images)).pooled}

    def encode(self, captions: Sequence[str], batch_size: int = 256) -> tuple[list[int], Float[Tensor, "known embed"]]:
        """Positions of the captions of which it knows a word, and their places in the embedding."""
        known = [i for i, text in enumerate(captions) if self.damsm.vocabulary.knows_any(text)]
        with torch.inference_mode():
            parts = [
                self.damsm.encode_captions([captions[i] for i in batch], self.word_limit).sentence.cpu()
                for batch in (known[start : start + batch_size] for start in range(0, len(known), batch_size))
            ]
        if not parts:
            raise InputError(f"the vocabulary of {self.path} knows no word of any caption of the data set")
        return known, torch.cat(parts)

    def description(self) -> dict[str, Any]:
        return {
            "path": str(self.path),
            "sha256": self.sha256,
            "weights_sha256": self.weights_sha256,
            "word_limit": self.word_limit,
        }


class ClipScorer:
    """A CLIP model of open_clip, from a local file; it has seen none of our generators.

    Args:
        model: Name of the architecture, e.g. ViT-B-32 or ViT-B-32-quickgelu.
        weights: File of its weights.
        device: Where it runs.

    Raises:
        MissingPackageError: open_clip is not installed.
        MissingFileError: No file of weights.
    """

    row = "clip"

    def __init__(self, model: str, weights: Path, device: torch.device | str = "cpu") -> None:
        try:
            import open_clip
        except ModuleNotFoundError as error:
            raise MissingPackageError("CLIP scores need an extra: pip install 'attngan[clip]'") from error
        if not Path(weights).is_file():
            raise MissingFileError(f"no CLIP weights at {Path(weights).resolve()}: give a file with --clip_weights")
        self.network = open_clip.create_model(model, pretrained=str(weights)).to(device).eval().requires_grad_(False)
        self.tokenize = open_clip.get_tokenizer(model)
        visual = self.network.visual
        size = visual.image_size
        self.size = int(size if isinstance(size, int) else size[0])
        self.mean = torch.tensor(visual.image_mean or open_clip.OPENAI_DATASET_MEAN, device=device)[:, None, None]
        self.std = torch.tensor(visual.image_std or open_clip.OPENAI_DATASET_STD, device=device)[:, None, None]
        self.model, self.path, self.device = model, Path(weights), device
        self.weights_sha256 = file_sha256(weights)
        self.name = f"clip-{model.lower()}-{self.weights_sha256[:8]}"

    def outputs(self, images: UInt8[Tensor, "batch 3 height width"]) -> dict[str, Tensor]:
        """Output ``clip``, of images brought to the model's size bicubically with antialiasing, as CLIP was trained."""
        with torch.inference_mode():
            size = (self.size, self.size)
            x = torch.nn.functional.interpolate(images.float(), size, mode="bicubic", antialias=True)
            return {self.row: self.network.encode_image((x.clamp(0, 255) / 255 - self.mean) / self.std)}

    def encode(self, captions: Sequence[str], batch_size: int = 256) -> tuple[list[int], Float[Tensor, "known embed"]]:
        """All captions' places in the embedding."""
        with torch.inference_mode():
            parts = [
                self.network.encode_text(self.tokenize(list(captions[i : i + batch_size])).to(self.device))
                .float()
                .cpu()
                for i in range(0, len(captions), batch_size)
            ]
        return list(range(len(captions))), torch.cat(parts)

    def description(self) -> dict[str, Any]:
        return {"model": self.model, "path": str(self.path), "sha256": self.weights_sha256, "size": self.size}


class ColourScorer:
    """A colour probe: tells the colours of a generated bird's parts.

    Args:
        path: File of the colour probe.
        device: Where it runs.
    """

    row = "colours"

    def __init__(self, path: Path, device: torch.device | str = "cpu") -> None:
        self.probe = ColourProbe.load(path).to(device)
        self.path = path
        self.weights_sha256 = file_sha256(path)
        self.name = f"{self.probe.name}-{self.weights_sha256[:8]}"

    def outputs(self, images: UInt8[Tensor, "batch 3 height width"]) -> dict[str, Tensor]:
        """Output ``colours``: the number of the most likely colour of each part."""
        with torch.inference_mode():
            return {self.row: self.probe(from_uint8(images)).colours.argmax(-1)}

    def description(self) -> dict[str, Any]:
        return {"name": self.name, "path": str(self.path), "sha256": self.weights_sha256}
