"""The distances of the selected positives and negatives over training: median and middle 80%."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from siamese_lab.runs.display_names import sort_strategies, unique
from siamese_lab.study.figures.style import MUTED
from siamese_lab.study.runs import DISTANCES

NOTHING = "nothing logged"
KINDS: dict[str, tuple[str, Any, str]] = {
    "d_ap": ("#0072b2", "solid", "anchor to positive, d_ap"),
    "d_an": ("#d55e00", "dashed", "anchor to negative, d_an"),
}


def draw_distances(curves: pd.DataFrame) -> Figure | None:
    """Draw a row for each data set and a column for each strategy; return None if nothing was logged.

    Args:
        curves: the validations of all runs, as returned by `runs.curves`.
    """
    logged = curves.dropna(subset=list(DISTANCES))
    if logged.empty:
        return None
    data, strategies = unique(logged["data"]), sort_strategies(logged["strategy"])
    row_height = 2.1 if len(data) == 1 else 1.35
    size = (1.2 + 1.55 * len(strategies), 0.9 + row_height * len(data))
    figure = Figure(size, layout=ConstrainedLayoutEngine(h_pad=0.07))
    grid = figure.subplots(len(data), len(strategies), squeeze=False, sharey=True, sharex="row")
    for row, name in zip(grid, data, strict=True):
        for axes, strategy in zip(row, strategies, strict=True):
            of_cell = logged[(logged["data"] == name) & (logged["strategy"] == strategy)]
            if of_cell.empty:
                axes.text(0.5, 0.5, NOTHING, transform=axes.transAxes, ha="center", va="center", **MUTED)
            else:
                _draw_cell(axes, of_cell.groupby("step")[list(DISTANCES)].mean())
    _label(grid, data, strategies)
    figure.supxlabel("steps", fontsize=9)
    handles = [Line2D([], [], color=color, linestyle=line, label=label) for color, line, label in KINDS.values()]
    figure.legend(handles=handles, loc="outside upper center", ncols=2, handlelength=3)
    return figure


def _draw_cell(axes: Axes, quantiles: pd.DataFrame) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    for kind, (color, line, _) in KINDS.items():
        low, middle, high = (quantiles[f"{kind}_q{share}"] for share in (10, 50, 90))
        axes.fill_between(quantiles.index, low, high, color=color, alpha=0.18, linewidth=0)
        axes.plot(quantiles.index, middle, color=color, linestyle=line, linewidth=1.4)


def _label(grid: np.ndarray, data: Sequence[str], strategies: Sequence[str]) -> None:
    for axes, strategy in zip(grid[0], strategies, strict=True):
        axes.set_title(strategy)
    for row, name in zip(grid, data, strict=True):
        row[0].set_ylabel(name.replace(", ", ",\n"), fontsize=9)
        row[0].set_xlim(left=0)
