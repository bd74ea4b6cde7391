"""The figures of a report, one module for each kind of figure, stored as PNG and SVG; statistics live in `study`."""

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from siamese_lab.runs.files import delete_stale_files, whole_file, write_text
from siamese_lab.study.analysis import HEADLINE, Analysis
from siamese_lab.study.classes import compare_classes
from siamese_lab.study.figures.budget_gap import draw_budget_gap
from siamese_lab.study.figures.class_scatter import draw_class_scatter
from siamese_lab.study.figures.critical_difference import draw_critical_difference
from siamese_lab.study.figures.curves import ACTIVE_SHARE, ALONG, LOSS, RECALL1, draw_curves
from siamese_lab.study.figures.distances import draw_distances
from siamese_lab.study.figures.factors import draw_factors
from siamese_lab.study.figures.forest import draw_forest
from siamese_lab.study.figures.recall1_comparison import draw_comparison
from siamese_lab.study.figures.style import figure_style
from siamese_lab.study.pairs import BOUND

DPI = 150
POSITIONS = re.compile(r'(?<= d=")[^"]*|(?<= [xy]=")[^"]*|(?<=translate\()[^)]*')
"""The parts of an SVG with positions: paths, places of marks and of letters."""
DECIMALS = re.compile(r"-?\d+\.\d{3,}")
SAVE_OPTIONS: dict[str, Any] = {"bbox_inches": "tight", "pad_inches": 0.06}
"""Options of `savefig` that keep long labels from being cut."""
COMPARISON = (
    "Test Recall@1: the mean over seeds, its 95% interval, and the single seeds. Strategies share their seeds, so "
    "the tests compare them seed by seed. Such a difference can be significant even if the intervals of two "
    "means overlap. An interval that would pass 100% is cut."
)
FACTORS = (
    "Test Recall@1 at the levels of each factor: means over seeds with 95% intervals. Gray marks the standard level, "
    "which counts only the seeds that another level has too. Each panel has its own scale."
)
BUDGET_GAP = (
    "Test Recall@1 of each strategy minus that of random sampling, against the number of training steps: means over "
    "the seeds that another budget has too, with 95% intervals."
)
CLASSES = (
    "Test Recall@1 of each class, as the mean over seeds: the best strategy against random sampling. Above the line, "
    "the strategy is better on a class."
)
RANKS = "Average ranks by test Recall@1. A bar joins strategies without a significant difference."
FOREST = (
    "Differences of all pairs of strategies, with 95% intervals. “Differs” and “equivalent” follow from tests that are "
    "corrected for all pairs and data sets (Holm); “equivalent” means that the difference lies within the band."
)
CURVES = (
    ("recall1", RECALL1, "Validation Recall@1"),
    ("loss", LOSS, "Training loss (in the units of the loss; it does not rank strategies)"),
    ("active_share", ACTIVE_SHARE, "Share of triplets with a loss above 0,"),
)
SHOWN_ALONG = ("step", "triplets")
"""Seconds are left out: results do not record the load of the machine."""
BAND = "Lines are means over seeds and bands show the range over seeds. Each panel has its own scale."
DISTANCES = (
    "Distances of the selected triplets over training, as means over seeds. The line is the median and the band holds "
    "the middle 80%. The distance of two unit vectors is between 0 and 2."
)


class StoredFigure(NamedTuple):
    """A stored figure with its caption."""

    name: str
    """Name of the files."""
    caption: str
    svg: str


def write_figures(analysis: Analysis, folder: Path) -> dict[str, StoredFigure]:
    """Draw all figures that the analysis has data for, as `NAME.png` and `NAME.svg`, and return them by name.

    Figures of an earlier report are deleted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {}
    with figure_style():
        for name, caption, figure in _figures(analysis):
            with whole_file(folder / f"{name}.png") as draft:
                figure.savefig(draft, dpi=DPI, **SAVE_OPTIONS)
            buffer = io.StringIO()
            figure.savefig(buffer, format="svg", dpi=DPI, metadata={"Date": None, "Creator": None}, **SAVE_OPTIONS)
            svg = compact(buffer.getvalue())
            write_text(folder / f"{name}.svg", svg)
            drawn[name] = StoredFigure(name, caption, svg)
    delete_stale_files(folder, drawn, (".png", ".svg"))
    return drawn


def compact(svg: str) -> str:
    """Return an SVG of matplotlib on one line, with positions rounded to a hundredth of a point.

    >>> compact('<path d="M 102.664773 160.5\\nL 1 2"\\n   transform="scale(0.015625)"/>')
    '<path d="M 102.66 160.5 L 1 2" transform="scale(0.015625)"/>'
    """
    return POSITIONS.sub(lambda found: DECIMALS.sub(rounded, found[0]), " ".join(svg.split()))


def rounded(number: re.Match[str]) -> str:
    """Return a number with two decimals at most."""
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")


def _figures(analysis: Analysis) -> Iterator[tuple[str, str, Figure]]:
    if HEADLINE in analysis.values:
        yield (
            "recall1_comparison",
            COMPARISON,
            draw_comparison(analysis.values[HEADLINE], analysis.references[HEADLINE]),
        )
    forest = draw_forest(analysis.pairs.get(HEADLINE, []), BOUND)
    if forest is not None:
        yield "all_pairs", FOREST, forest
    gap = draw_budget_gap(analysis.factors, BOUND)
    if gap is not None:
        yield "budget_gap", BUDGET_GAP, gap
    scatter = draw_class_scatter(compare_classes(analysis.study))
    if scatter is not None:
        yield "class_scatter", CLASSES, scatter
    for number, panels in enumerate(draw_factors(analysis.factors), start=1):
        yield f"factors_{number}", FACTORS, panels
    if HEADLINE in analysis.ranks:
        yield "critical_difference", RANKS, draw_critical_difference(analysis.ranks[HEADLINE])
    for name, quantity, caption in CURVES:
        for along, axis_label in [(each, ALONG[each]) for each in SHOWN_ALONG]:
            figure = draw_curves(analysis.curves, quantity, along)
            if figure is not None and (along == "step" or name == "recall1"):
                yield f"{name}_by_{along}", f"{caption} against {axis_label}. {BAND}", figure
    distances = draw_distances(analysis.curves)
    if distances is not None:
        yield "distances", DISTANCES, distances
