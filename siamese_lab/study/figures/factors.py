"""The figure of the factors: Recall@1 of every strategy against the levels of each factor, a row for each data set."""

from collections.abc import Iterator, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from siamese_lab.runs.display_names import unique
from siamese_lab.study.factors import is_single, sort_key
from siamese_lab.study.figures.panels import add_legend, panels
from siamese_lab.study.figures.style import Look, looks
from siamese_lab.study.statistics import estimate

MAX_COLUMNS = 4
LABEL = "test Recall@1 in percent"
LONG = 14
"""Number of characters of all labels of an axis from which they are turned."""
STANDARD = "#efefef"
"""Color behind the standard level."""


def draw_factors(values: pd.DataFrame) -> Iterator[Figure]:
    """Draw a column for each factor and a row for each data set, with at most four factors in a figure.

    Factors that have runs on the same data sets share figures.

    Args:
        values: the values of a metric, as returned by `study.factors.factor_values`.
    """
    single = values[values["factor"].map(is_single).astype(bool)]
    groups: dict[tuple[str, ...], list[str]] = {}
    for factor in unique(single["factor"]):
        covered = unique(single.loc[single["factor"] == factor, "data"])
        groups.setdefault(tuple(covered), []).append(factor)
    for data, factors in groups.items():
        if len(factors) == 1:
            yield _draw_one(single[single["factor"] == factors[0]], data, factors[0])
            continue
        for first in range(0, len(factors), MAX_COLUMNS):
            yield _draw(single, data, factors[first : first + MAX_COLUMNS])


def _draw(values: pd.DataFrame, data: Sequence[str], factors: Sequence[str]) -> Figure:
    styles = looks(values["strategy"].unique())
    size = (max(6.6, 1.0 + 2.5 * len(factors)), 0.9 + 2.2 * len(data))
    figure = Figure(size, layout=ConstrainedLayoutEngine(h_pad=0.07, w_pad=0.06))
    grid = figure.subplots(len(data), len(factors), squeeze=False)
    for row, name in zip(grid, data, strict=True):
        for axes, factor in zip(row, factors, strict=True):
            axes.set_title(factor)
            _draw_panel(axes, values[(values["data"] == name) & (values["factor"] == factor)], styles)
        row[0].set_ylabel(name.replace(", ", ",\n"), fontsize=9)
    figure.supylabel(LABEL, fontsize=9)
    add_legend(figure, styles)
    return figure


def _draw_one(values: pd.DataFrame, data: Sequence[str], factor: str) -> Figure:
    """Draw one factor in a panel for each data set."""
    styles = looks(values["strategy"].unique())
    figure, every = panels(data, width=2.7, height=2.4)
    for axes, name in zip(every, data, strict=True):
        _draw_panel(axes, values[values["data"] == name], styles)
    figure.supxlabel(factor, fontsize=9)
    figure.supylabel(LABEL, fontsize=9)
    add_legend(figure, styles)
    return figure


def _draw_panel(axes: Axes, values: pd.DataFrame, styles: dict[str, Look]) -> None:
    levels = sorted(unique(values["level"]), key=sort_key)
    axes.set_xticks(range(len(levels)), levels)
    if sum(map(len, levels)) > LONG:
        axes.tick_params(axis="x", labelrotation=20)
    axes.set_xlim(-0.5, len(levels) - 0.5)
    axes.grid(visible=False, axis="x")
    axes.yaxis.set_major_locator(MaxNLocator(5))
    for level in unique(values.loc[values["standard"], "level"]):
        axes.axvspan(levels.index(level) - 0.5, levels.index(level) + 0.5, color=STANDARD, linewidth=0, zorder=0)
    present = [name for name in styles if (values["strategy"] == name).any()]
    for number, strategy in enumerate(present):
        look = styles[strategy]
        shift = 0.12 * (number - (len(present) - 1) / 2)
        found = {
            levels.index(level): estimate((100 * of_level["value"]).tolist())
            for level, of_level in values[values["strategy"] == strategy].groupby("level")
        }
        places = sorted(found)
        means = [found[place].mean for place in places]
        axes.plot(
            [place + shift for place in places],
            means,
            color=look.color,
            marker=look.marker,
            linestyle=look.line,
            linewidth=1.2,
            markersize=4.5,
        )
        for place in places:
            low, high = found[place].low, found[place].high
            if low is not None and high is not None:
                axes.plot([place + shift] * 2, [low, high], color=look.color, linewidth=1, zorder=1.5)
