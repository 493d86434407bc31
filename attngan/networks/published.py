"""Checkpoints of the published code of the family as networks of this package.

A published file is a state dict: ``netG_epoch_600.pth``, ``netD0.pth``, ``text_encoder200.pth``,
``image_encoder200.pth``; or one within entries such as ``{"model": {"netG": ...}}`` (DF-GAN). Which network it is, is
told by its names, and its sizes by its shapes, so no configuration is needed beside it. The published discriminators
end in a sigmoid; ours give the logits before it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from attngan.errors import InputError, MissingFileError
from attngan.networks import published_names as names
from attngan.networks.attention import PaddingMask
from attngan.networks.dfgan import DFGANGenerator, DFGANStage
from attngan.networks.discriminators import DiscriminatorStage, StageDiscriminator
from attngan.networks.generator import Generator
from attngan.networks.image_encoder import ImageEncoder
from attngan.networks.image_trunks import ImageTrunk, InceptionTrunk
from attngan.networks.multistage import AttnGANGenerator, DMGANGenerator, StackGANPlusPlusGenerator
from attngan.networks.published_names import KeyMap, published_names
from attngan.networks.stackgan import StackGANGenerator, StackGANStage2Generator
from attngan.networks.text_encoder import TextEncoder
from attngan.weight_files import in_file, read_weights, some, without_wrappers

#: AttnGAN's maps by the names that they had here before `published_names`: scripts outside of attngan use them.
GENERATOR_KEYS, TEXT_ENCODER_KEYS = names.ATTNGAN_GENERATOR, names.TEXT_ENCODER

Published = Mapping[str, Tensor]
Network = TypeVar("Network", bound=nn.Module)
Sizes = dict[str, Any]


@dataclass(frozen=True)
class PublishedNetwork:
    """A network of the published code, and the one of ours that takes its weights.

    Args:
        title: What it is called.
        mark: A file is of this kind if one of its names begins with this pattern (and of no earlier kind of its table).
        names: What our names are called there.
        read_sizes: The arguments of our network, of the published shapes.
        network: Makes our network of them.
        turned: Published weights (a pattern) that read concatenated features in the other order: the channels of the
            condition (or noise) stand first there, and last here.
        turned_channels: How many those are, of the sizes.
    """

    title: str
    mark: str
    names: KeyMap
    read_sizes: Callable[[Published], Sizes]
    network: Callable[..., nn.Module]
    turned: str | None = None
    turned_channels: Callable[[Sizes], int] = lambda sizes: 0

    def sizes(self, published: Published) -> Sizes:
        """The arguments of our network that takes these weights.

        Raises:
            InputError: A weight is missing, or shapes do not go together.
        """
        sizes = self.read_sizes(without_wrappers(published))
        if any(isinstance(size, int) and size < (name.endswith("_dim")) for name, size in sizes.items()):
            raise InputError(f"the shapes do not go together: by them the sizes are {sizes}")
        return sizes

    def channels_first(self, name: str, sizes: Sizes) -> int:
        """How many input channels of a published weight come first there and last here; 0 for most."""
        return self.turned_channels(sizes) if self.turned and re.fullmatch(self.turned, name) else 0


# --- sizes of generators ----------------------------------------------------------------------------------------------


def _first_stage_sizes(published: Published, stem: str, gates: int, within: str = "") -> Sizes:
    """Of conditioning augmentation and stem; without the former, a generator that reads no text."""
    read = _shape(published, f"{within}{stem}fc.0.weight", 2)[1]
    base = {"base_size": 4 * 2 ** _count(published, re.escape(within + stem) + r"upsample(\d+)\.")}
    if not any(name.startswith(f"{within}ca_net.") for name in published):
        return {"embed_dim": None, "noise_dim": read, **base}
    activations, embed_dim = _shape(published, f"{within}ca_net.fc.weight", 2)
    condition_dim = activations // (2 * gates)
    return {"embed_dim": embed_dim, "noise_dim": read - condition_dim, "condition_dim": condition_dim, **base}


def _multistage_sizes(published: Published, head: str = "img_net1.img.0.weight") -> Sizes:
    stages = max((int(m[1]) for name in published if (m := re.match(r"h_net(\d+)\.", name))), default=1)
    return {
        "stages": stages,
        "width": _shape(published, head, 4)[1],
        "residual_blocks": _count(published, r"h_net2\.residual\.(\d+)\."),
        **_first_stage_sizes(published, "h_net1.", gates=2),
    }


def _attngan_sizes(published: Published) -> Sizes:
    _shape(published, "ca_net.fc.weight", 2)
    head = next((name for name in published if re.fullmatch(r"img_net[1-9]?\.img\.0\.weight", name)), None)
    if head is None:
        raise InputError("the published network lacks img_net1.img.0.weight or, for AttnDCGAN, img_net.img.0.weight")
    images = "last" if head.startswith("img_net.") else "every stage"
    return {**_multistage_sizes(published, head), "images": images}


def _dmgan_sizes(published: Published) -> Sizes:
    _shape(published, "ca_net.fc.weight", 2)
    return _multistage_sizes(published)


def _stackgan_stage1_sizes(published: Published, within: str = "") -> Sizes:
    _shape(published, f"{within}ca_net.fc.weight", 2)
    sizes = _first_stage_sizes(published, "", gates=1, within=within)
    return {"width": _shape(published, f"{within}img.0.weight", 4)[1] * sizes["base_size"] // 32, **sizes}


def _stackgan_stage2_sizes(published: Published) -> Sizes:
    activations, embed_dim = _shape(published, "ca_net.fc.weight", 2)
    return {
        "stage1": _stackgan_stage1_sizes(published, "STAGE1_G."),
        "width": _shape(published, "encoder.0.weight", 4)[0],
        "embed_dim": embed_dim,
        "condition_dim": activations // 2,
        "residual_blocks": _count(published, r"residual\.(\d+)\."),
    }


def _dfgan_sizes(published: Published) -> Sizes:
    noise_dim = _shape(published, "fc.weight", 2)[1]
    condition = _shape(published, "GBlocks.0.fuse1.affine0.fc_gamma.linear1.weight", 2)[1]
    return {
        "image_size": 4 * 2 ** _count(published, r"GBlocks\.(\d+)\."),
        "width": _shape(published, "to_rgb.1.weight", 4)[1],
        "embed_dim": condition - noise_dim,
        "noise_dim": noise_dim,
    }


def _stage2(stage1: Sizes, **sizes: Any) -> StackGANStage2Generator:
    return StackGANStage2Generator(StackGANGenerator(**stage1), **sizes)


#: Told apart by the first mark that fits.
GENERATORS: Sequence[PublishedNetwork] = (
    PublishedNetwork("DF-GAN", r"GBlocks\.", names.DFGAN_GENERATOR, _dfgan_sizes, DFGANGenerator),
    PublishedNetwork(
        "StackGAN stage II",
        r"STAGE1_G\.",
        names.STACKGAN_STAGE2_GENERATOR,
        _stackgan_stage2_sizes,
        _stage2,
        r"STAGE1_G\.fc\.0\.weight",
        lambda sizes: sizes["stage1"]["noise_dim"],
    ),
    PublishedNetwork(
        "DM-GAN",
        r"h_net\d+\.(A|B|M_w|M_r|key|value|response_gate)\.",
        names.DMGAN_GENERATOR,
        _dmgan_sizes,
        DMGANGenerator,
    ),
    PublishedNetwork(
        "StackGAN++",
        r"h_net\d+\.jointConv\.",
        names.STACKGAN_PLUSPLUS_GENERATOR,
        _multistage_sizes,
        StackGANPlusPlusGenerator,
        r"h_net\d+\.jointConv\.0\.weight",
        lambda sizes: sizes["condition_dim"] if "condition_dim" in sizes else sizes["noise_dim"],
    ),
    PublishedNetwork("AttnDCGAN", r"img_net\.img\.", names.ATTNGAN_GENERATOR, _attngan_sizes, AttnGANGenerator),
    PublishedNetwork("AttnGAN", r"h_net\d+\.", names.ATTNGAN_GENERATOR, _attngan_sizes, AttnGANGenerator),
    PublishedNetwork(
        "StackGAN stage I",
        r"upsample\d+\.",
        names.STACKGAN_STAGE1_GENERATOR,
        _stackgan_stage1_sizes,
        StackGANGenerator,
        r"fc\.0\.weight",
        lambda sizes: sizes["noise_dim"],
    ),
)

# --- sizes of discriminators ------------------------------------------------------------------------------------------


def _discriminator_sizes(published: Published, first: str, joint: str | None, unconditional: str) -> Sizes:
    joined = None if joint is None else _shape(published, joint, 4)
    networks = {name.partition(".")[0] for name in published}
    return {
        "resolution": 256 if "img_code_s64" in networks else 128 if "img_code_s32" in networks else 64,
        "width": _shape(published, first, 4)[0],
        "embed_dim": None if joined is None else joined[1] - joined[0],
        "unconditional": any(name.startswith(unconditional) for name in published),
    }


def _attngan_discriminator_sizes(published: Published) -> Sizes:
    return _discriminator_sizes(published, "img_code_s16.0.weight", "COND_DNET.jointConv.0.weight", "UNCOND_DNET.")


def _dmgan_discriminator_sizes(published: Published) -> Sizes:
    first, joint = "img_code_s16.0.module.weight_bar", "COND_DNET.jointConv.0.module.weight_bar"
    return {**_discriminator_sizes(published, first, joint, "UNCOND_DNET."), "norm": "spectral"}


def _plusplus_discriminator_sizes(published: Published) -> Sizes:
    reads_text = any(name.startswith(("jointConv.", "uncond_logits.")) for name in published)
    joint = "jointConv.0.weight" if reads_text else None
    sizes = _discriminator_sizes(published, "img_code_s16.0.weight", joint, "uncond_logits.")
    return {**sizes, "unconditional": sizes["unconditional"] or not reads_text}


def _stackgan_discriminator_sizes(published: Published) -> Sizes:
    joint = "get_cond_logits.outlogits.0.weight"
    sizes = _discriminator_sizes(published, "encode_img.0.weight", joint, "get_uncond_logits.")
    # beyond the four blocks of 64 px, each doubling of the side takes a block that halves it and one at 4 x 4
    last = max((int(m[1]) for name in published if (m := re.match(r"encode_img\.(\d+)\.", name))), default=0)
    return {**sizes, "resolution": 64 * 2 ** (((last + 1) // 3 - 3) // 2), "init": "normal"}


def _dfgan_discriminator_sizes(published: Published) -> Sizes:
    blocks, width = _count(published, r"D\.DBlocks\.(\d+)\."), _shape(published, "D.conv_img.weight", 4)[0]
    joined = _shape(published, "C.joint_conv.0.weight", 4)[1]
    return {"resolution": 4 * 2**blocks, "width": width, "embed_dim": joined - width * min(2**blocks, 8)}


#: Told apart by the first mark that fits.
DISCRIMINATORS: Sequence[PublishedNetwork] = (
    PublishedNetwork("DF-GAN", r"[DC]\.", names.DFGAN_DISCRIMINATOR, _dfgan_discriminator_sizes, DFGANStage),
    PublishedNetwork(
        "DM-GAN", r".*\.weight_bar", names.DMGAN_DISCRIMINATOR, _dmgan_discriminator_sizes, StageDiscriminator
    ),
    PublishedNetwork(
        "StackGAN", r"encode_img\.", names.STACKGAN_DISCRIMINATOR, _stackgan_discriminator_sizes, StageDiscriminator
    ),
    PublishedNetwork(
        "StackGAN++",
        r"(jointConv|logits|uncond_logits)\.",
        names.STACKGAN_PLUSPLUS_DISCRIMINATOR,
        _plusplus_discriminator_sizes,
        StageDiscriminator,
        r"jointConv\.0\.weight",
        lambda sizes: sizes["embed_dim"],
    ),
    PublishedNetwork(
        "AttnGAN",
        r"(img_code_s\d+|COND_DNET|UNCOND_DNET)\b",
        names.ATTNGAN_DISCRIMINATOR,
        _attngan_discriminator_sizes,
        StageDiscriminator,
    ),
)


def generator_kind(published: Published) -> PublishedNetwork:
    """Which published generator a state dict is of.

    Raises:
        InputError: None that is known; says what it is instead, if it is one of the other networks.
    """
    return _kind(published, GENERATORS, "generator")


def discriminator_kind(published: Published) -> PublishedNetwork:
    """Which published discriminator a state dict is of; DF-GAN's two networks with ``D.`` and ``C.`` before the names.

    Raises:
        InputError: None that is known; says what it is instead, if it is one of the other networks.
    """
    return _kind(published, DISCRIMINATORS, "discriminator")


def _kind(published: Published, wanted: Sequence[PublishedNetwork], what: str) -> PublishedNetwork:
    published = without_wrappers(published)
    if (kind := _among(wanted, published)) is not None:
        return kind
    known = ", ".join(dict.fromkeys(kind.title for kind in wanted))
    other = published_network(published)
    is_one = f"its names are {some(published, 3)}" if other is None else f"it is {other.title}"
    raise InputError(f"this is no published {what} that is known ({known}): {is_one}")


def generator_sizes(published: Published) -> Sizes:
    """The arguments of our generator that a published one was made with."""
    return generator_kind(published).sizes(published)


def discriminator_sizes(published: Published) -> Sizes:
    """The arguments of our discriminator's stage that a published one was made with."""
    return discriminator_kind(published).sizes(published)


