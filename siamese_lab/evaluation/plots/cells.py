"""A sheet of images in cells, each of which may have a frame and a line of text below.

Shapes: C channels, H × W pixels.
"""

import textwrap
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.typing import LineStyleType
from torch import Tensor

from siamese_lab.data.augment.pipeline import to_float
from siamese_lab.data.preview import rgb
from siamese_lab.data.tables.base import BaseTable

INCHES = 0.68
"""Width of a cell."""
TEXT = 0.4
"""Height of the two lines of text below an image, of its width."""
GAP = 0.07
MARGIN = 0.15
FONT = 6
LETTERS = 13
"""Of a line that fits below an image."""


class Frame(NamedTuple):
    """Told apart by colour, by line and by its sign, so that it is also told apart in grey."""

    colour: str
    line: LineStyleType
    sign: str


RIGHT = Frame("#1f6fb4", "solid", "✓")
WRONG = Frame("#d1600a", (0, (2, 1)), "✗")


class Sheet:
    """Columns and rows of cells.

    Args:
        columns: how many, fractions for gaps.
        rows: how many.
        title: above.
    """

    def __init__(self, columns: float, rows: int, title: str) -> None:
        top = 0.45 / INCHES
        height = rows * (1 + TEXT) + top
        self.figure = Figure(((columns + 2 * MARGIN) * INCHES, height * INCHES))
        self.axes: Axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set_xlim(-MARGIN, columns + MARGIN)
        self.axes.set_ylim(height, 0)
        self.axes.set_axis_off()
        self.axes.text(columns / 2, top / 3, title, ha="center", va="center", fontsize=10, parse_math=False)
        self.top = top

    def heading(self, column: float, text: str) -> None:
        """Text over a column, which begins there."""
        self.axes.text(column + GAP, self.top - 0.06, text, ha="left", va="bottom", fontsize=FONT + 1, parse_math=False)

    def image(self, column: float, row: int, image_CHW: Tensor, frame: Frame | None = None) -> None:
        """An image in its cell."""
        left, right = column + GAP, column + 1 - GAP
        upper, lower = self.upper(row), self.upper(row) + right - left
        extent = (left, right, lower, upper)
        self.axes.imshow(rgb(image_CHW), extent=extent, interpolation="auto", aspect="auto")
        self.axes.set_autoscale_on(False)
        if frame is not None:
            self.axes.add_patch(
                Rectangle(
                    (left, upper),
                    right - left,
                    lower - upper,
                    fill=False,
                    edgecolor=frame.colour,
                    linestyle=frame.line,
                    linewidth=2,
                    zorder=2,
                )
            )

    def text(self, column: float, row: int, text: str, colour: str = "black") -> None:
        """Up to two lines below the images of a row, around the middle of a cell."""
        place = (column + 0.5, self.upper(row + 1) - TEXT - GAP + 0.03)
        self.axes.text(*place, text, ha="center", va="top", fontsize=FONT, color=colour, parse_math=False)

    def beside(self, column: float, row: int, text: str) -> None:
        """Text to the right of the images of a row, half-way up."""
        place = (column, self.upper(row) + 0.5 - GAP)
        self.axes.text(*place, text, ha="left", va="center", fontsize=FONT, parse_math=False)

    def upper(self, row: int) -> float:
        """Where the images of a row begin."""
        return self.top + row * (1 + TEXT) + GAP


def pictures_of(table: BaseTable, index: Tensor) -> list[Tensor]:
    """The images at some indices, float32 0…1."""
    ((_, images_BCHW),) = table.fetch([(None, index.cpu().flatten())])
    return list(to_float(images_BCHW))


def fitted(name: str) -> str:
    """A class's name in at most two lines, of a longer one its end."""
    lines = textwrap.wrap(name.replace("_", " ").replace("/", " "), LETTERS)
    return "\n".join(lines if len(lines) <= 2 else [f"…{lines[-2]}"[:LETTERS], lines[-1]])
