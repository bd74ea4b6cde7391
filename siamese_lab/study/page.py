"""The report as one self-contained HTML page: styles, figures and the script are embedded.

The script only copies texts to the clipboard, and the page reads well without it.
"""

from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from siamese_lab.errors.controls import escape_controls
from siamese_lab.runs.display import counted
from siamese_lab.runs.files import write_text
from siamese_lab.study import conclusions
from siamese_lab.study.analysis import Analysis
from siamese_lab.study.answer import RULES, answer
from siamese_lab.study.conclusions import caveats
from siamese_lab.study.figures import StoredFigure
from siamese_lab.study.methods import BIBTEX, methods
from siamese_lab.study.protocol import all_tuned, any_tuned, tuning_budgets
from siamese_lab.study.tables import Tables
from siamese_lab.study.tables.table import LONG_COLUMNS, TEXT_COLUMNS, latex

FILE_NAME = "report.html"
MOST_ROWS = 12
"""Number of rows from which a table is folded."""
TEMPLATE = "page.html.jinja"


def write_page(analysis: Analysis, tables: Tables, drawn: Mapping[str, StoredFigure], folder: Path) -> Path:
    """Write report.html into a folder and return its path."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        finalize=without_controls,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["embedded"] = embedded
    environment.globals["counted"] = counted
    page = environment.get_template(TEMPLATE).render(contents(analysis, tables, drawn))
    return write_text(folder / FILE_NAME, page)


def contents(analysis: Analysis, tables: Tables, drawn: Mapping[str, StoredFigure]) -> dict[str, Any]:
    """Return the variables of the template."""
    study = analysis.study
    return {
        "study": study,
        "answer": answer(analysis),
        "rules": RULES,
        "caveats": caveats(analysis),
        "comparison": describe_comparison(analysis),
        "tables": tables,
        "figures": drawn,
        "words": TEXT_COLUMNS,
        "sentences": LONG_COLUMNS,
        "protocol": analysis.protocol,
        "methods": methods(analysis),
        "bibtex": BIBTEX,
        "pasted": [(each.title, latex(each)) for each in (*tables.headline, *tables.pairs, *tables.hypotheses)],
        "most_rows": MOST_ROWS,
        "options_of_strategies": options_of_strategies(analysis),
        "commits": conclusions.commits(study),
        "versions": conclusions.versions(study),
        "machines": conclusions.machines(study),
        "unfinished": [run for run in study.runs if not run.finished],
    }


def describe_comparison(analysis: Analysis) -> str:
    """Describe in one sentence which options the strategies share."""
    runs = analysis.study.runs
    if all_tuned(runs):
        budgets = tuning_budgets(runs)
        if any(len(each) > 1 for each in budgets.values()):
            return "The strategies were tuned with different budgets, so this does not compare strategies."
        listed = "; ".join(f"{data}: {budget}" for data, (budget,) in budgets.items())
        return (
            "Tuned options: each strategy uses the options that scored best on validation classes, and all strategies "
            f"have the same tuning budget ({listed})."
        )
    if any_tuned(runs):
        return "Some runs use tuned options and others use fixed options, so this does not compare strategies."
    return "Fixed options: on each data set all strategies use the same options, except for the sampler's options."


def options_of_strategies(analysis: Analysis) -> list[tuple[str, str, dict[str, str]]]:
    """Return rows of a strategy, the data sets on which its options are equal, and these options."""
    rows: list[tuple[str, list[str], dict[str, str]]] = []
    of_strategies = analysis.protocol.of_strategies
    for strategy in analysis.study.strategies:
        for data in analysis.study.data:
            options = of_strategies.get((data, strategy))
            alike = [names for name, names, same in rows if name == strategy and same == options]
            if alike:
                alike[0].append(data)
            elif options is not None:
                rows.append((strategy, [data], options))
    every = len(analysis.study.data)
    return [(name, "all" if len(data) == every else "; ".join(data), options) for name, data, options in rows]


def without_controls(value: Any) -> Any:
    """Return a value of the template, in which characters that reorder or hide text are escaped."""
    if isinstance(value, Markup):
        return Markup(escape_controls(value))
    return escape_controls(value) if isinstance(value, str) else value


def embedded(drawn: StoredFigure) -> str:
    """Return a data URI that holds the figure as SVG."""
    return f"data:image/svg+xml;base64,{b64encode(drawn.svg.encode()).decode()}"
