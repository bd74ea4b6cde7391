"""Arrange one panel for each data set in rows, with a legend of the strategies above."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from siamese_lab.study.figures.style import Look

MAX_COLUMNS = 4
MIN_WIDTH = 6.6
"""Minimum width of a figure in inches, which the legend and the axis label need."""
MAX_STRETCH = 1.5
"""Maximum factor by which panels become higher if they are wider, because a figure has few of them."""


def panels(titles: Sequence[str], width: float, height: float, sharey: bool = False) -> tuple[Figure, list[Axes]]:
    """Create a figure with one panel for each title.

    Args:
        titles: the titles of the panels, at least one.
        width: the width of a panel in inches; few panels are wider and higher, so that they fill the figure.
        height: the height of a panel in inches.
        sharey: whether all panels share the vertical axis.
    """
    rows = math.ceil(len(titles) / MAX_COLUMNS)
    columns = math.ceil(len(titles) / rows)
    stretch = max(1.0, MIN_WIDTH / (width * columns))
    size = (width * columns * stretch, height * rows * min(stretch, MAX_STRETCH))
    figure = Figure(size, layout=ConstrainedLayoutEngine(h_pad=0.09, w_pad=0.06))
    every = figure.subplots(rows, columns, squeeze=False, sharey=sharey).flatten().tolist()
    for unused in every[len(titles) :]:
        unused.remove()
    shown = every[: len(titles)]
    for axes, title in zip(shown, titles, strict=True):
        axes.set_title(title)
    return figure, shown


def limit_shares(axes: Axis, highest: float) -> None:
    """End an axis of shares at 0 and at `highest`: margins and confidence intervals may exceed the possible range."""
    low, high = sorted(axes.get_view_interval())
    axes.set_view_interval(max(0.0, low), min(highest, high), ignore=True)


def add_legend(figure: Figure, looks: dict[str, Look]) -> None:
    """Add a legend of the strategies above all panels."""
    handles = [
        Line2D(
            [], [], color=look.color, marker=look.marker, linestyle=look.line, linewidth=1.6, markersize=5, label=name
        )
        for name, look in looks.items()
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=min(5, len(handles)), handlelength=3.5)
