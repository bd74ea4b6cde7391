"""Your own images, listed in a table: a CSV or Parquet file with a row for each image.

Columns hold the path and the label of the image, and optionally its part, its role in retrieval, its group, its box and
the category of its class.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from siamese_lab.data.datamodule import DataModule, QueryGalleryParts, Splits, register
from siamese_lab.data.info import DataSetInfo
from siamese_lab.data.io.file_names import escape_name
from siamese_lab.data.io.messages import faults
from siamese_lab.data.io.table_file import TableFile, read_table
from siamese_lab.data.sets.listed_images import DividedImages, Division, describe_protocol, described_roles
from siamese_lab.data.sets.own_images import ClassFractions, Labels, OwnImages
from siamese_lab.data.sets.table_rows import (
    BOX_SIDES,
    DEFAULT_BOX,
    DEFAULT_CATEGORY,
    DEFAULT_COLUMNS,
    DEFAULT_GROUP,
    ColumnNames,
    TableRows,
    faults_of_rows,
    read_categories,
    read_rows,
)
from siamese_lab.errors import UserError
from siamese_lab.runs.classes import ClassParts


@register("table")
class Table(DataModule):
    """Images that a table lists.

    Args:
        file: the table: .csv (also separated by semicolons or tabs) or .parquet.
        root: folder that paths are relative to and that contains all images; None is the folder of the table.
        cache: folder for decoded images; None is the user's cache folder.
        path_column: column with the path of the image.
        label_column: column with the class of the image.
        split_column: column with `train`, `validation`, `test`, `query` or `gallery`; the last two are test images.
            None, or a table without this column, divides the classes by fractions.
        query_column, gallery_column: columns that say whether a test image is a query, and whether it is searched. If
            the table has one of them only, each test image has exactly one role.
        group_column: column with the group of an image, such as its camera. A query does not search images of its own
            class and group.
        box_columns: columns with the left, upper, right and lower end of the part of the image that is used, in pixels
            of the upright image; the right and lower ends are not part of it. Rows without values use the whole image.
        category_column: column with the category of the class of the image, such as chair for a model of a chair:
            see `categories_per_batch` of `DataModule`.
        encoding: encoding of a CSV file.
        closed: True accepts test classes that are training classes: another protocol, which tests known classes.
        image_size: see `OwnImages`.
        color: True for RGB, False for gray.
        validation_fraction: fraction of the training classes that validates, if the table has no validation images;
            with `closed`, of the images of each class.
        test_fraction: fraction of the classes that is tested, if the table has no split column.
        split_seed: seed of the held-out classes, separate from the seed of the run.
        skip_unreadable: skip images that cannot be read, instead of raising an error.
        in_memory: see `OwnImages`.
        memory_limit: see `OwnImages`.
        workers: see `OwnImages`.
        **common: see `DataModule`.
    """

    title = "Table"
    split_options = ("split_column", "validation_fraction", "test_fraction", "split_seed", "closed")
    order = 61
    resizes_photographs = True
    limitations = (
        "If the images of the table show people, this network must not be used to identify them, to decide "
        "anything about them, or for surveillance.",
    )

    def __init__(
        self,
        file: str | Path | None = None,
        root: str | Path | None = None,
        cache: str | Path | None = None,
        path_column: str = "path",
        label_column: str = "label",
        split_column: str | None = DEFAULT_COLUMNS["split_column"],
        query_column: str | None = DEFAULT_COLUMNS["query_column"],
        gallery_column: str | None = DEFAULT_COLUMNS["gallery_column"],
        group_column: str | None = DEFAULT_GROUP,
        box_columns: Sequence[str] | None = DEFAULT_BOX,
        category_column: str | None = DEFAULT_CATEGORY,
        encoding: str = "utf-8",
        closed: bool = False,
        image_size: int = 64,
        color: bool = True,
        validation_fraction: float = 0.1,
        test_fraction: float = 0.2,
        split_seed: int = 0,
        skip_unreadable: bool = False,
        in_memory: bool | str = "auto",
        memory_limit: float = 4000,
        workers: int | None = None,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        if box_columns is not None and len(box_columns) != len(BOX_SIDES):
            raise UserError(
                f"data.box_columns must name four columns ({', '.join(BOX_SIDES)}), but names {len(box_columns)}."
            )
        self.own = OwnImages(cache, image_size, color, in_memory, memory_limit, workers, self.stored_size)
        self.fractions = ClassFractions(validation_fraction, test_fraction, split_seed)
        self.fractions.check()
        self.file = Path(file).expanduser() if file is not None else None
        self.root = Path(root).expanduser() if root is not None else None
        self.columns = ColumnNames(
            path_column,
            label_column,
            split_column,
            query_column,
            gallery_column,
            group_column,
            tuple(box_columns or ()),
            category_column,
        )
        self.encoding = encoding
        self.closed = closed
        self.image_size = image_size
        self.channels = self.own.channels
        self.skip_unreadable = skip_unreadable
        self._kept: ClassParts | None = None

    def load(self) -> Splits:
        """Decode all images, or load them from the cache, or leave them in their files. Then divide them."""
        rows, labels = self._rows, self._rows.images.labels
        unlabeled = Labels(torch.zeros_like(labels.labels_N), ("image",))  # new labels need no new decoding
        table: Any = self.own.table(rows.files, unlabeled, self._key(rows), rows.crops)
        return self._divided.splits(replace(table, labels_N=labels.labels_N, class_names=labels.class_names))

    @cached_property
    def query_gallery(self) -> QueryGalleryParts | None:
        """The roles of the images of validation and test, if the table has roles or groups."""
        return self._divided.roles

    @cached_property
    def categories(self) -> Tensor | None:
        """The category of each training class, if the table has a column for it."""
        names = self.splits.train.class_names
        number = read_categories(self._table, self.columns, names)
        return None if number is None else torch.tensor([number[name] for name in names])

    @cached_property
    def _divided(self) -> DividedImages:
        return Division(self.fractions, self.closed, self._kept).divide(self._rows.images)

    @cached_property
    def _rows(self) -> TableRows:
        """The rows of the table, without images that cannot be read if `skip_unreadable` is set."""
        rows = self._every_row
        if not self.skip_unreadable:
            return rows
        bad = {each.row for each in self.own.unreadable(rows.files, rows.crops)}
        return rows.part([row for row in range(len(rows.files.names)) if row not in bad])

    @cached_property
    def _every_row(self) -> TableRows:
        return read_rows(self._table, self.columns, self.root or self._table.path.parent)

    @cached_property
    def _table(self) -> TableFile:
        return read_table(existing_file(self.file), self.columns.wanted(), self.encoding)

    def _key(self, rows: TableRows) -> str:
        boxes = "" if rows.crops is None else repr(rows.crops.boxes)
        return self.own.key("table", f"{rows.files.key}-{hashlib.sha256(boxes.encode()).hexdigest()[:8]}")

    def current_classes(self) -> frozenset[str]:
        """Return the names of all classes that the table lists now."""
        return frozenset(self._rows.images.labels.class_names)

    def keep_parts(self, parts: ClassParts) -> None:
        """Keep each class in the part that it had in a training: see `Division`."""
        self._kept = parts

    def describe(self) -> DataSetInfo:
        """Return the description with the name of the table in the title, because every table is a separate data set.

        The protocol is "closed" with known test classes, and "query and gallery" if test images have roles or groups.
        """
        described = super().describe()
        if self.file is None:
            return described
        described = described._replace(title=f"Images of {self.file.resolve().name}")
        roles = self.query_gallery if self.file.is_file() else None
        return describe_protocol(described, self.closed, roles)

    def provenance(self) -> dict[str, str]:
        """Return the table, the cache or the number of decoding processes, and the roles of the images of the test."""
        found = {"from": str(existing_file(self.file))} | self.own.provenance(len(self._rows.files.names))
        if self.query_gallery is None:
            return found
        return found | described_roles(self.query_gallery, self.splits)

    def absent(self) -> list[str]:
        """Return a sentence if the table is missing. It cannot be downloaded."""
        if self.file is not None and self.file.is_file():
            return []
        return [f"There is no table data.file={self.file}."]

    def verify(self) -> list[str]:
        """Check the table, and read every image and the cached images."""
        return faults(self._check)

    def _check(self) -> list[str]:
        if found := faults_of_rows(self._table, self.columns, self.root or self._table.path.parent):
            return found
        rows = self._every_row
        return self.own.verify(rows.files, self._key(rows), rows.crops) + faults(self._check_parts)

    def _check_parts(self) -> list[str]:
        _ = self._divided  # raises if the parts have a fault
        if self.categories_per_batch is not None:
            read_categories(self._table, self.columns, self._every_row.images.labels.class_names)
        return []


def existing_file(file: Path | None) -> Path:
    """Return the path of the table.

    Raises:
        UserError: if the user has named none, or if results cannot name it.
    """
    if file is None:
        raise UserError(
            "data=table reads your own images: set data.file=FILE to a .csv or .parquet file with a row for each image "
            "and the columns path and label."
        )
    if escape_name(file) != str(file):
        raise UserError(
            f"data.file is {escape_name(file)}, which has bytes that are not UTF-8 or control characters, so results "
            "cannot name it. Rename the table or its folder."
        )
    return file
