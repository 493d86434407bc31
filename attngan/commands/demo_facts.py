"""What the demo was asked for and what it measured: shown on its page, kept in demo.json."""

from dataclasses import dataclass, field

from attngan.commands.demo_training import Trained


@dataclass
class ColourTruths:
    """Shares of the colours that captions name which are seen, in percent.

    Args:
        real: Colour truth of real test birds with their captions.
        real_with_other_captions: That of real test birds with captions of other birds.
        samples: That of samples with the captions that they were drawn for.
        samples_with_other_captions: That of samples with captions of other birds.
        samples_by_part: As ``samples``, for each part of the bird.
        named: How many colours the samples' captions name.
    """

    real: float = 0.0
    real_with_other_captions: float = 0.0
    samples: float = 0.0
    samples_with_other_captions: float = 0.0
    samples_by_part: dict[str, float] = field(default_factory=dict)
    named: int = 0


@dataclass
class DemoFacts:
    """What was asked for, then what was measured.

    Args:
        minutes: Limit of the whole demo.
        images: Images that the generator is to be trained on.
        seed: Seed of pictures, birds and training.
        smoke: Whether only a few steps are trained.
        precision: What is computed in, and why.
        damsm: What its training did.
        generator: What its training did.
        colour_truth: Colour truth of real birds and of samples.
        took_minutes: Minutes that the whole demo took.
    """

    minutes: float
    images: int
    seed: int
    smoke: bool
    precision: str = ""
    damsm: Trained | None = None
    generator: Trained | None = None
    colour_truth: ColourTruths = field(default_factory=ColourTruths)
    took_minutes: float = 0.0
