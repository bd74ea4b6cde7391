"""The forest plot: the differences of all pairs of strategies with intervals, against the band of equivalence."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from siamese_lab.runs.display_names import unique
from siamese_lab.runs.plain_values import shortened
from siamese_lab.study.figures.panels import panels
from siamese_lab.study.figures.style import Look
from siamese_lab.study.pairs import Pair

MAX_ROWS = 66
"""Largest number of pairs of a data set that are drawn; these are the pairs of 12 strategies."""
MAX_NAME = 40
"""Largest number of characters of the name of a strategy."""
BAND_COLOR = "#f3dfae"
LOOKS = {
    "differs": Look("#004a8f", "D", "solid"),
    "equivalent": Look("#14a87c", "s", "solid"),
    "not settled": Look("#8a8a8a", "o", "solid"),
}
"""The look of a pair by what its tests show."""


def draw_forest(pairs: Sequence[Pair], bound: float) -> Figure | None:
    """Draw a panel for each data set and a row for each pair; None if there are too many pairs.

    Args:
        pairs: the pairs of the headline metric, a share.
        bound: bound of equivalence, drawn as a band.
    """
    rows = list(dict.fromkeys((each.first, each.second) for each in pairs))
    data = unique(each.data for each in pairs)
    if not pairs or len(rows) > MAX_ROWS:
        return None
    figure, every = panels(data, width=2.6, height=1.0 + 0.28 * len(rows), sharey=True)
    for axes, name in zip(every, data, strict=True):
        axes.axvspan(-100 * bound, 100 * bound, color=BAND_COLOR, linewidth=0, zorder=0)
        axes.axvline(0, color="0.6", linewidth=0.9, zorder=1)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.xaxis.set_major_locator(MaxNLocator(4, min_n_ticks=3))
        axes.margins(x=0.08)
        for pair in pairs:
            if pair.data == name:
                _draw_pair(axes, rows.index((pair.first, pair.second)), pair)
    every[0].set_yticks(range(len(rows)), [" − ".join(shortened(name, MAX_NAME) for name in row) for row in rows])
    every[0].set_ylim(len(rows) - 0.4, -0.6)
    figure.supxlabel(_axis_label(len(data) > 1), fontsize=9)
    figure.legend(handles=_handles(bound), loc="outside upper center", ncols=4)
    return figure


def _draw_pair(axes: Axes, row: int, pair: Pair) -> None:
    look = LOOKS["differs" if pair.separated else "equivalent" if pair.equivalent else "not settled"]
    if pair.low is not None and pair.high is not None:
        axes.plot(
            [100 * pair.low, 100 * pair.high], [row, row], color=look.color, linewidth=1.8, marker="|", markersize=7
        )
    axes.plot(
        100 * pair.mean,
        row,
        marker=look.marker,
        color=look.color,
        markersize=6,
        markeredgecolor="white",
        linestyle="none",
        zorder=3,
    )


def _handles(bound: float) -> list[Line2D | Patch]:
    marks: list[Line2D | Patch] = [
        Line2D([], [], color=look.color, marker=look.marker, markersize=6, label=name) for name, look in LOOKS.items()
    ]
    return [*marks, Patch(color=BAND_COLOR, label=f"within ± {100 * bound:g} points")]


def _axis_label(several: bool) -> str:
    text = "difference of test Recall@1 in points, with its 95% interval: above 0, the first strategy is better."
    return f"{text}\nEach panel has its own scale; the band is equally wide in points." if several else text
