"""Checkpoints of the published AttnGAN code (Xu et al. 2018) as networks of this package.

A published file is a state dict: ``netG_epoch_600.pth``, ``netD0.pth``, ``text_encoder200.pth``,
``image_encoder200.pth``. Its sizes are read off its shapes, so no configuration is needed beside it. The published
discriminators end in a sigmoid; ours give the logits before it.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from attngan.networks.attention import PaddingMask
from attngan.networks.discriminators import StageDiscriminator
from attngan.networks.image_encoder import ImageEncoder
from attngan.networks.image_trunks import ImageTrunk, InceptionTrunk
from attngan.networks.multistage import AttnGANGenerator
from attngan.networks.text_encoder import TextEncoder

#: What our names begin with (a pattern), and what the published ones begin with there. Where more than one pattern
#: fits, a file has one of the names.
KeyMap = tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]

GENERATOR_KEYS: KeyMap = (
    (r"conditioning\.linear\.", "ca_net.fc."),
    (r"stem\.linear\.", "h_net1.fc.0."),
    (r"stem\.norm\.", "h_net1.fc.1."),
    (r"stem\.upsample\.(\d+)\.", lambda m: f"h_net1.upsample{int(m[1]) + 1}."),
    (r"stages\.(\d+)\.fusion\.project\.", lambda m: f"h_net{int(m[1]) + 2}.att.conv_context."),
    (r"stages\.(\d+)\.(?=residual|upsample)", lambda m: f"h_net{int(m[1]) + 2}."),
    (r"heads\.(\d+)\.0\.", lambda m: f"img_net{int(m[1]) + 1}.img.0."),
    (r"heads\.0\.0\.", "img_net.img.0."),  # AttnDCGAN: the last stage draws, no other
)

DISCRIMINATOR_KEYS: KeyMap = (
    (r"encoder\.0\.0\.", "img_code_s16.0."),
    (r"encoder\.([123])\.([01])\.", lambda m: f"img_code_s16.{3 * int(m[1]) - 1 + int(m[2])}."),
    (r"encoder\.4\.", "img_code_s32."),
    (r"encoder\.5\.", "img_code_s32_1."),  # the last block of the 128 px network
    (r"encoder\.5\.", "img_code_s64."),  # 256 px
    (r"encoder\.6\.", "img_code_s64_1."),
    (r"encoder\.7\.", "img_code_s64_2."),
    (r"joint\.", "COND_DNET.jointConv."),
    (r"conditional_head\.", "COND_DNET.outlogits.0."),
    (r"unconditional_head\.", "UNCOND_DNET.outlogits.0."),
)

TEXT_ENCODER_KEYS: KeyMap = (
    (r"embedding\.", "encoder."),
    (r"rnn\.", "rnn."),
)

IMAGE_ENCODER_KEYS: KeyMap = (
    (r"region_projection\.", "emb_features."),
    (r"pooled_projection\.", "emb_cnn_code."),
    (r"trunk\.network\.", ""),  # torchvision's names
)


def published_names(ours: str, key_map: KeyMap) -> list[str]:
    """The published name of one of our parameters; more than one where published networks differ."""
    return [re.sub(pattern, theirs, ours, count=1) for pattern, theirs in key_map if re.match(pattern, ours)]


def generator_sizes(published: Mapping[str, Tensor]) -> dict[str, Any]:
    """The arguments of `AttnGANGenerator` that a published generator (G_NET or G_DCGAN) was made with."""
    published = _plain(published)
    quadruple, embed_dim = _shape(published, "ca_net.fc.weight", 2)
    stages = max((int(name[5]) for name in published if re.match(r"h_net[1-9]\.", name)), default=1)
    head = next((name for name in published if re.fullmatch(r"img_net[1-9]?\.img\.0\.weight", name)), None)
    if head is None:
        raise ValueError("the published network lacks img_net1.img.0.weight or, for AttnDCGAN, img_net.img.0.weight")
    upsamplings = {name.split(".")[1] for name in published if name.startswith("h_net1.upsample")}
    residuals = {name.split(".")[2] for name in published if name.startswith("h_net2.residual.")}
    return {
        "stages": stages,
        "width": _shape(published, head, 4)[1],
        "embed_dim": embed_dim,
        "noise_dim": _shape(published, "h_net1.fc.0.weight", 2)[1] - quadruple // 4,
        "condition_dim": quadruple // 4,
        "residual_blocks": len(residuals),
        "base_size": 4 * 2 ** len(upsamplings),
        "images": "last" if head.startswith("img_net.") else "every stage",
    }


def discriminator_sizes(published: Mapping[str, Tensor]) -> dict[str, Any]:
    """The arguments of `StageDiscriminator` that a published D_NET64, D_NET128 or D_NET256 was made with."""
    published = _plain(published)
    blocks = {name.split(".")[0] for name in published}
    channels, joined = _shape(published, "COND_DNET.jointConv.0.weight", 4)[:2]
    return {
        "resolution": 256 if "img_code_s64" in blocks else 128 if "img_code_s32" in blocks else 64,
        "width": _shape(published, "img_code_s16.0.weight", 4)[0],
        "embed_dim": joined - channels,
        "unconditional": "UNCOND_DNET" in blocks,
    }


def text_encoder_sizes(published: Mapping[str, Tensor]) -> dict[str, Any]:
    """The arguments of `TextEncoder` that a published RNN_ENCODER was made with."""
    published = _plain(published)
    vocabulary_size, word_dim = _shape(published, "encoder.weight", 2)
    gates, half = _shape(published, "rnn.weight_hh_l0", 2)
    rnn = {4: "lstm", 3: "gru"}.get(gates // half)
    if rnn is None or gates % half:
        raise ValueError(f"rnn.weight_hh_l0 is {gates} x {half}: neither an LSTM (4 gates) nor a GRU (3 gates)")
    return {"vocabulary_size": vocabulary_size, "embed_dim": 2 * half, "word_dim": word_dim, "rnn": rnn}


def image_encoder_sizes(published: Mapping[str, Tensor]) -> dict[str, Any]:
    """The arguments of `ImageEncoder`, but for the trunk, that a published CNN_ENCODER was made with."""
    return {"embed_dim": _shape(_plain(published), "emb_features.weight", 4)[0]}


def generator_state(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State dict of the `AttnGANGenerator` of `generator_sizes`, from that of a published G_NET or G_DCGAN.

    Raises:
        ValueError: A key is unknown or missing, or has a shape that does not go with the others.
    """
    return _translated(published, _on_meta(AttnGANGenerator, **generator_sizes(published)), GENERATOR_KEYS)


