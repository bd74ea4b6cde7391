"""A study with too much of anything is refused with one sentence, and notes beyond a number are counted."""

import tracemalloc
from pathlib import Path

import pytest
from rich.console import Console
from synthetic import run, written

from siamese_lab.errors import UserError
from siamese_lab.study import bounds, report
from siamese_lab.study.bounds import Bound
from siamese_lab.study.comparison import values_of_metric
from siamese_lab.study.pairs import compare_pairs
from siamese_lab.study.runs import figures, read_study


@pytest.mark.parametrize(
    ("name", "most", "fact"),
    [
        ("STRATEGIES", 1, "2 strategies, but a report shows at most 1"),
        ("DATA", 1, "2 data sets, but a report shows at most 1"),
        ("JOBS", 7, "8 jobs .*at most 7"),
        ("CELLS", 3, "4 cells .*at most 3"),
        ("METRICS", 6, "7 test metrics.*at most 6"),
        ("PACKAGES", 1, "2 packages .*at most 1"),
        ("OPTIONS", 10, r"\d\d options.*at most 10"),
    ],
)
def test_a_study_above_a_bound_is_refused(
    name: str, most: int, fact: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, *(run("mnist:disjoint", strategy, seed) for strategy in ("random", "hard") for seed in (0, 1)))
    written(tmp_path, *(run("omniglot", "random", seed) for seed in (0, 1)))
    study = read_study(tmp_path)
    bounds.check_study(study)
    monkeypatch.setattr(bounds, name, Bound(most, getattr(bounds, name).plural))
    with pytest.raises(UserError, match=f"{fact}.*Report one of its subfolders"):
        bounds.check_study(study)
    with pytest.raises(UserError, match=fact):
        report.report(tmp_path, Console(quiet=True))
    assert not (tmp_path / "tables").exists()


def test_a_study_of_too_many_strategies_is_refused(tmp_path: Path) -> None:
    written(tmp_path, *(run(strategy=f"s{number}") for number in range(51)))
    with pytest.raises(UserError, match=r"51 strategies.*at most 50"):
        report.report(tmp_path, Console(quiet=True))


@pytest.mark.parametrize(("name", "fact"), [("RUNS", "3 runs.*at most 2"), ("VALUES", r"[\d,]+ values.*at most 2")])
def test_too_many_runs_or_values_end_the_reading(
    name: str, fact: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, *(run(seed=seed) for seed in range(3)))
    monkeypatch.setattr(bounds, name, Bound(2, getattr(bounds, name).plural))
    with pytest.raises(UserError, match=fact):
        read_study(tmp_path)


@pytest.mark.slow
def test_a_report_of_many_seeds_needs_memory_for_its_runs_only(tmp_path: Path) -> None:
    runs = [run(strategy=strategy, seed=seed) for strategy in ("random", "hard") for seed in range(1_000)]
    for each in runs:
        each.history, each.seconds_of_history = each.history[-1:], each.seconds_of_history[-1:]
    written(tmp_path, *runs)
    values = values_of_metric(figures(read_study(tmp_path)), "recall@1")
    tracemalloc.start()
    (pair,) = compare_pairs(values)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert pair.number == 1_000 and most < 5e6  # the design matrix alone would have 16 MB


def test_too_many_validations_end_the_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, run(seed=0), run(seed=1))
    monkeypatch.setattr(bounds, "POINTS", Bound(20, "validations"))
    read_study(tmp_path)
    monkeypatch.setattr(bounds, "POINTS", Bound(19, "validations"))
    with pytest.raises(UserError, match=r"20 validations.*at most 19"):
        read_study(tmp_path)


def test_notes_beyond_the_bound_are_counted() -> None:
    notes = [f"note {number}" for number in range(100_000)]
    shown = bounds.shorten_notes(notes)
    assert shown[:100] == notes[:100] and shown[100].startswith("99,900 further notes") and len(shown) == 101
    assert bounds.shorten_notes(notes[:100]) == notes[:100]
