"""A table as numbers for programs (CSV) and as it is shown (Markdown, LaTeX, the page)."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from siamese_lab.runs.files import delete_stale_files

TEXT_COLUMNS = ("strategy", "data", "metric", "reached")
"""Columns of words, which are set to the left."""
LATEX_ESCAPES = str.maketrans(
    {sign: f"\\{sign}" for sign in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$"}
    | {"±": r"$\pm$", "−": "$-$", "–": "--", "×": r"$\times$", "≤": r"$\le$", "≥": r"$\ge$", "α": r"$\alpha$"}
    | {"χ": r"$\chi$", "²": "$^2$", "…": r"\dots{}", "’": "'", "“": "``", "”": "''", "š": r"\v{s}"}
)
"""What LaTeX reads otherwise, or pdflatex not at all."""


class ReportTable(NamedTuple):
    """A table and what is to be known of it."""

    name: str
    """Of its files, and of its label."""
    title: str
    numbers: pd.DataFrame
    """A row for each figure, in full precision."""
    shown: pd.DataFrame
    """As text."""
    note: str
    """Sentences to stand below it."""


def write_tables(tables: Sequence[ReportTable], folder: Path) -> None:
    """As `NAME.csv`, `NAME.md` and `NAME.tex`, in the place of those of an earlier report."""
    folder.mkdir(parents=True, exist_ok=True)
    delete_stale_files(folder, {table.name for table in tables}, (".csv", ".md", ".tex"))
    for table in tables:
        table.numbers.to_csv(folder / f"{table.name}.csv", index=False, lineterminator="\n")
        (folder / f"{table.name}.md").write_text(markdown(table), encoding="utf-8", newline="\n")
        (folder / f"{table.name}.tex").write_text(latex(table), encoding="utf-8", newline="\n")


def markdown(table: ReportTable) -> str:
    """With the title above and the note below."""
    body = table.shown.map(lambda text: text.replace("|", r"\|")).to_markdown(
        index=False, disable_numparse=True, colalign=["left" if left else "right" for left in text_columns(table)]
    )
    return f"{table.title}\n\n{body}\n\n{table.note}\n"


def latex(table: ReportTable) -> str:
    """A floating table for the package booktabs."""
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
    """As pdflatex prints it."""
    return text.translate(LATEX_ESCAPES)


def text_columns(table: ReportTable) -> list[bool]:
    """Of each column, whether it holds words, not numbers."""
    return [column in TEXT_COLUMNS for column in table.shown.columns]
