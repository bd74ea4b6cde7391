"""Every hypothesis reaches every verdict by its rule, and says which runs are missing."""

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.proportion import confint_proportions_2indep
from synthetic import run, study, written

from siamese_lab.study import run_table
from siamese_lab.study.hypotheses import evaluate, hypotheses
from siamese_lab.study.rules import KINDS, Cells, most_frequent, share_interval
from siamese_lab.study.runs import read_study

FOUR = ("random", "hard", "semi_hard", "distance_weighted")
BASE = {
    "loss.name": "triplet",
    "loss.margin": 0.2,
    "loss.reduction": "mean",
    "network.embedding_dim": 128,
    "network.batch_norm": False,
    "data.classes_per_batch": 32,
    "data.images_per_class": 4,
    "data.label_noise": 0.0,
    "optimizer.lr": 1e-3,
    "sampler.num_negatives": 1,
    "trainer.max_steps": 400,
}
BOTH = ("omniglot", "glyphs")
NOISE = 0.0005
LARGE = 0.2


def cell(strategy, values, noise=NOISE, data=BOTH, seeds=8, **options):
    """Return the runs of a cell on both data sets; values are by metric, or the Recall@1. MAP@R is half of it."""
    options = {name.replace("__", "."): value for name, value in options.items()}
    values = values if isinstance(values, dict) else {"recall@1": values, "map@r": values / 2}
    rows = []
    for name in data:
        draws = np.random.default_rng([*f"{name}{strategy}{sorted(options.items())}".encode()])
        for seed in range(seeds):
            of_seed = 0.02 * np.sin(seed)
            metrics = {metric: value + of_seed + draws.normal(0, noise) for metric, value in values.items()}
            chosen = {**BASE, **options}
            chosen["batch_size"] = chosen["data.classes_per_batch"] * chosen["data.images_per_class"]
            rows.append({"data": name, "column": name.title(), "strategy": strategy, "seed": seed, **chosen, **metrics})
    return rows


def collapsed(off, on, seeds):
    """Return runs of hard, of which the first ones have collapsed, without and with batch norm."""
    rows = [cell("hard", 0.5, seeds=seeds, network__batch_norm=norm) for norm in (False, True)]
    for of_norm, number in zip(rows, (off, on), strict=True):
        for row in of_norm:
            row["collapsed"] = row["seed"] < number
    return [row for of_norm in rows for row in of_norm]


def along(option, levels, gains, noise=NOISE):
    """Return runs of the four strategies at each level; gains are functions of the level."""
    return [
        row
        for level in levels
        for strategy, gain in gains.items()
        for row in cell(strategy, 0.6 + gain(level), noise, **{option: level})
    ]


def nothing(_):
    return 0.0


def batches(per_doubling, noise=NOISE):
    return along(
        "data__classes_per_batch",
        (16, 32, 64),
        {"random": nothing, "semi_hard": lambda level: per_doubling * np.log2(level / 32)},
        noise,
    )


def noisy_labels(of_hard, noise=NOISE):
    gains = dict.fromkeys(FOUR, lambda share: -0.2 * share) | {"hard": lambda share: of_hard * share}
    return along("data__label_noise", (0.0, 0.1, 0.2, 0.4), gains, noise)


def budgets(asymptote, speed, noise=NOISE):
    gains = dict.fromkeys(("semi_hard", "distance_weighted"), lambda steps: asymptote + speed * 400 / steps)
    return along("trainer__max_steps", (200, 400, 800, 1600), {"random": nothing, **gains}, noise)


def overlaps(at_16, at_512, noise=NOISE):
    return [
        row
        for size, share in ((16, at_16), (512, at_512))
        for row in cell("distance_weighted", {"overlap_hard": share}, noise, network__embedding_dim=size)
    ]


