"""What every generator of the family is: noise, and for most text features, to images."""

import torch

from attngan.draws import Draws
from attngan.networks.description import Described
from attngan.records import GeneratedImages, GeneratorNoise, TextFeatures


class Generator(Described):
    """Base of all generators. Training, sampling and scores know a generator by what stands here, and by no more."""

    #: Length of the latent vector z.
    noise_dim: int
    #: Length of the sentence embedding that it reads; None: it reads no text.
    embed_dim: int | None
    #: Length of the conditioning augmentation's mean; 0 without one.
    condition_dim: int
    #: How many normal numbers a sample's ``noise.condition`` has; 0 without conditioning augmentation.
    condition_noise_dim: int
    #: Sides of the images in pixels, in the order that they are drawn in.
    image_sizes: list[int]
    #: Whether it has attention maps over words.
    attends: bool

    def forward(self, noise: GeneratorNoise, text: TextFeatures | None) -> GeneratedImages:
        """Draws a batch; ``text`` is None for a generator that reads no text."""
        raise NotImplementedError(f"{type(self).__name__} draws nothing: give it a forward method")

    def draw_noise(self, batch: int | Draws, generator: torch.Generator | None = None) -> GeneratorNoise:
        """Fresh standard normal noise, on the network's device.

        Args:
            batch: How many samples, by the CPU generator's or the global stream; or the draws of a training step.
            generator: A CPU generator; None: the global stream.
        """
        if isinstance(batch, Draws):
            return GeneratorNoise(batch.normal(self.noise_dim), batch.normal(self.condition_noise_dim))
        device = next(self.parameters()).device
        on = device if generator is None else generator.device
        return GeneratorNoise(
            torch.randn(batch, self.noise_dim, generator=generator, device=on).to(device),
            torch.randn(batch, self.condition_noise_dim, generator=generator, device=on).to(device),
        )
