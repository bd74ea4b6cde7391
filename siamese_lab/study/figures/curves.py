"""Training curves over steps, triplets or seconds: the mean over seeds, with a band from minimum to maximum."""

from typing import NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from siamese_lab.runs.display_names import unique
from siamese_lab.study.figures.panels import add_legend, limit_shares, panels
from siamese_lab.study.figures.style import Look, looks


class Quantity(NamedTuple):
    """The quantity on the vertical axis."""

    column: str
    """Column of `runs.curves`."""
    label: str
    share: bool
    """True if the axis shows percentages."""


LOSS = Quantity("loss", "training loss", share=False)
RECALL1 = Quantity("recall@1", "validation Recall@1", share=True)
ACTIVE_SHARE = Quantity("active_share", "active triplets", share=True)
ALONG = {"step": "steps", "triplets": "triplets", "seconds": "seconds of training"}


def draw_curves(curves: pd.DataFrame, quantity: Quantity, along: str) -> Figure | None:
    """Draw a panel with its own scales for each data set; return None if nothing was logged.

    Args:
        curves: the validations of all runs, as returned by `runs.curves`.
        quantity: the quantity to draw.
        along: the horizontal axis, a key of `ALONG`.
    """
    logged = curves.dropna(subset=[quantity.column])
    if logged.empty:
        return None
    data = unique(logged["data"])
    styles = looks(logged["strategy"].unique())
    figure, every = panels(data, width=2.8, height=2.5)
    for axes, name in zip(every, data, strict=True):
        for strategy, look in styles.items():
            of_cell = logged[(logged["data"] == name) & (logged["strategy"] == strategy)]
            _draw_strategy(axes, over_seeds(of_cell, quantity.column), along, look)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=along == "step"))
        axes.set_xlim(left=0)
        if quantity.share:
            axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.4g}%"))
            limit_shares(axes.yaxis, 1.0)
    figure.supxlabel(ALONG[along], fontsize=9)
    figure.supylabel(quantity.label, fontsize=9)
    add_legend(figure, styles)
    return figure


def over_seeds(of_cell: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return mean, minimum and maximum of a column over seeds at each step, with mean seconds and triplets."""
    by_step = of_cell.groupby("step")
    summary = by_step[column].agg(["mean", "min", "max"])
    return summary.assign(**{name: by_step[name].mean() for name in ("seconds", "triplets")}).reset_index()


def _draw_strategy(axes: Axes, summary: pd.DataFrame, along: str, look: Look) -> None:
    axes.fill_between(summary[along], summary["min"], summary["max"], color=look.color, alpha=0.15, linewidth=0)
    axes.plot(
        summary[along],
        summary["mean"],
        color=look.color,
        linestyle=look.line,
        marker=look.marker,
        clip_on=False,
        linewidth=1.4,
        markersize=3.5,
    )
