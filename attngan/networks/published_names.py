"""What the weights of the published networks are called, beside the names of ours: one map a network of the family.

A map is read in order. Where more than one pattern fits a name of ours, published networks of the same kind differ in
it (in their number of stages, say), and a file has one of the names.
"""

import re
from collections.abc import Callable

#: What our names begin with (a pattern), and what the published ones begin with there.
KeyMap = tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]


def published_names(ours: str, key_map: KeyMap) -> list[str]:
    """The published name of one of our parameters; more than one where published networks differ."""
    names = [re.sub(pattern, theirs, ours, count=1) for pattern, theirs in key_map if re.match(pattern, ours)]
    return [_spectral(name) for name in names]


def _spectral(name: str) -> str:
    """Of a weight under spectral norm: torch's parametrisation, and the wrapper of DM-GAN's code."""
    for ours, theirs in (("original", "weight_bar"), ("0._u", "weight_u"), ("0._v", "weight_v")):
        name = name.replace(f"parametrizations.weight.{ours}", theirs)
    return name


def _within(prefix: str, theirs_prefix: str, key_map: KeyMap) -> KeyMap:
    """The map of a network that is a part of another."""

    def at(theirs: str | Callable[[re.Match[str]], str]) -> Callable[[re.Match[str]], str]:
        return lambda m: theirs_prefix + (theirs if isinstance(theirs, str) else theirs(m))

    return tuple((re.escape(prefix) + pattern, at(theirs)) for pattern, theirs in key_map)


# --- generators -------------------------------------------------------------------------------------------------------

_CONDITIONING: KeyMap = ((r"conditioning\.linear\.", "ca_net.fc."),)

#: What StackGAN++, AttnGAN and DM-GAN have in common.
_STAGES: KeyMap = (
    *_CONDITIONING,
    (r"stem\.linear\.", "h_net1.fc.0."),
    (r"stem\.norm\.", "h_net1.fc.1."),
    (r"stem\.upsample\.(\d+)\.", lambda m: f"h_net1.upsample{int(m[1]) + 1}."),
    (r"stages\.(\d+)\.(?=residual|upsample)", lambda m: f"h_net{int(m[1]) + 2}."),
    (r"heads\.(\d+)\.0\.", lambda m: f"img_net{int(m[1]) + 1}.img.0."),
)

ATTNGAN_GENERATOR: KeyMap = (
    (r"stages\.(\d+)\.fusion\.project\.", lambda m: f"h_net{int(m[1]) + 2}.att.conv_context."),
    *_STAGES,
    (r"heads\.0\.0\.", "img_net.img.0."),  # AttnDCGAN: the last stage draws, no other
)

_MEMORY = {
    "write_word": "A",
    "write_picture": "B",
    "from_word": "M_w.0",
    "from_picture": "M_r.0",
    "key": "key.0",
    "value": "value.0",
    "response": "response_gate.0",
}
DMGAN_GENERATOR: KeyMap = (
    (rf"stages\.(\d+)\.fusion\.({'|'.join(_MEMORY)})\.", lambda m: f"h_net{int(m[1]) + 2}.{_MEMORY[m[2]]}."),
    *_STAGES,
)

STACKGAN_PLUSPLUS_GENERATOR: KeyMap = (
    (r"stages\.(\d+)\.fusion\.joint\.", lambda m: f"h_net{int(m[1]) + 2}.jointConv."),
    *_STAGES,
)

STACKGAN_STAGE1_GENERATOR: KeyMap = (
    *_CONDITIONING,
    (r"stem\.linear\.", "fc.0."),
    (r"stem\.norm\.", "fc.1."),
    (r"stem\.upsample\.(\d+)\.", lambda m: f"upsample{int(m[1]) + 1}."),
    (r"heads\.0\.0\.", "img.0."),
)

STACKGAN_STAGE2_GENERATOR: KeyMap = (
    *_CONDITIONING,
    (r"encoder\.", "encoder."),
    (r"fusion\.joint\.", "hr_joint."),
    (r"residual\.", "residual."),
    (r"upsample\.(\d+)\.", lambda m: f"upsample{int(m[1]) + 1}."),
    (r"head\.0\.", "img.0."),
    *_within("stage1.", "STAGE1_G.", STACKGAN_STAGE1_GENERATOR),
)


def _affine(m: re.Match[str]) -> str:
    network, layer = "gamma" if m[4] == "scale" else "beta", 1 + int(m[5]) // 2
    return f"GBlocks.{m[1]}.fuse{int(m[2]) + 1}.affine{m[3]}.fc_{network}.linear{layer}."


