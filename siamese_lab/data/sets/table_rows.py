"""Read the rows of a table of images: path, label, and optionally part, role, group, box and category of each image.

Every message about a value names the file, the row and the column.
"""

import os
import posixpath
import stat
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from siamese_lab.data.io.crops import Box, Crops
from siamese_lab.data.io.file_names import escape_name, find_file, lies_below
from siamese_lab.data.io.folder_walk import IMAGE_SUFFIXES, FolderContent, FoundFile
from siamese_lab.data.io.image_files import ImageFiles
from siamese_lab.data.io.table_file import Columns, TableFile, is_missing
from siamese_lab.data.sets.listed_images import TEST, TRAIN, VALIDATION, ListedImages
from siamese_lab.data.sets.own_images import Labels
from siamese_lab.errors import UserError
from siamese_lab.query_gallery import NO_GROUP, QueryGallery

PARTS = {
    "train": TRAIN,
    "training": TRAIN,
    "validation": VALIDATION,
    "val": VALIDATION,
    "valid": VALIDATION,
    "test": TEST,
    "query": TEST,
    "gallery": TEST,
}
"""Values of the split column, in lower case, with the part that they mean."""
TRUE, FALSE = ("true", "1", "yes"), ("false", "0", "no")
DEFAULT_COLUMNS = {"split_column": "split", "query_column": "is_query", "gallery_column": "is_gallery"}
"""Defaults of the options of optional columns."""
DEFAULT_GROUP, DEFAULT_BOX = "sequence", ("x_1", "y_1", "x_2", "y_2")
DEFAULT_CATEGORY = "category"
LONGEST_SHOWN = 200
"""Number of characters of a value that a message shows."""
LARGEST_SIDE = 1_000_000
"""Pixels. No image that is read is larger."""
BOX_SIDES = ("left", "upper", "right", "lower")


class ColumnNames(NamedTuple):
    """The names of the columns of a table."""

    path: str
    label: str
    split: str | None
    query: str | None
    gallery: str | None
    group: str | None
    box: tuple[str, ...]
    """Left, upper, right and lower; empty if boxes are not read."""
    category: str | None = None

    def wanted(self) -> Columns:
        """Return the columns to read. A column that the user has named is required, a column with its default is not.

        Raises:
            UserError: if a column has two meanings.
        """
        options = {name: f"data.{field}_column" for field, name in self._named().items()}
        options |= dict.fromkeys(self.box, "data.box_columns")
        if len(options) < len(self._named()) + len(self.box):
            twice = sorted(name for name in options if [*self._named().values(), *self.box].count(name) > 1)
            raise UserError(f"The column {twice[0]} has two meanings. Each option of data must name another column.")
        default = {*DEFAULT_COLUMNS.values(), DEFAULT_GROUP, DEFAULT_CATEGORY, *DEFAULT_BOX} - {self.path, self.label}
        required = {name: option for name, option in options.items() if name not in default}
        return Columns(required, {name: option for name, option in options.items() if name in default})

    def _named(self) -> dict[str, str]:
        return {field: name for field, name in self._asdict().items() if field != "box" and name is not None}


class TableRows(NamedTuple):
    """The images of a table, in the order of its rows."""

    files: ImageFiles
    crops: Crops | None
    images: ListedImages

    def part(self, rows: list[int]) -> "TableRows":
        """Return some of the images."""
        content = self.files.content
        files = listed_files(self.files.path, [content.files[row] for row in rows])
        return TableRows(files, self.crops and self.crops.rows(rows), self.images.rows(torch.tensor(rows)))


def listed_files(root: Path, files: Sequence[FoundFile]) -> ImageFiles:
    """Return files of a folder in the order of a list. A file with several boxes is listed several times."""
    return ImageFiles(root, IMAGE_SUFFIXES, walked=FolderContent(tuple(files), (), {}))


def read_rows(table: TableFile, columns: ColumnNames, root: Path) -> TableRows:
    """Read the images of a table.

    Args:
        table: the columns of the table.
        columns: the names of its columns.
        root: the folder that contains all images.

    Raises:
        UserError: if a value is missing, has no meaning, names no file, or comes twice. It names file, row and column.
    """
    root = root.absolute()  # not resolved: a link may lead to the images
    labels = read_labels(table, columns.label)
    files = read_paths(table, columns.path, root)
    boxes = read_boxes(table, columns.box)
    check_distinct(table, columns.path, files, boxes, root)
    part_N = read_parts(table, columns.split)
    roles = read_roles(table, columns)
    crops = (
        None
        if boxes is None
        else Crops(tuple(boxes), tuple(table.place(row, *columns.box) for row in range(len(table))))
    )
    images = ListedImages(table.path, Labels.of(labels), table.place, part_N, roles)
    return TableRows(listed_files(root, files), crops, images)


