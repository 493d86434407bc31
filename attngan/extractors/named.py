"""The feature extractors by name: uint8 images to the features and class logits that scores are computed from.

Each fixes everything that decides a score (network, weights, resize filter, range, precision) and knows its own name
and the SHA-256 of its weights; both go beside every number. Heavy packages are imported when their extractor is asked
for.
"""

import hashlib
import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from attngan.checkpoint import file_sha256
from attngan.errors import InputError, MissingFileError, MissingPackageError
from attngan.extractors.classifier import load_classifier
from attngan.extractors.extractor import FeatureExtractor, Precision, Resize
from attngan.networks.image_trunks import ImageTrunk, efficientnet_weights
from attngan.toy_birds.colour_probe import ColourProbe, is_colour_probe
from attngan.weight_files import load_weights, read_weights

EXTRACTORS = (
    "inception-tf",
    "inception-torchvision",
    "inception-pytorch-fid-2018",
    "efficientnet-lite0",
    "efficientnet-lite2",
)


def load_extractor(
    spec: str,
    weights: Path | str | None = None,
    resize: Resize | None = None,
    precision: Precision = "float32",
    device: torch.device | str = "cpu",
) -> FeatureExtractor:
    """Makes the extractor that ``spec`` names.

    Args:
        spec: One of ``EXTRACTORS``; the path of a classifier (``.safetensors``, from ``attngan finetune-classifier``,
            or a colour probe); or ``module:callable``, a function without arguments that returns an extractor.
        weights: File with the weights; by default the library's own place, downloaded there if it is absent.
        resize: Filter, where another than the extractor's own is wanted.
        precision: "float32", or "bf16": several times faster where the processor supports it; it goes into the name.
        device: Where it runs.

    Raises:
        MissingFileError: No weights; names the file and where it was looked for.
        ModuleNotFoundError: The extractor's package is not installed; names the extra.
        InputError: Unknown name, or weights of another network.
    """
    if spec in EXTRACTORS:
        extractor = _named_extractor(spec, None if weights is None else Path(weights), resize, precision)
    elif spec.endswith(".safetensors"):
        extractor = _classifier_extractor(Path(spec), resize, precision)
    elif ":" in spec:
        if resize is not None or weights is not None:
            raise InputError(f"{spec} brings its own resize filter and weights: leave them out")
        extractor = _called_extractor(spec)
    else:
        raise InputError(
            f"unknown feature extractor {spec!r}: choose one of {', '.join(EXTRACTORS)}, a .safetensors classifier, or "
            "module:callable"
        )
    if resize is not None and resize != default_resize(spec):
        extractor.name += f"-{resize}"
    return extractor.to(device)


def default_resize(spec: str) -> Resize:
    """The filter that belongs to an extractor; another one goes into the scores' names."""
    own: dict[str, Resize] = {"inception-tf": "tensorflow", "inception-pytorch-fid-2018": "pil"}
    return own.get(spec, "antialias")


def state_sha256(state: dict[str, Tensor]) -> str:
    """SHA-256 of a state dict's names and values, for networks that come from no file."""
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
        array = value.detach().cpu().contiguous()
        digest.update(f"{name} {array.dtype} {tuple(array.shape)}".encode())
        digest.update(array.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


# --- the networks -----------------------------------------------------------------------------------------------------

_INCEPTION_LAYERS = (
    *("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "pool", "Conv2d_3b_1x1", "Conv2d_4a_3x3", "pool"),
    *("Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"),
    *("Mixed_7a", "Mixed_7b", "Mixed_7c"),
)
_MINUS_ONE_TO_ONE = ((1 / 127.5,) * 3, (-1.0,) * 3)
# pytorch-fid before mid-2019 applied the change from ImageNet's normalisation to [-1, 1] to images in [0, 1].
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_PYTORCH_FID_2018 = (
    tuple(std / 0.5 / 255 for std in _IMAGENET_STD),
    tuple((mean - 0.5) / 0.5 for mean in _IMAGENET_MEAN),
)


class _InceptionBody(nn.Module):
    """The layers of an Inception-v3 up to its pooled vector, in either library's naming (they agree)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.MaxPool2d(3, 2) if name == "pool" else getattr(network, name) for name in _INCEPTION_LAYERS
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x.mean((2, 3))


class _EfficientNetBody(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        maps: Tensor = self.network.extract_features(x)  # type: ignore[operator]
        return maps.mean((2, 3))


def _named_extractor(spec: str, weights: Path | None, resize: Resize | None, precision: Precision) -> FeatureExtractor:
    resize = resize or default_resize(spec)
    if spec == "inception-tf":
        return _inception_tf(weights, resize, precision)
    if spec == "inception-torchvision":
        return _inception_torchvision(spec, weights, resize, _MINUS_ONE_TO_ONE, precision)
    if spec == "inception-pytorch-fid-2018":
        return _inception_torchvision(spec, weights, resize, _PYTORCH_FID_2018, precision)
    return _efficientnet_lite(spec.removeprefix("efficientnet-"), weights, resize, precision)


def _inception_tf(weights: Path | None, resize: Resize, precision: Precision) -> FeatureExtractor:
    """The TensorFlow Inception of December 2015 in torch-fidelity's port; logits without bias, as published."""
    try:
        from torch_fidelity import feature_extractor_inceptionv3 as fidelity
    except ModuleNotFoundError as error:
        raise _missing_extra("the TensorFlow Inception (inception-tf)", "fidelity") from error
    path = _weights_file("inception-tf", weights, fidelity.URL_INCEPTION_V3)
    read_weights(
        path, "weights of inception-tf"
    )  # torch-fidelity unpickles without restriction: let it see only safe files
    network = fidelity.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], str(path))
    head = nn.Linear(2048, network.fc.out_features, bias=False)
    head.weight.data.copy_(network.fc.weight)
    scale = ((1 / 128,) * 3, (-1.0,) * 3)
    return FeatureExtractor(
        "inception-tf", file_sha256(path), _InceptionBody(network), head, 299, resize, scale, precision
    )


