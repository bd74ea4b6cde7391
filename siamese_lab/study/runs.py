"""Read the runs of a study from every results.json and packed file below a folder, and list the excluded ones."""

import math
from collections.abc import Sequence
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, get_args

import pandas as pd

from siamese_lab.errors import UserError
from siamese_lab.runs.display_names import is_figure, sort_strategies, unique
from siamese_lab.runs.packed import RunRecord, run_records
from siamese_lab.runs.plain_values import WrongValueError
from siamese_lab.runs.results import Results
from siamese_lab.study import bounds
from siamese_lab.study.data_set import DataSet, data_set
from siamese_lab.study.roles import Role, places

VALIDATION_METRIC = "recall@1"
DISTANCES = tuple(f"{kind}_q{share}" for kind in ("d_ap", "d_an") for share in (10, 50, 90))
TRAINING_COLUMNS = ("loss", "active_share", *DISTANCES)
"""Logged training values that are drawn alongside the validation metric."""


class Run(NamedTuple):
    """A run of the study."""

    folder: str
    """Folder of the run, relative to the folder of the study."""
    data: str
    """Title and protocol of the data set."""
    strategy: str
    seed: int
    results: Results
    data_set: DataSet

    @property
    def finished(self) -> bool:
        """Return whether the run has finished, so that it can be compared."""
        return self.results.status == "finished"


class Excluded(NamedTuple):
    """The results of a run that are not counted, with the reason."""

    folder: str
    reason: str


class Cell(NamedTuple):
    """The data set, strategy and seed that identify a job."""

    data: str
    strategy: str
    seed: int


class Placed(NamedTuple):
    """A run of a factor or of a control arm."""

    run: Run
    options: dict[str, Any]
    """Values of the factors that differ from the standard values, by dotted names."""


class Study(NamedTuple):
    """The runs of a study and the files that were excluded."""

    name: str
    runs: list[Run]
    """The standard runs, which compare the strategies: one for each data set, strategy and seed."""
    excluded: list[Excluded]
    folds: int
    """Number of further runs that are folds; module `folds` joins them."""
    every: list[Run]
    """All runs that are no folds, also several with the same data, strategy and seed, such as those of a factor."""
    factors: list[Placed]
    """Runs with another value of a factor."""
    controls: list[Placed]
    """Runs of control arms."""
    references: list[Run]
    """Runs that train the network as a classifier."""

    @property
    def finished(self) -> list[Run]:
        """Return the finished runs."""
        return [run for run in self.runs if run.finished]

    @property
    def finished_by_data(self) -> list[Run]:
        """Return the finished runs, sorted by data set in the order of the tables."""
        return sorted(self.finished, key=_position_in_tables)

    @property
    def strategies(self) -> list[str]:
        """Return the strategies of all runs in the order of the tables."""
        return sort_strategies(run.strategy for run in self.runs)

    @property
    def data(self) -> list[str]:
        """Return the data sets of all runs in the order of the tables."""
        return unique(run.data for run in sorted(self.runs, key=_position_in_tables))

    @property
    def notes(self) -> dict[str, list[str]]:
        """Return the notes of each data set about its results."""
        noted = {run.data: unique(run.data_set.notes) for run in sorted(self.runs, key=_position_in_tables)}
        return {data: notes for data, notes in noted.items() if notes}

    @property
    def seeds(self) -> list[int]:
        """Return the seeds of all runs in ascending order."""
        return sorted({run.seed for run in self.runs})

    @property
    def missing(self) -> list[Cell]:
        """Return the jobs without results: every strategy with every seed that its data set has."""
        present = {(run.data, run.strategy, run.seed) for run in self.runs}
        grid = (
            each
            for data in self.data
            for each in product([data], self.strategies, sorted({run.seed for run in self.runs if run.data == data}))
        )
        return [Cell(*each) for each in grid if each not in present]


def _position_in_tables(run: Run) -> tuple[int, str]:
    return run.data_set.order, run.data


def records_of_runs(folder: Path) -> list[RunRecord]:
    """Return the records of all runs below a folder, except for evaluations and the trials of a tuning."""
    return [record for record in run_records(folder) if not _is_trial(PurePosixPath(record.folder).parts)]


def _is_trial(names: Sequence[str]) -> bool:
    return any(name in ("evaluations", "tuning") or name.startswith("trial=") for name in names)


