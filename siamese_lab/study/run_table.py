"""Tabulate runs with their options, metrics and facts: one row for each finished run, as the hypotheses need it."""

import math
from collections.abc import Iterable
from statistics import fmean
from typing import Any

import pandas as pd

from siamese_lab.runs.display_names import is_figure
from siamese_lab.runs.options import compared_options
from siamese_lab.runs.results import Results
from siamese_lab.runs.studied_options import studied_options
from siamese_lab.study.runs import Run

FLOOR, VALIDATION = "floor/", "validation/"
"""Prefixes of the columns of floors (the better of raw pixels and the untrained network) and of validation metrics."""
OVERLAP = "overlap_"
"""Prefix of the measurements of training that compare the picks of two strategies."""


def run_table(runs: Iterable[Run]) -> pd.DataFrame:
    """Return a row for each finished run, sorted by data set; the same run of two folders has two rows.

    Columns: `folder`, `column` (title and protocol of the data set), `data` (its name), `strategy`, `loss`, `seed`;
    the options of `runs.studied_options` by dotted names, and `batch_size`; every test metric by its name,
    with its floor (`floor/recall@1`), and every validation metric (`validation/recall@1`); `collapsed`, `mean_active`
    (active triplets of a step, as a mean over training) and `overlap_NAME` (share of negatives that strategy NAME would
    also have picked). Values that a run did not record are missing.
    """
    ordered = sorted(runs, key=lambda run: (run.data_set.order, run.data))
    return pd.DataFrame([_row(run) for run in ordered if run.finished])


def _row(run: Run) -> dict[str, Any]:
    results = run.results
    options = studied_options(compared_options(results.choices))
    return {
        # The names of metrics come from the record, so they are no other column.
        **_metrics(results.test),
        **{f"{VALIDATION}{name}": value for name, value in _metrics(results.validation).items()},
        **{f"{FLOOR}{name}": value for name, value in _floors(results).items()},
        **overlaps(vars(results).get("telemetry") or []),
        **options,
        "folder": run.folder,
        "column": run.data,
        "data": results.data,
        "strategy": run.strategy,
        "loss": results.loss,
        "seed": run.seed,
        "batch_size": _product(options.get("data.classes_per_batch"), options.get("data.images_per_class")),
        "collapsed": vars(results).get("collapsed"),
        "mean_active": _mean_active(results),
    }


def _product(classes: Any, images: Any) -> int | None:
    return classes * images if isinstance(classes, int) and isinstance(images, int) else None


def _metrics(recorded: dict[str, float | None]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in recorded.items()
        if is_figure(name) and value is not None and math.isfinite(value)
    }


def _floors(results: Results) -> dict[str, float]:
    floors: dict[str, float] = {}
    for recorded in results.floors.values():
        for name, value in _metrics(recorded).items():
            floors[name] = max(value, floors.get(name, value))
    return floors


def _mean_active(results: Results) -> float | None:
    """Return the mean number of active triplets of a step, weighted with the steps between validations."""
    active, triplets, steps = 0.0, 0, 0
    for point in results.history:
        if "active_share" not in point.train:
            return None
        active += point.train["active_share"] * (point.triplets - triplets)
        triplets, steps = point.triplets, point.step
    return active / steps if steps and math.isfinite(active) else None


def overlaps(measured: list[dict[str, float | None]]) -> dict[str, float]:
    """Return the mean of each overlap over the measurements after the first one, which belongs to initial weights."""
    names = {name for point in measured[1:] for name in point if name.startswith(OVERLAP)}
    values = {name: [each for point in measured[1:] if (each := point.get(name)) is not None] for name in sorted(names)}
    return {name: fmean(each) for name, each in values.items() if each}
