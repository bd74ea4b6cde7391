"""Gaps against the budget, test classes, machines and texts to paste follow from the runs."""

import pandas as pd
import pytest
from synthetic import run, study, written

from siamese_lab.study.analysis import HEADLINE, analyze
from siamese_lab.study.classes import compare_classes
from siamese_lab.study.factors import factor_values
from siamese_lab.study.figures.budget_gap import budget_gaps, draw_budget_gap
from siamese_lab.study.figures.class_scatter import draw_class_scatter
from siamese_lab.study.methods import methods
from siamese_lab.study.runs import read_study
from siamese_lab.study.tables.hardware import hardware


def test_gaps_are_paired_by_seed_at_every_budget(tmp_path):
    for steps, gain in ((1000, 0.1), (2000, 0.04)):
        for seed in range(2):
            runs = (
                run(seed=seed, recall=0.5, steps=steps),
                run(strategy="hard", seed=seed, recall=0.5 + gain, steps=steps),
            )
            written(tmp_path / str(steps), *runs)
    written(tmp_path / "more", run(seed=2, recall=0.1), run(strategy="hard", seed=2, recall=0.9))
    values = factor_values(read_study(tmp_path), HEADLINE)
    gaps = budget_gaps(values)
    assert [(row.steps, row.strategy, pytest.approx(row.mean)) for row in gaps.itertuples()] == [
        (1000, "hard", 10),
        (2000, "hard", 4),
    ]
    (axes,) = draw_budget_gap(values, 0.005).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1,000", "2,000"]
    assert draw_budget_gap(pd.DataFrame(columns=values.columns), 0.005) is None


def test_classes_are_compared_over_the_seeds_that_both_strategies_have(tmp_path):
    def of_classes(a, b):
        return {name: {"queries": 20, "recall@1": value, "map@r": 0.1} for name, value in {"a": a, "b": b}.items()}

    written(
        tmp_path,
        run(recall=0.5, per_class=of_classes(0.4, 0.6)),
        run(seed=1, recall=0.5, per_class=of_classes(0.6, 0.8)),
        run(seed=2, recall=0.5, per_class=of_classes(0.0, 0.0)),
        *(run(strategy="hard", seed=seed, recall=0.7, per_class=of_classes(0.9, 0.5)) for seed in range(2)),
        run(strategy="semi_hard", recall=0.6, per_class=of_classes(1.0, 1.0)),
    )
    (found,) = compare_classes(read_study(tmp_path))
    assert (found.data, found.best) == ("Omniglot", "hard")
    assert found.random == pytest.approx([0.5, 0.7]) and found.others == pytest.approx([0.9, 0.5])
    (axes,) = draw_class_scatter([found]).axes
    assert axes.texts[0].get_text() == "hard\nbetter on 1 of 2"
    assert draw_class_scatter([]) is None


def test_core_hours_count_every_run_and_thread(tmp_path):
    slow = {"device": "Slow", "precision": "32-true", "threads": 2}
    written(tmp_path, run(seconds={"total": 1800}), run(seed=1, seconds={"total": 3600}, hardware=slow))
    written(tmp_path / "factor", run(steps=2000, seconds={"total": 1800}))
    table = hardware(read_study(tmp_path).every)
    assert table.shown.to_dict("records") == [
        {"processor": "A processor", "precision": "bf16-mixed", "threads": "1", "runs": "2", "core-hours": "1.0"},
        {"processor": "Slow", "precision": "32-true", "threads": "2", "runs": "1", "core-hours": "2.0"},
        {"processor": "all", "precision": "–", "threads": "–", "runs": "3", "core-hours": "3.0"},
    ]


def test_the_methods_paragraph_states_strategies_data_and_tests(tmp_path):
    folder = study(tmp_path, data=("omniglot",), strategies=("random", "semi_hard"), seeds=2)
    text = methods(analyze(read_study(folder), [0.5]))
    assert r"\texttt{random} and \texttt{semi\_hard} on Omniglot, with 2 seeds for each data set (4 runs)" in text
    assert "The tests of all 1 pairs" in text and r"80\%" in text and r"\cite{holm1979}" in text