def discriminator_state(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State dict of the `StageDiscriminator` of `discriminator_sizes`, from that of a published D_NET64, 128 or 256.

    Raises:
        ValueError: A key is unknown or missing, or has a shape that does not go with the others.
    """
    return _translated(published, _on_meta(StageDiscriminator, **discriminator_sizes(published)), DISCRIMINATOR_KEYS)


def text_encoder_state(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State dict of the `TextEncoder` of `text_encoder_sizes`, from that of a published RNN_ENCODER.

    Raises:
        ValueError: A key is unknown or missing, or has a shape that does not go with the others.
    """
    return _translated(published, _on_meta(TextEncoder, **text_encoder_sizes(published)), TEXT_ENCODER_KEYS)


def image_encoder_state(published: Mapping[str, Tensor], trunk: ImageTrunk | None = None) -> dict[str, Tensor]:
    """State dict of an `ImageEncoder`, from that of a published CNN_ENCODER.

    Args:
        published: The published state dict.
        trunk: The trunk that the encoder has, with its weights under the names of ``trunk.network`` in ``published``;
            None for Inception-v3, which is what published files hold.

    Raises:
        ValueError: A key is unknown or missing, or has a shape that does not go with the others.
    """
    return _translated(published, _image_encoder(published, trunk), IMAGE_ENCODER_KEYS)


def load_published_generator(path: Path | str, padding_mask: PaddingMask = "own") -> AttnGANGenerator:
    """The generator of a published ``netG_epoch_*.pth``, AttnGAN's or AttnDCGAN's, in eval mode.

    Args:
        path: The file.
        padding_mask: "published" for the pictures that the published code draws, which depend on the rest of the
            batch; "own" for the same weights with each caption's own padding.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no published generator; the message says what is wrong with which key.
    """
    published = read_published(path)
    with _naming(path):
        generator = _on_meta(AttnGANGenerator, **generator_sizes(published), padding_mask=padding_mask)
        return _filled(generator, generator_state(published))


def load_published_discriminator(path: Path | str) -> StageDiscriminator:
    """The discriminator of a published ``netD*.pth``, in eval mode; raises as `load_published_generator` does."""
    published = read_published(path)
    with _naming(path):
        discriminator = _on_meta(StageDiscriminator, **discriminator_sizes(published))
        return _filled(discriminator, discriminator_state(published))


def load_published_text_encoder(path: Path | str) -> TextEncoder:
    """The encoder of a published ``text_encoder*.pth``, in eval mode; raises as `load_published_generator` does."""
    published = read_published(path)
    with _naming(path):
        return _filled(_on_meta(TextEncoder, **text_encoder_sizes(published)), text_encoder_state(published))


def load_published_image_encoder(path: Path | str) -> ImageEncoder:
    """The encoder of a published ``image_encoder*.pth``, Inception-v3 included, in eval mode.

    Raises as `load_published_generator` does.
    """
    published = read_published(path)
    with _naming(path):
        return _filled(_image_encoder(published), image_encoder_state(published))


def read_published(path: Path | str) -> dict[str, Tensor]:
    """The state dict in a published file, read as weights only: no code of the file runs.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file holds something else.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no published checkpoint at {Path(path).resolve()}")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(f"{path} cannot be read as a file of weights: {error}") from error
    if not (isinstance(found, Mapping) and found and all(isinstance(v, Tensor) for v in found.values())):
        raise ValueError(f"{path} holds no state dict: expected tensors by name, as the published code saves them")
    return _plain(found)


@contextmanager
def _naming(path: Path | str) -> Iterator[None]:
    """Puts the file's name before the message of a ValueError."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _plain(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix("module."): tensor for name, tensor in published.items()}


def _some(names: Iterable[str], most: int = 5) -> str:
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _shape(published: Mapping[str, Tensor], name: str, dimensions: int) -> tuple[int, ...]:
    if name not in published:
        raise ValueError(f"the published network lacks {name}")
    shape = tuple(published[name].shape)
    if len(shape) != dimensions:
        raise ValueError(f"{name} has the shape {shape}: expected {dimensions} dimensions")
    return shape


def _on_meta(network: Callable[..., Any], **arguments: Any) -> Any:
    """A network without memory: its keys and shapes, and a place for tensors; starting weights take long to make."""
    with torch.device("meta"):
        return network(**arguments)


def _image_encoder(published: Mapping[str, Tensor], trunk: ImageTrunk | None = None) -> ImageEncoder:
    with torch.device("meta"):
        return ImageEncoder(InceptionTrunk(None) if trunk is None else trunk, **image_encoder_sizes(published))


def _translated(published: Mapping[str, Tensor], network: nn.Module, key_map: KeyMap) -> dict[str, Tensor]:
    """The published tensors under the names of ``network``, each of which must have one, of its shape."""
    published = _plain(published)
    state, missing = {}, []
    for name, expected in network.state_dict().items():
        candidates = published_names(name, key_map)
        theirs = next((c for c in candidates if c in published), None)
        if theirs is not None:
            tensor = published.pop(theirs)
            if theirs.endswith("att.conv_context.weight"):  # a 1 x 1 convolution, here a linear layer
                tensor = tensor.flatten(1)
            if tensor.shape != expected.shape:
                raise ValueError(
                    f"{theirs} has the shape {tuple(tensor.shape)}: by the others it should be {tuple(expected.shape)}"
                )
            state[name] = tensor
        elif name.endswith("num_batches_tracked"):  # not in files of PyTorch 0.3, in which AttnGAN was published
            state[name] = torch.zeros((), dtype=torch.long)
        else:
            missing.append(" or ".join(candidates))
    if missing:
        raise ValueError(f"the published network lacks {_some(missing)}")
    if published:
        raise ValueError(f"not a name of the published network: {_some(published)}")
    return state


def _filled(network: Any, state: dict[str, Tensor]) -> Any:
    network.load_state_dict(state, assign=True)
    return network.eval()
