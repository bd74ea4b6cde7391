"""The picture of a search: the query and what was found, as the files show it."""

from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from siamese_lab.data.augment.pipeline import to_float
from siamese_lab.data.convert.photo import PhotoConverter
from siamese_lab.evaluation.plots.cells import RIGHT, WRONG, Sheet, fitted
from siamese_lab.inference.inputs import read_image
from siamese_lab.inference.search import Hit

COLUMNS = 5
GUTTER = 0.3
SIDE = 160
"""Pixels of an image."""


def draw_search(query: Path, hits: Sequence[Hit], threshold: float | None) -> Figure:
    """The query to the left, what was found in rows to the right, the nearest first.

    Args:
        query: the image that was searched with.
        hits: what was found.
        threshold: the distance up to which an image is taken to be of the query's class; None marks none.

    Raises:
        UserError: for a file that is not there any more.
    """
    columns = min(COLUMNS, len(hits))
    rows = -(-len(hits) // columns)
    title = f"The {len(hits)} nearest" if len(hits) > 1 else "The nearest"
    signs = f": {RIGHT.sign} within {threshold:.2f}, {WRONG.sign} beyond" if threshold is not None else ""
    sheet = Sheet(1 + GUTTER + max(columns, 4), rows, title + signs)
    sheet.image(0, 0, _shown(query))
    sheet.text(0, 0, fitted(query.stem))
    for rank, hit in enumerate(hits):
        column, row = 1 + GUTTER + rank % columns, rank // columns
        frame = None if threshold is None else RIGHT if hit.distance <= threshold else WRONG
        sheet.image(column, row, _shown(hit.path), frame)
        sign = "" if frame is None else f"{frame.sign} "
        sheet.text(column, row, f"{sign}{hit.distance:.2f}\n{_line(hit.path.stem)}", frame.colour if frame else "black")
    return sheet.figure


def _shown(path: Path) -> Tensor:
    """An image in colour, its middle where it is no square."""
    image = read_image(path, PhotoConverter(SIDE, colour=True).converted).image
    return to_float(torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(SIDE, SIDE, 3)).permute(
        2, 0, 1
    )


def _line(stem: str) -> str:
    """The end of a name, which tells more than its beginning, in a line."""
    told = fitted(stem).splitlines()
    return told[-1] if len(told) == 1 else f"…{stem.replace('_', ' ')[-11:]}"