def text_encoder_sizes(published: Published) -> dict[str, Any]:
    """The arguments of `TextEncoder` that a published RNN_ENCODER was made with."""
    published = without_wrappers(published)
    vocabulary_size, word_dim = _shape(published, "encoder.weight", 2)
    gates, half = _shape(published, "rnn.weight_hh_l0", 2)
    rnn = {4: "lstm", 3: "gru"}.get(gates // half)
    if rnn is None or gates % half:
        raise InputError(f"rnn.weight_hh_l0 is {gates} x {half}: neither an LSTM (4 gates) nor a GRU (3 gates)")
    return {"vocabulary_size": vocabulary_size, "embed_dim": 2 * half, "word_dim": word_dim, "rnn": rnn}


def image_encoder_sizes(published: Published) -> dict[str, Any]:
    """The arguments of `ImageEncoder`, but for the trunk, that a published CNN_ENCODER was made with."""
    return {"embed_dim": _shape(without_wrappers(published), "emb_features.weight", 4)[0]}


def generator_state(published: Published) -> dict[str, Tensor]:
    """State dict of our generator of `generator_sizes`, from that of a published one.

    Raises:
        InputError: A key is unknown or missing, or has a shape that does not go with the others.
    """
    return _state(published, generator_kind(published))


def discriminator_state(published: Published) -> dict[str, Tensor]:
    """State dict of our discriminator's stage of `discriminator_sizes`, from that of a published one.

    Raises:
        InputError: A key is unknown or missing, or has a shape that does not go with the others.
    """
    return _state(published, discriminator_kind(published))


def _state(published: Published, kind: PublishedNetwork) -> dict[str, Tensor]:
    sizes = kind.sizes(published)

    def turned(name: str, tensor: Tensor) -> Tensor:
        return tensor.roll(-kind.channels_first(name, sizes), 1) if tensor.ndim > 1 else tensor

    return _translated(published, _on_meta(kind.network, **sizes), kind.names, turned)


def text_encoder_state(published: Published) -> dict[str, Tensor]:
    """State dict of the `TextEncoder` of `text_encoder_sizes`, from that of a published RNN_ENCODER.

    Raises:
        InputError: A key is unknown or missing, or has a shape that does not go with the others.
    """
    return _translated(published, _on_meta(TextEncoder, **text_encoder_sizes(published)), names.TEXT_ENCODER)


def image_encoder_state(published: Published, trunk: ImageTrunk | None = None) -> dict[str, Tensor]:
    """State dict of an `ImageEncoder`, from that of a published CNN_ENCODER.

    Args:
        published: The published state dict.
        trunk: The trunk that the encoder has, with its weights under the names of ``trunk.network`` in ``published``;
            None for Inception-v3, which is what published files hold.

    Raises:
        InputError: A key is unknown or missing, or has a shape that does not go with the others.
    """
    return _translated(published, _image_encoder(published, trunk), names.IMAGE_ENCODER)


def published_generator(published: Published, padding_mask: PaddingMask = "own") -> tuple[PublishedNetwork, Generator]:
    """Which published generator a state dict is of, and our generator with its weights, in eval mode.

    Args:
        published: The state dict.
        padding_mask: "published" for the pictures that the published AttnGAN and DM-GAN draw, which depend on the rest
            of the batch; "own" for the same weights with each caption's own padding.

    Raises:
        InputError: It is no published generator; the message says what is wrong with which key.
    """
    kind = generator_kind(published)
    sizes = kind.sizes(published)
    if kind.network in (AttnGANGenerator, DMGANGenerator):
        sizes["padding_mask"] = padding_mask
    elif padding_mask != "own":
        raise InputError(
            f"padding_mask is of generators that attend to words, and {kind.title}'s does not: leave it out"
        )
    network = _filled(_on_meta(kind.network, **sizes), generator_state(published))
    assert isinstance(network, Generator)  # all of the table are
    return kind, network


def load_published_generator(path: Path | str, padding_mask: PaddingMask = "own") -> Generator:
    """The generator of a published ``netG_epoch_*.pth`` of any network of the family, in eval mode.

    Args:
        path: The file.
        padding_mask: As of `published_generator`.

    Raises:
        MissingFileError: There is no such file.
        InputError: It is no published generator; the message says what is wrong with which key.
    """
    published = read_published(path)
    with in_file(path):
        return published_generator(published, padding_mask)[1]


def load_published_discriminator(path: Path | str) -> DiscriminatorStage:
    """The discriminator of a published ``netD*.pth``, in eval mode; raises as `load_published_generator` does."""
    published = read_published(path, "netD")
    with in_file(path):
        network = _on_meta(discriminator_kind(published).network, **discriminator_sizes(published))
        assert isinstance(network, DiscriminatorStage)  # all of the table are
        return _filled(network, discriminator_state(published))


def load_published_text_encoder(path: Path | str) -> TextEncoder:
    """The encoder of a published ``text_encoder*.pth``, in eval mode; raises as `load_published_generator` does."""
    published = read_published(path)
    with in_file(path):
        return _filled(_on_meta(TextEncoder, **text_encoder_sizes(published)), text_encoder_state(published))


def load_published_image_encoder(path: Path | str) -> ImageEncoder:
    """The encoder of a published ``image_encoder*.pth``, Inception-v3 included, in eval mode.

    Raises as `load_published_generator` does.
    """
    published = read_published(path)
    with in_file(path):
        return _filled(_image_encoder(published), image_encoder_state(published))


def read_published(path: Path | str, network: str = "netG") -> dict[str, Tensor]:
    """The state dict in a published file, read as weights only: no code of the file runs.

    Args:
        path: The file: a state dict, or one within entries "state_dict", "model" and the network's own name.
        network: The entry to take of a file that holds several networks: "netG" or "netD".

    Raises:
        MissingFileError: There is no such file.
        InputError: The file holds something else.
    """
    if not Path(path).is_file():
        raise MissingFileError(f"no published checkpoint at {Path(path).resolve()}")
    return read_weights(path, entries=(network,))


class Recognised(NamedTuple):
    """A network of the published code: what it is, and the option of `attngan import-published` that takes it."""

    title: str
    option: str | None


def published_network(published: Published) -> Recognised | None:
    """What a state dict is of, by its names; None: no network of the published code."""
    for kinds, what, option in ((GENERATORS, "generator", "generator"), (DISCRIMINATORS, "discriminator", None)):
        if (kind := _among(kinds, published)) is not None:
            return Recognised(f"a {what} of {kind.title}", option)
    if any(name.startswith("ca_net.") for name in published):
        return Recognised("a part of a generator", "generator")
    if "rnn.weight_hh_l0" in published:
        return Recognised("a text encoder", "text_encoder")
    return Recognised("an image encoder", "image_encoder") if "emb_features.weight" in published else None


def _among(kinds: Sequence[PublishedNetwork], published: Published) -> PublishedNetwork | None:
    return next((kind for kind in kinds if any(re.match(kind.mark, name) for name in published)), None)


def _count(published: Published, numbered: str) -> int:
    """How many numbers stand in names of this pattern."""
    return len({m[1] for name in published if (m := re.match(numbered, name))})


def _shape(published: Published, name: str, dimensions: int) -> tuple[int, ...]:
    if name not in published:
        raise InputError(f"the published network lacks {name}")
    shape = tuple(published[name].shape)
    if len(shape) != dimensions:
        raise InputError(f"{name} has the shape {shape}: expected {dimensions} dimensions")
    return shape


def _on_meta(network: Callable[..., Network], **arguments: Any) -> Network:
    """A network without memory: its keys and shapes, and a place for tensors; starting weights take long to make."""
    with torch.device("meta"):
        return network(**arguments)


def _image_encoder(published: Published, trunk: ImageTrunk | None = None) -> ImageEncoder:
    with torch.device("meta"):
        return ImageEncoder(InceptionTrunk(None) if trunk is None else trunk, **image_encoder_sizes(published))


def _translated(
    published: Published,
    network: nn.Module,
    key_map: KeyMap,
    turned: Callable[[str, Tensor], Tensor] = lambda name, tensor: tensor,
) -> dict[str, Tensor]:
    """The published tensors under the names of ``network``, each of which must have one, of its shape."""
    published = without_wrappers(published)
    state, missing = {}, []
    for name, expected in network.state_dict().items():
        candidates = published_names(name, key_map)
        theirs = next((c for c in candidates if c in published), None)
        if theirs is not None:
            tensor = published.pop(theirs)
            if theirs.endswith("att.conv_context.weight"):  # a 1 x 1 convolution, here a linear layer
                tensor = tensor.flatten(1)
            if tensor.shape != expected.shape:
                raise InputError(
                    f"{theirs} has the shape {tuple(tensor.shape)}: by the others it should be {tuple(expected.shape)}"
                )
            state[name] = turned(theirs, tensor)
        elif name.endswith("num_batches_tracked"):  # not in files of PyTorch 0.3, in which AttnGAN was published
            state[name] = torch.zeros((), dtype=torch.long)
        else:
            missing.append(" or ".join(candidates))
    if missing:
        raise InputError(f"the published network lacks {some(missing)}")
    if published:
        raise InputError(f"not a name of the published network: {some(published)}")
    return state


def _filled(network: Network, state: dict[str, Tensor]) -> Network:
    network.load_state_dict(state, assign=True)
    return network.eval()
