"""Preview sheets of a data set: images of its classes, class sizes, and one training batch.

Shapes: N images in a sheet, R rows, K images in a row, C channels, H × W pixels.
"""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from torch import Tensor

from siamese_lab.data.augment.pipeline import to_float
from siamese_lab.data.class_index import class_offsets
from siamese_lab.data.convert.center import center_crop
from siamese_lab.data.datamodule import DataModule
from siamese_lab.data.tables.base import BaseTable
from siamese_lab.runs.drawing import without_font_warnings
from siamese_lab.runs.files import whole_file

CLASSES, IMAGES = 16, 10
"""Maximum number of classes, and of images per class, on the sheet of classes."""
ROWS = 16
"""Maximum number of rows on the batch sheet. Further classes go into further columns."""
NAME_LENGTH = 24
INCHES = 0.55
"""Height of a row of images, in inches."""


class Row(NamedTuple):
    """Images of one class (float32, 0…1) and the name of the class."""

    name: str
    images_KCHW: Tensor


@without_font_warnings()
def write_sheets(datamodule: DataModule, folder: Path) -> list[Path]:
    """Write the three sheets of a data set to a folder. Create the folder if it is missing.

    Returns:
        Paths of `classes.png`, `class_sizes.png` and `batch.png`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figures = {
        "classes": draw_classes(datamodule),
        "class_sizes": draw_sizes(datamodule),
        "batch": draw_batch(datamodule),
    }
    written = []
    for stem, figure in figures.items():
        written.append(folder / f"{stem}.png")
        with whole_file(written[-1]) as draft:
            figure.savefig(draft, dpi=150, bbox_inches="tight", facecolor="white")
    return written


def draw_classes(datamodule: DataModule) -> Figure:
    """Draw images of some training classes, from the largest to the smallest, with the class sizes."""
    return _rows_figure(
        [_class_rows(datamodule.splits.train, datamodule.image_size)],
        f"{datamodule.title}: training classes with their sizes",
    )


def _class_rows(table: BaseTable, size: int) -> list[Row]:
    """Return the first images of some classes, chosen at equal steps from the largest to the smallest.

    The middle of `size` pixels is shown, as the network sees images without augmentation.
    """
    order_N, start_C, size_C = class_offsets(table.labels_N, len(table.class_names))
    by_size_C = size_C.argsort(descending=True, stable=True)
    shown = by_size_C[torch.linspace(0, len(by_size_C) - 1, min(CLASSES, len(by_size_C))).round().long()].tolist()
    indices = (
        (label, order_N[start_C[label] : start_C[label] + min(IMAGES, int(size_C[label]))].long()) for label in shown
    )
    return [
        Row(f"{short_name(table.class_names[label])}: {int(size_C[label])}", to_float(center_crop(images_KCHW, size)))
        for label, images_KCHW in table.fetch(indices)
    ]


def draw_batch(datamodule: DataModule) -> Figure:
    """Draw the next training batch with augmentation, as the network sees it, in columns of at most `ROWS` classes.

    The function restores the positions of the batch stream and of the augmentation.
    """
    before = datamodule.state_dict()
    batch = next(iter(datamodule.batches))
    images_BCHW = datamodule.training_images(batch.images_BCHW)
    datamodule.load_state_dict(before)
    names = datamodule.splits.train.class_names
    rows = [
        Row(short_name(names[int(labels_K[0])]), images_KCHW)
        for labels_K, images_KCHW in zip(
            batch.labels_B.split(datamodule.images_per_class),
            images_BCHW.split(datamodule.images_per_class),
            strict=True,
        )
    ]
    columns = math.ceil(len(rows) / ROWS)
    height = math.ceil(len(rows) / columns)
    augmented = "augmented" if datamodule.augment is not None else "not augmented"
    title = f"{datamodule.title}: a batch of {len(rows)} × {datamodule.images_per_class}, {augmented}"
    return _rows_figure([rows[first : first + height] for first in range(0, len(rows), height)], title)


def _rows_figure(columns: list[list[Row]], title: str) -> Figure:
    """Draw rows of images, each with its name on the left."""
    longest = max(len(row.images_KCHW) for rows in columns for row in rows)
    names = max(len(row.name) for rows in columns for row in rows) * 0.075 + 0.2
    height = max(len(rows) for rows in columns) * INCHES
    figure = Figure((len(columns) * (longest * INCHES + names), height + 0.5), layout="constrained")
    figure.suptitle(title, fontsize=11, parse_math=False)
    for axes, rows in zip(np.atleast_1d(figure.subplots(1, len(columns))), columns, strict=True):
        _draw_rows(axes, rows, longest, max(len(rows) for rows in columns))
    return figure


def _draw_rows(axes: Axes, rows: list[Row], length: int, height: int) -> None:
    side = rows[0].images_KCHW.shape[2] + 2
    sheet_HW3 = np.ones((height * side, length * side, 3), dtype=np.float32)
    for place, row in enumerate(rows):
        for rank, image_CHW in enumerate(row.images_KCHW):
            sheet_HW3[place * side + 1 : (place + 1) * side - 1, rank * side + 1 : (rank + 1) * side - 1] = rgb(
                image_CHW
            )
        axes.text(-side / 8, (place + 0.5) * side, row.name, ha="right", va="center", fontsize=8, parse_math=False)
    axes.imshow(sheet_HW3, interpolation="nearest")
    axes.set_axis_off()


def rgb(image_CHW: Tensor) -> NDArray[np.float32]:
    """Convert an image to (H, W, 3). Repeat the channel of a gray image three times."""
    pixels: NDArray[np.float32] = image_CHW.expand(3, -1, -1).permute(1, 2, 0).clamp(0, 1).numpy()
    return pixels


def draw_sizes(datamodule: DataModule) -> Figure:
    """Draw the class sizes of each split: one bar per class, or a histogram if the split has many classes."""
    figure = Figure((11, 3.2), layout="constrained")
    figure.suptitle(f"{datamodule.title}: class sizes", fontsize=11, parse_math=False)
    for axes, part, table in zip(figure.subplots(1, 3), datamodule.splits._fields, datamodule.splits, strict=True):
        size_C = table.labels_N.bincount(minlength=len(table.class_names)).numpy()
        if len(size_C) <= CLASSES:
            _draw_each_size(axes, size_C, [short_name(each) for each in table.class_names])
        else:
            _draw_sizes(axes, size_C)
        axes.set_title(f"{part}: {len(table):,} images of {len(size_C):,} classes", fontsize=9)
    return figure


def _draw_each_size(axes: Axes, size_C: NDArray[np.int64], names: list[str]) -> None:
    """Draw one bar for each class, with the first class on top."""
    bars = axes.barh(range(len(names)), size_C, color="tab:blue")
    axes.bar_label(bars, [f"{size:,}" for size in size_C], padding=2, fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8, parse_math=False)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.set_xlabel("images per class")


def _draw_sizes(axes: Axes, size_C: NDArray[np.int64]) -> None:
    smallest, largest = int(size_C.min()), int(size_C.max())
    edges = np.linspace(smallest - 0.5, largest + 0.5, min(40, largest - smallest + 1) + 1).tolist()
    counts, _, _ = axes.hist(size_C, edges, color="tab:blue", edgecolor="white", linewidth=0.3)
    if smallest == largest:
        axes.set_xlim(smallest - 5, smallest + 5)
    if np.max(counts) > 50 * max(1, np.min(np.asarray(counts)[np.asarray(counts) > 0])):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:,.0f}")
    else:
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_xlabel("images per class")
    axes.set_ylabel("classes")


def short_name(name: str) -> str:
    """Replace the middle of a long name by an ellipsis."""
    return name if len(name) <= NAME_LENGTH else f"{name[: NAME_LENGTH // 2 - 1]}…{name[-NAME_LENGTH // 2 :]}"