def read_study(folder: Path, commit: str | None = None) -> Study:
    """Read the study in a folder.

    Args:
        folder: the folder to search for `results.json` and `runs.jsonl.gz` files, at any depth.
        commit: if given, count only runs with a commit that starts with this prefix.

    Raises:
        UserError: if the folder does not exist, or has more runs, validations or values than a report may
            have.
    """
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}. Studies are in outputs/NAME, other sweeps in outputs/sweeps.")
    excluded, every = [], []
    folds = points = values = 0
    records = records_of_runs(folder)
    bounds.check(len(records), bounds.RUNS, str(folder))
    for record in records:
        if record.note:
            excluded.append(Excluded(record.folder, record.note))
        try:
            run = _read_run(record)
        except UserError as error:
            excluded.append(Excluded(record.folder, str(error)))
            continue
        values += bounds.number_of_values(run.results)
        bounds.check(values, bounds.VALUES, str(folder))
        points += len(run.results.history)
        bounds.check(points, bounds.POINTS, str(folder))
        if run.data_set.fold is not None:
            folds += 1
        elif commit is not None and not (run.results.commit or "").startswith(commit):
            reason = f"Its commit is {run.results.commit}, but only {commit} was requested."
            excluded.append(Excluded(record.folder, reason))
        else:
            every.append(run)
    of_role: dict[Role, list[Placed]] = {role: [] for role in get_args(Role)}
    for run, place in zip(every, places(every), strict=True):
        of_role[place.role].append(Placed(run, place.options))
    runs, repeated = _without_repeats([each.run for each in of_role["standard"]])
    references, repeated_references = _without_repeats([each.run for each in of_role["reference"]])
    excluded += [*repeated, *repeated_references]
    return Study(folder.resolve().name, runs, excluded, folds, every, of_role["factor"], of_role["control"], references)


def _without_repeats(runs: Sequence[Run]) -> tuple[list[Run], list[Excluded]]:
    """Return one run of each job, the first finished one if there is any, and the others."""
    kept: dict[Cell, Run] = {}
    excluded = []
    for run in runs:
        cell = Cell(run.data, run.strategy, run.seed)
        if cell not in kept:
            kept[cell] = run
        elif run.finished and not kept[cell].finished:
            reason = f"It has not finished, but the same job in {run.folder} has."
            excluded.append(Excluded(kept[cell].folder, reason))
            kept[cell] = run
        else:
            excluded.append(Excluded(run.folder, f"It repeats the data, strategy and seed of {kept[cell].folder}."))
    return list(kept.values()), excluded


def _read_run(record: RunRecord) -> Run:
    try:
        run = record.read()
        described = data_set(run)
    except OSError as error:
        raise UserError(f"The file cannot be read: {error.strerror}.") from error
    except WrongValueError as error:
        raise UserError(f"The file is not the results.json of a siamese_lab run: {error}.") from error
    return Run(record.folder, described.label, run.sampler, run.seed, run, described)


def figures(study: Study) -> pd.DataFrame:
    """Return a row for each test metric of each finished run: data, strategy, seed, metric, value.

    Undefined metrics (None) and metrics that are not finite have no row.
    """
    rows = [
        (run.data, run.strategy, run.seed, metric, float(value))
        for run in study.finished_by_data
        for metric, value in run.results.test.items()
        if is_figure(metric) and value is not None and math.isfinite(value)
    ]
    return pd.DataFrame(rows, columns=["data", "strategy", "seed", "metric", "value"])


def curves(study: Study) -> pd.DataFrame:
    """Return a row for each validation of each finished run.

    Columns: data, strategy, seed, step, triplets, seconds (of training), recall@1 (of validation) and
    `TRAINING_COLUMNS`, the means since the previous validation. Values that were not logged, or that are infinite,
    are NaN.
    """
    rows = [
        {
            "data": run.data,
            "strategy": run.strategy,
            "seed": run.seed,
            "step": point.step,
            "triplets": point.triplets,
            "seconds": finite(seconds),
            VALIDATION_METRIC: finite(point.validation.get(VALIDATION_METRIC)),
        }
        | {name: finite(point.train.get(name)) for name in TRAINING_COLUMNS}
        for run in study.finished_by_data
        for point, seconds in zip(run.results.history, run.results.seconds_of_history, strict=True)
    ]
    columns = ["data", "strategy", "seed", "step", "triplets", "seconds", VALIDATION_METRIC, *TRAINING_COLUMNS]
    return pd.DataFrame(rows, columns=columns)


def finite(value: float | None) -> float:
    """Return a value as a float; NaN if there is none, or if it is infinite, because no axis can show it."""
    return float(value) if value is not None and math.isfinite(value) else math.nan
