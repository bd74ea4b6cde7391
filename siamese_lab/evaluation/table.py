"""Print the metric values of an evaluation on the console, with their intervals."""

from rich.console import Console
from rich.table import Table

from siamese_lab.evaluation.evaluation import Evaluation, MetricValue
from siamese_lab.runs.display import print_plainly
from siamese_lab.runs.display_names import metric_name


def print_figures(console: Console, evaluation: Evaluation) -> None:
    """Print a table of all protocols, then the protocols that were left out, then a warning if there is one."""
    table = Table()
    table.add_column("", no_wrap=True)
    for column in ("value", "95% interval"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("over", no_wrap=True)
    for protocol in evaluation.protocols.values():
        table.add_section()
        table.add_row(f"[bold]{protocol.title}[/]")
        for name, figure in protocol.figures.items():
            over = protocol.over if figure.low is not None else ""
            table.add_row(f"  {metric_name(name)}", format_value(figure.value, figure), format_interval(figure), over)
    console.print(table, highlight=False)
    for name, reason in evaluation.left_out.items():
        print_plainly(console, f"Left out: {name}. {reason}")
    if evaluation.protocols["embedding"].facts["collapsed"]:
        console.print("The embedding has collapsed: nearly all images have the same embedding.", style="bold red")


def format_interval(figure: MetricValue) -> str:
    """Return both ends of the interval, or an empty string if there is no interval."""
    if figure.low is None or figure.high is None:
        return ""
    return f"{format_value(figure.low, figure)} – {format_value(figure.high, figure)}"


def format_value(value: float | None, figure: MetricValue) -> str:
    """Return a value as text, in percent if the metric is a fraction."""
    if value is None:
        return "too few"
    return f"{value:.2%}" if figure.is_fraction else f"{value:.3f}"
