"""Collect the references of a study: a trained classifier, raw pixels or features, and the untrained network."""

import math
from collections.abc import Iterator

import pandas as pd

from siamese_lab.study.runs import Run, Study

CLASSIFIER, PIXELS, FEATURES, UNTRAINED = "classifier", "raw pixels", "raw features", "untrained"
FLOORS = {"pixels": PIXELS, "features": FEATURES, "untrained": UNTRAINED}
"""Display names of the floors of `results.json`."""
RAW = ("pixels", "features")
"""Floors without a network: the images themselves, or the frozen features of `data=features`."""
REFERENCES = (CLASSIFIER, PIXELS, FEATURES, UNTRAINED)


def reference_values(study: Study, metric: str) -> pd.DataFrame:
    """Return the value of each data set and reference (index) and seed (columns); NaN where there is none.

    A floor of a seed comes from any run of this seed, because it does not depend on the strategy.
    """
    values = pd.DataFrame(_values(study, metric), columns=["data", "reference", "seed", "value"])
    first = values.drop_duplicates(["data", "reference", "seed"])
    found = first.pivot(index=["data", "reference"], columns="seed", values="value")
    order = [(data, name) for data in study.data for name in REFERENCES if (data, name) in found.index]
    return found.reindex(pd.MultiIndex.from_tuples(order, names=["data", "reference"]))


def _values(study: Study, metric: str) -> Iterator[tuple[str, str, int, float]]:
    for run in study.references:
        if run.finished and _is_number(run.results.test.get(metric)):
            yield run.data, CLASSIFIER, run.seed, float(run.results.test[metric] or 0.0)
    for run in study.finished:
        for key, name in FLOORS.items():
            value = run.results.floors.get(key, {}).get(metric)
            if value is not None and math.isfinite(value):
                yield run.data, name, run.seed, float(value)


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def floor_of(run: Run, metric: str) -> float | None:
    """Return the floor of a run: the better of raw pixels (or features) and the untrained network; None without any."""
    found = [value for floor in run.results.floors.values() if (value := floor.get(metric)) is not None]
    return max(found) if found else None
