"""Report the results of all runs in a folder: `python -m siamese_lab.report FOLDER`.

For a study it writes tables, figures and a page with the answer. For a cross-validation it joins the folds into one
table row.
"""

import sys

if __name__ == "__main__":  # before the imports below, which Ctrl-C may interrupt
    from siamese_lab.__main__ import start

    sys.exit(start("report", sys.argv[1:]))


from pathlib import Path

from siamese_lab.config.errors import user_errors_as_messages, wants_tracebacks
from siamese_lab.config.help_layout import HelpParser, example_lines, two_columns
from siamese_lab.errors import UserError
from siamese_lab.runs import packed, results
from siamese_lab.runs.console import new_console
from siamese_lab.study import LEVELS, NOTHING

DESCRIPTION = """\
Report the results of all runs in a folder. The command reads every results.json
and every runs.jsonl.gz, which holds packed results, below the folder.

  python -m siamese_lab.report FOLDER [--levels SHARE …] [--commit HASH]
                               [--hypotheses [NAME …]] [--pack]

For a study (strategies on data sets, with several seeds each) it writes into
the same folder:
  report.html   the answer, the tables, the figures and the protocol on one page
  tables/       means with 95% intervals, differences from random sampling,
                ranks, times; as CSV, Markdown and LaTeX
  figures/      recall1_comparison and training curves; as PNG and SVG
For a cross-validation, such as the ten folds of LFW's View 2, it writes
folds.json."""
OPTIONS = (
    ("FOLDER", "folder of the runs, such as outputs/study"),
    (
        "--levels SHARE …",
        "levels of validation Recall@1 in 0…1; the report shows the time until each is reached (default: "
        f"{' '.join(map(str, LEVELS))})",
    ),
    ("--commit HASH", "use only runs of the commit that starts with HASH (default: all)"),
    (
        "--hypotheses [NAME …]",
        "print only the verdict on each hypothesis of the study, with the numbers that decide it, and write nothing; "
        "with names, such as H3, also the folders of the runs that gave each number",
    ),
    (
        "--pack",
        "write no report, but the results of all runs into FOLDER/runs.jsonl.gz, besides the results packed earlier; "
        "reports and sweeps then need no results.json",
    ),
)
EXAMPLES = (
    ("Report a study", "python -m siamese_lab.report outputs/my_study"),
    (
        "Report a sweep, with the time until Recall@1 reaches 80% and 90%",
        "python -m siamese_lab.report outputs/sweeps/DATE/TIME --levels 0.8 0.9",
    ),
    (
        "Decide a hypothesis again from the stored runs, and name them",
        "python -m siamese_lab.report outputs/my_study --hypotheses H3",
    ),
    ("Keep the results of a study in one small file", "python -m siamese_lab.report outputs/my_study --pack"),
)


def main() -> None:
    """Run the command. The exit status is 2 if there is nothing to report."""
    arguments = parser().parse_args()
    with user_errors_as_messages(tracebacks=wants_tracebacks()):
        check_reportable(arguments.folder)
        # loads pandas and matplotlib, which --help does not need
        from siamese_lab.study.report import pack_results, report, report_hypotheses

        if arguments.pack:
            pack_results(arguments.folder, new_console())
            return
        if arguments.hypotheses is not None:
            report_hypotheses(arguments.folder, new_console(), arguments.commit, arguments.hypotheses)
            return
        report(arguments.folder, new_console(), arguments.levels, arguments.commit)


def check_reportable(folder: Path) -> None:
    """Raise UserError if a folder does not exist or holds no results. pandas and matplotlib are not imported yet."""
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}. Studies are in outputs/NAME, other sweeps in outputs/sweeps.")
    if not any(next(folder.rglob(name), None) for name in (results.FILE_NAME, packed.FILE_NAME)):
        raise UserError(f"{folder} holds no {NOTHING}")


def parser() -> HelpParser:
    """Return the parser of the command line."""
    lines = [DESCRIPTION, "", "Options:", "", *two_columns(OPTIONS), "", *example_lines(EXAMPLES)]
    parser = HelpParser(lines, prog="python -m siamese_lab.report")
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--levels", type=float, nargs="+", default=LEVELS, metavar="SHARE")
    parser.add_argument("--commit", metavar="HASH")
    parser.add_argument("--hypotheses", nargs="*", metavar="NAME")
    parser.add_argument("--pack", action="store_true")
    return parser
