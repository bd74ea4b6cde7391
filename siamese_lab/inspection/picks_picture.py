"""Draw the picks: a pair, its negatives in order of distance, and below them the picks of each strategy.

Shapes: B images of C × H × W, N negatives.
"""

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle
from torch import Tensor

from siamese_lab.data.preview import rgb
from siamese_lab.inspection.picks import Picks

SHOWN = 32
"""Largest number of negatives that are shown, the nearest ones. The picks of all farther negatives are added up."""
INCHES = 0.42
"""Width of the image of a negative in inches. It is the unit of the sizes below."""
LEFT, RIGHT = 4.6, 1.8
"""Width of the left part (pair and names) and of the right part (farther negatives)."""
CAPTION = 9.5
"""Width of the caption next to the line."""
TOP, FIRST_ROW = -1.4, 1.9
"""Top of the picture, and first row of strategies. The negatives are centered at 0, and rows have a height of 1."""
BLUE, BAND = "#1f6fb4", "#f0e3c8"


def draw_picks(picks: Picks, images_BCHW: Tensor, margin: float = 0.2) -> Figure:
    """Draw a row of discs for each strategy. The area of a disc shows how often the negative above it is picked.

    Args:
        picks: the picks for one pair.
        images_BCHW: the images of the batch, float 0…1.
        margin: width of the semi-hard window beyond the positive (Euclidean distance). The window is shaded.
    """
    shown = min(SHOWN, len(picks.negative_N))
    right = max(shown + (RIGHT if shown < len(picks.negative_N) else 0.2), 2 * CAPTION)
    bottom = FIRST_ROW + len(picks.share) - 0.4
    figure = Figure(((LEFT + right) * INCHES, (bottom - TOP) * INCHES))
    axes = figure.add_axes((0, 0, 1, 1))
    _draw_window(axes, picks, shown, margin, right, bottom - 0.1)
    _draw_images(axes, picks, images_BCHW, shown)
    for row, (name, share_N) in enumerate(picks.share.items()):
        _draw_row(axes, FIRST_ROW + row, name, share_N, shown)
    axes.set(xlim=(-LEFT, right), ylim=(bottom, TOP), aspect="auto")
    axes.set_axis_off()
    return figure


def _draw_window(axes: Axes, picks: Picks, shown: int, margin: float, right: float, bottom: float) -> None:
    """Mark the position of the positive among the negatives, and shade the semi-hard window that starts there."""
    d_an_n = picks.d_an_N[:shown]
    first = int((d_an_n <= picks.d_ap).sum())
    last = int((d_an_n < picks.d_ap + margin).sum())
    axes.add_patch(Rectangle((first, -0.65), last - first, bottom + 0.65, color=BAND, zorder=0, linewidth=0))
    axes.plot((first, first), (TOP + 0.1, bottom), color="black", linewidth=1.2, zorder=1)
    text = f"distance of the positive: {picks.d_ap:.2f}; shaded: up to {margin:g} farther"
    fits = first + CAPTION <= right
    axes.text(first + (0.15 if fits else -0.15), -1.0, text, ha="left" if fits else "right", va="center", fontsize=8)


def _draw_images(axes: Axes, picks: Picks, images_BCHW: Tensor, shown: int) -> None:
    """Draw the pair on the left, and the negatives with their distances on the right."""
    for left, name, index in zip((-LEFT + 0.3, -LEFT + 2.2), picks.pair._fields, picks.pair, strict=True):
        axes.imshow(rgb(images_BCHW[index].cpu()), extent=(left, left + 1.6, 1.0, -0.6), interpolation="nearest")
        axes.text(left + 0.8, -0.95, name, ha="center", va="center", fontsize=9)
    for column, (index, d_an) in enumerate(zip(picks.negative_N.tolist(), picks.d_an_N.tolist(), strict=True)):
        if column == shown:
            rest = len(picks.negative_N) - shown
            axes.text(shown + RIGHT / 2, 0, f"{rest} more,\nfarther", ha="center", va="center", fontsize=8)
            break
        extent = (column + 0.05, column + 0.95, 0.45, -0.45)
        axes.imshow(rgb(images_BCHW[index].cpu()), extent=extent, interpolation="nearest", zorder=2)
        axes.text(column + 0.5, 0.55, f"{d_an:.2f}", ha="center", va="top", fontsize=7, rotation=90)


def _draw_row(axes: Axes, row: float, name: str, share_N: Tensor, shown: int) -> None:
    """Draw the name and the picks of one strategy."""
    axes.plot((0, shown), (row, row), color="0.85", linewidth=0.8, zorder=0.5)
    axes.text(-0.3, row, name, ha="right", va="center", fontsize=9, parse_math=False)
    for column, share in enumerate(share_N[:shown].tolist()):
        if share > 0:
            axes.add_patch(Circle((column + 0.5, row), 0.46 * math.sqrt(share), color=BLUE, zorder=3, linewidth=0))
    if len(share_N) > shown:
        axes.text(shown + RIGHT / 2, row, f"{float(share_N[shown:].sum()):.0%}", ha="center", va="center", fontsize=8)