DFGAN_GENERATOR: KeyMap = (
    (r"linear\.", "fc."),
    (r"blocks\.(\d+)\.fusions\.([01])\.affines\.([01])\.(scale|shift)\.([02])\.", _affine),
    (r"blocks\.(\d+)\.fusions\.([01])\.conv\.", lambda m: f"GBlocks.{m[1]}.c{int(m[2]) + 1}."),
    (r"blocks\.(\d+)\.shortcut\.", lambda m: f"GBlocks.{m[1]}.c_sc."),
    (r"head\.1\.", "to_rgb.1."),
)

# --- discriminators ---------------------------------------------------------------------------------------------------

#: The blocks after the four of the 64 px network.
_LATER_BLOCKS: KeyMap = (
    (r"encoder\.4\.", "img_code_s32."),
    (r"encoder\.5\.", "img_code_s32_1."),  # the last block of the 128 px network
    (r"encoder\.5\.", "img_code_s64."),  # 256 px
    (r"encoder\.6\.", "img_code_s64_1."),
    (r"encoder\.7\.", "img_code_s64_2."),
)
_BLOCKS: KeyMap = (
    (r"encoder\.0\.0\.", "img_code_s16.0."),
    (r"encoder\.([123])\.([01])\.", lambda m: f"img_code_s16.{3 * int(m[1]) - 1 + int(m[2])}."),
    *_LATER_BLOCKS,
)
_HEADS: KeyMap = (
    (r"conditional_head\.", "COND_DNET.outlogits.0."),
    (r"unconditional_head\.", "UNCOND_DNET.outlogits.0."),
)

ATTNGAN_DISCRIMINATOR: KeyMap = (*_BLOCKS, (r"joint\.", "COND_DNET.jointConv."), *_HEADS)

DMGAN_DISCRIMINATOR: KeyMap = (
    # spectral norm wraps each convolution, and no batch norm follows it
    (r"encoder\.([0123])\.0\.", lambda m: f"img_code_s16.{2 * int(m[1])}.module."),
    *((rf"{ours}0\.", f"{theirs}0.module.") for ours, theirs in _LATER_BLOCKS),
    (r"joint\.0\.", "COND_DNET.jointConv.0.module."),
    *_HEADS,
)

STACKGAN_PLUSPLUS_DISCRIMINATOR: KeyMap = (
    *_BLOCKS,
    (r"joint\.", "jointConv."),
    (r"conditional_head\.", "logits.0."),
    (r"unconditional_head\.", "uncond_logits.0."),
    (r"unconditional_head\.", "logits.0."),  # without text
)

STACKGAN_DISCRIMINATOR: KeyMap = (
    (r"encoder\.0\.0\.", "encode_img.0."),
    (r"encoder\.(\d+)\.([01])\.", lambda m: f"encode_img.{3 * int(m[1]) - 1 + int(m[2])}."),
    (r"joint\.", "get_cond_logits.outlogits."),
    (r"conditional_head\.", "get_cond_logits.outlogits.3."),
    (r"unconditional_head\.", "get_uncond_logits.outlogits.0."),
)

#: Two published networks are one of ours: NetD (here ``D.``) makes the features, NetC (``C.``) judges them.
DFGAN_DISCRIMINATOR: KeyMap = (
    (r"encoder\.0\.", "D.conv_img."),
    (r"encoder\.(\d+)\.residual\.", lambda m: f"D.DBlocks.{int(m[1]) - 1}.conv_r."),
    (r"encoder\.(\d+)\.shortcut\.", lambda m: f"D.DBlocks.{int(m[1]) - 1}.conv_s."),
    (r"encoder\.([1-9]\d*)\.weight$", lambda m: f"D.DBlocks.{int(m[1]) - 1}.gamma"),
    (r"joint\.0\.", "C.joint_conv.0."),
    (r"head\.", "C.joint_conv.2."),
)

# --- encoders ---------------------------------------------------------------------------------------------------------

TEXT_ENCODER: KeyMap = (
    (r"embedding\.", "encoder."),
    (r"rnn\.", "rnn."),
)

IMAGE_ENCODER: KeyMap = (
    (r"region_projection\.", "emb_features."),
    (r"pooled_projection\.", "emb_cnn_code."),
    (r"trunk\.network\.", ""),  # torchvision's names
)
