"""Tables show the figures to programs and people, in files that every system and LaTeX accept."""

import io
import re

import pandas as pd
import pytest
from synthetic import run, study, written

from siamese_lab.runs.display_names import file_name, metric_name
from siamese_lab.study import runs
from siamese_lab.study.analysis import analyze
from siamese_lab.study.data_set import data_set
from siamese_lab.study.tables import cells, tabulate
from siamese_lab.study.tables.table import ReportTable, latex, markdown, write_tables


def tables(folder):
    return {table.name: table for table in tabulate(analyze(runs.read_study(folder), [0.5, 0.8])).every()}


def test_the_table_of_a_metric_shows_mean_and_interval(tmp_path):
    # half the interval of 0.89, 0.90, 0.91 is 0.0248 (see test_statistics)
    three = [run(seed=seed, recall=value) for seed, value in enumerate((0.89, 0.90, 0.91))]
    written(tmp_path, *three, run(strategy="hard", recall=0.5), run("digits", "hard", recall=0.4))
    table = tables(tmp_path)["recall_at_1"]
    assert table.shown.to_dict("records") == [
        {"strategy": "random", "Digits": "–", "Omniglot": "90.0 ± 2.5"},
        {"strategy": "hard", "Digits": "40.0 [1]", "Omniglot": "50.0 [1]"},
    ]
    assert "Mean over 3 seeds ± half of its 95% interval" in table.note
    assert "Brackets give the number of finished seeds" in table.note and "–: no finished run" in table.note
    row = table.numbers.set_index(["data", "strategy"]).loc[("Omniglot", "random")]
    assert row["mean"] == pytest.approx(0.9) and row["low"] == pytest.approx(0.9 - 0.0248414, abs=1e-6)
    assert row["number"] == 3


def test_one_seed_gives_no_interval_and_a_note(tmp_path):
    table = tables(study(tmp_path, seeds=1))["recall_at_1"]
    assert not any("±" in text for text in table.shown.to_numpy().ravel())
    assert table.note == "One seed; a single seed has no interval."


def test_equal_seeds_and_equal_strategies_leave_no_nan(tmp_path):
    for strategy, recall in (("random", 0.5), ("hard", 0.5), ("semi_hard", 0.6)):
        written(
            tmp_path, *(run(data, strategy, seed, recall=recall) for data in ("digits", "lfw") for seed in range(3))
        )
    found = tables(tmp_path)
    assert found["recall_at_1"].shown.loc[0, "Digits"] == "50.0 ± 0.0"
    rows = found["recall_at_1_difference_from_random"].shown.to_dict("records")
    assert rows[0] == {
        "data": "Digits",
        "strategy": "hard",
        "difference": "0.0",
        "95% interval": "0.0 … 0.0",
        "p": "1.000",
        "p (Holm)": "1.000",
        "g_z": "–",
        "seeds": "3",
    }
    assert (rows[1]["difference"], rows[1]["p"], rows[1]["p (Holm)"]) == ("+10.0", "–", "–")
    assert found["average_ranks"].shown.loc[0, ["random", "hard", "semi_hard"]].tolist() == ["2.50", "2.50", "1.00"]
    for table in found.values():
        assert not any("nan" in text.lower() for text in table.shown.to_numpy().ravel())


def test_all_tables_are_written_in_three_forms(tmp_path):
    folder = study(tmp_path / "study")
    write_tables(list(tables(folder).values()), tmp_path / "tables")
    names = {place.stem for place in (tmp_path / "tables").iterdir()}
    assert {
        "recall_at_1",
        "map_at_r",
        "recall_at_1_difference_from_random",
        "average_ranks",
        "seconds_to_reach",
        "recall_at_1_all_pairs",
        "map_at_r_all_pairs",
        "hypotheses",
        "hypotheses_numbers",
    } <= names
    for name in names:
        assert re.fullmatch(r"[a-z0-9_.-]+", name), "the name is valid on every file system"
        assert {place.suffix for place in (tmp_path / "tables").glob(f"{name}.*")} == {".csv", ".md", ".tex"}
    read = pd.read_csv(tmp_path / "tables/recall_at_1.csv")
    assert list(read.columns) == ["data", "strategy", "mean", "low", "high", "deviation", "number"]
    assert len(read) == 16
    lines = (tmp_path / "tables/recall_at_1.md").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "Test Recall@1, in percent"
    assert lines[2].split("|")[1:3] == [" strategy          ", "   MNIST, disjoint "]
    assert len([line for line in lines if line.startswith("|")]) == 6


def test_what_the_strategies_select_is_a_mean_over_seeds_of_what_the_runs_recorded(tmp_path):
    def telemetry(overlap, rank):
        measured = [{"step": 0, "overlap_hard": 0.9}, {"step": 500, "overlap_hard": overlap}]
        return [*measured, {"step": 1000, "overlap_hard": None, "effective_rank": rank}]

    written(
        tmp_path,
        run(seed=0, telemetry=telemetry(0.2, 30.0)),
        run(seed=1, telemetry=telemetry(0.3, 40.0)),
        run(strategy="hard", seed=0),
    )
    table = tables(tmp_path)["selection"]
    assert table.shown.to_dict("records") == [
        {"data": "Omniglot", "strategy": "random", "active": "20.0%", "median d_ap": "0.50", "median d_an": "1.20"}
        | {"effective rank": "35.0", "picks of hard": "25.0%"},
        {"data": "Omniglot", "strategy": "hard", "active": "20.0%", "median d_ap": "0.50", "median d_an": "0.90"}
        | {"effective rank": "–", "picks of hard": "–"},
    ]
    assert table.numbers.loc[0, "picks_of_hard"] == pytest.approx(0.25)


