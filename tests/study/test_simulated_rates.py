"""With the observed variances, the procedure keeps its rates of false positives, of coverage and of power."""

import pytest
from simulate import SHARED, STRATEGIES, bootstrap_coverage, main, observed, rates
from synthetic import run, written

STUDIES = 600
ERROR = 0.01
"""About the standard error of a rate of 5% over 600 studies."""


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("seeds", [5, 10])
def test_rates_of_simulated_studies(seeds, own):
    found = rates(seeds, own, STUDIES)
    assert found["family"] <= 0.05 + 2 * ERROR
    assert found["false equivalence"] <= 0.05 + 2 * ERROR
    assert found["coverage"] == pytest.approx(0.95, abs=ERROR)
    assert found["power"] == pytest.approx(0.8, abs=0.03)
    assert found["improvement"] >= 0.95


def test_a_pooled_variance_alone_gives_too_many_false_positives():
    assert rates(10, True, STUDIES)["family, pooled"] > 0.05 + 2 * ERROR


@pytest.mark.parametrize("shared", SHARED)
def test_intervals_over_seeds_and_classes_cover(shared):
    assert bootstrap_coverage(5, 20, shared, 150, samples=150) >= 0.92


def test_the_script_prints_a_row_for_each_number_of_seeds(capsys):
    main(["--studies", "20", "--seeds", "3"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:4] for line in lines if line.startswith("by ")] == [
        ["by", "data", "set", "3"],
        ["by", "strategy", "3", lines[3].split()[3]],
    ]


def test_variances_can_be_those_of_a_study(tmp_path):
    recall = {(0, "random"): 0.52, (1, "random"): 0.48}  # ± 2 points, of which the mean of the seed takes a quarter
    runs = [
        run(strategy=name, seed=seed, recall=recall.get((seed, name), 0.5)) for name in STRATEGIES for seed in range(2)
    ]
    found = observed(written(tmp_path, *runs))
    assert found == {"Omniglot": pytest.approx((1.5 * 2**0.5, *[0.5 * 2**0.5] * 3))}
