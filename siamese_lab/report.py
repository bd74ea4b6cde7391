"""What the runs of a folder come to: `python -m siamese_lab.report FOLDER`.

So far View 2 of LFW: ten runs of `siamese_lab.train -m experiment=lfw_view2` to one line of a table.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from siamese_lab.mistakes import BAD_INPUT, print_mistake
from siamese_lab.study import lfw_view2
from siamese_lab.study.lfw_view2 import View2
from siamese_lab.summary import print_plainly

FILE_NAME = "lfw_view2.json"


def main() -> None:
    """The command: exit status 2 where there is nothing to report."""
    parser = argparse.ArgumentParser(
        prog="python -m siamese_lab.report",
        description="Join the runs of a folder, and write what they come to into the same folder.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="such as outputs/sweeps/DATE/TIME")
    folder: Path = parser.parse_args().folder
    try:
        report(folder, Console())
    except Exception as error:
        print_mistake(error)
        sys.exit(BAD_INPUT)


def report(folder: Path, console: Console) -> None:
    """Join the runs below a folder, print the table and write it."""
    joined = lfw_view2.read(folder)
    print_view2(console, joined)
    written = folder / FILE_NAME
    written.write_text(json.dumps([plain(each) for each in joined], indent=2) + "\n", encoding="utf-8")
    print_plainly(console, f"Written: {written}")


def print_view2(console: Console, joined: Sequence[View2]) -> None:
    """A row for each set of choices, with what is missing below."""
    names = lfw_view2.differing(joined)
    figures = list(dict.fromkeys(figure for each in joined for figure in each.estimates)) or ["accuracy"]
    table = Table(title="LFW, View 2: mean ± standard error of ten folds, in per cent", title_justify="left")
    for column in (*names, "folds"):
        table.add_column(column)
    for figure in figures:
        table.add_column(figure, justify="right")
    for each in joined:
        estimates = (each.estimates.get(figure) for figure in figures)
        told = [f"{100 * one.mean:.2f} ± {100 * one.standard_error:.2f}" if one else "–" for one in estimates]
        table.add_row(*(str(each.choices.get(name)) for name in names), str(len(each.figures_of_fold)), *told)
    console.print(table)
    for each in joined:
        label = ", ".join(f"{name}={each.choices.get(name)}" for name in names)
        for fold, reason in each.missing.items():
            print_plainly(console, f"{label}: fold {fold} is missing ({reason}).")


def plain(view2: View2) -> dict[str, object]:
    """As it is written."""
    return view2._asdict() | {"estimates": {name: each._asdict() for name, each in view2.estimates.items()}}


if __name__ == "__main__":
    main()
