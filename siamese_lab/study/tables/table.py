"""A table of the report: full-precision numbers (CSV) and formatted text (Markdown, LaTeX, the page)."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from siamese_lab.runs.escapes import escape_csv, escape_markdown, plain_line
from siamese_lab.runs.files import delete_stale_files, whole_file, write_text

LONG_COLUMNS = ("claim", "reason", "quantity")
"""Columns that hold sentences."""
TEXT_COLUMNS = (
    "strategy",
    "data",
    "metric",
    "reached",
    "first",
    "second",
    "verdict",
    "hypothesis",
    "factor",
    "arm",
    "compared with",
    "status",
    "status of cells",
    "processor",
    "precision",
    *LONG_COLUMNS,
)
"""Columns that hold text and are aligned left."""
LATEX_ESCAPES = str.maketrans(
    {sign: f"\\{sign}" for sign in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$"}
    | {"±": r"$\pm$", "−": "$-$", "–": "--", "×": r"$\times$", "≤": r"$\le$", "≥": r"$\ge$", "α": r"$\alpha$"}
    | {"χ": r"$\chi$", "²": "$^2$", "…": r"\dots{}", "’": "'", "“": "``", "”": "''", "š": r"\v{s}"}
)
"""Replacements for characters that LaTeX interprets or that pdflatex cannot print."""


class ReportTable(NamedTuple):
    """A table with its title and note."""

    name: str
    """Name of the files and of the LaTeX label."""
    title: str
    numbers: pd.DataFrame
    """Numbers in full precision, one row for each value."""
    shown: pd.DataFrame
    """Formatted text of the table."""
    note: str
    """Sentences below the table."""


def write_tables(tables: Sequence[ReportTable], folder: Path) -> None:
    """Write each table as `NAME.csv`, `NAME.md` and `NAME.tex`, and delete the tables of an earlier report."""
    folder.mkdir(parents=True, exist_ok=True)
    delete_stale_files(folder, {table.name for table in tables}, (".csv", ".md", ".tex"))
    for table in tables:
        with whole_file(folder / f"{table.name}.csv") as draft:
            csv_numbers(table).to_csv(draft, index=False, lineterminator="\n")
        write_text(folder / f"{table.name}.md", markdown(table))
        write_text(folder / f"{table.name}.tex", latex(table))


def csv_numbers(table: ReportTable) -> pd.DataFrame:
    """Return the numbers with escaped texts. A column of numbers stays as it is."""
    escaped = table.numbers.map(lambda value: escape_csv(value) if isinstance(value, str) else value)
    return escaped.astype(table.numbers.dtypes)


def markdown(table: ReportTable) -> str:
    """Return the table as Markdown, with the title above and the note below."""
    body = (
        table.shown.map(escape_markdown)
        .rename(columns=escape_markdown)
        .to_markdown(
            index=False, disable_numparse=True, colalign=["left" if left else "right" for left in text_columns(table)]
        )
    )
    return f"{escape_markdown(table.title)}\n\n{body}\n\n{table.note}\n"


def latex(table: ReportTable) -> str:
    """Return the table as a LaTeX float that needs the package booktabs."""
    text: str = (
        table.shown.style.hide(axis="index")
        .format(escape_latex)
        .format_index(escape_latex, axis="columns")
        .to_latex(
            hrules=True,
            column_format="".join("l" if left else "r" for left in text_columns(table)),
            caption=escape_latex(f"{table.title}. {table.note}"),
            label=f"tab:{table.name}",
            position="t",
            position_float="centering",
        )
    )
    return text


def escape_latex(text: str) -> str:
    """Return the text with all characters escaped that pdflatex would not print.

    A bracket or a star at the beginning of a row would be an argument of the line break before it.
    """
    line = plain_line(text)
    protected = f"{{{line[0]}}}{line[1:].translate(LATEX_ESCAPES)}" if line[:1] in ("[", "*") and line else ""
    return protected or line.translate(LATEX_ESCAPES)


def text_columns(table: ReportTable) -> list[bool]:
    """Return for each column whether it holds text instead of numbers."""
    return [column in TEXT_COLUMNS for column in table.shown.columns]
