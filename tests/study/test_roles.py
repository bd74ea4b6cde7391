"""Runs of factors, control arms and the classifier are neither repeats nor part of the headline."""

import copy

import pandas as pd
import pytest
from synthetic import EFFECTS, run, study, written

from siamese_lab.study.analysis import HEADLINE, analyze
from siamese_lab.study.conclusions import caveats
from siamese_lab.study.factors import factor_values
from siamese_lab.study.figures.factors import draw_factors
from siamese_lab.study.figures.recall1_comparison import draw_comparison
from siamese_lab.study.runs import read_study
from siamese_lab.study.tables import tabulate

FLOORS = {"pixels": {"recall@1": 0.3}, "untrained": {"recall@1": 0.8}}


def changed(options, data="omniglot", strategy="random", seed=0, **fields):
    """Return a run with other options, by dotted names."""
    each = copy.deepcopy(run(data, strategy, seed, **fields))
    for name, value in options.items():
        group, _, option = name.partition(".")
        each.choices[group] = {**each.choices[group], option: value}
    return each


def planned(folder):
    """Write a study of the four strategies with factors, controls and the classifier on Omniglot."""
    study(folder, data=("omniglot", "digits"), seeds=3, floors=FLOORS)
    for strategy in EFFECTS:
        for seed in range(2):
            for number, options in enumerate(
                (
                    {"network.embedding_dim": 16},
                    {"data.classes_per_batch": 64},
                    {"data.classes_per_batch": 64, "data.images_per_class": 2},
                    {"loss.name": "margin", "loss.margin": None},
                    {"loss.margin": 0.5, "optimizer.lr": 0.001},
                    {"network.batch_norm": True},
                )
            ):
                written(folder / f"factor_{number}", changed(options, strategy=strategy, seed=seed, recall=0.5))
    written(folder / "controls", changed({"sampler.num_negatives": 10}, recall=0.9), run(strategy="curriculum"))
    softmax = {"loss.name": "softmax"}
    written(folder, *(changed(softmax, strategy="none", seed=seed, recall=0.7 + 0.01 * seed) for seed in range(3)))
    return read_study(folder)


def test_the_headline_has_the_standard_runs_only(tmp_path):
    found = planned(tmp_path)
    assert found.excluded == [] and found.missing == []
    assert len(found.runs) == 24 and found.strategies == ["random", "hard", "semi_hard", "distance_weighted"]
    assert len(found.factors) == 6 * 4 * 2
    assert [(each.run.strategy, each.options) for each in found.controls] == [
        ("curriculum", {}),
        ("random", {"sampler.num_negatives": 10}),
    ]
    assert [each.strategy for each in found.references] == ["none"] * 3
    analysis = analyze(found, [0.5])
    assert caveats(analysis) == []
    assert analysis.values[HEADLINE].loc[("Omniglot", "random")].min() > 0.7, "no factor run counts"


def test_levels_of_factors_are_compared_with_standard_runs_of_the_same_seeds(tmp_path):
    found = planned(tmp_path)
    values = factor_values(found, HEADLINE)
    levels = values.groupby("factor", sort=False)["level"].agg(lambda each: list(dict.fromkeys(each))).to_dict()
    assert levels == {
        "loss": ["margin", "triplet"],
        "embedding dimensions": ["16", "128"],
        "batch size": ["128", "256"],
        "images per class": ["2", "4"],
        "batch norm of embeddings": ["not set", "on"],
        "margin × learning rate": ["0.2, 0.003", "0.5, 0.001"],
    }
    assert set(values["seed"]) == {0, 1}
    assert set(values.loc[~values["standard"], "value"]) == {0.5}
    assert set(values.loc[values["standard"] & (values["factor"] == "batch size"), "level"]) == {"128"}


def test_factors_controls_and_references_have_tables(tmp_path):
    analysis = analyze(planned(tmp_path), [0.5])
    tables = tabulate(analysis)
    (factors,), (controls,), headline = tables.factors, tables.controls, tables.headline[0]
    rows = factors.shown.set_index(["factor", "level"])
    assert rows.loc[("embedding dimensions", "16"), "hard"] == "50.0 ± 0.0 [2]"
    assert rows.loc[("embedding dimensions", "128*"), "hard"].endswith(" [2]")
    random = analysis.values[HEADLINE].loc[("Omniglot", "random"), 0]
    by_arm = controls.shown.set_index("arm")
    assert by_arm.loc["random, num_negatives=10", "difference"] == f"+{100 * (0.9 - random):.1f}"
    assert by_arm.loc["curriculum", "compared with"] == "random"
    means = headline.shown.set_index("strategy")["Omniglot"]
    assert [*means.index[-3:]] == ["classifier", "raw pixels", "untrained"]
    assert means["classifier"].startswith("71.0 ± ") and means["raw pixels"] == "30.0"
    assert headline.shown.set_index("strategy").loc["classifier", "Digits"] == "–"
    assert "normalized softmax" in headline.note


def test_references_are_lines_or_named_at_the_edge(tmp_path):
    analysis = analyze(planned(tmp_path), [0.5])
    figure = draw_comparison(analysis.values[HEADLINE], analysis.references[HEADLINE])
    omniglot = next(axes for axes in figure.axes if axes.get_title() == "Omniglot")
    ends = [line.get_xdata() for line in omniglot.lines]
    upright = [each[0] for each in ends if len(each) == 2 and each[0] == each[1]]
    assert any(place == pytest.approx(80) for place in upright)
    assert [text.get_text() for text in omniglot.texts if "raw" in text.get_text()] == [
        "← classifier 71.0, raw pixels 30.0"
    ]


def test_the_figure_has_a_panel_for_each_single_factor(tmp_path):
    values = factor_values(planned(tmp_path), HEADLINE)
    titles = [axes.get_title() for figure in draw_factors(values) for axes in figure.axes]
    assert titles == ["loss", "embedding dimensions", "batch size", "images per class", "batch norm of embeddings"]
    assert list(draw_factors(pd.DataFrame(columns=values.columns))) == []


def test_options_that_differ_between_strategies_only_are_no_factor(tmp_path):
    written(tmp_path, run(), changed({"network.embedding_dim": 16}, strategy="hard"))
    found = read_study(tmp_path)
    assert len(found.runs) == 2 and found.factors == []
    assert "network.embedding_dim" in " ".join(caveats(analyze(found, [0.5])))


def test_a_strategy_is_a_control_only_beside_all_four(tmp_path):
    written(tmp_path, run(), run(strategy="all"), run(strategy="none"))
    found = read_study(tmp_path)
    assert found.strategies == ["random", "all"] and len(found.references) == 1
    alone = read_study(written(tmp_path / "alone", run(strategy="none")))
    assert alone.strategies == ["none"]


def test_a_failed_standard_run_is_not_replaced_by_a_factor_run(tmp_path):
    written(tmp_path, run(status="failed", error="x"), run(seed=1), run(seed=2))
    written(tmp_path / "factor", *(changed({"network.embedding_dim": 16}, seed=seed) for seed in range(2)))
    found = read_study(tmp_path)
    assert [run.seed for run in found.finished] == [1, 2] and len(found.factors) == 2
