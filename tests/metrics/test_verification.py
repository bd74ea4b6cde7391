"""Thresholds, ROC, EER and TAR@FAR agree with plain loops, with torchmetrics and with known results."""

import math
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics
from torchmetrics.functional.classification import binary_auroc, binary_roc

from siamese_lab.metrics import verification
from siamese_lab.metrics.pairs import ImagePairs, pair_distances, sampled_pairs
from siamese_lab.metrics.verification import Roc, VerificationMetrics, best_threshold, report, verify


@st.composite
def pairs_with_ties(draw):
    """Return pairs of both kinds with few different distances, so that many are equal."""
    kinds = draw(st.lists(st.booleans(), min_size=2, max_size=25).filter(lambda kinds: len(set(kinds)) == 2))
    levels = draw(st.lists(st.integers(0, 8), min_size=len(kinds), max_size=len(kinds)))
    return torch.tensor(levels, dtype=torch.float32) / 4, torch.tensor(kinds)


def rates(distance, same, threshold):
    accepted = [d <= threshold for d in distance]
    far = sum(a and not s for a, s in zip(accepted, same, strict=True)) / same.count(False)
    tar = sum(a and s for a, s in zip(accepted, same, strict=True)) / same.count(True)
    return far, tar


def right(distance, same, threshold):
    return sum((d <= threshold) == s for d, s in zip(distance, same, strict=True))


def curve_by_loops(distance, same):
    return [rates(distance, same, threshold) for threshold in (-math.inf, *sorted(set(distance)))]


def eer_by_bisection(points):
    """Find FAR = 1 − TAR on the polyline of the curve; t is the length of FAR + TAR along the line."""

    def at(t):
        for (far, tar), (next_far, next_tar) in pairwise(points):
            length = next_far + next_tar - far - tar
            if t <= length:
                share = t / length
                return far + share * (next_far - far), tar + share * (next_tar - tar)
            t -= length
        return points[-1]

    low, high = 0.0, 2.0
    for _ in range(60):
        middle = (low + high) / 2
        far, tar = at(middle)
        low, high = (middle, high) if far < 1 - tar else (low, middle)
    return at(low)[0]


@settings(max_examples=300, deadline=None)
@given(case=pairs_with_ties())
def test_everything_agrees_with_the_loops(case):
    distance_N, same_N = case
    distance, same = distance_N.tolist(), same_N.tolist()
    points = curve_by_loops(distance, same)

    curve = verification.roc(distance_N, same_N)
    assert list(zip(curve.far_P.tolist(), curve.tar_P.tolist(), strict=True)) == points
    for threshold, far, tar in zip(
        *(each.tolist() for each in (curve.threshold_P, curve.far_P, curve.tar_P)), strict=True
    ):
        assert rates(distance, same, threshold) == pytest.approx((far, tar))

    wins = [
        (p < n) + 0.5 * (p == n)
        for p, is_same in zip(distance, same, strict=True)
        if is_same
        for n, other in zip(distance, same, strict=True)
        if not other
    ]
    assert verification.auc(curve) == pytest.approx(sum(wins) / len(wins))
    assert verification.eer(curve) == pytest.approx(eer_by_bisection(points), abs=1e-9)

    negatives = same.count(False)
    for far, tar in verification.tar_at_far(curve, negatives, (0.5, 0.3, 0.1, 0.01)):
        supported = far * negatives >= 1
        assert tar == (pytest.approx(max(t for f, t in points if f <= far)) if supported else None)


@settings(max_examples=300, deadline=None)
@given(case=pairs_with_ties())
def test_no_threshold_decides_more_pairs_correctly(case):
    distance_N, same_N = case
    distance, same = distance_N.tolist(), same_N.tolist()
    levels = sorted(set(distance))
    candidates = [levels[0] - 1, *((a + b) / 2 for a, b in pairwise(levels)), levels[-1] + 1]
    scores = [right(distance, same, threshold) for threshold in candidates]
    chosen = best_threshold(distance_N, same_N)
    assert chosen == candidates[scores.index(max(scores))], "the lowest of the best"
    assert verification.accuracy(distance_N, same_N, chosen) == pytest.approx(max(scores) / len(same))


