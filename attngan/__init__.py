"""attngan: text-to-image GANs of the AttnGAN family, from captioned images to a trained generator and its scores."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attngan.commands.evaluate import evaluate
    from attngan.retrieval.retrieve import retrieve
    from attngan.runs import Run, pretrain, train
    from attngan.sampling import Sampler as Generator
    from attngan.sampling import sample

__version__ = "0.1.0"
__all__ = ["Generator", "Run", "__version__", "evaluate", "pretrain", "retrieve", "sample", "train"]

#: Where each name is. torch takes seconds to import: `attngan --help` and `attngan.__version__` do not wait for it.
_PLACES = {
    "Generator": ("attngan.sampling", "Sampler"),
    "Run": ("attngan.runs", "Run"),
    "evaluate": ("attngan.commands.evaluate", "evaluate"),
    "pretrain": ("attngan.runs", "pretrain"),
    "retrieve": ("attngan.retrieval.retrieve", "retrieve"),
    "sample": ("attngan.sampling", "sample"),
    "train": ("attngan.runs", "train"),
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'attngan' has no attribute {name!r}")
    module, attribute = _PLACES[name]
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
