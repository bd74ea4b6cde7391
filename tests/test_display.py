"""Console output has counts with their nouns, unbroken titles, tables that fit, and only curves that exist."""

import io
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console
from rich.table import Table

from siamese_lab import samplers
from siamese_lab.runs.display import counted, describe_curves, in_blocks, print_titled
from siamese_lab.study import report
from siamese_lab.study.answer import Answer
from siamese_lab.study.tables.table import ReportTable


def console(width: int = 80) -> Console:
    return Console(file=io.StringIO(), width=width, color_system=None)


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 data sets"), (1, "1 data set"), (2, "2 data sets"), (1234, "1,234 data sets")]
)
def test_a_number_has_its_noun(number: int, text: str) -> None:
    assert counted(number, "data set") == text


def test_a_title_that_is_wider_than_its_table_stays_in_one_line() -> None:
    narrow, to = Table("a", "b"), console()
    title = "omniglot, distance_weighted: weights of step 4,000"
    print_titled(to, title, narrow)
    assert shown(to).splitlines()[0] == title


@pytest.mark.parametrize("width", [30, 80, 200])
def test_every_column_of_a_wide_table_is_shown(width: int) -> None:
    names, to = [f"strategy_{number}" for number in range(10)], console(width)

    def build(indices: list[int]) -> Table:
        table = Table()
        for column in ("data", *(names[index] for index in indices)):
            table.add_column(column, no_wrap=True)
        table.add_row("Omniglot", *(f"{index}.5%" for index in indices))
        return table

    print_titled(to, "Recall@1", *in_blocks(to, len(names), build))
    text = shown(to)
    assert all(text.count(name) == 1 for name in names)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width


def test_the_headline_of_ten_strategies_is_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    strategies = samplers.available()
    cells = pd.DataFrame(
        {"strategy": strategies, "Omniglot": [f"{number + 70}.1 ± 0.{number}" for number in range(len(strategies))]}
    )
    headline = ReportTable("recall1", "Test Recall@1 in percent: mean ± half of the 95% interval", cells, cells, "Note")

    tables = type("Tables", (), {"headline": [headline]})()
    monkeypatch.setattr(report, "answer", lambda analysis: Answer([], [], []))
    monkeypatch.setattr(report, "caveats", lambda analysis: [])
    to = console(80)
    report.print_headline(to, None, tables)  # type: ignore[arg-type]
    text = shown(to)
    assert all(f"{number + 70}.1 ± 0.{number}" in text for number in range(len(strategies)))
    assert max(map(len, text.splitlines())) <= 80
    assert headline.title in text.splitlines()[0]


def test_only_curves_that_exist_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "run"
    folder.mkdir()
    assert describe_curves(folder) == []
    (folder / "csv").mkdir()
    (folder / "csv/metrics.csv").touch()
    assert describe_curves(folder) == ["Curves:  run/csv/metrics.csv"]
    (folder / "events.out.tfevents.1").touch()
    assert describe_curves(folder)[0] == 'Curves:  tensorboard --logdir "run"'
