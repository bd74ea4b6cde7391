"""What the runs of a folder come to: `python -m siamese_lab.report FOLDER`.

A study gives tables, figures and a page with the answer; the folds of a protocol give one line of a table.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from siamese_lab.config.errors import user_errors_as_messages, wants_tracebacks
from siamese_lab.errors import ResourceError, UserError
from siamese_lab.runs.disk import FULL, REFUSED
from siamese_lab.runs.display import print_plainly, short
from siamese_lab.runs.files import write_json
from siamese_lab.study import figures, folds, page, runs
from siamese_lab.study.analysis import Analysis, analyze
from siamese_lab.study.conclusions import answer, caveats
from siamese_lab.study.folds import JoinedFolds
from siamese_lab.study.runs import Study
from siamese_lab.study.tables import Tables, table, tabulate
from siamese_lab.study.time_to_recall import LEVELS

FILE_NAME = "folds.json"
DESCRIPTION = """\
Say what the runs of a folder come to. Reads every results.json below it, and nothing else.

Of a study (strategies on data sets, each with several seeds) it writes into the same folder
  report.html   the answer, the tables, the figures and the protocol on one page
  tables/       means with 95% intervals, differences from random sampling, ranks, times, as CSV, Markdown and LaTeX
  figures/      recall1_comparison and the course of training, as PNG and SVG
It joins the folds of a protocol, such as the ten of LFW's View 2, into folds.json.
"""
EXAMPLES = """\
examples:
  python -m siamese_lab.report outputs/study
  python -m siamese_lab.report outputs/sweeps/2026-01-31/12-00-00 --levels 0.8 0.9
"""


def main() -> None:
    """The command: exit status 2 where there is nothing to report."""
    arguments = parser().parse_args()
    with user_errors_as_messages(tracebacks=wants_tracebacks()):
        report(arguments.folder, Console(), arguments.levels, arguments.commit)


def parser() -> argparse.ArgumentParser:
    """Of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m siamese_lab.report",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="such as outputs/study")
    parser.add_argument(
        "--levels",
        type=float,
        nargs="+",
        default=LEVELS,
        metavar="SHARE",
        help="validation Recall@1, each in 0…1, that strategies are timed on reaching "
        f"(default: {' '.join(map(str, LEVELS))})",
    )
    parser.add_argument("--commit", metavar="HASH", help="count only runs of the code whose commit begins like this")
    return parser


def report(folder: Path, console: Console, levels: Sequence[float] = LEVELS, commit: str | None = None) -> None:
    """Say what the runs below a folder come to, and write it there.

    Args:
        folder: of a study, or of the folds of a protocol, or of both.
        console: where the headline is shown.
        levels: of validation Recall@1, whose reaching is timed.
        commit: as `siamese_lab.study.runs.read_study`.

    Raises:
        UserError: where there is nothing to report, for a level outside of 0…1, or a folder that cannot be written to.
    """
    wrong = [level for level in levels if not 0 < level <= 1]
    if wrong:
        raise UserError(f"--levels are shares in 0…1, such as 0.9, but {wrong[0]:g} was given.")
    study = runs.read_study(folder, commit)
    if not study.finished and not study.folds:
        raise UserError(nothing_in(folder, study))
    try:
        if study.folds:
            report_folds(folder, console)
        if study.finished:
            report_study(study, folder, console, levels)
    except OSError as error:
        if error.errno not in (*FULL, *REFUSED):
            raise
        raise ResourceError(f"The report cannot be written into {folder}: {error.strerror}.") from error


def nothing_in(folder: Path, study: Study) -> str:
    """Why there is nothing to report, and what to do."""
    if study.runs:
        last = study.runs[-1].results
        return (
            f"{folder} holds {len(study.runs)} runs, none of which has finished (the last one: "
            f"{last.error or last.status}). Start the same command again to go on with them."
        )
    if study.excluded:
        first = study.excluded[0]
        return f"{folder} holds no run that can be counted. {first.folder}: {first.reason}"
    return f"{folder} holds no results.json of a run. Make some: python -m siamese_lab.train -m experiment=study."


def report_study(study: Study, folder: Path, console: Console, levels: Sequence[float]) -> None:
    """Write tables, figures and the page, and show the headline."""
    with console.status("Computing tables and drawing figures"):
        analysis = analyze(study, levels)
        tables = tabulate(analysis)
        table.write_tables(tables.every(), folder / "tables")
        drawn = figures.write_figures(analysis, folder / "figures")
        written = page.write_page(analysis, tables, drawn, folder)
    print_headline(console, analysis, tables)
    print_plainly(console, f"Report: {short(written.absolute())}")


def print_headline(console: Console, analysis: Analysis, tables: Tables) -> None:
    """The table of Recall@1, a column for each strategy, the answer, and what to be wary of."""
    for headline in tables.headline[:1]:
        turned = headline.shown.set_index("strategy").T
        shown = Table(title=headline.title, title_justify="left")
        shown.add_column("", no_wrap=True)
        for strategy in turned.columns:
            widest = max(len(text.split(" [")[0]) for text in turned[strategy])
            shown.add_column(strategy.replace("_", "_\n"), justify="right", min_width=widest)
        for data, *row in turned.itertuples(name=None):
            shown.add_row(data, *map(escape, row))
        console.print(shown)
        console.print(headline.note, highlight=False, markup=False)
    for sentence in answer(analysis):
        console.print(sentence, highlight=False, markup=False)
    for caveat in caveats(analysis):
        console.print(f"Note: {caveat}", highlight=False, markup=False, style="yellow")


def report_folds(folder: Path, console: Console) -> None:
    """Join the folds below a folder, print a table for each data set and write them."""
    joined = folds.read_folds(folder)
    for data in dict.fromkeys(each.data for each in joined):
        print_folds(console, [each for each in joined if each.data == data])
    written = write_json(folder / FILE_NAME, [plain(each) for each in joined])
    print_plainly(console, f"Written: {written}")


def print_folds(console: Console, joined: Sequence[JoinedFolds]) -> None:
    """Print a row for each set of choices on one data set, with what is missing below."""
    names = folds.differing(joined)
    figures = list(dict.fromkeys(figure for each in joined for figure in each.estimates)) or ["accuracy"]
    title = f"{joined[0].data}: mean ± standard error of {joined[0].folds} folds, in per cent"
    table = Table(title=title, title_justify="left")
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


def plain(joined: JoinedFolds) -> dict[str, object]:
    """Return the joined runs as JSON holds them."""
    return joined._asdict() | {"estimates": {name: each._asdict() for name, each in joined.estimates.items()}}


if __name__ == "__main__":
    main()
