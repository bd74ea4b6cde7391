"""The style of figures: each strategy has the same color, marker and line style in all figures.

The colors suit color-blind readers (after Okabe & Ito 2008). Markers and line styles also work in gray prints.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from matplotlib import rc_context

from siamese_lab.runs.display_names import STRATEGIES, sort_strategies
from siamese_lab.runs.drawing import without_font_warnings

RC: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.hashsalt": "siamese_lab",
    "text.parse_math": False,  # names of folders and strategies may hold $
}
MUTED: dict[str, Any] = {"fontsize": 8, "color": "0.4", "style": "italic"}
"""Text style of a panel without data."""


class Look(NamedTuple):
    """The color, marker and line style of a strategy."""

    color: str
    marker: str
    line: Any
    """Line style, as matplotlib's `linestyle`."""


LOOKS = (
    Look("#8a8a8a", "o", "solid"),
    Look("#d55e00", "s", "dashed"),
    Look("#004a8f", "^", "dashdot"),
    Look("#14a87c", "D", (0, (6, 1.5))),
    Look("#cc79a7", "v", "dotted"),
    Look("#e69f00", "P", (0, (3, 1, 1, 1, 1, 1))),
    Look("#56b4e9", "X", (0, (1, 1))),
    Look("#000000", "<", (0, (8, 2, 1, 2))),
    Look("#7b3294", ">", (0, (4, 4))),
    Look("#8c510a", "h", (0, (2, 2))),
)
"""Looks in the order of `STRATEGIES`; further strategies of a study take the following looks."""


def looks(strategies: Sequence[str]) -> dict[str, Look]:
    """Return the look of each strategy."""
    others = [name for name in sort_strategies(strategies) if name not in STRATEGIES]
    return {
        name: LOOKS[number % len(LOOKS)] for number, name in enumerate([*STRATEGIES, *others]) if name in strategies
    }


@contextmanager
def figure_style() -> Iterator[None]:
    """Apply the style while figures are drawn and stored, and ignore warnings about names that no font has."""
    with rc_context(RC), without_font_warnings():
        yield
