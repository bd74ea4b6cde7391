"""The critical-difference diagram: average ranks on a line, and bars that join ranks without a significant difference
(Demšar 2006, §3.2.4).
"""

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from siamese_lab.study.figures.style import looks
from siamese_lab.study.ranks import Ranks
from siamese_lab.study.tables.cells import p_in_sentence

ROW = 0.27
"""Height of a label in inches; vertical positions are rows, counted downwards from the line of ranks."""
BAR = 0.5
"""Distance of two bars in rows."""


def draw_critical_difference(ranks: Ranks) -> Figure:
    """Draw the diagram: the best rank on the left, labels of the better half on the left, other labels on the right."""
    bars, names = ranks.indistinguishable, list(ranks.average)
    half = math.ceil(len(names) / 2)
    first_label = 1.2 + BAR * len(bars)
    figure = Figure((6.6, ROW * (first_label + half + 4.4)))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    axes.set_xlim(-0.5, 1.5)
    axes.set_ylim(first_label + half, -4.4)
    _draw_scale(axes, ranks)
    for row, alike in enumerate(bars):
        ends = [_position(ranks, ranks.average[alike[0]]) - 0.015, _position(ranks, ranks.average[alike[-1]]) + 0.015]
        axes.plot(ends, [0.6 + BAR * row] * 2, color="0.25", linewidth=4, solid_capstyle="butt", zorder=2)
    for number, name in enumerate(names):
        left = number < half
        row = number if left else len(names) - 1 - number
        _draw_strategy(axes, ranks, name, first_label + row, left)
    return figure


def _position(ranks: Ranks, rank: float) -> float:
    """Map the ranks from 1 to the last one to positions from 0 to 1."""
    return (rank - 1) / (len(ranks.average) - 1)


def _draw_scale(axes: Axes, ranks: Ranks) -> None:
    axes.plot([0, 1], [0, 0], color="0.25", linewidth=1)
    for tick in range(1, len(ranks.average) + 1):
        axes.plot([_position(ranks, tick)] * 2, [0, -0.25], color="0.25", linewidth=1)
        axes.text(_position(ranks, tick), -0.45, str(tick), ha="center", va="bottom")
    axes.plot([0, _position(ranks, 1 + ranks.critical_difference)], [-1.9] * 2, color="0.25", marker="|", markersize=8)
    axes.text(0, -2.15, f"critical difference {ranks.critical_difference:.2f}", va="bottom")
    title = f"Average rank over {len(ranks.data)} data sets; Friedman’s {p_in_sentence(ranks.p)}"
    axes.text(0.5, -3.7, title, ha="center", va="center", fontsize=10)


def _draw_strategy(axes: Axes, ranks: Ranks, name: str, height: float, left: bool) -> None:
    look, rank = looks(list(ranks.average))[name], ranks.average[name]
    at, edge = _position(ranks, rank), -0.06 if left else 1.06
    axes.plot([at, at, edge], [0, height, height], color=look.color, linewidth=1, zorder=1)
    axes.plot([at], [0], marker=look.marker, color=look.color, markersize=8, markeredgecolor="white", zorder=3)
    text = f"{name}  {rank:.2f}" if left else f"{rank:.2f}  {name}"
    axes.text(edge + (-0.015 if left else 0.015), height, text, ha="right" if left else "left", va="center")
