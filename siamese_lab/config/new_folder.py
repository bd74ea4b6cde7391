"""The Hydra callback that gives each command its own folder, also if several start within one second."""

from itertools import count
from pathlib import Path

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict

from siamese_lab.config.errors import callback_errors_end_the_process
from siamese_lab.config.overrides import quoted
from siamese_lab.errors import ResourceError

CLOCK = "${now:"
"""Part of the folder's option if the folder is named after the time, not by the user."""


class NewFolder(Callback):
    """Creates the folder of a run or sweep that is named after the time, under the next free name.

    A folder that the user names is used as it is. An error ends the process here, because Hydra turns an exception of a
    callback into a warning.
    """

    def on_run_start(self, config: DictConfig, **_: object) -> None:
        """Create the folder of a single run."""
        with callback_errors_end_the_process():
            create(config, "run")

    def on_multirun_start(self, config: DictConfig, **_: object) -> None:
        """Create the folder of a sweep."""
        with callback_errors_end_the_process():
            create(config, "sweep")


def create(config: DictConfig, kind: str) -> None:
    """Create the folder that `hydra.KIND.dir` names, and store the name of the created folder in the configuration."""
    options = OmegaConf.to_container(config.hydra[kind], resolve=False)
    assert isinstance(options, dict)
    if CLOCK not in str(options["dir"]):
        return
    folder = new_folder(Path(config.hydra[kind].dir))
    with open_dict(config):
        config.hydra[kind].dir = str(folder)
        if kind == "sweep":  # Hydra composes the configuration of each job again, from the overrides
            config.hydra.overrides.hydra.append(f"hydra.sweep.dir={quoted(str(folder))}")


def new_folder(wanted: Path) -> Path:
    """Create a folder, or the next free of the names `NAME_2`, `NAME_3`, … if it exists, and return its path.

    Only one of several processes creates a folder, also on a file system that several machines share.

    Raises:
        ResourceError: if the folder cannot be created.
    """
    try:
        wanted.parent.mkdir(parents=True, exist_ok=True)
        for number in count(1):
            folder = wanted if number == 1 else wanted.with_name(f"{wanted.name}_{number}")
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            return folder
    except OSError as error:
        raise ResourceError(
            f"{wanted} cannot be written ({error.strerror}). Set paths.outputs to a folder that can."
        ) from error
    raise AssertionError("the loop ends only with a folder")
