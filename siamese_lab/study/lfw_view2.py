"""View 2 of Labeled Faces in the Wild: ten runs, one for each fold, joined into one figure (Huang et al. 2007, §III).

It is the mean of the ten folds' figures ± their standard deviation (ddof=1) over √10, and there is none of fewer folds.
"""

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from siamese_lab.errors import UserError
from siamese_lab.study import options, results
from siamese_lab.study.results import Results

FOLDS = 10
PREFIX = "view_2/"
COUNTS = ("threshold", "positives", "negatives")
"""What a fold reports that is not to be averaged."""


class Estimate(NamedTuple):
    """A mean over the ten folds."""

    mean: float
    standard_error: float


class View2(NamedTuple):
    """The runs of one set of choices."""

    choices: dict[str, Any]
    """What they share: `sampler.name`, …, `seed`, and the `alignment` of the images and the `commit`."""
    figures_of_fold: dict[int, dict[str, float | None]]
    """`accuracy`, `auc` and so on of each fold that is finished."""
    missing: dict[int, str]
    """The other folds, each with the reason."""
    estimates: dict[str, Estimate]
    """Of each figure; empty unless all ten folds are finished."""


def read(folder: Path) -> list[View2]:
    """View 2 of each set of choices among the runs anywhere below a folder.

    Raises:
        UserError: for a folder that is not there or holds no run of View 2, and as `join`.
    """
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}. Sweeps leave theirs at outputs/sweeps/DATE/TIME.")
    places = sorted(place.parent for place in folder.rglob(results.FILE_NAME))
    joined = join((place, results.read(place)) for place in places)
    if not joined:
        raise UserError(
            f"{folder} holds results of {len(places)} runs, but none of LFW's View 2. "
            "Make ten: python -m siamese_lab.train -m experiment=lfw_view2."
        )
    return joined


def join(runs: Iterable[tuple[Path, Results]]) -> list[View2]:
    """View 2 of each set of choices among the runs, in the order of its first run; other runs are passed over.

    Runs belong together whose choices are equal but for the fold, with the same code and alignment of the images.

    Args:
        runs: with the folder of each.

    Raises:
        UserError: where two runs of equal choices have finished one fold.
    """
    groups: dict[str, dict[int, list[tuple[Path, Results]]]] = {}
    for folder, run in runs:
        if run.data == "lfw" and run.choices["data"]["view"] == 2:
            key = json.dumps(_shared(run), sort_keys=True, default=str)
            groups.setdefault(key, {}).setdefault(run.choices["data"]["fold"], []).append((folder, run))
    return [_joined(runs_of_fold) for runs_of_fold in groups.values()]


def differing(joined: Sequence[View2]) -> list[str]:
    """The names of the choices by which these differ; the sampler where there is nothing to tell apart."""
    names = {name: None for each in joined for name in each.choices}
    differ = [name for name in names if any(each.choices.get(name) != joined[0].choices.get(name) for each in joined)]
    return differ or ["sampler.name"]


def _shared(run: Results) -> dict[str, Any]:
    return options.named(run, without=("data.fold",)) | {"alignment": run.images.get("alignment"), "commit": run.commit}


def _joined(runs_of_fold: Mapping[int, list[tuple[Path, Results]]]) -> View2:
    figures_of_fold, missing = {}, {}
    for fold in range(FOLDS):
        runs = runs_of_fold.get(fold, [])
        finished = [(folder, run) for folder, run in runs if run.status == "finished"]
        if len(finished) > 1:
            raise UserError(
                f"Fold {fold} of LFW's View 2 was finished twice with the same choices, in {finished[0][0]} and "
                f"{finished[1][0]}. Report a folder that holds one of them."
            )
        if finished:
            figures_of_fold[fold] = _figures(finished[0][1])
        else:
            missing[fold] = ", ".join(run.error or run.status for _, run in runs) or "no run"
    some_run = next(run for runs in runs_of_fold.values() for _, run in runs)
    return View2(_shared(some_run), figures_of_fold, missing, {} if missing else _estimates(figures_of_fold.values()))


def _figures(run: Results) -> dict[str, float | None]:
    named = {name.removeprefix(PREFIX): value for name, value in run.test.items() if name.startswith(PREFIX)}
    return {name: value for name, value in named.items() if name not in COUNTS}


def _estimates(figures_of_fold: Iterable[Mapping[str, float | None]]) -> dict[str, Estimate]:
    """Of the figures that every fold has."""
    folds = list(figures_of_fold)
    estimates = {}
    for name in folds[0]:
        values = [value for figures in folds if (value := figures.get(name)) is not None]
        if len(values) == FOLDS:
            estimates[name] = Estimate(statistics.mean(values), statistics.stdev(values) / math.sqrt(FOLDS))
    return estimates
