"""Draw a sheet of images in cells. Each image may have a frame and text below it.

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
"""Width of a cell in inches."""
LINE = 0.2
"""Height of a line of text below an image, as a fraction of the width of a cell."""
GAP = 0.07
MARGIN = 0.15
FONT = 6
LINE_LENGTH = 13
"""Number of letters that fit into one line below an image."""


class Frame(NamedTuple):
    """A frame of an image. Frames differ in color, line style and sign, so they also differ in a grayscale print."""

    color: str
    line: LineStyleType
    sign: str


RIGHT = Frame("#1f6fb4", "solid", "✓")
WRONG = Frame("#d1600a", (0, (2, 1)), "✗")


class Sheet:
    """A picture of cells in columns and rows.

    Args:
        columns: number of columns, with fractions for gaps.
        rows: number of rows.
        title: title above the cells.
        lines: number of lines of text below an image.
    """

    def __init__(self, columns: float, rows: int, title: str, lines: int = 2) -> None:
        top = 0.45 / INCHES
        self.text_height = lines * LINE
        height = rows * (1 + self.text_height) + top
        self.figure = Figure(((columns + 2 * MARGIN) * INCHES, height * INCHES))
        self.axes: Axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set_xlim(-MARGIN, columns + MARGIN)
        self.axes.set_ylim(height, 0)
        self.axes.set_axis_off()
        self.axes.text(columns / 2, top / 3, title, ha="center", va="center", fontsize=10, parse_math=False)
        self.top = top

    def heading(self, column: float, text: str) -> None:
        """Write text above a column, starting at its left edge."""
        self.axes.text(column + GAP, self.top - 0.06, text, ha="left", va="bottom", fontsize=FONT + 1, parse_math=False)

    def image(self, column: float, row: int, image_CHW: Tensor, frame: Frame | None = None) -> None:
        """Draw an image in its cell."""
        left, right = column + GAP, column + 1 - GAP
        upper, lower = self.row_top(row), self.row_top(row) + right - left
        extent = (left, right, lower, upper)
        self.axes.imshow(rgb(image_CHW), extent=extent, interpolation="antialiased", aspect="auto")
        self.axes.set_autoscale_on(False)
        if frame is not None:
            self.axes.add_patch(
                Rectangle(
                    (left, upper),
                    right - left,
                    lower - upper,
                    fill=False,
                    edgecolor=frame.color,
                    linestyle=frame.line,
                    linewidth=2,
                    zorder=2,
                )
            )

    def text(self, column: float, row: int, text: str, color: str = "black") -> None:
        """Write lines below an image, centered."""
        place = (column + 0.5, self.row_top(row + 1) - self.text_height - GAP + 0.03)
        self.axes.text(*place, text, ha="center", va="top", fontsize=FONT, color=color, parse_math=False)

    def text_right_of(self, column: float, row: int, text: str) -> None:
        """Write text to the right of the images of a row, at half of their height."""
        place = (column, self.row_top(row) + 0.5 - GAP)
        self.axes.text(*place, text, ha="left", va="center", fontsize=FONT, parse_math=False)

    def row_top(self, row: int) -> float:
        """Return the y coordinate of the top of the images in a row."""
        return self.top + row * (1 + self.text_height) + GAP


def fetch_images(table: BaseTable, index: Tensor) -> list[Tensor]:
    """Return the images at the given indices, float32 0…1."""
    ((_, images_BCHW),) = table.fetch([(None, index.cpu().flatten())])
    return list(to_float(images_BCHW))


def wrap_name(name: str) -> str:
    """Return the name of a class in at most two lines. A longer name loses its beginning."""
    lines = textwrap.wrap(name.replace("_", " ").replace("/", " "), LINE_LENGTH)
    return "\n".join(lines if len(lines) <= 2 else [f"…{lines[-2]}"[:LINE_LENGTH], lines[-1]])
