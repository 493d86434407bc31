"""Whether the matching loss had anything to compare: a batch of one class, or of one image, teaches nothing."""

import torch
from jaxtyping import Int
from torch import Tensor

from attngan.errors import InputError


class Rivals:
    """Counts the batches in which no caption could be wrong for any image; on the device, without waiting for it."""

    def __init__(self) -> None:
        self.batches = 0
        self.without: Tensor | int = 0

    def add(self, classes: Int[Tensor, " batch"] | None, size: int) -> None:
        """A batch.

        Args:
            classes: Classes of its items; None where there are none.
            size: How many items it has.
        """
        self.batches += 1
        if size < 2:
            self.without = self.without + 1
        elif classes is not None:
            self.without = self.without + (classes == classes[0]).all()

    def tell(self) -> str | None:
        """At the end of an epoch, which is forgotten then: how many batches taught nothing, in a sentence; None: none.

        Raises:
            InputError: No batch did.
        """
        without, batches = int(torch.as_tensor(self.without)), self.batches
        self.batches, self.without = 0, 0
        if not without:
            return None
        told = f"in {without:,} of {batches:,} batches all images were of one class"
        if without == batches:
            raise InputError(
                f"{told}: no caption was wrong for any image, so the matching loss was 0 and taught nothing. Raise "
                "data.batch_size, or train on more classes"
            )
        return f"{told}, and the matching loss learnt nothing from them: a larger data.batch_size has fewer of these"


def require_rivals(batch_size: int) -> None:
    """Refuses batches of one image where images are compared with captions of others.

    Raises:
        InputError: They are of one.
    """
    if batch_size < 2:
        raise InputError(
            f"data.batch_size is {batch_size}: an image is compared with the captions of others in its batch, so it "
            "must be 2 or more"
        )
