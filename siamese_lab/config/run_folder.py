"""Remove the folder of a run that failed before it wrote anything: Hydra has created it for its own files."""

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from siamese_lab.runs.files import LOCK


@contextmanager
def removed_if_unused(config: DictConfig) -> Iterator[None]:
    """Remove Hydra's files and the empty folder if the block, which is a job, fails and has written nothing.

    Args:
        config: the configuration of the job. Empty folders below its `paths.outputs` are removed as well.
    """
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    if hydra.output_subdir is None:  # the command has no own folder
        yield
        return
    own = folder / hydra.output_subdir
    before = state_of(folder, own)
    try:
        yield
    except BaseException:
        with suppress(OSError):
            if state_of(folder, own) == before:
                shutil.rmtree(own)
                remove_empty(folder, hydra.job.name, Path(config.paths.outputs), hydra.mode == RunMode.MULTIRUN)
        raise


def state_of(folder: Path, without: Path) -> dict[str, int]:
    """Return the time of the last change of each file in a folder, without one subfolder and the lock."""
    state = {}
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # another process has removed it
            if path not in (without, *without.parents, folder / LOCK):
                state[path.name] = path.lstat().st_mtime_ns
    return state


def remove_empty(folder: Path, job: str, outputs: Path, is_sweep: bool) -> None:
    """Remove a folder that holds only Hydra's empty log and the lock, then empty folders between it and `outputs`.

    Raises:
        OSError: if a folder is not empty, or cannot be removed.
    """
    log = folder / f"{job}.log"
    others = [path for path in folder.iterdir() if path not in (log, folder / LOCK)]
    if others or (log.is_file() and log.stat().st_size):
        return
    close_log(log)
    log.unlink(missing_ok=True)
    (folder / LOCK).unlink(missing_ok=True)
    folder.rmdir()
    if not is_sweep:  # another job of the sweep may be creating its folder
        for above in folder.parents:
            if outputs.absolute() not in above.parents:
                return
            above.rmdir()


def close_log(log: Path) -> None:
    """Close Hydra's log, so that nothing in this process writes to it, or opens it again, after it is deleted."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler, logging.FileHandler) and Path(handler.baseFilename) == log.absolute():
            root.removeHandler(handler)
            handler.close()
