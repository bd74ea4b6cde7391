"""The headline figure: test Recall@1 of every strategy on every data set, with intervals and single seeds."""

from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from siamese_lab.runs.display_names import sort_strategies, unique
from siamese_lab.study.comparison import BASELINE, estimates
from siamese_lab.study.figures.panels import limit_shares, panels
from siamese_lab.study.figures.style import MUTED, looks
from siamese_lab.study.references import CLASSIFIER, FEATURES, PIXELS, UNTRAINED
from siamese_lab.study.statistics import Estimate


class Line(NamedTuple):
    """The line style of a reference."""

    color: str
    line: Any


LINES = {
    CLASSIFIER: Line("#7b3294", "dashed"),
    PIXELS: Line("#b2182b", (0, (5, 1))),
    FEATURES: Line("#1b7837", (0, (5, 1))),
    UNTRAINED: Line("#8c6d31", (0, (1, 1.2))),
}
REACH = 1.0
"""Lines up to this share of the width of the values outside of them extend the axis; others are named at the edge."""
LEAST_REACH = 4.0
"""Least such reach in percentage points, which narrow panels use."""


def draw_comparison(values: pd.DataFrame, references: pd.DataFrame | None = None) -> Figure:
    """Draw a panel with its own scale for each data set, and a row for each strategy.

    Args:
        values: Recall@1, as returned by `comparison.values_of_metric`.
        references: Recall@1 of the references, as returned by `references.reference_values`, drawn as lines.
    """
    estimated = estimates(values)
    strategies = sort_strategies(name for _, name in estimated)
    data = unique(name for name, _ in estimated)
    figure, every = panels(data, width=2.7, height=1.0 + 0.38 * len(strategies), sharey=True)
    for axes, name in zip(every, data, strict=True):
        _draw_data(axes, {each: estimated[name, each] for each in strategies if (name, each) in estimated}, strategies)
        for row, strategy in enumerate(strategies):
            if (name, strategy) in values.index:
                _draw_seeds(axes, row, 100 * values.loc[(name, strategy)].dropna())
        means = (
            {}
            if references is None
            else {key[1]: 100 * row.mean() for key, row in references.iterrows() if key[0] == name}
        )
        _draw_references(axes, means)
        limit_shares(axes.xaxis, 100.0)
    every[0].set_yticks(range(len(strategies)), strategies)
    every[0].set_ylim(len(strategies) - 0.5, -0.6 if references is None or references.empty else -0.9)
    shown = [] if references is None else [name for name in LINES if name in references.index.get_level_values(1)]
    if shown:
        handles = [Line2D([], [], color=LINES[name].color, linestyle=LINES[name].line, label=name) for name in shown]
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), handlelength=3.5)
    figure.supxlabel(f"test Recall@1 in percent: {_legend(estimated)}", fontsize=9)
    return figure


def _draw_data(axes: Axes, estimated: dict[str, Estimate], strategies: list[str]) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(5, min_n_ticks=3))
    axes.margins(x=0.08)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    if BASELINE in estimated:
        axes.axvline(100 * estimated[BASELINE].mean, color="0.6", linewidth=0.9, linestyle="dotted", zorder=1)
    for row, strategy in enumerate(strategies):
        if strategy not in estimated:
            axes.text(
                0.5, row, "no finished run", transform=axes.get_yaxis_transform(), ha="center", va="center", **MUTED
            )
            continue
        of_strategy, look = estimated[strategy], looks(strategies)[strategy]
        if of_strategy.low is not None and of_strategy.high is not None:
            ends = [100 * of_strategy.low, 100 * of_strategy.high]
            axes.plot(ends, [row, row], color=look.color, linewidth=1.8, marker="|", markersize=8, zorder=2)
        axes.plot(
            100 * of_strategy.mean,
            row,
            marker=look.marker,
            color=look.color,
            markersize=7,
            clip_on=False,
            markeredgecolor="white",
            zorder=3,
            linestyle="none",
        )


def _draw_references(axes: Axes, means: dict[str, float]) -> None:
    """Draw a line for each reference near the values, and name the others, with their means, at the edge."""
    low, high = sorted(axes.get_xlim())
    reach = max(REACH * (high - low), LEAST_REACH)
    outside = {"left": [], "right": []}  # type: dict[str, list[str]]
    for name, mean in means.items():
        if low - reach <= mean <= high + reach:
            axes.axvline(mean, color=LINES[name].color, linestyle=LINES[name].line, linewidth=1.3, zorder=1.2)
        else:
            outside["left" if mean < low else "right"].append(f"{name} {mean:.1f}")
    for side, texts in outside.items():
        if texts:
            text = f"← {', '.join(texts)}" if side == "left" else f"{', '.join(texts)} →"
            place = 0.01 if side == "left" else 0.99
            look = MUTED | {"fontsize": 6.5, "bbox": {"facecolor": "white", "linewidth": 0, "pad": 0.5}}
            axes.text(place, 0.99, text, transform=axes.transAxes, ha=side, va="top", **look)


def _draw_seeds(axes: Axes, row: int, values: pd.Series) -> None:
    axes.plot(
        values,
        [row + 0.24] * len(values),
        marker=".",
        markersize=4,
        color="0.25",
        linestyle="none",
        zorder=2,
        clip_on=False,
    )


def _legend(estimated: dict[tuple[str, str], Estimate]) -> str:
    if all(each.low is None for each in estimated.values()):
        marks = "one seed without an interval"
    else:
        marks = "mean, 95% interval (bar), seeds (dots), mean of random (dotted)"
    several = len({data for data, _ in estimated}) > 1
    return f"{marks}.\nEach panel has its own scale." if several else marks
