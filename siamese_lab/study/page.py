"""The report as one page that needs nothing beside it: style and figures are in it, and no script."""

from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from siamese_lab.study import conclusions
from siamese_lab.study.analysis import Analysis
from siamese_lab.study.conclusions import RULES, answer, caveats
from siamese_lab.study.figures import StoredFigure
from siamese_lab.study.protocol import all_tuned, any_tuned, tuning_budgets
from siamese_lab.study.tables import Tables
from siamese_lab.study.tables.table import TEXT_COLUMNS

FILE_NAME = "report.html"
TEMPLATE = "page.html.jinja"


def write_page(analysis: Analysis, tables: Tables, drawn: Mapping[str, StoredFigure], folder: Path) -> Path:
    """Write the page into a folder."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["embedded"] = embedded
    page = environment.get_template(TEMPLATE).render(contents(analysis, tables, drawn))
    place = folder / FILE_NAME
    place.write_text(page, encoding="utf-8", newline="\n")
    return place


def contents(analysis: Analysis, tables: Tables, drawn: Mapping[str, StoredFigure]) -> dict[str, Any]:
    """All that the template asks for."""
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
        "protocol": analysis.protocol,
        "options_of_strategies": options_of_strategies(analysis),
        "commits": conclusions.commits(study),
        "versions": conclusions.versions(study),
        "machines": conclusions.machines(study),
        "unfinished": [run for run in study.runs if not run.finished],
    }


def describe_comparison(analysis: Analysis) -> str:
    """What the strategies were given alike."""
    runs = analysis.study.runs
    if all_tuned(runs):
        budgets = tuning_budgets(runs)
        if any(len(each) > 1 for each in budgets.values()):
            return "Tuned strategies, by budgets that differ: this is no comparison of strategies."
        listed = "; ".join(f"{data}: {budget}" for data, (budget,) in budgets.items())
        return (
            "Tuned strategies: each runs with the options that were best on validation classes, by a budget that is "
            f"the same for all ({listed})."
        )
    if any_tuned(runs):
        return "Some runs are of tuned options, others of fixed ones: this is no comparison of strategies."
    return "Fixed options: on a data set all strategies run with the same ones, but for those of their own."


def options_of_strategies(analysis: Analysis) -> list[tuple[str, str, dict[str, str]]]:
    """Each strategy, data sets that it has the same options on, and these options."""
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


def embedded(drawn: StoredFigure) -> str:
    """A figure as an address that holds it."""
    return f"data:image/svg+xml;base64,{b64encode(drawn.svg.encode()).decode()}"
