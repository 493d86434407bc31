"""Any network of timm as image trunk: its maps of each stride, and what its classifier would read."""

import difflib
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attngan.errors import InputError, MissingFileError, MissingPackageError
from attngan.networks.image_trunks import ImageTrunk
from attngan.records import TrunkFeatures
from attngan.weight_files import load_weights, read_weights

#: The regions are the last map of this stride, as Inception's Mixed_6e; of networks without one, the last map.
REGION_STRIDE = 16
#: Maps of a finer stride are left out of the pyramid.
FINEST_STRIDE = 4


class TimmTrunk(ImageTrunk):
    """A frozen network of timm (``pip install 'attngan[timm]'``).

    Its pyramid has the last map of each stride from 4 on: four of a usual convolutional network, one of a plain vision
    transformer, which suits the DAMSM more than discriminators.

    Args:
        model: Name in timm, e.g. resnet50, efficientnet_b0, convnext_tiny, vit_small_patch16_224.
        weights: "pretrained": those that timm knows for this name, downloaded by it once; or a file of them
            (.safetensors or a state dict of torch, as timm's pages on the hub have it); or None for random ones.
        input_size: Side of the image in pixels; None: the one that timm tells of the model.
    """

    def __init__(
        self, model: str = "resnet50", weights: str | None = "pretrained", input_size: int | None = None
    ) -> None:
        super().__init__()
        timm = _timm()
        network = _made(timm, model, input_size, weights == "pretrained")
        told = timm.data.resolve_model_data_config(network)
        self.input_size = input_size or int(told["input_size"][-1])
        if weights == "pretrained":
            self.weights_source = f"timm's {model}"
        elif weights is not None:
            _load(network, Path(weights).expanduser(), model)
            self.weights_source = f"file {Path(weights).name}"
        self.network: Any = network
        self.mean: Tensor
        self.std: Tensor
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(told[name]).view(3, 1, 1), persistent=False)
        self.freeze()
        self._look()

    def _look(self) -> None:
        """Which maps there are, seen on an empty image."""
        with torch.no_grad():
            last, maps = self.network.forward_intermediates(torch.zeros(1, 3, self.input_size, self.input_size))
            pooled = self.network.forward_head(last, pre_logits=True)
        sides = [level.shape[2] for level in maps]
        last_of_side = [place for place, side in enumerate(sides) if side not in sides[place + 1 :]]
        chosen = [place for place in last_of_side if sides[place] * FINEST_STRIDE <= self.input_size + FINEST_STRIDE]
        self.levels = chosen or [len(maps) - 1]
        self.pyramid_channels = tuple(maps[place].shape[1] for place in self.levels)
        self.pyramid_sides = tuple(sides[place] for place in self.levels)
        of_stride = [p for p in self.levels if round(self.input_size / sides[p]) == REGION_STRIDE]
        self.regions = of_stride[-1] if of_stride else self.levels[-1]
        self.region_channels, self.pooled_channels = maps[self.regions].shape[1], pooled.shape[1]

    def pyramid(
        self, images: Float[Tensor, "batch 3 side side"]
    ) -> tuple[tuple[Float[Tensor, "batch _ _ _"], ...], TrunkFeatures]:
        net: Any = self.network
        last, maps = net.forward_intermediates(((images + 1) / 2 - self.mean) / self.std)
        pooled = net.forward_head(last, pre_logits=True)
        return tuple(maps[place] for place in self.levels), TrunkFeatures(maps[self.regions], pooled)


def _timm() -> Any:
    try:
        import timm
    except ModuleNotFoundError as error:
        raise MissingPackageError("a trunk of timm needs an extra: pip install 'attngan[timm]'") from error
    return timm


def _made(timm: Any, model: str, input_size: int | None, pretrained: bool) -> nn.Module:
    """The network without its classifier.

    Raises:
        InputError: timm has no such model, or none that gives its maps.
        MissingFileError: The weights are not here and could not be downloaded.
    """
    if not timm.is_model(model):
        near = difflib.get_close_matches(model, timm.list_models(), 4)
        meant = f": did you mean {', '.join(near)}?" if near else ""
        raise InputError(f"timm {timm.__version__} has no model {model!r}{meant}")
    sized = {"img_size": input_size} if input_size is not None else {}
    try:
        try:
            network: nn.Module = timm.create_model(model, pretrained=pretrained, num_classes=0, **sized)
        except TypeError:  # a convolutional network takes any size and has no such argument
            network = timm.create_model(model, pretrained=pretrained, num_classes=0)
    except (OSError, RuntimeError) as error:
        told = str(error).partition("\n")[0][:120]
        raise MissingFileError(
            f"timm's weights of {model} are not on this machine and could not be had ({told}): name a file of them "
            "with init_args.weights"
        ) from error
    if not hasattr(network, "forward_intermediates"):
        raise InputError(f"timm's {model} gives no maps on the way to its end: choose another model")
    return network


def _load(network: nn.Module, path: Path, model: str) -> None:
    """Weights from a file; those of the classifier that it may hold are left out."""
    if not path.is_file():
        raise MissingFileError(f"no weights of timm's {model} at {path.resolve()}")
    own = network.state_dict()
    given = read_weights(path, f"weights of timm's {model}")
    load_weights(network, {name: value for name, value in given.items() if name in own}, f"{path} (timm's {model})")
