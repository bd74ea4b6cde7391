"""The runs of a study: every results.json below a folder, with those set aside that do not belong or cannot be read."""

import math
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from siamese_lab.errors import UserError
from siamese_lab.runs import results
from siamese_lab.runs.display_names import is_figure, sort_strategies, unique
from siamese_lab.runs.results import Results
from siamese_lab.study.data_set import DataSet, data_set
from siamese_lab.study.validation import validate_results

VALIDATION_METRIC = "recall@1"
DISTANCES = tuple(f"{kind}_q{share}" for kind in ("d_ap", "d_an") for share in (10, 50, 90))
TRAINING_COLUMNS = ("loss", "active_share", *DISTANCES)
"""What is drawn of the course of a run, beside its validation."""


class Run(NamedTuple):
    """A job of the study."""

    folder: str
    """Its folder, below the study's."""
    data: str
    """The set and the protocol, as people write them."""
    strategy: str
    seed: int
    results: Results
    data_set: DataSet

    @property
    def finished(self) -> bool:
        """Whether there is something to compare."""
        return self.results.status == "finished"


class Excluded(NamedTuple):
    """A file that is not counted."""

    folder: str
    reason: str


class Cell(NamedTuple):
    """A job that there ought to be."""

    data: str
    strategy: str
    seed: int


class Study(NamedTuple):
    """All that is known of a study."""

    name: str
    runs: list[Run]
    excluded: list[Excluded]
    folds: int
    """How many further runs are folds, whose figures only count together: see `folds`."""

    @property
    def finished(self) -> list[Run]:
        """The runs that are compared."""
        return [run for run in self.runs if run.finished]

    @property
    def finished_by_data(self) -> list[Run]:
        """The same runs, one data set after another as tables show them."""
        return sorted(self.finished, key=_place_in_tables)

    @property
    def strategies(self) -> list[str]:
        """In order."""
        return sort_strategies(run.strategy for run in self.runs)

    @property
    def data(self) -> list[str]:
        """In order."""
        return unique(run.data for run in sorted(self.runs, key=_place_in_tables))

    @property
    def notes(self) -> dict[str, list[str]]:
        """What the data sets say about their figures, by label."""
        noted = {run.data: unique(run.data_set.notes) for run in sorted(self.runs, key=_place_in_tables)}
        return {data: notes for data, notes in noted.items() if notes}

    @property
    def seeds(self) -> list[int]:
        """In order."""
        return sorted({run.seed for run in self.runs})

    @property
    def missing(self) -> list[Cell]:
        """Jobs of the whole grid of data, strategies and seeds that have left nothing."""
        there = {(run.data, run.strategy, run.seed) for run in self.runs}
        grid = product(self.data, self.strategies, self.seeds)
        return [Cell(*each) for each in grid if each not in there]


def _place_in_tables(run: Run) -> tuple[int, str]:
    return run.data_set.order, run.data


def run_folders(folder: Path) -> Iterator[Path]:
    """The folders that hold a results.json, but for evaluations and the trials of a tuning."""
    for file in sorted(folder.rglob(results.FILE_NAME)):
        above = file.parent.relative_to(folder).parts
        if not any(name in ("evaluations", "tuning") or name.startswith("trial=") for name in above):
            yield file.parent


def read_study(folder: Path, commit: str | None = None) -> Study:
    """The study in a folder.

    Args:
        folder: whose `results.json` files are read, however deep they lie.
        commit: counts only runs of the version of the code whose commit begins like this.

    Raises:
        UserError: for a folder that is not there.
    """
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}. Studies lie at outputs/NAME, other sweeps at outputs/sweeps.")
    runs: dict[Cell, Run] = {}
    excluded = []
    folds = 0
    for place in run_folders(folder):
        below = place.relative_to(folder).as_posix()
        try:
            run = _read_run(place, below)
        except UserError as error:
            excluded.append(Excluded(below, str(error)))
            continue
        cell = Cell(run.data, run.strategy, run.seed)
        if run.data_set.fold is not None:
            folds += 1
        elif commit is not None and not (run.results.commit or "").startswith(commit):
            excluded.append(Excluded(below, f"Of commit {run.results.commit}, and {commit} was asked for."))
        elif cell not in runs or (run.finished and not runs[cell].finished):
            if cell in runs:
                excluded.append(Excluded(runs[cell].folder, f"Not finished, as the same job in {below} is."))
            runs[cell] = run
        else:
            excluded.append(Excluded(below, f"The same data, strategy and seed as {runs[cell].folder}."))
    return Study(folder.resolve().name, list(runs.values()), excluded, folds)


def _read_run(place: Path, below: str) -> Run:
    try:
        run = results.read_results(place)
        validate_results(run)
        described = data_set(run)
    except OSError as error:
        raise UserError(f"It cannot be read: {error.strerror}.") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"It is not the results.json of a run of this lab: {error!r}.") from error
    return Run(below, described.label, run.sampler, run.seed, run, described)


def figures(study: Study) -> pd.DataFrame:
    """A row for each figure that a finished run was tested for: data, strategy, seed, metric, value.

    What the images cannot tell, and what is no number, has no row.
    """
    rows = [
        (run.data, run.strategy, run.seed, metric, float(value))
        for run in study.finished_by_data
        for metric, value in run.results.test.items()
        if is_figure(metric) and value is not None and math.isfinite(value)
    ]
    return pd.DataFrame(rows, columns=["data", "strategy", "seed", "metric", "value"])


def curves(study: Study) -> pd.DataFrame:
    """A row for each validation of a finished run: where it stood, what was logged since the one before, Recall@1.

    Columns: data, strategy, seed, step, triplets, seconds (of training), recall@1 (of validation), those of
    `TRAINING_COLUMNS`; NaN for what was not logged.
    """
    rows = [
        {
            "data": run.data,
            "strategy": run.strategy,
            "seed": run.seed,
            "step": point.step,
            "triplets": point.triplets,
            "seconds": seconds,
            VALIDATION_METRIC: point.validation.get(VALIDATION_METRIC, math.nan),
        }
        | {name: point.train.get(name, math.nan) for name in TRAINING_COLUMNS}
        for run in study.finished_by_data
        for point, seconds in zip(run.results.history, run.results.seconds_of_history, strict=True)
    ]
    columns = ["data", "strategy", "seed", "step", "triplets", "seconds", VALIDATION_METRIC, *TRAINING_COLUMNS]
    return pd.DataFrame(rows, columns=columns)
