"""The figures of a report, one file each, as PNG and SVG."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from siamese_lab.runs.files import delete_stale_files
from siamese_lab.study.analysis import HEADLINE, Analysis
from siamese_lab.study.figures.critical_difference import draw_critical_difference
from siamese_lab.study.figures.curves import ACTIVE_SHARE, ALONG, LOSS, RECALL1, draw_curves
from siamese_lab.study.figures.distances import draw_distances
from siamese_lab.study.figures.recall1_comparison import draw_comparison
from siamese_lab.study.figures.style import figure_style

DPI = 150
SAVE_OPTIONS: dict[str, Any] = {"bbox_inches": "tight", "pad_inches": 0.06}
"""So that no label is cut, however long a name is."""
COMPARISON = (
    "Test Recall@1: the mean over seeds, its 95% interval, and the seeds. Strategies share their seeds, so what tells "
    "them apart is the difference seed by seed, which is surer than the intervals of two means look."
)
RANKS = "Average ranks by test Recall@1. A bar joins strategies that the data do not tell apart."
CURVES = (
    ("recall1", RECALL1, "Validation Recall@1"),
    ("loss", LOSS, "Training loss (of the loss’s own scale; strategies are not ranked by it)"),
    ("active_share", ACTIVE_SHARE, "Share of triplets with a loss above 0,"),
)
BAND = "Lines are means over seeds, bands reach from the least to the most; each panel has its own scale."
DISTANCES = (
    "Distances of the selected triplets over training, means over seeds: the line is the median, the band holds the "
    "middle 80%. Unit vectors are 0 to 2 apart."
)


class StoredFigure(NamedTuple):
    """A figure that was stored."""

    name: str
    """Of its files."""
    caption: str
    svg: str


def write_figures(analysis: Analysis, folder: Path) -> dict[str, StoredFigure]:
    """Draw all figures that the analysis have something for, as `NAME.png` and `NAME.svg`, by name.

    They take the place of those of an earlier report.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {}
    with figure_style():
        for name, caption, figure in _figures(analysis):
            figure.savefig(folder / f"{name}.png", dpi=DPI, **SAVE_OPTIONS)
            svg = folder / f"{name}.svg"
            figure.savefig(svg, metadata={"Date": None, "Creator": None}, **SAVE_OPTIONS)
            drawn[name] = StoredFigure(name, caption, svg.read_text(encoding="utf-8"))
    delete_stale_files(folder, drawn, (".png", ".svg"))
    return drawn


def _figures(analysis: Analysis) -> Iterator[tuple[str, str, Figure]]:
    if HEADLINE in analysis.values:
        yield "recall1_comparison", COMPARISON, draw_comparison(analysis.values[HEADLINE])
    if HEADLINE in analysis.ranks:
        yield "critical_difference", RANKS, draw_critical_difference(analysis.ranks[HEADLINE])
    for name, quantity, caption in CURVES:
        for along, told in ALONG.items():
            figure = draw_curves(analysis.curves, quantity, along)
            if figure is not None and (name != "active_share" or along == "step"):
                yield f"{name}_by_{along}", f"{caption} against {told}. {BAND}", figure
    distances = draw_distances(analysis.curves)
    if distances is not None:
        yield "distances", DISTANCES, distances
