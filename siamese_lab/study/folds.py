"""Join the runs of a protocol with several folds into one result (LFW's View 2: Huang et al. 2007, §III).

The result is the mean over the folds ± their standard deviation (ddof=1) over √folds. Missing folds give no result.
"""

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from siamese_lab.errors import UserError
from siamese_lab.runs import results
from siamese_lab.runs.display_names import is_figure
from siamese_lab.runs.options import OUTSIDE_A_STUDY, compared_options
from siamese_lab.runs.packed import run_records
from siamese_lab.runs.plain_values import WrongValueError
from siamese_lab.runs.results import Results
from siamese_lab.study.data_set import DataSet, Fold, data_set


class FoldMean(NamedTuple):
    """The mean of one metric over all folds, with its standard error."""

    mean: float
    standard_error: float


class JoinedFolds(NamedTuple):
    """The joined folds of runs with the same configuration."""

    data: str
    """Title and protocol of the data set."""
    folds: int
    choices: dict[str, Any]
    """Values that the runs share: `sampler.name`, …, `seed`, the compared facts of the data set, and the `commit`."""
    figures_of_fold: dict[int, dict[str, float | None]]
    """`accuracy`, `auc` and other metrics of each finished fold."""
    missing: dict[int, str]
    """Reason for each fold that has not finished."""
    estimates: dict[str, FoldMean]
    """Mean of each metric; empty unless all folds have finished."""


class _OfFold(NamedTuple):
    """A run of one fold."""

    folder: Path
    run: Results
    data_set: DataSet
    fold: Fold


def read_folds(folder: Path) -> list[JoinedFolds]:
    """Read all runs below a folder and join their folds.

    Raises:
        UserError: if the folder does not exist or holds no fold, and for the reasons of `join_folds`.
    """
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}. Sweeps write to outputs/sweeps/DATE/TIME.")
    records = run_records(folder)
    joined = join_folds((folder / each.folder, each.read()) for each in records)
    if not joined:
        raise UserError(
            f"{folder} holds results of {len(records)} runs, but no run of a fold. "
            "To run the ten folds of LFW's View 2:  python -m siamese_lab.train -m experiment=lfw_view2."
        )
    return joined


def join_folds(runs: Iterable[tuple[Path, Results]]) -> list[JoinedFolds]:
    """Join the folds of runs with the same configuration, in the order of the first run of each group.

    Runs belong together if only the fold differs: configuration, code and images are the same. Runs without a fold are
    ignored.

    Args:
        runs: the results of each run, with its folder.

    Raises:
        UserError: if two runs with the same configuration finished the same fold.
    """
    groups: dict[str, dict[int, list[_OfFold]]] = {}
    for folder, run in runs:
        try:
            described = data_set(run)
        except WrongValueError as error:
            raise UserError(f"{folder / results.FILE_NAME} is not the record of a run: {error}.") from error
        if described.fold is not None:
            each = _OfFold(folder, run, described, described.fold)
            key = json.dumps([described.label, _shared(each)], sort_keys=True, default=str)
            groups.setdefault(key, {}).setdefault(each.fold.number, []).append(each)
    return [_joined(runs_of_fold) for runs_of_fold in groups.values()]


def differing(joined: Sequence[JoinedFolds]) -> list[str]:
    """Return the names of the options that differ; only the sampler's name if nothing differs."""
    names = {name: None for each in joined for name in each.choices}
    differ = [name for name in names if any(each.choices.get(name) != joined[0].choices.get(name) for each in joined)]
    return differ or ["sampler.name"]


def _shared(each: _OfFold) -> dict[str, Any]:
    return (
        compared_options(each.run.choices, without=(*OUTSIDE_A_STUDY, each.fold.option))
        | dict(each.data_set.compared)
        | {"commit": each.run.commit}
    )


def _joined(runs_of_fold: Mapping[int, list[_OfFold]]) -> JoinedFolds:
    some = next(each for runs in runs_of_fold.values() for each in runs)
    figures_of_fold, missing = {}, {}
    for fold in range(some.fold.of):
        runs = runs_of_fold.get(fold, [])
        finished = [each for each in runs if each.run.status == "finished"]
        if len(finished) > 1:
            raise UserError(
                f"Fold {fold} of {some.data_set.label} was finished twice with the same configuration, in "
                f"{finished[0].folder} and {finished[1].folder}. Report a folder that holds only one of them."
            )
        if finished:
            figures_of_fold[fold] = _figures(finished[0])
        else:
            missing[fold] = ", ".join(each.run.error or each.run.status for each in runs) or "no run"
    estimates = {} if missing else _estimates([*figures_of_fold.values()])
    return JoinedFolds(some.data_set.label, some.fold.of, _shared(some), figures_of_fold, missing, estimates)


def _figures(each: _OfFold) -> dict[str, float | None]:
    prefix = each.fold.prefix
    named = {name.removeprefix(prefix): value for name, value in each.run.test.items() if name.startswith(prefix)}
    return {name: value for name, value in named.items() if is_figure(name)}


def _estimates(folds: Sequence[Mapping[str, float | None]]) -> dict[str, FoldMean]:
    """Average each metric that every fold has."""
    estimates = {}
    for name in folds[0]:
        values = [value for figures in folds if (value := figures.get(name)) is not None]
        if len(values) == len(folds):
            estimates[name] = FoldMean(statistics.mean(values), statistics.stdev(values) / math.sqrt(len(folds)))
    return estimates
