"""Compare cells of a study with the same cells, trained on another kind of processor.

Rounding differs between processors, and training amplifies it. The difference of a cell from its repetition is compared
with the differences between seeds of the study, which are the noise that the study's intervals hold.

    python tests/study/processors.py outputs/study outputs/other_processor
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from siamese_lab.study.comparison import values_of_metric
from siamese_lab.study.runs import Study, figures, read_study
from siamese_lab.study.statistics import estimate

METRIC = "recall@1"


def compared(study: Study, repeated: Study) -> pd.DataFrame:
    """Return a row for each data set and strategy, and one for all: differences of the repeated cells, in points.

    `spread of cells` is the standard deviation of single differences, `spread of seeds` that of the difference of two
    seeds of the study: √2 times its standard deviation over seeds, after the mean of each seed was subtracted.
    """
    first, second = (values_of_metric(figures(each), METRIC) for each in (study, repeated))
    rows, every = [], []
    for data, strategy in second.index.intersection(first.index):
        difference_S = 100 * (second.loc[(data, strategy)] - first.loc[(data, strategy)]).dropna().to_numpy()
        of_data = first.loc[data].dropna(axis="columns")
        residual_S = 100 * (of_data - of_data.mean()).loc[strategy].to_numpy()
        strategies = len(of_data)  # of one alone, nothing is left after its mean was subtracted
        seeds = np.sqrt(2 * strategies / (strategies - 1)) * residual_S.std(ddof=1) if strategies > 1 else np.nan
        rows.append(row(data, strategy, difference_S, seeds))
        every.append((difference_S, seeds))
    both = np.concatenate([each for each, _ in every])
    rows.append(row("all", "", both, float(np.sqrt(np.mean([seeds**2 for _, seeds in every])))))
    return pd.DataFrame(rows)


def row(data: str, strategy: str, difference_S: np.ndarray, seeds: float) -> dict[str, object]:
    """Describe the differences of some cells."""
    found = estimate(difference_S)
    half = np.nan if found.high is None else found.high - found.mean
    spread = difference_S.std(ddof=1) if len(difference_S) > 1 else np.nan
    return {
        "data": data,
        "strategy": strategy,
        "cells": len(difference_S),
        "difference": f"{found.mean:+.2f} ± {half:.2f}",
        "spread of cells": round(float(spread), 2),
        "spread of seeds": round(seeds, 2),
    }


def of_the_same_data(study: Study, repeated: Study) -> Study:
    """Return the study with the runs on the data sets that were repeated."""
    data = {run.data for run in repeated.finished}
    return study._replace(runs=[run for run in study.runs if run.data in data])


def processors(study: Study) -> set[str]:
    """Return the processors of the runs."""
    return {str(run.results.hardware.get("device")) for run in study.finished}


def main(arguments: list[str]) -> None:
    """Print the processors and the table."""
    if len(arguments) != 2:
        sys.exit(f"usage: {__doc__.strip().splitlines()[-1].strip()}")
    study, repeated = (read_study(Path(each)) for each in arguments)
    here = of_the_same_data(study, repeated)
    print(f"study: {', '.join(processors(here))}; repeated: {', '.join(processors(repeated))}")
    print(compared(here, repeated).to_string(index=False))


if __name__ == "__main__":
    main(sys.argv[1:])