def _inception_torchvision(
    name: str, weights: Path | None, resize: Resize, scale: Any, precision: Precision
) -> FeatureExtractor:
    """Inception-v3 of torchvision; its average pools count the padding, the TensorFlow one's do not."""
    from torchvision.models import Inception_V3_Weights, inception_v3

    path = _weights_file(name, weights, Inception_V3_Weights.IMAGENET1K_V1.url)
    network = inception_v3(weights=None, init_weights=False, transform_input=False)
    load_weights(network, read_weights(path, f"weights of {name}"), str(path))
    names = tuple(Inception_V3_Weights.IMAGENET1K_V1.meta["categories"])
    body = _InceptionBody(network)
    return FeatureExtractor(name, file_sha256(path), body, network.fc, 299, resize, scale, precision, names)


def _efficientnet_lite(variant: str, weights: Path | None, resize: Resize, precision: Precision) -> FeatureExtractor:
    name = f"efficientnet-{variant}"
    try:
        from efficientnet_lite_pytorch import EfficientNet
    except ModuleNotFoundError as error:
        raise _missing_extra(name, "efficientnet") from error
    path = efficientnet_weights(variant) if weights is None else _existing(name, weights)
    network = EfficientNet.from_name(name)
    load_weights(network, read_weights(path, f"weights of {name}"), str(path))
    # Trained on (x - 127) / 128: of the usual ranges the one that gives the stem the stored mean on photographs.
    scale = ((1 / 128,) * 3, (-127 / 128,) * 3)
    size = {"lite0": 224, "lite2": 260}[variant]
    body, head = _EfficientNetBody(network), network._fc
    network._fc = nn.Identity()
    return FeatureExtractor(name, file_sha256(path), body, head, size, resize, scale, precision)


class _TrunkBody(nn.Module):
    def __init__(self, trunk: ImageTrunk) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, x: Tensor) -> Tensor:
        return self.trunk.features(x).pooled


def _classifier_extractor(path: Path, resize: Resize | None, precision: Precision) -> FeatureExtractor:
    """A fine-tuned classifier; a class named "background" is no class of any image and is left out, as published."""
    resize = resize or default_resize(str(path))
    if _existing("classifier", path) and is_colour_probe(path):
        probe = ColourProbe.load(path)
        sha256, names = file_sha256(path), probe.class_names
        return FeatureExtractor(
            probe.name,
            sha256,
            probe.body,
            probe.class_head,
            probe.size,
            resize,
            _MINUS_ONE_TO_ONE,
            precision,
            names,
            "probe",
        )
    classifier = load_classifier(_existing("classifier", path))
    kept = [i for i, name in enumerate(classifier.class_names) if name != "background"]
    head = nn.Linear(classifier.head.in_features, len(kept))
    head.weight.data.copy_(classifier.head.weight[kept])
    head.bias.data.copy_(classifier.head.bias[kept])
    return FeatureExtractor(
        classifier.name,
        file_sha256(path),
        _TrunkBody(classifier.trunk),
        head,
        classifier.trunk.input_size,
        resize,
        _MINUS_ONE_TO_ONE,
        precision,
        tuple(classifier.class_names[i] for i in kept),
        "classifier",
        classifier.facts,
    )


def _called_extractor(spec: str) -> FeatureExtractor:
    module_name, _, function_name = spec.partition(":")
    try:
        function: Callable[[], Any] = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError) as error:
        raise InputError(f"feature extractor {spec!r}: {error}") from error
    extractor = function()
    if not isinstance(extractor, FeatureExtractor):
        raise InputError(f"feature extractor {spec!r} returned {type(extractor).__name__}, not a FeatureExtractor")
    return extractor


# --- weights ----------------------------------------------------------------------------------------------------------


def _weights_file(name: str, weights: Path | None, url: str) -> Path:
    """The named file, or the library's own place for ``url``, downloaded there when absent."""
    if weights is not None:
        return _existing(name, weights)
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), hash_prefix=_hash_in(url))
        except (OSError, RuntimeError) as error:  # RuntimeError: what came has another hash
            raise MissingFileError(
                f"{name} needs its weights {path.name}: they are not at {path}, and downloading them failed ({error}). "
                f"Put the file there, or name another place (--extractor_weights PATH)."
            ) from error
    return path


def _hash_in(url: str) -> str | None:
    """The beginning of the file's SHA-256, which torch's weights bear at the end of their names."""
    found = re.search(r"-([0-9a-f]{8,})\.pth$", url)
    return found[1] if found else None


def _existing(name: str, path: Path) -> Path:
    if not path.is_file():
        raise MissingFileError(f"{name}: no weights file at {path.resolve()}")
    return path


def _missing_extra(what: str, extra: str) -> MissingPackageError:
    return MissingPackageError(f"{what} needs an extra: pip install 'attngan[{extra}]'")
