"""Write checkpoints completely or not at all, without the temporary folder of the system."""

import io
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins import TorchCheckpointIO

from siamese_lab.runs.files import whole_file


class WholeCheckpointIO(TorchCheckpointIO):
    """Replaces a checkpoint only by a complete one.

    Lightning's own plugin writes into the temporary folder and then copies the file if that folder is on another disk,
    so a power failure or a full temporary folder leaves an incomplete checkpoint.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint.

        Args:
            checkpoint: the state of the trainer and the model.
            path: path of the file; its folder is created if it does not exist.
            storage_options: not supported.

        Raises:
            TypeError: if there are storage options.
            OSError: if the file cannot be written; an existing checkpoint is then unchanged.
        """
        if storage_options is not None:
            raise TypeError(f"{type(self).__name__} supports no storage_options, but got {storage_options!r}.")
        buffer = io.BytesIO()  # torch.save into a file turns a full disk into a RuntimeError without the cause
        torch.save(checkpoint, buffer)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with whole_file(Path(path)) as draft:
            draft.write_bytes(buffer.getbuffer())
