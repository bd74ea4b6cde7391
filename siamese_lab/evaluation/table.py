"""The figures of an evaluation on the console, each with its interval beside it."""

from rich.console import Console
from rich.table import Table

from siamese_lab.evaluation.evaluation import Evaluation, Figure


def print_figures(console: Console, evaluation: Evaluation) -> None:
    """One table of all protocols, then what was left out and what to be wary of."""
    table = Table()
    table.add_column("protocol")
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("95% interval", justify="right")
    table.add_column("over")
    for protocol in evaluation.protocols.values():
        for place, (name, figure) in enumerate(protocol.figures.items()):
            last = place == len(protocol.figures) - 1
            table.add_row(
                "" if place else protocol.title,
                name,
                number(figure.value, figure),
                interval(figure),
                (protocol.over or "") if figure.low is not None else "",
                end_section=last,
            )
    console.print(table, highlight=False)
    for name, reason in evaluation.left_out.items():
        console.print(f"Left out: {name}. {reason}", markup=False, highlight=False, soft_wrap=True, style="dim")
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
