"""Weights & Biases (https://docs.wandb.ai): a run on its server, or in a folder of files that `wandb sync` uploads."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from siamese_lab.errors import UserError
from siamese_lab.runs import results as stored
from siamese_lab.runs.display import short
from siamese_lab.runs.results import Results
from siamese_lab.training.trackers.pictures import Histogram
from siamese_lab.training.trackers.remote import RemoteLogger, Tracked

if TYPE_CHECKING:
    from wandb import Run

MODES = ("online", "offline")
EXIT_CODES = {"finished": 0, "shortened": 0, "interrupted": 255}
"""Exit codes by the status of a run; 255 is the one that W&B calls killed. All other runs failed."""
CONNECTING, UPLOADING = 30.0, 300.0
"""Seconds that the server gets to answer when a run starts, and to take the rest of the values at its end."""


class WandbLogger(RemoteLogger):
    """Passes a run to Weights & Biases. Without a login, or without a connection, the run is stored offline.

    Args:
        save_dir: the folder of the run; W&B writes into its subfolder `wandb`.
        project: name of the project.
        entity: user or team that owns the project; None is the default of the user.
        group: name by which W&B groups runs; None does not group.
        tags: tags of the run.
        mode: `online` or `offline`; None takes the environment variable WANDB_MODE, and without it `online`.
        cache: folder for the files that W&B would write into the home folder.

    Raises:
        UserError: if the mode is unknown, or wandb is not installed.
    """

    option = "wandb"
    package = "wandb"

    def __init__(
        self,
        save_dir: Path,
        project: str,
        entity: str | None,
        group: str | None,
        tags: list[str],
        mode: str | None,
        cache: str,
    ) -> None:
        super().__init__(save_dir)
        self.mode = mode or os.environ.get("WANDB_MODE", "online")
        if self.mode not in MODES:
            raise UserError(f"logger.wandb.mode (or WANDB_MODE) must be {' or '.join(MODES)}, but is {self.mode!r}.")
        self.cache = Path(cache).absolute()
        self.arguments = {"project": project, "entity": entity, "group": group, "tags": list(tags)}

    def connect(self, tracked: Tracked, run_id: str | None) -> "WandbRun":
        """Open a run. If the server cannot be used, warn and open it offline."""
        for variable in ("WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
            os.environ.setdefault(variable, str(self.cache))
        os.environ.setdefault("WANDB_SILENT", "true")
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # W&B would send its own errors to its makers
        import wandb

        if self.mode == "online":
            try:
                if wandb.login(prompt=False):
                    return WandbRun(self._init(tracked, run_id, "online"))
                reason = "there is no login. `wandb login` logs in"
            except wandb.errors.Error as error:
                reason = f"the server cannot be used ({' '.join(str(error).split())})"
            self.warn(f"{reason}. The run is stored offline.")
        return WandbRun(self._init(tracked, run_id, "offline"))

    def _init(self, tracked: Tracked, run_id: str | None, mode: Any) -> "Run":
        import wandb

        return wandb.init(
            **self.arguments,
            id=run_id,
            resume=None if run_id is None else "allow",
            name=tracked.name,
            config=dict(tracked.config_values),
            dir=tracked.folder,
            mode=mode,
            reinit="create_new",  # another run of this process may be open
            settings=wandb.Settings(
                console="off", silent=True, init_timeout=CONNECTING, finish_timeout=UPLOADING, save_code=False
            ),
        )


class WandbRun:
    """Writes into an open run of W&B. Its step is the training step.

    W&B refuses smaller steps than the latest one, so a value of an earlier step counts for the latest step.

    Args:
        run: an open run.
    """

    def __init__(self, run: "Run") -> None:
        self.run = run
        self.id: str = run.id
        self.where: str = run.url or f'wandb sync "{short(Path(run.dir).parent)}"'
        self._latest = 0

    def _log(self, values: Mapping[str, Any], step: int) -> None:
        self._latest = max(step, self._latest)
        self.run.log(dict(values), step=self._latest)

    def log_scalars(self, values: Mapping[str, float], step: int) -> None:
        """Log values of one step by name."""
        self._log(values, step)

    def log_histogram(self, name: str, histogram: Histogram, step: int) -> None:
        """Log a distribution."""
        import wandb

        self._log({name: wandb.Histogram(np_histogram=tuple(histogram))}, step)

    def log_picture(self, name: str, pixels: NDArray[np.uint8], step: int) -> None:
        """Log a picture (height, width, 3)."""
        import wandb

        self._log({name: wandb.Image(pixels)}, step)

    def close(self, results: Results, folder: Path) -> None:
        """Add results.json and the status of the run, and close it."""
        try:
            self.run.summary["status"] = results.status
            copy = shutil.copy(folder / stored.FILE_NAME, self.run.dir)
            self.run.save(copy, base_path=self.run.dir, policy="now")
        finally:
            self.run.finish(exit_code=EXIT_CODES.get(results.status, 1))
