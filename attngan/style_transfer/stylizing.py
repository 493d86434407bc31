"""Pictures drawn again in the style of others, one after another, through a network that is loaded once."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from PIL import Image

from attngan.data.images import load_named_image
from attngan.errors import MissingFileError
from attngan.pictures import from_pil, to_pil
from attngan.style_transfer.networks import StyleNetwork
from attngan.style_transfer.objective import Objective, Weights
from attngan.style_transfer.optimisation import Iteration, StyleTransfer, start_image


class Stylizer:
    """Draws a picture again in the style of images, each with the same weight, by L-BFGS from the picture itself.

    Args:
        network: Tells content and style; its default layers and weights count.
        styles: Images in whose style to draw.
        size: Longer side in pixels that pictures and styles are brought to: of generated ones of 64 px a network sees
            little.
        iterations: How many of each picture.
        device: Where.
    """

    def __init__(
        self,
        network: StyleNetwork,
        styles: Sequence[Image.Image],
        size: int,
        iterations: int,
        device: torch.device | str = "cpu",
    ) -> None:
        self.network, self.size, self.iterations, self.device = network.to(device), size, iterations, device
        self.styles = [from_pil(fitting(style, size, enlarge=True))[None].to(device) for style in styles]
        layers = dict.fromkeys(network.style_layers, 1.0)
        self.weights = Weights(
            1.0, network.style_weight, network.smoothness_weight, [1.0] * len(self.styles), layers, content_blend=1.0
        )

    def __call__(self, picture: Image.Image, told: Callable[[Iteration], None] = lambda _: None) -> Image.Image:
        """The picture in that style.

        Args:
            picture: RGB.
            told: Is told of each iteration.
        """
        content = from_pil(fitting(picture, self.size, enlarge=True))[None].to(self.device)
        objective = Objective(self.network, content, self.styles, self.weights)
        transfer = StyleTransfer(objective, start_image(content, noise=0.0, seed=0))
        for iteration in transfer.run(self.iterations):
            told(iteration)
        return to_pil(transfer.image.detach()[0])


def read_image(path: Path) -> Image.Image:
    """An image file, upright and RGB.

    Raises:
        MissingFileError: There is none.
        InputError: It cannot be decoded.
    """
    if not path.is_file():
        raise MissingFileError(f"no image at {path.resolve()}")
    return load_named_image(path, str(path))


def fitting(image: Image.Image, longer: int, enlarge: bool = False) -> Image.Image:
    """The image with its longer side at so many pixels; a smaller one is enlarged only if asked to."""
    scale = longer / max(image.size)
    if scale >= 1 and not enlarge:
        return image
    width, height = (max(1, round(side * scale)) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)
