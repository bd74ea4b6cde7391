"""The hardest pairs agree with plain loops, for several tile sizes."""

import pytest
import torch

from siamese_lab import distances
from siamese_lab.evaluation.hardest import find_hardest_errors


def greedy(pairs: list[tuple[float, int, int]], number: int) -> list[tuple[int, int]]:
    """Return the first pairs in order. A pair is skipped if an earlier pair contains one of its images."""
    taken: set[int] = set()
    chosen = []
    for _, left, right in sorted(pairs):
        if not {left, right} & taken and len(chosen) < number:
            chosen.append((left, right))
            taken |= {left, right}
    return chosen


@pytest.mark.parametrize("entries", [1, 100, 10**6])
def test_agrees_with_plain_loops(entries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(distances.TILE_ENTRIES, "cpu", entries)
    generator = torch.Generator().manual_seed(0)
    z_ND = torch.nn.functional.normalize(torch.randn(60, 4, generator=generator), dim=1)
    labels_N = torch.randint(7, (60,), generator=generator)
    d = torch.cdist(z_ND.double(), z_ND.double()).tolist()
    near, far = [], []
    for left in range(60):
        others = [right for right in range(60) if labels_N[right] != labels_N[left]]
        fellows = [right for right in range(60) if labels_N[right] == labels_N[left] and right != left]
        near.append(min((d[left][right], left, right) for right in others))
        far.append(min((-d[left][right], left, right) for right in fellows))
    found = find_hardest_errors(z_ND, labels_N, 6)
    for pairs, wanted in ((found.different, greedy(near, 6)), (found.same, greedy(far, 6))):
        shown = list(zip(pairs.left_E.tolist(), pairs.right_E.tolist(), strict=True))
        assert [set(pair) for pair in shown] == [set(pair) for pair in wanted]
        assert pairs.distance_E.tolist() == pytest.approx([d[left][right] for left, right in wanted], abs=1e-3)


def test_there_may_be_fewer_pairs_than_requested() -> None:
    z_ND = torch.eye(3)
    found = find_hardest_errors(z_ND, torch.tensor([0, 1, 2]), 5)
    assert len(found.same.left_E) == 0
    assert len(found.different.left_E) == 1
    found = find_hardest_errors(z_ND, torch.tensor([0, 0, 0]), 5)
    assert len(found.different.left_E) == 0
    assert found.same.distance_E.tolist() == pytest.approx([2**0.5], abs=1e-6)
