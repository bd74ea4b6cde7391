"""Intervals over classes contain the true mean at their level, and are wider if images of a class are similar."""

import math

import pytest
import scipy.stats
import torch

from siamese_lab.metrics.bootstrap import over_classes


def classes_of(sizes):
    return torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))


def test_agrees_with_the_loops_on_classes_of_uneven_sizes():
    """Two classes of 1 and 3 images: a quarter of all draws is the first alone, a quarter the second, half are both."""
    values_Q, labels_Q = torch.tensor([1.0, 0.0, 0.0, 0.5]), torch.tensor([5, -2, -2, -2])
    found = over_classes(values_Q, labels_Q, resamples=4000)
    assert found == (pytest.approx(1.5 / 4), pytest.approx(0.5 / 3), 1.0)
    middle = over_classes(values_Q, labels_Q, resamples=4000, level=0.3)
    assert (middle.low, middle.high) == (pytest.approx(1.5 / 4), pytest.approx(1.5 / 4))


def test_single_images_give_the_textbook_interval_of_a_mean():
    values_Q = torch.randn(400, generator=torch.Generator().manual_seed(0))
    found = over_classes(values_Q, torch.arange(400), resamples=5000)
    half = scipy.stats.norm.ppf(0.975) * float(values_Q.std()) / math.sqrt(400)
    assert found.high - found.low == pytest.approx(2 * half, rel=0.05)
    assert found.mean == pytest.approx(float(values_Q.mean()))


def test_the_interval_contains_the_true_mean_at_its_level():
    """The values are Recall@1 of 60 classes of 2 to 40 images, each class with its own level."""
    generator = torch.Generator().manual_seed(0)
    level = torch.distributions.Beta(8.0, 2.0)
    torch.manual_seed(0)
    held = 0
    for seed in range(200):
        labels_Q = classes_of(torch.randint(2, 40, (60,), generator=generator).tolist())
        values_Q = torch.bernoulli(level.sample((60,))[labels_Q], generator=generator)
        found = over_classes(values_Q, labels_Q, seed=seed, resamples=500)
        held += found.low <= 0.8 <= found.high
    assert 0.88 < held / 200 < 0.99


def test_images_that_are_alike_make_the_interval_wider():
    labels_Q = classes_of([20] * 50)
    alike_Q = torch.bernoulli(torch.full((50,), 0.7), generator=torch.Generator().manual_seed(0))[labels_Q]
    shuffled_Q = alike_Q[torch.randperm(1000, generator=torch.Generator().manual_seed(0))]
    wide, narrow = over_classes(alike_Q, labels_Q), over_classes(shuffled_Q, labels_Q)
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)
    assert wide.mean == pytest.approx(narrow.mean)


def test_a_seed_gives_the_same_interval_and_0_is_a_seed():
    values_Q = torch.rand(90, generator=torch.Generator().manual_seed(0))
    labels_Q = torch.arange(90) % 30
    assert over_classes(values_Q, labels_Q, seed=0) == over_classes(values_Q, labels_Q, seed=0)
    assert over_classes(values_Q, labels_Q, seed=0) != over_classes(values_Q, labels_Q, seed=1)


def test_equal_values_have_an_interval_of_no_width():
    assert over_classes(torch.ones(7), torch.arange(7) // 2) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("values_Q", "labels_Q", "options", "message"),
    [
        (torch.ones(3), torch.ones(2), {}, r"expects values \(Q,\) and labels \(Q,\), but got \(3,\) and \(2,\)\."),
        (torch.ones(2), torch.ones(2), {}, r"needs at least 2 classes, but all images are of one\."),
        (torch.tensor([1.0, math.nan]), torch.arange(2), {}, r"expects finite values, but 1 of 2 are not\."),
        (torch.ones(2), torch.arange(2), {"level": 95}, r"a level between 0 and 1, but they are 2000 and 95\."),
        (torch.ones(2), torch.arange(2), {"resamples": 0}, r"resamples of at least 1 .* they are 0 and 0\.95\."),
    ],
)
def test_inconsistent_arguments_are_refused(values_Q, labels_Q, options, message):
    with pytest.raises(ValueError, match=message):
        over_classes(values_Q, labels_Q, **options)