def losses(of_loss, of_strategy, noise=NOISE):
    return [
        row
        for number, loss in enumerate(("triplet", "margin", "n_pair", "contrastive"))
        for each, strategy in enumerate(FOUR)
        for row in cell(
            strategy, 0.5 + number * of_loss + each * of_strategy, noise, loss__name=loss, loss__margin=0.2 + number
        )
    ]


def tuning(untuned, tuned, noise=NOISE):
    """Return runs with four combinations of options, of which validation prefers the third."""
    rows = []
    for each, strategy in enumerate(FOUR):
        for number, (margin, lr) in enumerate(((0.2, 1e-3), (0.1, 1e-3), (0.5, 3e-3), (0.5, 1e-3))):
            spread = tuned if number == 2 else untuned
            values = {"recall@1": 0.5 + each * spread, "validation/recall@1": 0.9 if number == 2 else 0.5}
            # Two more seeds with the standard options make them the most frequent ones.
            rows += cell(strategy, values, noise, seeds=8 if number else 10, loss__margin=margin, optimizer__lr=lr)
    return rows


def negatives(deficit, ten, mean_active, active=(200.0, 100.0), noise=NOISE):
    return [
        *cell("random", {"recall@1": 0.6, "mean_active": 20.0}, noise),
        *cell("distance_weighted", {"recall@1": 0.6 + deficit, "mean_active": active[1]}, noise),
        *cell("random", {"recall@1": 0.6 + ten, "mean_active": active[0]}, noise, sampler__num_negatives=10),
        *cell("random", {"recall@1": 0.6 + mean_active, "mean_active": 20.0}, noise, loss__reduction="mean_active"),
    ]


def metrics(recall, map_at_r, noise=NOISE):
    return [
        row
        for strategy, one, two in zip(FOUR, recall, map_at_r, strict=True)
        for row in cell(strategy, {"recall@1": one, "map@r": two}, noise)
    ]


CASES = [
    ("H1", "supported", collapsed(8, 0, 8)),
    ("H1", "refuted", collapsed(0, 0, 20)),
    ("H1", "refuted", collapsed(20, 20, 20)),
    ("H1", "not settled", collapsed(4, 3, 8)),
    ("H2", "supported", batches(0.02)),
    ("H2", "refuted", batches(0.001)),
    ("H2", "refuted", batches(-0.02)),
    ("H2", "not settled", batches(0.005, LARGE)),
    ("H3", "supported", cell("distance_weighted", 0.7) + cell("semi_hard", 0.7)),
    ("H3", "refuted", cell("distance_weighted", 0.68) + cell("semi_hard", 0.7)),
    ("H3", "not settled", cell("distance_weighted", 0.695, LARGE) + cell("semi_hard", 0.7, LARGE)),
    ("H4", "supported", overlaps(0.3, 0.8)),
    ("H4", "refuted", overlaps(0.1, 0.3)),
    ("H4", "refuted", overlaps(0.9, 0.7)),
    ("H4", "not settled", overlaps(0.5, 0.52, LARGE)),
    ("H5", "supported", losses(0.03, 0.005)),
    ("H5", "refuted", losses(0.005, 0.03)),
    ("H5", "not settled", losses(0.0, 0.0, LARGE)),
    ("H6", "supported", tuning(0.03, 0.005)),
    ("H6", "refuted", tuning(0.03, 0.03)),
    ("H6", "not settled", tuning(0.03, 0.015, 0.03)),
    ("H7", "supported", noisy_labels(-0.5)),
    ("H7", "refuted", noisy_labels(-0.1)),
    ("H7", "not settled", noisy_labels(-0.2, LARGE)),
    ("H8", "supported", budgets(0.0, 0.04)),
    ("H8", "refuted", budgets(0.03, 0.04)),
    ("H8", "refuted", budgets(0.0, -0.04)),
    ("H8", "not settled", budgets(0.0, 0.04, LARGE)),
    ("H9", "supported", negatives(0.05, 0.04, 0.04)),
    ("H9", "refuted", negatives(0.05, 0.01, 0.04)),
    ("H9", "refuted", negatives(0.05, 0.04, 0.01)),
    ("H9", "not settled", negatives(0.05, 0.025, 0.04, noise=LARGE)),
    ("H9", "not settled", negatives(0.05, 0.01, 0.01, active=(50.0, 100.0))),
    ("H10", "supported", metrics((0.5, 0.6, 0.7, 0.8), (0.2, 0.3, 0.5, 0.4))),
    ("H10", "refuted", metrics((0.5, 0.6, 0.7, 0.8), (0.2, 0.3, 0.4, 0.5))),
    ("H10", "not settled", metrics((0.5, 0.6, 0.7, 0.7), (0.2, 0.3, 0.4, 0.4), LARGE)),
]


