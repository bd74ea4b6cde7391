"""Draw the results of a search: the query and the images that were found, as the files show them."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import torch
from matplotlib.figure import Figure
from torch import Tensor

from siamese_lab.data.augment.pipeline import to_float
from siamese_lab.data.convert.photo import PhotoConverter
from siamese_lab.data.io.file_names import escape_name
from siamese_lab.evaluation.plots.cells import LINE_LENGTH, RIGHT, WRONG, Sheet, wrap_name
from siamese_lab.inference.inputs import read_image
from siamese_lab.inference.search import Hit

COLUMNS = 5
GUTTER = 0.3
SIDE = 160
"""Side of a drawn image in pixels."""


def draw_search_results(query: Path, hits: Sequence[Hit], threshold: float | None) -> Figure:
    """Draw the query on the left and the results in rows on the right, the nearest first.

    Args:
        query: the query image.
        hits: the results of the search.
        threshold: largest distance that is accepted as the class of the query. None draws no frames.

    Raises:
        UserError: if a file does not exist any more.
    """
    columns = min(COLUMNS, len(hits))
    rows = -(-len(hits) // columns)
    title = f"The {len(hits)} nearest" if len(hits) > 1 else "The nearest"
    signs = f": {RIGHT.sign} within {threshold:.2f}, {WRONG.sign} beyond" if threshold is not None else ""
    sheet = Sheet(1 + GUTTER + max(columns, 4), rows, title + signs, lines=3)
    sheet.image(0, 0, _shown(query))
    sheet.text(0, 0, wrap_name(escape_name(query.stem)))
    for rank, hit in enumerate(hits):
        column, row = 1 + GUTTER + rank % columns, rank // columns
        frame = None if threshold is None else RIGHT if hit.distance <= threshold else WRONG
        sheet.image(column, row, _shown(hit.path), frame)
        sign = "" if frame is None else f"{frame.sign} "
        label = f"{sign}{hit.distance:.2f}\n{_label(escape_name(hit.name))}"
        sheet.text(column, row, label, frame.color if frame else "black")
    return sheet.figure


def _shown(path: Path) -> Tensor:
    """Return an image in color. Of an image that is not square, the center is shown."""
    image = read_image(path, PhotoConverter(SIDE, color=True).converted).image
    return to_float(torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(SIDE, SIDE, 3)).permute(
        2, 0, 1
    )


def _label(name: str) -> str:
    """Return the name of a file below the searched folder: its folder, if it has one, and its name, in a line each.

    A long line keeps its end, which differs more between files.
    """
    folder, stem = PurePosixPath(name).parent.as_posix(), PurePosixPath(name).stem
    lines = [stem] if folder == "." else [f"{folder}/", stem]
    return "\n".join(line if len(line) <= LINE_LENGTH else f"…{line[2 - LINE_LENGTH :]}" for line in lines)
