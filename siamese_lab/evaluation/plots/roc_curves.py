"""Draw the ROC curves of verification, over all false accept rates and magnified at low false accept rates."""

from itertools import cycle

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from siamese_lab.evaluation.evaluation import Evaluation
from siamese_lab.metrics.verification import Roc

STYLES = (("#1f6fb4", "solid"), ("#d1600a", "dashed"), ("#2a8a57", "dashdot"))


def draw_roc_curves(evaluation: Evaluation) -> Figure:
    """Draw the curve of every protocol on a linear and a logarithmic axis. A point marks the equal error rate."""
    figure = Figure((9.5, 5.0), layout="constrained")
    linear, logarithmic = figure.subplots(1, 2)
    protocols = {protocol.title: protocol for protocol in evaluation.protocols.values()}
    fewest = 1.0
    for (title, curve), (color, line) in zip(evaluation.curves.items(), cycle(STYLES), strict=False):
        protocol = protocols[title]
        auc, eer = (protocol.figures[name].value or 0.0 for name in ("auc", "eer"))
        label = f"{title.removeprefix('Verification, ')}: AUC {auc:.1%}, EER {eer:.1%}"
        for axes in (linear, logarithmic):
            _draw_curve(axes, curve, color, line, label)
            axes.plot([eer], [1 - eer], "o", color=color, markersize=5, markeredgecolor="white")
        fewest = min(fewest, 1 / protocol.facts["negatives"])
    _frame(linear, "All pairs")
    linear.plot([0, 1], [1, 0], color="0.6", linewidth=0.8, linestyle="dotted", zorder=0)
    linear.plot([0, 1], [0, 1], color="0.8", linewidth=0.8, zorder=0)
    linear.text(0.5, 0.05, "dotted: equal error rates", ha="center", fontsize=8, color="0.35")
    linear.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    linear.set_xlim(0, 1)
    _frame(logarithmic, "Few false accepts")
    logarithmic.set_xscale("log")
    logarithmic.set_xlim(fewest, 1)
    logarithmic.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{100 * rate:g}%"))
    figure.legend(*linear.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    return figure


def _draw_curve(axes: Axes, curve: Roc, color: str, line: str, label: str) -> None:
    axes.plot(
        curve.far_P.numpy(),
        curve.tar_P.numpy(),
        color=color,
        linestyle=line,
        linewidth=1.6,
        label=label,
        drawstyle="steps-post",
    )


def _frame(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("false accept rate (accepted pairs of two classes)")
    axes.set_ylabel("true accept rate (accepted pairs of one class)")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_ylim(0, 1)
    axes.grid(color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
