"""The table of a sweep shows the state of every run and the mean of the finished ones."""

import pytest
from rich.console import Console
from rich.table import Table

from siamese_lab.sweep.overview import MOST_SIGNS, cell
from siamese_lab.sweep.states import State

DONE = State("finished", share=1.0, recall=0.5)


@pytest.mark.parametrize(
    ("states", "shown"),
    [
        ([DONE, State("finished", 1.0, 0.6), State("left")], "●●· 55.0%"),
        ([State("running", 0.25), State("left")], "◐· 25% of steps"),
        ([State("failed"), State("left")], "✗·"),
        ([DONE] * MOST_SIGNS, "●" * MOST_SIGNS + " 50.0%"),
        ([DONE] * 20, "20 ● 50.0%"),
        (
            [State("left"), *[DONE] * 17, State("running"), State("failed")],
            "17 ● 1 ◐ 1 ✗ 1 · 50.0%",
        ),
    ],
)
def test_a_cell_shows_the_runs_of_its_seeds_and_their_mean(states: list[State], shown: str) -> None:
    assert cell(states).plain == shown


def test_the_cell_of_twenty_seeds_fits_into_a_terminal_of_80_columns() -> None:
    table = Table()
    for _ in range(4):
        table.add_column("distance_weighted", no_wrap=True)
    table.add_row(*[cell([State("finished", 1.0, 0.544)] * 20)] * 4)
    console = Console(width=84, record=True)
    with console.capture() as printed:
        console.print(table)
    assert printed.get().count("20 ● 54.4%") == 4
