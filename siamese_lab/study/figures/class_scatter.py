"""The figure of the test classes: Recall@1 of each class under the best strategy, against random sampling."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from siamese_lab.study.classes import ClassComparison
from siamese_lab.study.comparison import BASELINE
from siamese_lab.study.figures.panels import panels
from siamese_lab.study.figures.style import looks


def draw_class_scatter(compared: Sequence[ClassComparison]) -> Figure | None:
    """Draw a panel for each data set and a point for each class; None if no run has results of classes."""
    if not compared:
        return None
    figure, every = panels([each.data for each in compared], width=2.7, height=2.6)
    for axes, each in zip(every, compared, strict=True):
        look = looks([each.best])[each.best]
        low = 100 * min(*each.random, *each.others)
        span = (max(0.0, low - 3), 100.5)
        axes.plot(span, span, color="0.6", linewidth=0.9, zorder=1)
        axes.plot(
            [100 * value for value in each.random],
            [100 * value for value in each.others],
            color=look.color,
            marker=look.marker,
            linestyle="none",
            markersize=4,
            alpha=0.5,
            markeredgewidth=0,
            rasterized=True,  # a set may have thousands of classes
        )
        better = sum(other > one for one, other in zip(each.random, each.others, strict=True))
        axes.text(
            0.03,
            0.97,
            f"{each.best}\nbetter on {better} of {len(each.random)}",
            transform=axes.transAxes,
            va="top",
            fontsize=7.5,
            bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1},
        )
        axes.set_xlim(span)
        axes.set_ylim(span)
        axes.set_aspect("equal")
    figure.supxlabel(f"Recall@1 of a class under {BASELINE}, in percent", fontsize=9)
    figure.supylabel("under the best other strategy", fontsize=9)
    return figure
