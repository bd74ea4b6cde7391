"""The figures of an evaluation on the console, each with its interval beside it."""

from rich.console import Console
from rich.table import Table

from siamese_lab.evaluation.evaluation import Evaluation, Figure
from siamese_lab.runs.display import print_plainly
from siamese_lab.runs.display_names import metric_name


def print_figures(console: Console, evaluation: Evaluation) -> None:
    """One table of all protocols, then what was left out and what to be wary of."""
    table = Table()
    table.add_column("", no_wrap=True)
    for column in ("value", "95% interval"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("over", no_wrap=True)
    for protocol in evaluation.protocols.values():
        table.add_section()
        table.add_row(f"[bold]{protocol.title}[/]")
        for name, figure in protocol.figures.items():
            sure = figure.low is not None
            table.add_row(
                f"  {metric_name(name)}", number(figure.value, figure), interval(figure), protocol.over if sure else ""
            )
    console.print(table, highlight=False)
    for name, reason in evaluation.left_out.items():
        print_plainly(console, f"Left out: {name}. {reason}")
    if evaluation.protocols["embedding"].facts["collapsed"]:
        console.print("The embedding has collapsed: nearly all images have the same.", style="bold red")


def interval(figure: Figure) -> str:
    """Both ends, or nothing."""
    if figure.low is None or figure.high is None:
        return ""
    return f"{number(figure.low, figure)} – {number(figure.high, figure)}"


def number(value: float | None, figure: Figure) -> str:
    """In per cent where it is a share."""
    if value is None:
        return "too few"
    return f"{value:.2%}" if figure.share else f"{value:.3f}"
