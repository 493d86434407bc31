"""A checkpoint that is read and hashed once, for all that an evaluation takes from it."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from attngan.checkpoint import ENTRY, file_sha256, load_part, read_checkpoint
from attngan.networks.damsm import DAMSM
from attngan.sampling import WORD_LIMIT, Sampler


@dataclass
class OpenedCheckpoint:
    """What a checkpoint holds, read when it is first asked for.

    Args:
        path: Of `attngan train`, `attngan pretrain` or `attngan export`.
    """

    path: Path

    @cached_property
    def contents(self) -> dict[str, Any]:
        return read_checkpoint(self.path)

    @cached_property
    def sha256(self) -> str:
        """Of the file."""
        return file_sha256(self.path)

    @property
    def word_limit(self) -> int:
        """Words of a caption that its networks read."""
        return int(self.contents[ENTRY].get("word_limit") or WORD_LIMIT)

    def sampler(self, device: torch.device | str) -> Sampler:
        """Its generator, ready to draw.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It holds no generator.
        """
        return Sampler.from_contents(self.contents, self.path, self.sha256, device)

    def damsm(self) -> DAMSM:
        """Its DAMSM, frozen.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It holds no DAMSM, or only the text encoder of one, as a generator's file does.
        """
        entry = self.contents[ENTRY]
        if not entry.get("damsm"):
            raise ValueError(
                f"{self.path} holds no DAMSM (it is a {entry.get('kind')}): give the checkpoint of `attngan pretrain`"
            )
        damsm = DAMSM.build(entry["damsm"])
        try:
            load_part(damsm, self.contents, "damsm")
        except RuntimeError as error:
            raise ValueError(
                f"{self.path} holds no whole DAMSM that could tell which caption belongs to an image (a generator's "
                "file has its text encoder alone): give the checkpoint of `attngan pretrain` with --scorer"
            ) from error
        return damsm.freeze()
