"""The figures of a report, one file each, as PNG and SVG."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from siamese_lab.study.figures.recall1_comparison import draw_comparison
from siamese_lab.study.figures.style import house_style
from siamese_lab.study.findings import HEADLINE, Findings

DPI = 150


class Drawn(NamedTuple):
    """A figure that was stored."""

    name: str
    """Of its files."""
    caption: str
    svg: str


def write(findings: Findings, folder: Path) -> dict[str, Drawn]:
    """Draw all figures that the findings have something for, as `NAME.png` and `NAME.svg`, by name."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {}
    with house_style():
        for name, caption, figure in _figures(findings):
            figure.savefig(folder / f"{name}.png", dpi=DPI)
            svg = folder / f"{name}.svg"
            figure.savefig(svg, metadata={"Date": None, "Creator": None})
            drawn[name] = Drawn(name, caption, svg.read_text(encoding="utf-8"))
    return drawn


def _figures(findings: Findings) -> Iterator[tuple[str, str, Figure]]:
    if HEADLINE in findings.values:
        yield (
            "recall1_comparison",
            "Test Recall@1 of every strategy on every data set: the mean over seeds, its 95% interval, and the seeds.",
            draw_comparison(findings.values[HEADLINE]),
        )