def verdict(name, rows):
    return next(each for each in evaluate(pd.DataFrame(rows)) if each.name == name)


@pytest.mark.parametrize(("name", "outcome", "rows"), CASES, ids=[f"{name}-{outcome}" for name, outcome, _ in CASES])
def test_every_hypothesis_reaches_every_verdict(name, outcome, rows):
    found = verdict(name, rows)
    assert found.outcome == outcome, found
    assert bool(found.reason) == (outcome == "not settled")
    assert {each.data for each in found.findings} == set(BOTH)
    for each in found.findings:
        if each.number is not None:
            assert each.number.low <= each.number.value <= each.number.high and each.number.detectable >= 0


def test_every_hypothesis_has_cases_for_every_verdict():
    assert {(name, outcome) for name, outcome, _ in CASES} == {
        (f"H{number}", outcome) for number in range(1, 11) for outcome in ("supported", "refuted", "not settled")
    }
    assert list(hypotheses()["hypotheses"]) == [f"H{number}" for number in range(1, 11)]


def test_every_rule_is_complete():
    for hypothesis in hypotheses()["hypotheses"].values():
        assert hypothesis["claim"].endswith(".") and hypothesis["source"]
        for rule in hypothesis["rules"]:
            assert rule["kind"] in KINDS and rule["supported"] in ("above", "below")
            assert {"says", "unit", "threshold"} <= set(rule)


@pytest.mark.parametrize("name", [f"H{number}" for number in range(1, 11)])
def test_missing_runs_are_named(name):
    rows = [row for row in next(rows for each, _, rows in CASES if each == name) if row["data"] == "omniglot"]
    assert verdict(name, rows).reason == "missing all runs of glyphs"
    lacking = verdict(name, [row for row in rows if row["seed"] < 2] + cell("random", 0.5, data=("glyphs",)))
    assert lacking.outcome == "not settled"
    assert "Omniglot: missing" in lacking.reason and "Glyphs: missing" in lacking.reason
    assert "2 of 3 seeds" in lacking.reason


def test_no_runs_settle_nothing():
    assert {each.outcome for each in evaluate(pd.DataFrame())} == {"not settled"}


def test_data_sets_that_disagree_settle_nothing():
    better = cell("distance_weighted", 0.8, data=("omniglot",)) + cell("semi_hard", 0.7, data=("omniglot",))
    worse = cell("distance_weighted", 0.6, data=("glyphs",)) + cell("semi_hard", 0.7, data=("glyphs",))
    found = verdict("H3", better + worse)
    assert found.outcome == "not settled"
    assert "disagree (Omniglot: supported, Glyphs: refuted)" in found.reason


def test_a_claim_on_every_column_needs_every_column():
    both = cell("distance_weighted", 0.8) + cell("semi_hard", 0.7)
    lfw = cell("distance_weighted", 0.6, data=("lfw",)) + cell("semi_hard", 0.7, data=("lfw",))
    found = verdict("H3", both + lfw)
    assert (found.outcome, found.reason) == ("not settled", "not supported on Lfw")


