"""Intervals of figures of pairs agree with plain loops and cover the truth at their level."""

import math

import pytest
import torch
from torch import Tensor

from siamese_lab.metrics.bootstrap_pairs import bounds_over_classes

LEFT = torch.tensor([0, 0, 1, 1, 2, 2, 0, 1, 2, 0])
RIGHT = torch.tensor([0, 0, 1, 1, 2, 2, 1, 2, 0, 2])
VALUE = torch.tensor([1.0, 0, 1, 1, 0, 0, 1, 0, 1, 1], dtype=torch.float64)


def mean(index_M: Tensor) -> dict[str, float]:
    return {"mean": float(VALUE[index_M].mean())}


def test_agrees_with_plain_loops() -> None:
    generator = torch.Generator().manual_seed(7)
    means: list[float] = []
    while len(means) < 40:
        drawn = torch.randint(3, (3,), generator=generator).tolist()
        chosen = []
        for pair, (left, right) in enumerate(zip(LEFT.tolist(), RIGHT.tolist(), strict=True)):
            times = drawn.count(left) if left == right else drawn.count(left) * drawn.count(right)
            chosen += [pair] * times
        if len({bool(LEFT[pair] == RIGHT[pair]) for pair in chosen}) == 2:
            means.append(sum(float(VALUE[pair]) for pair in chosen) / len(chosen))
    ends = torch.tensor(means, dtype=torch.float64).quantile(torch.tensor([0.1, 0.9], dtype=torch.float64))
    bounds = bounds_over_classes(mean, LEFT, RIGHT, seed=7, resamples=40, level=0.8)["mean"]
    assert bounds == pytest.approx(tuple(ends.tolist()), abs=1e-12)


def test_the_numbers_of_classes_do_not_matter() -> None:
    renamed = torch.tensor([30, 5, 99])  # sorted numbers draw the same classes; another order would not
    assert bounds_over_classes(mean, renamed.sort().values[LEFT], renamed.sort().values[RIGHT]) == bounds_over_classes(
        mean, LEFT, RIGHT
    )


@pytest.mark.slow
def test_the_interval_covers_the_truth_if_classes_differ() -> None:
    generator = torch.Generator().manual_seed(0)
    label_N = torch.arange(30).repeat_interleave(10)
    other_N = torch.cat([label_N[:270], (label_N[270:] + 1) % 30])  # there must be some negative pairs
    covered = 0
    for trial in range(100):
        ability_C = torch.rand(30, generator=generator)
        right_N = torch.rand(300, generator=generator) < ability_C[label_N]
        bounds = bounds_over_classes(
            lambda index_M, right_N=right_N: {"share": float(right_N[index_M].float().mean())},
            label_N,
            other_N,
            seed=trial,
            resamples=200,
        )["share"]
        assert bounds.low is not None and bounds.high is not None
        covered += bounds.low <= 0.5 <= bounds.high
    assert 88 <= covered <= 99  # treating pairs as independent would give about 70


def test_figures_of_too_few_resamples_have_no_interval() -> None:
    calls = iter(range(1000))

    def sometimes(index_M: Tensor) -> dict[str, float]:
        number = next(calls)
        return {"seldom": math.nan if number % 5 else 1.0, "often": math.nan if number % 50 == 0 else 2.0}

    bounds = bounds_over_classes(sometimes, LEFT, RIGHT, resamples=100)
    assert bounds["seldom"] == (None, None)
    assert bounds["often"] == (2.0, 2.0)


@pytest.mark.parametrize("right", [LEFT, LEFT + 3])
def test_pairs_of_one_kind_are_refused(right: Tensor) -> None:
    with pytest.raises(ValueError, match="needs pairs of one class and pairs of two"):
        bounds_over_classes(mean, LEFT, right)
