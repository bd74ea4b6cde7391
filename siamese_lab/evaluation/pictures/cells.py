"""A sheet of images in cells, each of which may have a frame and a line of text below.

Shapes: C channels, H × W pixels.
"""

from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from siamese_lab.data.augment import to_float
from siamese_lab.data.sheets import rgb
from siamese_lab.data.table import Table

INCHES = 0.75
"""Width of a cell."""
TEXT = 0.3
"""Height of the text below an image, of its width."""
GAP = 0.08
FONT = 6.5


class Frame(NamedTuple):
    """Told apart by colour, by line and by its sign, so that it is also told apart in grey."""

    colour: str
    line: str
    sign: str


RIGHT = Frame("#1f6fb4", "solid", "✓")
WRONG = Frame("#d1600a", (0, (2, 1)), "✗")  # type: ignore[arg-type]


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
        self.figure = Figure((columns * INCHES, height * INCHES))
        self.axes: Axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set_xlim(0, columns)
        self.axes.set_ylim(height, 0)
        self.axes.set_axis_off()
        self.axes.text(columns / 2, top / 3, title, ha="center", va="center", fontsize=10, parse_math=False)
        self.top = top

    def heading(self, column: float, text: str) -> None:
        """Text over a column, which begins there."""
        self.axes.text(column + GAP, self.top - 0.06, text, ha="left", va="bottom", fontsize=FONT + 1, parse_math=False)

    def image(self, column: float, row: int, image_CHW: Tensor, text: str, frame: Frame | None = None) -> None:
        """An image in its cell."""
        left, right = column + GAP, column + 1 - GAP
        upper = self.top + row * (1 + TEXT) + GAP
        lower = upper + right - left
        self.axes.imshow(
            rgb(image_CHW), extent=(left, right, lower, upper), interpolation="nearest", aspect="auto", zorder=1
        )
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
                    linewidth=2.2,
                    zorder=2,
                )
            )
            text = f"{frame.sign} {text}"
        self.axes.text(
            (left + right) / 2,
            lower + 0.06,
            text,
            ha="center",
            va="top",
            fontsize=FONT,
            color=frame.colour if frame is not None else "black",
            linespacing=1.0,
            parse_math=False,
        )


def pictures_of(table: Table, index: Tensor) -> list[Tensor]:
    """The images at some indices, float32 0…1."""
    ((_, images_BCHW),) = table.fetch([(None, index.cpu().flatten())])
    return list(to_float(images_BCHW))


def fitted(name: str, length: int) -> str:
    """A class's name, of which the end is kept where it is long."""
    last = name.rsplit("/", 1)[-1] if len(name) > length else name
    return last if len(last) <= length else f"…{last[1 - length :]}"
