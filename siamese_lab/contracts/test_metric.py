"""The contract of a metric: shares in 0…1, higher for better embeddings, whatever the order of the images.

Shapes: N images, D embedding dimensions.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from siamese_lab import metrics
from siamese_lab.metrics import RetrievalMetrics
from siamese_lab.metrics.registry import compute

every_metric = pytest.mark.parametrize("name", metrics.available())
LABELS_N = torch.tensor([0] * 6 + [1] * 4 + [2] * 5 + [3])


def embeddings(spread: float, seed: int = 0) -> Tensor:
    """Return unit-norm embeddings in clusters, one for each class, the wider the larger the spread."""
    noise_ND = torch.randn(len(LABELS_N), 8, generator=torch.Generator().manual_seed(seed))
    return F.normalize(F.one_hot(LABELS_N, 8) + spread * noise_ND, dim=1)


@every_metric
def test_its_figures_are_shares_under_names_of_their_own(name: str) -> None:
    for spread in (0.0, 0.5, 100.0):
        figures = compute([name], embeddings(spread), LABELS_N)
        assert figures, "a metric returns at least one figure"
        for figure, value in figures.items():
            assert "/" not in figure, f"{figure!r}: names with a slash are those of pairs"
            assert value.shape == () and 0 <= value <= 1, f"{figure} is {value}, expected a share in 0…1"
    metric = RetrievalMetrics(extra=(name,))
    metric.update(embeddings(0.5), LABELS_N)
    assert metric.compute().keys() > figures.keys()


@every_metric
def test_separate_classes_score_higher_than_none(name: str) -> None:
    best, worst = (compute([name], embeddings(spread), LABELS_N) for spread in (0.01, 100.0))
    assert all(best[figure] > worst[figure] for figure in best), f"{best} should exceed {worst}"


@every_metric
def test_the_order_of_the_images_does_not_matter(name: str) -> None:
    z_ND, order_N = embeddings(0.7), torch.randperm(len(LABELS_N), generator=torch.Generator().manual_seed(1))
    expected, reordered = compute([name], z_ND, LABELS_N), compute([name], z_ND[order_N], LABELS_N[order_N])
    for figure, value in expected.items():
        torch.testing.assert_close(reordered[figure], value)
