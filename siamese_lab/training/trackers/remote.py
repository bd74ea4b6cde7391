"""Trackers, which collect the runs of many people or machines: the logger that passes a run to one of them.

A tracker never ends a run. After its first error there is one warning, and training goes on without it.
"""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
from lightning import Trainer
from lightning.pytorch.loggers import Logger
from numpy.typing import NDArray
from torch import Tensor

from siamese_lab.runs.files import write_json
from siamese_lab.runs.results import Results
from siamese_lab.training.trackers.building import check_extra
from siamese_lab.training.trackers.pictures import Histogram

IDS = "trackers.json"
"""File in the folder of a run with its id in each tracker, by which a resumed run continues there."""
VALID_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
LONGEST_REASON = 300
"""Number of characters of an error that a warning shows."""


class Tracked(NamedTuple):
    """The facts about a run that a tracker gets when the run starts."""

    name: str
    folder: Path
    config_values: Mapping[str, Any]
    """The whole configuration, as plain values."""


class TrackerRun(Protocol):
    """Describes one open run of a tracker. Its methods may raise any error."""

    id: str
    where: str
    """The place of the curves for the user: an address, or a command."""

    def log_scalars(self, values: Mapping[str, float], step: int) -> None:
        """Log values of one step by name."""

    def log_histogram(self, name: str, histogram: Histogram, step: int) -> None:
        """Log a distribution."""

    def log_picture(self, name: str, pixels: NDArray[np.uint8], step: int) -> None:
        """Log a picture (height, width, 3)."""

    def close(self, results: Results, folder: Path) -> None:
        """Log the files of the run, and close it with the status of its results."""


class RemoteLogger(Logger, ABC):
    """Passes everything that a run logs to a run of a tracker, which `start` opens and `close` closes.

    Only the first process of a run calls `start`. Until then, and in all other processes, nothing is passed on.

    Args:
        save_dir: the folder of the run.

    Raises:
        ResourceError: if the package of the tracker is not installed.
    """

    option: ClassVar[str]
    """Name of the logger on the command line, and of the extra that installs its package."""
    package: ClassVar[str]

    def __init__(self, save_dir: Path) -> None:
        super().__init__()
        check_extra(self.option, self.package)
        self.folder = Path(save_dir)
        self._run: TrackerRun | None = None
        self._works = False
        self._has_warned = False
        self._report: Callable[[str], object] = print

    @abstractmethod
    def connect(self, tracked: Tracked, run_id: str | None) -> TrackerRun:
        """Open a run of the tracker.

        Args:
            tracked: the run to track.
            run_id: id of the run of the tracker to continue; None opens a new one.
        """

    @property
    def name(self) -> str:
        """Return the name of the logger on the command line."""
        return self.option

    @property
    def save_dir(self) -> str:
        """Return the folder of the run."""
        return str(self.folder)

    @property
    def version(self) -> str | None:
        """Return the id of the tracker's run, or None if none is open."""
        return None if self._run is None else self._run.id

    def start(self, tracked: Tracked, report: Callable[[str], object]) -> None:
        """Open a run of the tracker, or continue the one that the folder of the run names.

        Args:
            tracked: the run to track.
            report: shows a sentence to the user.
        """
        self._report, self._works, self._has_warned = report, True, False
        with self._errors_as_warning():
            ids = stored_ids(tracked.folder)
            self._run = self.connect(tracked, ids.get(self.option))
            write_json(tracked.folder / IDS, ids | {self.option: self._run.id})

    def close(self, results: Results) -> None:
        """Close the run of the tracker with the status of the results, also if the tracker has failed before."""
        with self._errors_as_warning():
            if self._run is not None:
                self._run.close(results, self.folder)
                if self._works:
                    self._report(f"Curves:  {self._run.where}")
        self._run, self._works = None, False

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """Do nothing: the tracker got the whole configuration at the start."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Pass the metrics on, without Lightning's `epoch`."""
        if self._run is not None and self._works:
            with self._errors_as_warning():
                self._run.log_scalars({name: each for name, each in metrics.items() if name != "epoch"}, step or 0)

    def log_histogram(self, name: str, values: Tensor, step: int) -> None:
        """Pass on how values of any shape are distributed."""
        if self._run is not None and self._works:
            with self._errors_as_warning():
                self._run.log_histogram(name, Histogram.of(values), step)

    def log_picture(self, name: str, pixels: NDArray[np.uint8], step: int) -> None:
        """Pass a picture (height, width, 3) on."""
        if self._run is not None and self._works:
            with self._errors_as_warning():
                self._run.log_picture(name, pixels, step)

    def warn(self, sentence: str) -> None:
        """Show the first warning of this run to the user; there is never a second one."""
        if not self._has_warned:
            self._has_warned = True
            self._report(f"Warning: logger={self.option}: {sentence}")

    @contextmanager
    def _errors_as_warning(self) -> Iterator[None]:
        """Warn of an error of the tracker, of whatever kind, and pass nothing on to it from then on."""
        try:
            yield
        except Exception as error:
            self._works = False
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            self.warn(f"the tracker failed, and the run goes on without it. {reason[:LONGEST_REASON]}")


@contextmanager
def tracking(
    trainer: Trainer, results: Results, tracked: Tracked, resumes: bool, report: Callable[[str], object]
) -> Iterator[None]:
    """Open a run of each tracker for the block, and close it with the status that the results have after the block.

    Args:
        trainer: its loggers may be trackers. In other processes than the first one nothing happens.
        results: the record of the run.
        tracked: the run to track.
        resumes: if True, the runs of the trackers continue. Otherwise new ones are opened.
        report: shows a sentence to the user.
    """
    loggers = [each for each in trainer.loggers if isinstance(each, RemoteLogger) and trainer.is_global_zero]
    if loggers and not resumes:
        (tracked.folder / IDS).unlink(missing_ok=True)
    try:
        for logger in loggers:
            logger.start(tracked, report)
        yield
    finally:
        for logger in loggers:
            logger.close(results)


def run_name(folder: Path, data: str) -> str:
    """Return the end of the path of a run from the part with the name of its data set on, at most three parts.

    >>> run_name(Path("/outputs/my_study/digits/hard/seed=1"), "digits")
    'digits/hard/seed=1'
    >>> run_name(Path("/outputs/sweeps/today/0_digits_hard_seed=1"), "digits")
    '0_digits_hard_seed=1'
    """
    parts = folder.absolute().parts[-3:]
    first = next((place for place in reversed(range(len(parts))) if data in parts[place]), 0)
    return "/".join(parts[first:])


def stored_ids(folder: Path) -> dict[str, str]:
    """Return the ids that the folder of a run names by tracker; an entry that is no id is left out."""
    try:
        content = json.loads((folder / IDS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    entries = content.items() if isinstance(content, dict) else ()
    return {name: each for name, each in entries if isinstance(each, str) and VALID_ID.fullmatch(each)}
