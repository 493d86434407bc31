"""attngan: text-to-image GANs of the AttnGAN family, from captioned images to a trained generator and its scores."""

from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "sample"]


def __getattr__(name: str) -> Any:
    # torch takes seconds to import: `attngan --help` and `attngan.__version__` do not wait for it.
    if name == "sample":
        from attngan.sampling import sample

        return sample
    raise AttributeError(f"module 'attngan' has no attribute {name!r}")
