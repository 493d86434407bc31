"""How large the work is that a row measures."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Sizes:
    """The published sizes, but for the batch.

    Args:
        batch: Images of a step.
        words: Words of each caption.
        places: Side of the image encoder's feature map, of whose places the words are compared with.
        stages: Images that the generator draws, each twice as large as the one before.
        side: Side of the largest image in pixels.
        width: Channels of the generator's last features.
        discriminator_width: Channels of the discriminators' first ones.
        embed: Length of the joint embedding.
        vocabulary: Words that there are.
        images: Images of the data set.
    """

    batch: int
    words: int = 18
    places: int = 17
    stages: int = 3
    side: int = 256
    width: int = 32
    discriminator_width: int = 64
    embed: int = 256
    vocabulary: int = 5450
    images: int = 480

    @property
    def sides(self) -> list[int]:
        """Of all images that are drawn, smallest first."""
        return [self.side >> stage for stage in reversed(range(self.stages))]

    def tiny(self) -> "Sizes":
        """Of the same shape in little: shows that it runs."""
        side = {256: 64}.get(self.side, self.side)
        small = {"width": 4, "discriminator_width": 4, "embed": 16, "vocabulary": 40, "images": 24}
        return replace(self, batch=2, words=min(self.words, 6), places=min(self.places, 5), side=side, **small)
