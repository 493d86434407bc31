"""How a training's checkpoints are written and read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning_fabric.plugins import TorchCheckpointIO

from attngan.integrity import check_whole, write_checkpoint


class WholeFiles(TorchCheckpointIO):
    """Every checkpoint of a run is written beside its place, with its checksum, and renamed when it is whole.

    Lightning's own writer moves it there from ``$TMPDIR``, which copies it where that is another file system: who is
    killed then leaves a torn one.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        write_checkpoint(checkpoint, Path(path))

    def load_checkpoint(
        self, path: Any, map_location: Callable[..., Any] | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Refuses a damaged one.

        Raises:
            DamagedFileError: It is not what was written.
        """
        check_whole(Path(path))
        return super().load_checkpoint(path, map_location or "cpu", weights_only)  # type: ignore[arg-type]