def faults_of_rows(table: TableFile, columns: ColumnNames, root: Path) -> list[str]:
    """Return one sentence for each kind of value that `read_rows` would refuse."""
    checks: list[Callable[[], object]] = [
        lambda: read_labels(table, columns.label),
        lambda: read_paths(table, columns.path, root.absolute()),
        lambda: read_boxes(table, columns.box),
        lambda: read_parts(table, columns.split),
        lambda: read_roles(table, columns),
    ]
    found = []
    for check in checks:
        try:
            check()
        except UserError as error:
            found.append(str(error))
    return found


def read_labels(table: TableFile, column: str) -> list[str]:
    """Return the labels.

    Raises:
        UserError: if a label is missing.
    """
    texts = table.columns[column]
    refuse(
        table, column, [row for row, text in enumerate(texts) if is_missing(text)], "the label is missing ({value!r})"
    )
    escaped = {text: escape_name(text) for text in set(texts)}
    return [escaped[text] for text in texts]


def refuse(table: TableFile, column: str, rows: Sequence[int], problem: str, cure: str = "Correct the table.") -> None:
    """Raise UserError if there are rows with a problem: it names the first one and counts the others.

    Args:
        table: the table.
        column: the column with the problem.
        rows: the rows that have it.
        problem: a clause, in which {value} stands for the value.
        cure: a sentence that says what to do.
    """
    if not rows:
        return
    first = problem.format(value=shortened(table.columns[column][rows[0]]))
    more = f" The same is true of {len(rows) - 1:,} further {table.unit}s." if len(rows) > 1 else ""
    raise UserError(f"{table.place(rows[0], column)}: {first}.{more} {cure}")