def test_the_middle_of_two_neighbouring_floats_accepts_the_lower_alone():
    low = torch.tensor(0.7, dtype=torch.float64)
    high = torch.nextafter(low, torch.tensor(1.0, dtype=torch.float64))
    distance_N, same_N = torch.stack([low, high]), torch.tensor([True, False])
    assert verification.accuracy(distance_N, same_N, best_threshold(distance_N, same_N)) == 1


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("decimals", [1, 6])
def test_agrees_with_scikit_learn_and_torchmetrics(seed, decimals):
    draw = torch.Generator().manual_seed(seed)
    same_N = torch.rand(2000, generator=draw) < 0.4
    distance_N = (torch.rand(2000, generator=draw) * (1.4 - 0.4 * same_N.float())).round(decimals=decimals)
    curve = verification.roc(distance_N, same_N)
    theirs = binary_roc(1 - distance_N / 2, same_N.int())
    # torchmetrics lists the same points, from accepting nothing to accepting everything
    torch.testing.assert_close(curve.far_P.float(), theirs[0])
    torch.testing.assert_close(curve.tar_P.float(), theirs[1])
    assert verification.auc(curve) == pytest.approx(float(binary_auroc(1 - distance_N / 2, same_N.int())), abs=1e-6)
    assert verification.auc(curve) == pytest.approx(sklearn_metrics.roc_auc_score(same_N.numpy(), -distance_N.numpy()))


def test_equal_embeddings_are_chance():
    """Half of the pairs are right, however equal distances are decided."""
    z_MD = F.normalize(torch.ones(40, 16), dim=1)
    choose, decide = (sampled_pairs(torch.arange(40) % 4, 100, seed) for seed in (0, 1))
    found = verify(z_MD, choose, decide)
    assert (found.accuracy, found.auc, found.eer) == (0.5, 0.5, 0.5)
    assert [rate.tar for rate in found.tar_at_far] == [0, None, None]


def test_perfect_clusters_have_full_accuracy():
    labels_M = torch.arange(40) % 4
    z_MD = torch.eye(8)[labels_M]
    choose, decide = (sampled_pairs(labels_M, 200, seed) for seed in (0, 1))
    found = verify(z_MD, choose, decide)
    assert (found.accuracy, found.auc, found.eer) == (1, 1, 0)
    assert found.threshold == pytest.approx(math.sqrt(2) / 2)
    assert [rate.tar for rate in found.tar_at_far] == [1, 1, None]
    assert (found.positives, found.negatives) == (100, 100)


def test_inverted_embeddings_have_no_accuracy():
    """Positives are far and negatives are near, so only accepting all or none gives any accuracy."""
    found = report(torch.tensor([2.0, 2.0, 0.0, 0.0]), torch.tensor([True, True, False, False]), 1.0)
    assert (found.accuracy, found.auc, found.eer) == (0, 0, 1)


def test_random_embeddings_are_at_chance_within_its_interval():
    """The sets have 2,000 pairs of each kind: 99.9% of such AUCs lie within 3.3 standard errors, √(1 / (6 · 2,000))."""
    z_MD = F.normalize(torch.randn(500, 32, generator=torch.Generator().manual_seed(0)), dim=1)
    labels_M = torch.arange(500) % 25
    found = verify(z_MD, sampled_pairs(labels_M, 4000, 0), sampled_pairs(labels_M, 4000, 1))
    assert found.auc == pytest.approx(0.5, abs=3.3 * math.sqrt(1 / 12_000))
    assert found.eer == pytest.approx(0.5, abs=0.03)
    assert found.accuracy == pytest.approx(0.5, abs=0.03)


