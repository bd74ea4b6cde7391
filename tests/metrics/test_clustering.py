"""NMI and AMI of k-means have known values and agree with torchmetrics, and 0 is returned for equal embeddings."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from torchmetrics.functional.clustering import adjusted_mutual_info_score, normalized_mutual_info_score

from siamese_lab.metrics.clustering import nmi_ami


def unit(count, dimensions=16, seed=0):
    return F.normalize(torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed)), dim=1)


def test_perfect_clusters_are_found():
    labels_N = torch.arange(100) % 10
    assert nmi_ami(unit(10)[labels_N], labels_N * 3 - 5) == pytest.approx((1, 1))


def test_equal_embeddings_score_0_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert nmi_ami(unit(1).repeat(60, 1), torch.arange(60) % 6) == pytest.approx((0, 0), abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_random_embeddings_are_chance_only_when_adjusted_for_it(seed):
    """With 100 classes of five images, clusters share much information with the classes by chance."""
    found = nmi_ami(unit(500, seed=seed), torch.arange(500) % 100, seed)
    assert found.nmi > 0.5
    assert found.ami == pytest.approx(0, abs=0.05)


def test_agrees_with_torchmetrics():
    labels_N = torch.arange(90) % 9
    z_ND = F.normalize(
        unit(9)[labels_N] + 0.35 * torch.randn(90, 16, generator=torch.Generator().manual_seed(3)), dim=1
    )
    cluster_N = torch.from_numpy(KMeans(9, n_init=1, random_state=0).fit_predict(z_ND.numpy())).long()
    found = nmi_ami(z_ND, labels_N, seed=0)
    assert 0.3 < found.ami < found.nmi < 1
    assert found.nmi == pytest.approx(float(normalized_mutual_info_score(cluster_N, labels_N)), abs=1e-5)
    assert found.ami == pytest.approx(float(adjusted_mutual_info_score(cluster_N, labels_N)), abs=1e-4)


def test_a_seed_decides_the_start_of_k_means():
    z_ND, labels_N = unit(300), torch.arange(300) % 30
    assert nmi_ami(z_ND, labels_N, 0) == nmi_ami(z_ND, labels_N, 0) != nmi_ami(z_ND, labels_N, 1)


def test_half_precision_is_accepted():
    labels_N = torch.arange(60) % 6
    assert nmi_ami(unit(6)[labels_N].bfloat16(), labels_N).nmi == pytest.approx(1)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([4, 4, 4, 4], r"Clustering needs at least 2 classes, but all 4 images are of one\."),
        ([0, 1, 2, 3], r"Clustering needs a class with at least 2 images, but all 4 have one\."),
        ([0, 1, 2], r"Clustering expects embeddings \(N, D\) and labels \(N,\), but got \(4, 16\) and \(3,\)\."),
    ],
)
def test_sets_without_clusters_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        nmi_ami(unit(4), torch.tensor(labels))


def test_embeddings_that_are_not_finite_are_refused():
    z_ND = unit(4)
    z_ND[1, 2] = torch.inf
    with pytest.raises(ValueError, match=r"1 of 4 embeddings are not finite, the first of them that of image 1\."):
        nmi_ami(z_ND, torch.tensor([0, 0, 1, 1]))
