"""Write the report of all runs in a folder, and print its headline: a study's page, or the joined folds of one run."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from siamese_lab.errors import ResourceError, UserError
from siamese_lab.runs import packed
from siamese_lab.runs.disk import FULL, REFUSED
from siamese_lab.runs.display import counted, in_blocks, print_plainly, print_titled, short
from siamese_lab.runs.files import write_json
from siamese_lab.runs.links import check_inside
from siamese_lab.runs.plain_values import shortened
from siamese_lab.study import LEVELS, NOTHING, bounds, figures, folds, page, runs
from siamese_lab.study.analysis import Analysis, analyze
from siamese_lab.study.answer import answer
from siamese_lab.study.conclusions import caveats
from siamese_lab.study.folds import JoinedFolds
from siamese_lab.study.hypotheses import evaluate
from siamese_lab.study.plan import hypotheses
from siamese_lab.study.run_table import run_table
from siamese_lab.study.runs import Study
from siamese_lab.study.status import in_short, study_statuses
from siamese_lab.study.tables import Tables, table, tabulate
from siamese_lab.study.tables.hypotheses import in_words

FILE_NAME = "folds.json"


def report(folder: Path, console: Console, levels: Sequence[float] = LEVELS, commit: str | None = None) -> None:
    """Report the results of all runs below a folder, and write the report into this folder.

    Args:
        folder: folder of a study, of the folds of a cross-validation, or of both.
        console: the console that shows the headline.
        levels: levels of validation Recall@1; the report shows the time until each level is reached.
        commit: first characters of a commit; other runs are ignored.

    Raises:
        UserError: if there is nothing to report, a level is outside of 0…1, or the folder cannot be written to.
    """
    wrong = [level for level in levels if not 0 < level <= 1]
    if wrong:
        raise UserError(f"--levels must be above 0 and at most 1, such as 0.9, but {wrong[0]:g} was given.")
    check_inside(folder, ("tables", "figures", page.FILE_NAME, FILE_NAME))
    study = runs.read_study(folder, commit)
    if not study.finished and not study.folds:
        raise UserError(nothing_in(folder, study))
    bounds.check_study(study)
    try:
        if study.folds:
            report_folds(folder, console)
        if study.finished:
            report_study(study, folder, console, levels)
    except OSError as error:
        if error.errno not in (*FULL, *REFUSED):
            raise
        raise ResourceError(f"The report cannot be written into {folder}: {error.strerror}.") from error


def report_hypotheses(folder: Path, console: Console, commit: str | None = None, names: Sequence[str] = ()) -> None:
    """Evaluate the hypotheses from all runs below a folder, and print verdicts and numbers; nothing is written.

    Args:
        folder: folder of the runs of a study and of its factors.
        console: the console that shows the tables.
        commit: first characters of a commit; other runs are ignored.
        names: names of hypotheses, of which the runs are printed too; if empty, all without their runs.

    Raises:
        UserError: if there is no finished run, or no hypothesis of a name.
    """
    known = [*hypotheses()["hypotheses"]]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UserError(f"There is no hypothesis {shortened(unknown[0])}. The study has {', '.join(known)}.")
    study = runs.read_study(folder, commit)
    if not any(run.finished for run in study.every):
        raise UserError(nothing_in(folder, study))
    bounds.check_study(study)
    statuses = study_statuses(study)
    for verdict in evaluate(run_table(study.every)):
        if names and verdict.name not in names:
            continue
        print_plainly(console, f"{verdict.name}: {verdict.outcome}. {verdict.claim}")
        if verdict.reason:
            print_plainly(console, f"  {verdict.reason}")
        for each in verdict.findings:
            if each.number is not None:
                status = in_short(statuses, each.column, each.strategies)
                print_plainly(console, f"  {each.column}, {each.outcome}: {in_words(each)} Status of cells: {status}.")
                if names:
                    print_plainly(
                        console, f"    {counted(len(each.runs), 'run')}:", *(f"      {run}" for run in each.runs)
                    )
            elif names:
                print_plainly(console, f"  {each.column}, {each.outcome}: {each.says}: {each.reason}.")


def pack_results(folder: Path, console: Console) -> None:
    """Write the results of all runs below a folder into its packed file, and keep the runs that were packed earlier.

    Raises:
        UserError: if the folder holds no results, a packed result is damaged, or the folder cannot be written to.
    """
    check_inside(folder, (packed.FILE_NAME,))
    records = runs.records_of_runs(folder) if folder.is_dir() else []
    if not records:
        raise UserError(nothing_in(folder, runs.read_study(folder)))
    try:
        written = packed.pack(folder, records)
    except OSError as error:
        if error.errno not in (*FULL, *REFUSED):
            raise
        raise ResourceError(f"{folder} cannot be written to: {error.strerror}.") from error
    print_plainly(console, *bounds.shorten_notes([f"Left out: {each}" for each in written.left_out]))
    print_plainly(console, *bounds.shorten_notes(written.notes))
    size = written.path.stat().st_size / 1e6
    print_plainly(console, f"Packed {counted(written.runs, 'run')}, {size:.1f} MB: {short(written.path.absolute())}")


def nothing_in(folder: Path, study: Study) -> str:
    """Return a message that says why there is nothing to report, and what to do."""
    if study.runs:
        last = study.runs[-1].results
        return (
            f"{folder} holds {counted(len(study.runs), 'run')}, but no finished one (the last one: "
            f"{shortened(last.error or last.status, 300)}). Start the same command again to continue them."
        )
    if study.excluded:
        first = study.excluded[0]
        return f"{folder} holds no run that can be used. {first.folder}: {first.reason}"
    return f"{folder} holds no {NOTHING}"


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
    """Print the Recall@1 table with one column per strategy, the summary of the answer, and its limitations."""
    for headline in tables.headline[:1]:
        turned = headline.shown.set_index("strategy").T

        def with_strategies(indices: Sequence[int], turned: pd.DataFrame = turned) -> Table:
            shown, block = Table(), turned.iloc[:, list(indices)]
            shown.add_column("", no_wrap=True)
            for strategy in block.columns:
                widest = max(len(text.split(" [")[0]) for text in block[strategy])
                shown.add_column(escape(strategy.replace("_", "_\n")), justify="right", min_width=widest)
            for data, *row in block.itertuples(name=None):
                shown.add_row(*map(escape, (data, *row)))
            return shown

        print_titled(console, headline.title, *in_blocks(console, len(turned.columns), with_strategies))
        console.print(headline.note, highlight=False, markup=False)
    for sentence in answer(analysis).headline:
        console.print(sentence, highlight=False, markup=False)
    for caveat in caveats(analysis):
        console.print(f"Note: {caveat}", highlight=False, markup=False, style="yellow")


def report_folds(folder: Path, console: Console) -> None:
    """Join the folds below a folder, print a table for each data set, and write them to folds.json."""
    joined = folds.read_folds(folder)
    bounds.check(len(joined), bounds.FOLDED, str(folder))
    for data in dict.fromkeys(each.data for each in joined):
        print_folds(console, [each for each in joined if each.data == data])
    written = write_json(folder / FILE_NAME, [joined_as_json(each) for each in joined])
    print_plainly(console, f"Written: {written}")


def print_folds(console: Console, joined: Sequence[JoinedFolds]) -> None:
    """Print one row per configuration on one data set, followed by the missing folds."""
    names = folds.differing(joined)
    figures = list(dict.fromkeys(figure for each in joined for figure in each.estimates)) or ["accuracy"]
    title = f"{joined[0].data}: mean ± standard error of {joined[0].folds} folds, in percent"
    table = Table()
    for column in (*names, "folds"):
        table.add_column(escape(column))
    for figure in figures:
        table.add_column(escape(figure), justify="right")
    for each in joined:
        estimates = (each.estimates.get(figure) for figure in figures)
        shown = [f"{100 * one.mean:.2f} ± {100 * one.standard_error:.2f}" if one else "–" for one in estimates]
        table.add_row(*(escape(str(each.choices.get(name))) for name in names), str(len(each.figures_of_fold)), *shown)
    print_titled(console, title, table)
    missing = []
    for each in joined:
        label = ", ".join(f"{name}={shortened(str(each.choices.get(name)))}" for name in names)
        missing += [f"{label}: fold {fold} is missing ({why})." for fold, why in each.missing.items()]
    print_plainly(console, *bounds.shorten_notes(missing))


def joined_as_json(joined: JoinedFolds) -> dict[str, object]:
    """Return the joined folds as a dictionary for JSON."""
    return joined._asdict() | {"estimates": {name: each._asdict() for name, each in joined.estimates.items()}}