def test_a_known_eer_and_known_rates():
    """Positives lie at d = 1…10, negatives at d = 5.5…14.5: one false accept in ten comes with six true accepts."""
    positive, negative = torch.arange(1, 11), torch.arange(5, 15) + 0.5
    same_N = torch.arange(20) < 10
    found = report(torch.cat([positive, negative]), same_N, 7.75)
    assert found.accuracy == pytest.approx((7 + 7) / 20)
    assert found.eer == pytest.approx(0.3)
    assert found.auc == pytest.approx((10 * 5 + 9 + 8 + 7 + 6 + 5) / 100)
    assert found.tar_at_far[0] == (0.1, pytest.approx(0.6))


def test_a_rate_finer_than_one_negative_is_undefined():
    for negatives, reported in (
        (9, [False] * 3),
        (10, [True, False, False]),
        (999, [True, True, False]),
        (1000, [True] * 3),
    ):
        same_N = torch.arange(negatives + 5) < 5
        found = report(torch.linspace(0, 1, negatives + 5), same_N, 0.5)
        assert [rate.tar is not None for rate in found.tar_at_far] == reported
        assert [not math.isnan(found.figures()[f"tar@far={far}"]) for far in (0.1, 0.01, 0.001)] == reported
        assert found.figures()["negatives"] == negatives


def test_the_threshold_is_chosen_on_the_other_pairs():
    z_MD = F.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.1], [1.0, 0.6], [1.0, 2.0]]), dim=1)
    rows = torch.tensor([0]), torch.tensor([0])
    choose = ImagePairs(torch.tensor([0, 0]), torch.tensor([1, 3]), torch.tensor([True, False]))
    decide = ImagePairs(torch.cat([*rows]), torch.tensor([2, 3]), torch.tensor([False, False]))
    with pytest.raises(ValueError, match="only pairs of two classes"):
        verify(z_MD, choose, decide)
    found = verify(z_MD, choose, decide._replace(same_N=torch.tensor([True, False])))
    assert found.threshold == best_threshold(pair_distances(z_MD, choose), choose.same_N)
    assert found.accuracy == 1


@pytest.mark.parametrize(
    ("distances", "kinds", "message"),
    [
        (
            [0.1, 0.2],
            [True, True],
            r"needs pairs of one class and pairs of two, but there are only pairs of one class\.",
        ),
        ([0.1, 0.2], [False, False], r"but there are only pairs of two classes\."),
        ([], [], r"but there are none at all\."),
        (
            [0.1, math.nan],
            [True, False],
            r"1 of 2 pairs have no finite distance: some embeddings are NaN or infinite\.",
        ),
        ([0.1], [True, False], r"expects distances and kinds of pairs, both \(N,\), but got \(1,\) and \(2,\)\."),
    ],
)
@pytest.mark.parametrize("function", [verification.roc, best_threshold])
def test_pairs_without_a_result_are_refused(function, distances, kinds, message):
    with pytest.raises(ValueError, match=message):
        function(torch.tensor(distances), torch.tensor(kinds, dtype=torch.bool))


def embedded(count=60):
    z_MD = F.normalize(torch.randn(count, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    return z_MD, *(sampled_pairs(torch.arange(count) % 6, 40, seed) for seed in (0, 1))


@pytest.mark.parametrize("chunk", [1, 7, 60])
def test_the_metric_in_chunks_equals_the_function(chunk):
    z_MD, choose, decide = embedded()
    metric = VerificationMetrics("view_1", choose, decide)
    metric.update(z_MD[:5])
    metric.reset()
    for z_BD in z_MD.split(chunk):
        metric.update(z_BD)
    expected = verify(z_MD, choose, decide).figures()
    assert metric.compute() == pytest.approx({f"view_1/{name}": each for name, each in expected.items()}, nan_ok=True)


def test_each_point_of_a_curve_has_its_threshold():
    curve = verification.roc(torch.tensor([0.2, 0.4, 0.4, 0.9]), torch.tensor([True, False, True, False]))
    assert isinstance(curve, Roc)
    assert curve.threshold_P.tolist() == pytest.approx([-math.inf, 0.2, 0.4, 0.9])
    assert curve.tar_P.tolist() == [0, 0.5, 1, 1]
    assert curve.far_P.tolist() == [0, 0, 0.5, 1]