def shortened(text: str) -> str:
    """Return a value for a message: escaped, and only the beginning of a long one."""
    return escape_name(text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…")


def read_paths(table: TableFile, column: str, root: Path) -> list[FoundFile]:
    """Return the files that the paths name.

    Raises:
        UserError: if a path is missing, names no file, or leads out of the folder.
    """
    texts = table.columns[column]
    refuse(
        table, column, [row for row, text in enumerate(texts) if is_missing(text)], "the path is missing ({value!r})"
    )
    names = [relative_name(text, root) for text in texts]
    within = str(root).replace("{", "{{").replace("}", "}}")  # `refuse` formats the sentence
    outside = [row for row, name in enumerate(names) if not lies_below(name)]
    refuse(
        table,
        column,
        outside,
        f"{{value}} is not inside of {within}, and no other folder is read",
        "Set data.root=FOLDER to a folder that contains all images.",
    )
    files = [found_file(root, name) for name in names]
    absent = [row for row, file in enumerate(files) if file is None]
    cure = "Correct the path, or set data.root=FOLDER."
    if absent and os.sep == "/" and "\\" in texts[absent[0]]:
        cure = "Write / in place of \\ in paths."
    refuse(table, column, absent, f"there is no file {{value}} in {within}", cure)
    return [file for file in files if file is not None]


def relative_name(text: str, root: Path) -> str:
    """Return a path relative to a folder, without `.`, `..` and `//` where possible."""
    if Path(text).is_absolute():
        text = os.path.relpath(text, root)
    return posixpath.normpath(text.replace(os.sep, "/"))


def found_file(root: Path, name: str) -> FoundFile | None:
    """Return a file with its size and time, or None if there is no such file."""
    try:
        path = find_file(root / name)
        state = path.stat()
    except (OSError, ValueError):
        return None
    return None if stat.S_ISDIR(state.st_mode) else FoundFile(escape_name(name), state.st_size, state.st_mtime_ns)


def read_boxes(table: TableFile, columns: Sequence[str]) -> list[Box | None] | None:
    """Return the box of each image; None if the table has no boxes.

    Raises:
        UserError: if the table has only some of the columns, or a box is incomplete, negative or empty.
    """
    present = [name for name in columns if name in table.columns]
    if not present:
        return None
    if absent := [name for name in columns if name not in table.columns]:
        raise UserError(
            f"{table.path} has the columns {', '.join(present)} of a box, but not {', '.join(absent)}. Add the "
            "columns, or set data.box_columns=null to use whole images."
        )
    return [box_of(table, row, columns) for row in range(len(table))]


def box_of(table: TableFile, row: int, columns: Sequence[str]) -> Box | None:
    """Return the box of a row; None if all four values are missing.

    Raises:
        UserError: see `read_boxes`.
    """
    texts = [table.columns[name][row] for name in columns]
    if all(map(is_missing, texts)):
        return None
    for name, text in zip(columns, texts, strict=True):
        try:
            whole = float(text).is_integer() and abs(float(text)) <= LARGEST_SIDE
        except (ValueError, OverflowError):
            whole = False
        refuse(
            table,
            name,
            [] if whole else [row],
            f"the end of a box must be a whole number of pixels up to {LARGEST_SIDE:,}, but is {{value!r}}",
        )
    box = Box(*(int(float(text)) for text in texts))
    if not (0 <= box.left < box.right and 0 <= box.upper < box.lower):
        raise UserError(
            f"{table.place(row, *columns)}: the box from ({box.left}, {box.upper}) to ({box.right}, {box.lower}) lies "
            "outside of the image or is empty. The first corner must be at least 0, and the second one larger."
        )
    return box


def images_behind(files: Sequence[FoundFile], root: Path) -> list[str]:
    """Return the path of each file, behind links. Only files of the same size and time can be one file."""
    alike = Counter((file.size, file.mtime_ns) for file in files)
    return [
        os.path.realpath(find_file(root / file.name)) if alike[file.size, file.mtime_ns] > 1 else file.name
        for file in files
    ]


def check_distinct(
    table: TableFile, column: str, files: Sequence[FoundFile], boxes: Sequence[Box | None] | None, root: Path
) -> None:
    """Raise UserError if two rows name the same image with the same box, directly or by a link."""
    first: dict[tuple[str, Box | None], int] = {}
    for row, image in enumerate(images_behind(files, root)):
        earlier = first.setdefault((image, None if boxes is None else boxes[row]), row)
        if earlier != row:
            alias = f" as {files[earlier].name}" if files[earlier].name != files[row].name else ""
            raise UserError(
                f"{table.place(row, column)}: {files[row].name} is listed a second time, after {table.unit} "
                f"{table.numbers[earlier]:,}{alias}. An image that comes twice finds itself. Delete one of them."
            )


def read_parts(table: TableFile, column: str | None) -> Tensor | None:
    """Return the part of each image; None if the table does not divide its images.

    Raises:
        UserError: if a value means no part.
    """
    if column is None or column not in table.columns:
        return None
    texts = [text.lower() for text in table.columns[column]]
    unknown = [row for row, text in enumerate(texts) if text not in PARTS]
    refuse(table, column, unknown, f"the split must be one of {', '.join(PARTS)}, but is {{value!r}}")
    return torch.tensor([PARTS[text] for text in texts])


def read_roles(table: TableFile, columns: ColumnNames) -> QueryGallery | None:
    """Return the roles of the images; None if the table has neither roles nor groups.

    Raises:
        UserError: if a value is neither true nor false, or if two columns state the role.
    """
    texts = [text.lower() for text in table.columns.get(columns.split or "", [])]
    by_split = [(text != "gallery", text != "query") for text in texts]
    query, gallery = (read_flags(table, name) for name in (columns.query, columns.gallery))
    group_N = read_groups(table, columns.group)
    if by_split and not all(map(all, by_split)):
        if query is not None or gallery is not None:
            raise UserError(
                f"{table.path} states queries twice: in {columns.split} and in {columns.query} or {columns.gallery}. "
                "Set data.query_column=null and data.gallery_column=null, or write test in place of query and gallery."
            )
        query, gallery = (torch.tensor(each) for each in zip(*by_split, strict=True))
    if query is None and gallery is None and group_N is None:
        return None
    if query is None and gallery is None:
        return QueryGallery.everyone(len(table))._replace(group_N=group_N)
    if query is None:
        assert gallery is not None
        query = ~gallery
    return QueryGallery(query, ~query if gallery is None else gallery, group_N)


def read_flags(table: TableFile, column: str | None) -> Tensor | None:
    """Return the values of a column of true and false; a missing value is false. None without the column."""
    if column is None or column not in table.columns:
        return None
    texts = [text.lower() for text in table.columns[column]]
    known = {"1.0", "0.0", *TRUE, *FALSE}
    refuse(
        table,
        column,
        [row for row, text in enumerate(texts) if text not in known and not is_missing(text)],
        "the value must be true or false, or 1 or 0, but is {value!r}",
    )
    return torch.tensor([text in ("1.0", *TRUE) for text in texts])


def read_groups(table: TableFile, column: str | None) -> Tensor | None:
    """Return the number of the group of each image, NO_GROUP for a missing value; None without the column."""
    if column is None or column not in table.columns:
        return None
    number = {text: group for group, text in enumerate(dict.fromkeys(table.columns[column]))}
    return torch.tensor([NO_GROUP if is_missing(text) else number[text] for text in table.columns[column]])


def read_categories(table: TableFile, columns: ColumnNames, labels: Collection[str]) -> dict[str, int] | None:
    """Return the number of the category of each of some labels; None without the column.

    Raises:
        UserError: if the category of an image is missing, or a label has images of two categories.
    """
    column = columns.category
    if column is None or column not in table.columns:
        return None
    wanted, texts = frozenset(labels), table.columns[column]
    rows = [(row, label) for row, label in enumerate(read_labels(table, columns.label)) if label in wanted]
    refuse(table, column, [row for row, _ in rows if is_missing(texts[row])], "the category is missing ({value!r})")
    first: dict[str, int] = {}
    for row, label in rows:
        earlier = first.setdefault(label, row)
        if texts[row] != texts[earlier]:
            raise UserError(
                f"{table.place(row, column)}: the label {label!r} has the category {escape_name(texts[row])!r}, but "
                f"{escape_name(texts[earlier])!r} in {table.unit} {table.numbers[earlier]:,}. All images of a label "
                "must have one category. Correct the table."
            )
    number = {text: category for category, text in enumerate(sorted({texts[row] for row in first.values()}))}
    return {label: number[texts[row]] for label, row in first.items()}
