"""Continue a run after its SLURM job was requeued: SLURM starts the same command again, in the same folder.

The lab writes no `hpc_ckpt_*`, as Lightning does when it requeues a job itself. Everything is in `last.ckpt`.
"""

import os
from pathlib import Path

from siamese_lab.errors import UserError
from siamese_lab.runs.checkpoints import LAST

RESTARTS = "SLURM_RESTART_COUNT"
"""The environment variable in which SLURM counts how often it has requeued a job."""
FOREIGN = "hpc_ckpt_*.ckpt"
"""Files from which Lightning starts a run within a SLURM job, if no other checkpoint is named."""


def requeued_checkpoint(folder: Path) -> Path | None:
    """Return the checkpoint of a requeued run; None if the job was not requeued, or stored no checkpoint yet.

    Args:
        folder: the folder of the run, which `hydra.run.dir` keeps the same when the command starts again.
    """
    last = folder / LAST
    return last if os.environ.get(RESTARTS, "0") not in ("", "0") and last.is_file() else None


def check_starts_anew(folder: Path) -> None:
    """Raise UserError if Lightning would start a new run from a checkpoint that nobody named."""
    foreign = sorted(folder.glob(FOREIGN))
    if foreign:
        raise UserError(
            f"{folder} holds {foreign[-1].name}, from which Lightning would start the run within a SLURM job. "
            f"Name the weights to start from (resume={folder / LAST}), or set hydra.run.dir to a new folder."
        )
