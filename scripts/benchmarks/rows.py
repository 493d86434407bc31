"""The rows of the benchmark: each kind of work, how large it is, and the ways to do it."""

from dataclasses import dataclass

from benchmarks.sizes import Sizes
from benchmarks.ways import (
    OURS,
    PUBLISHED,
    Way,
    command,
    damsm_options,
    dfgan_options,
    exported,
    kept_options,
    ours_features,
    ours_generator,
    ours_loader,
    ours_words,
    picture_of,
    published_attngan,
    published_damsm,
    published_dfgan,
    published_dmgan,
    published_features,
    published_generator,
    published_loader,
    published_words,
    staged_options,
    trained,
    whole_checkpoint,
)


@dataclass(frozen=True)
class Row:
    """One kind of work.

    Args:
        title: What it is.
        sizes: How large it is.
        ways: How it is done, by name, in the order of their turns; a published form comes first.
        unit: What a turn's time is of.
        computes: It is floating point arithmetic: its share of the machine's peak says something.
        gigabytes: What all ways take at once; where there is less memory, they are not kept at the same time.
    """

    title: str
    sizes: Sizes
    ways: dict[str, Way]
    unit: str = "step"
    computes: bool = True
    gigabytes: float = 6.0


ROWS: dict[str, Row] = {
    "damsm": Row(
        "DAMSM step, batch 48, Inception at 299 px",
        Sizes(48, side=299, stages=1),
        {PUBLISHED: published_damsm, OURS: trained("pretrain", "damsm_cub.yaml", damsm_options)},
    ),
    "kept": Row(
        "DAMSM step, batch 48, ours from kept features",
        Sizes(48, side=299, stages=1),
        {PUBLISHED: published_damsm, OURS: trained("pretrain", "damsm_cub_efficientnet.yaml", kept_options)},
    ),
    **{
        f"words{batch}": Row(
            f"words loss, forward and backward, batch {batch}",
            Sizes(batch),
            {PUBLISHED: published_words, OURS: ours_words},
            gigabytes=9,
        )
        for batch in (48, 100)
    },
    "attngan": Row(
        "AttnGAN step, batch 20, 64/128/256 px",
        Sizes(20),
        {PUBLISHED: published_attngan, OURS: trained("train", "attngan_cub.yaml", staged_options)},
        gigabytes=22,
    ),
    "generator": Row(
        "generator, 256 px, batch 8, evaluation", Sizes(8), {PUBLISHED: published_generator, OURS: ours_generator}
    ),
    "features": Row(
        "Inception features, batch 32",
        Sizes(32, side=299, stages=1),
        {PUBLISHED: published_features, OURS: ours_features},
    ),
    "loader": Row(
        "loader, 64/128/256 px, batch 20",
        Sizes(20),
        {
            **{f"{PUBLISHED}, {workers} workers": published_loader(workers) for workers in (0, 2)},
            **{f"{OURS}, {workers} workers": ours_loader(workers) for workers in (0, 1, 2, 4)},
        },
        unit="image",
        computes=False,
    ),
    "dfgan": Row(
        "DF-GAN step, batch 4, 256 px",
        Sizes(4, stages=1, discriminator_width=32),
        {PUBLISHED: published_dfgan, OURS: trained("train", "dfgan_cub.yaml", dfgan_options)},
    ),
    "dmgan": Row(
        "DM-GAN step, batch 2, 64/128/256 px",
        Sizes(2, width=64, discriminator_width=32),
        {PUBLISHED: published_dmgan, OURS: trained("train", "dmgan_cub.yaml", staged_options)},
    ),
    "sample": Row(
        "attngan sample, from the start to the first picture",
        Sizes(2),
        {
            "exported": command("sample", prepared=picture_of(exported)),
            "checkpoint": command("sample", prepared=picture_of(whole_checkpoint)),
        },
        unit="run",
        computes=False,
    ),
    "help": Row(
        "help, from the start to the end",
        Sizes(2),
        {" ".join(words): command(*words) for words in (["--help"], ["train", "--help"], ["sample", "--help"])},
        unit="run",
        computes=False,
    ),
}