def test_a_data_set_below_its_floor_does_not_count():
    rows = [{**row, "floor/recall@1": 0.9} for row in cell("distance_weighted", 0.8) + cell("semi_hard", 0.7)]
    found = verdict("H3", rows)
    assert found.outcome == "not settled" and "no strategy exceeds the floor of recall@1" in found.reason


def test_runs_with_other_options_do_not_count():
    rows = cell("distance_weighted", 0.7) + cell("semi_hard", 0.69)
    others = cell("distance_weighted", 0.1, network__embedding_dim=16, seeds=5)
    others += cell("distance_weighted", 0.1, data__label_noise=0.4, seeds=12)
    number = verdict("H3", rows + others).findings[0].number
    assert number == verdict("H3", rows).findings[0].number
    # The most frequent value is the standard one, unless the file states one.
    cells = Cells(pd.DataFrame(rows + others), ["network.embedding_dim", "data.label_noise"], {}, 3, 3)
    assert len(cells.select("semi_hard", {})) == 16
    assert most_frequent([3, 1, 1, 3, 2]) == 1 and most_frequent([None]) is None


def test_a_run_in_two_folders_counts_once():
    rows = cell("distance_weighted", 0.7) + cell("semi_hard", 0.69)
    assert verdict("H3", rows + rows).findings == verdict("H3", rows).findings


def test_a_fit_recovers_the_slope_and_the_intercept():
    slope = verdict("H2", batches(0.02)).findings[0].number
    assert slope.value == pytest.approx(0.02, abs=0.001) and slope.label == "semi_hard − random"
    _, asymptote = [each.number for each in verdict("H8", budgets(0.03, 0.04)).findings if each.data == "omniglot"]
    assert asymptote.value == pytest.approx(0.03, abs=0.001)
    per_tenth = verdict("H7", noisy_labels(-0.5)).findings[0].number
    assert per_tenth.value == pytest.approx(-0.03, abs=0.001)


def test_values_of_a_factor_that_are_no_numbers_are_no_levels():
    rows = batches(0.02)
    strange = [{**row, "batch_size": value} for row in rows[:3] for value in ("many", [1], -5, float("inf"), None)]
    assert verdict("H2", rows + strange).findings == verdict("H2", rows).findings


def test_the_interval_of_two_shares_agrees_with_statsmodels():
    for counts in ((8, 8, 0, 8), (3, 10, 2, 7), (0, 20, 0, 20)):
        expected = confint_proportions_2indep(*counts, method="newcomb", compare="diff")
        assert share_interval(*counts) == pytest.approx(expected)


def test_runs_become_rows_with_options_metrics_and_facts(tmp_path):
    floors = {"pixels": {"recall@1": 0.3, "map@r": 0.2}, "untrained": {"recall@1": 0.4, "map@r": None}}
    written(tmp_path, run(recall=0.8, floors=floors), run(strategy="hard", status="failed"))
    (row,) = run_table.run_table(read_study(tmp_path).every).to_dict("records")
    expected = {
        "data": "omniglot",
        "column": "Omniglot",
        "strategy": "random",
        "seed": 0,
        "loss.margin": 0.2,
        "network.embedding_dim": 128,
        "batch_size": 128,
        "recall@1": 0.8,
        "floor/recall@1": 0.4,
        "floor/map@r": 0.2,
    }
    assert {name: row[name] for name in expected} == expected
    # 384 triplets a step, with a share of 0.8 − 0.6 × (0.1 … 1.0): 0.47 as a mean over ten validations.
    assert row["mean_active"] == pytest.approx(384 * 0.47)


def test_runs_of_factors_are_read_besides_those_of_the_study(tmp_path):
    study(tmp_path, data=("omniglot",), strategies=("random",), seeds=1)
    factor = run()
    factor.choices["data"]["label_noise"] = 0.2
    written(tmp_path / "factor", factor)
    found = read_study(tmp_path)
    assert len(found.runs) == 1
    assert sorted(run_table.run_table(found.every)["data.label_noise"].fillna(0)) == [0, 0.2]
