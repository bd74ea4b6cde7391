"""The figure of the gap against the budget: every strategy minus random sampling, against the number of steps."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from siamese_lab.runs.display_names import sort_strategies, unique
from siamese_lab.study.comparison import BASELINE
from siamese_lab.study.figures.panels import add_legend, panels
from siamese_lab.study.figures.style import looks
from siamese_lab.study.statistics import estimate

STEPS = "steps"
BAND_COLOR = "#f3dfae"


def draw_budget_gap(values: pd.DataFrame, bound: float) -> Figure | None:
    """Draw a panel for each data set with runs of several numbers of steps; None if there is none.

    Args:
        values: the values of the headline metric, as returned by `study.factors.factor_values`.
        bound: bound of equivalence, drawn as a band.
    """
    gaps = budget_gaps(values)
    if gaps.empty:
        return None
    data = unique(gaps["data"])
    styles = looks(sort_strategies(gaps["strategy"]))
    figure, every = panels(data, width=2.7, height=2.4)
    for axes, name in zip(every, data, strict=True):
        of_data = gaps[gaps["data"] == name]
        axes.axhspan(-100 * bound, 100 * bound, color=BAND_COLOR, linewidth=0, zorder=0)
        axes.axhline(0, color="0.6", linewidth=0.9, zorder=1)
        axes.set_xscale("log", base=2)
        for number, (strategy, look) in enumerate(styles.items()):
            of_strategy = of_data[of_data["strategy"] == strategy].sort_values("steps")
            places = of_strategy["steps"] * 1.03 ** (number - (len(styles) - 1) / 2)
            axes.plot(
                places,
                of_strategy["mean"],
                color=look.color,
                marker=look.marker,
                linestyle=look.line,
                linewidth=1.3,
                markersize=4.5,
            )
            axes.vlines(places, of_strategy["low"], of_strategy["high"], color=look.color, linewidth=1)
        steps = sorted(set(of_data["steps"].tolist()))
        axes.xaxis.set_major_locator(FixedLocator(steps))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticklabels([f"{each:,}" for each in steps])
    figure.supxlabel(f"training steps; the band is ± {100 * bound:g} points", fontsize=9)
    figure.supylabel(f"test Recall@1 minus {BASELINE}, in points", fontsize=9)
    add_legend(figure, styles)
    return figure


def budget_gaps(values: pd.DataFrame) -> pd.DataFrame:
    """Return the mean difference from random sampling, with its 95% interval, in points.

    Columns: data, steps, strategy, mean, low, high. A single seed has no interval: low and high equal the mean.
    """
    rows = []
    of_steps = values[values["factor"] == STEPS]
    for (data, level), of_level in of_steps.groupby(["data", "level"], sort=False):
        by_strategy = of_level.pivot_table(index="seed", columns="strategy", values="value")
        for strategy in by_strategy.columns:
            if BASELINE in by_strategy and strategy != BASELINE:
                gap = 100 * (by_strategy[strategy] - by_strategy[BASELINE]).dropna()
                if len(gap):
                    found = estimate(gap.tolist())
                    low = found.mean if found.low is None else found.low
                    high = found.mean if found.high is None else found.high
                    rows.append((data, int(level), strategy, found.mean, low, high))
    return pd.DataFrame(rows, columns=["data", "steps", "strategy", "mean", "low", "high"])