def test_runs_that_recorded_no_training_have_no_table_of_the_selection(tmp_path):
    assert "selection" not in tables(written(tmp_path, run(history=[], seconds_of_history=[])))


def test_all_pairs_are_shown_with_what_was_detectable(tmp_path):
    table = tables(study(tmp_path, data=("omniglot", "lfw"), seeds=12, noise=0.001))["recall_at_1_all_pairs"]
    assert len(table.shown) == len(table.numbers) == 12
    shown = table.shown.set_index(["data", "first", "second"]).loc[("Omniglot", "hard", "random")]
    numbers = table.numbers.set_index(["data", "first", "second"]).loc[("Omniglot", "hard", "random")]
    assert shown["difference"] == f"+{100 * numbers['mean']:.1f}" and shown["verdict"] == "differs"
    assert shown["95% interval"] == f"+{100 * numbers['low']:.1f} … +{100 * numbers['high']:.1f}"
    assert shown["detectable"] == f"{100 * numbers['detectable']:.1f}"
    assert shown["first is better"] == "100% (74–100)" and shown["seeds"] == "12"
    assert numbers["effect"] > 3 and numbers["improvement_low"] == pytest.approx(0.025 ** (1 / 12))
    assert "± 0.5 points" in table.note


def test_one_seed_gives_no_table_of_pairs(tmp_path):
    assert not any("pairs" in name for name in tables(study(tmp_path, seeds=1)))


def test_hypotheses_are_shown_with_the_numbers_that_decide_them(tmp_path):
    found = tables(study(tmp_path, data=("omniglot", "lfw"), noise=0.001))
    verdicts = found["hypotheses"].shown.set_index("hypothesis")
    assert len(verdicts) == 10 and set(verdicts["verdict"]) == {"not settled"}
    assert verdicts.loc["H3", "reason"] == "missing all runs of glyphs"
    numbers = found["hypotheses_numbers"].shown.set_index(["hypothesis", "data"]).loc[("H3", "Omniglot")]
    assert numbers[["threshold", "seeds", "verdict"]].tolist() == ["−0.5", "3", "supported"]
    assert numbers["quantity"] == "distance_weighted − semi_hard"


def test_a_study_without_the_deciding_data_sets_has_no_hypotheses(tmp_path):
    assert "hypotheses" not in tables(study(tmp_path, data=("lfw", "digits")))


def test_latex_is_plain_ascii_with_escaped_characters():
    names = ["a_b & c%", "#1 {x}~y^z\\", "5 < 6 ± 0.1 − 2"]
    shown = pd.DataFrame({"strategy": names, "p (Holm), g_z": ["–", "1 … 2", "$3"]})
    text = latex(ReportTable("x_y", "In 100% of_cases", shown, shown, "Friedman’s α ≤ χ²."))
    assert text.isascii()
    body = re.search(r"\\toprule(.*)\\bottomrule", text, re.S).group(1)
    for part in (
        r"a\_b \& c\%",
        r"\#1 \{x\}\textasciitilde{}y\textasciicircum{}z\textbackslash{}",
        r"5 $<$ 6 $\pm$ 0.1 $-$ 2",
    ):
        assert part in body
    assert r"g\_z" in body and r"\$3" in body
    assert r"\caption{In 100\% of\_cases. Friedman's $\alpha$ $\le$ $\chi$$^2$.}" in text
    assert r"\begin{tabular}{lr}" in text
    # Every character of LaTeX is escaped: the remaining & separate two cells, of two columns.
    assert all(len(re.findall(r"(?<!\\)&", row)) == 1 for row in body.split(r"\\")[:-1])


def test_every_table_of_a_study_is_ascii_in_latex(tmp_path):
    for table in tables(study(tmp_path)).values():
        assert latex(table).isascii(), table.name


def test_markdown_keeps_its_columns_if_a_name_has_a_bar():
    shown = pd.DataFrame({"strategy": ["a|b"], "x": ["1"]})
    assert r"a\|b" in markdown(ReportTable("n", "T", shown, shown, ""))


def test_csv_quotes_cells_with_commas(tmp_path):
    written(tmp_path, run("mnist:closed"), run("mnist:closed", "hard"))
    numbers = tables(tmp_path)["recall_at_1"].numbers
    assert pd.read_csv(io.StringIO(numbers.to_csv(index=False)))["data"].tolist() == ["MNIST, closed"] * 2


def test_numbers_have_signs_and_no_negative_zero():
    assert [cells.points(value) for value in (0.0312, -0.0312, -0.0001, 0.0)] == ["+3.1", "−3.1", "0.0", "0.0"]
    assert [cells.p_value(value) for value in (None, 0.0004, 0.04567, 1.0)] == ["–", "<0.001", "0.046", "1.000"]
    assert cells.spread([3.0, 1.0, 2.0], ".0f") == "2 (1–3)"
    assert cells.spread([2.0, 2.0], ".0f") == "2"


def test_metrics_files_and_data_sets_have_names():
    named = {name: metric_name(name) for name in ("recall@1", "map@r", "r_precision", "mrr", "view_1/tar@far=0.01")}
    assert list(named.values()) == ["Recall@1", "MAP@R", "R-Precision", "MRR", "TAR@FAR=0.01, View 1"]
    ended = [metric_name(f"{name}_macro_among_test") for name in ("recall@1", "map@r")]
    assert ended == ["Recall@1, mean of classes, among test", "MAP@R, mean of classes, among test"]
    assert metric_name("my_macro") == "My macro", "a metric of the user keeps its name"
    assert file_name("view_1/tar@far=0.01") == "view_1_tar_at_far_0.01"
    assert data_set(run("fashion_mnist:closed")).label == "Fashion-MNIST, closed"
    own = run("digits")
    own.data = "my_set"
    assert data_set(own).label == "my_set"
