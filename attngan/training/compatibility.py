"""Whether the parts of a training fit together: told before it begins, with the key to change."""

from attngan.errors import InputError
from attngan.networks.damsm import DAMSM
from attngan.networks.discriminators import Discriminators
from attngan.networks.generator import Generator


def require_fitting_parts(
    generator: Generator, discriminators: Discriminators, damsm: DAMSM | None, reads_mean: bool
) -> None:
    """The parts must speak the same embedding and the same image sizes.

    Args:
        generator: Draws.
        discriminators: Judge what it draws.
        damsm: Encodes the captions; None where nothing does.
        reads_mean: The discriminators read the mean of the generator's conditioning augmentation, not the sentence.

    Raises:
        InputError: They do not; says what to set.
    """
    if damsm is not None and damsm.embed_dim != generator.embed_dim:
        raise InputError(
            f"the DAMSM's embedding has {damsm.embed_dim} numbers, the generator's {generator.embed_dim}: set "
            f"model.generator.init_args.embed_dim={damsm.embed_dim}, or model.damsm=null for a generator that does not "
            "read its sentences"
        )
    if reads_mean and not generator.condition_dim:
        raise InputError(
            "this generator has no conditioning augmentation whose mean could be read: set model.condition=sentence"
        )
    if generator.embed_dim is None or not reads_mean:
        wanted, told = generator.embed_dim, "generator's sentence embedding"
    else:
        wanted, told = generator.condition_dim, "mean of the generator's conditioning augmentation"
    if discriminators.embed_dim != wanted:
        raise InputError(
            f"the {told} has {wanted} numbers, the discriminators read {discriminators.embed_dim}: set "
            f"model.discriminators.init_args.embed_dim={'null' if wanted is None else wanted}"
        )
    drawn, judged = tuple(generator.image_sizes), discriminators.resolutions
    if drawn != judged:
        raise InputError(
            f"the generator draws images of {drawn} px, the discriminators judge {judged}: set "
            f"model.discriminators.init_args.resolutions={list(drawn)}"
        )


def require_terms_to_apply(
    generator: Generator, damsm: DAMSM | None, matching: float, gradient_penalty: float, color_consistency: float
) -> None:
    """A term of the loss needs what it is of: text, several images, a DAMSM.

    Args:
        generator: Draws.
        damsm: Scores how images and captions match; None where nothing does.
        matching: Weight of the DAMSM loss.
        gradient_penalty: Weight of the matching-aware gradient penalty.
        color_consistency: Weight of the distance between the colours of two stages' images.

    Raises:
        InputError: It is not there; says which weight to set to 0.
    """
    if gradient_penalty > 0 and generator.embed_dim is None:
        raise InputError(
            "model.gradient_penalty is one on images and their sentences, and this generator reads no text: set it to "
            "0 (model.r1 penalises images alone)"
        )
    if color_consistency > 0 and len(generator.image_sizes) < 2:
        raise InputError(
            "model.color_consistency ties the images of two stages, and this generator draws one: set it to 0"
        )
    if damsm is None and matching > 0:
        raise InputError(
            "model.matching scores images by a DAMSM: name its checkpoint with model.damsm, or set model.matching=0"
        )


def require_fitting_images(generator: Generator, image_size: int, stages: int) -> None:
    """The data must give the sizes that the generator draws.

    Args:
        generator: Draws.
        image_size: Side in pixels of the data's largest images.
        stages: How many sizes it gives, each half of the next.

    Raises:
        InputError: It gives others; says what to set.
    """
    given, drawn = tuple(image_size // 2**stage for stage in reversed(range(stages))), tuple(generator.image_sizes)
    if given != drawn:
        raise InputError(
            f"the data gives images of {given} px, the generator draws {drawn}: set data.image_size={drawn[-1]} and "
            f"data.stages={len(drawn)}"
        )
